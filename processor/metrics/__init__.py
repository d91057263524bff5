"""The metrics: `table.py` has a row for each of a worker, `gateway.py` of a gateway, `labels.py` has their labels."""

from processor.metrics.gateway import GatewayMetrics
from processor.metrics.labels import (
    NEW,
    PARTITION_STATES,
    PROVIDERS,
    REROUTED,
    VERDICTS,
    Provider,
    provider_label,
)
from processor.metrics.table import Metrics, count

__all__ = [
    "NEW",
    "PARTITION_STATES",
    "PROVIDERS",
    "REROUTED",
    "VERDICTS",
    "GatewayMetrics",
    "Metrics",
    "Provider",
    "count",
    "provider_label",
]
