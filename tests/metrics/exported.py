"""What a worker and a gateway export, for tests of what asks for it."""

from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from processor.domain.status import Channel
from processor.domain.transitions import Node
from processor.metrics import GatewayMetrics, Metrics
from processor.metrics.labels import ByContradiction, ByPartition, Provider
from processor.stages import STAGE_NAMES


def exported_series() -> dict[str, list[dict[str, str]]]:
    """Give the label sets of every series, by name."""
    metrics = Metrics(STAGE_NAMES)
    # Of these the labels are known only as traffic comes.
    metrics.lag.labels(ByPartition("delivery.events.v1", 0))
    contradiction = ByContradiction(Channel.EMAIL, Provider("kumomta"), Node.FAILED, Node.CANCELED)
    metrics.rejected_transitions.labels(contradiction)
    found: dict[str, list[dict[str, str]]] = {}
    for registry in (metrics.registry, GatewayMetrics().registry):
        for family in text_string_to_metric_families(generate_latest(registry).decode()):
            for sample in family.samples:
                found.setdefault(sample.name, []).append(sample.labels)
    return found
