"""The metrics that dashboards and alerts of others are written against: names and labels that do not change."""

import re

import pytest
from prometheus_client import CollectorRegistry

from processor.metrics import GatewayMetrics, Metrics
from processor.stages import STAGE_NAMES

CONTRACT = """
delivery_messages{channel,status} delivery_events_total{channel,provider,verdict}
delivery_status_changes_total{channel,from,to} delivery_rejected_transitions_total{channel,provider,from,to}
delivery_failures_total{channel,category,permanence} delivery_ignored_total{channel,category}
delivery_dead_letters_total{reason,provider} delivery_unknown_native_status_total{provider}
delivery_time_in_status_seconds{channel,status} delivery_oldest_in_status_seconds{channel,status}
delivery_stuck_messages{channel,status} delivery_pending_deliveries{cause} delivery_event_age_seconds{channel}
delivery_conservation_error delivery_lag_records{topic,partition} delivery_commit_seconds delivery_chunk_records
delivery_partition_state{state} delivery_recovery_progress_ratio delivery_rebalances_total
delivery_late_corrections_total delivery_clock_skew_seconds{provider}
delivery_last_event_timestamp_seconds{provider} delivery_webhooks_total{provider,outcome}
delivery_webhook_seconds{provider} delivery_spool_bytes delivery_spool_oldest_seconds
delivery_links_total{provider,outcome} delivery_receipts_waiting{provider}
delivery_receipts_oldest_waiting_seconds{provider} delivery_rows_unreadable{topic} delivery_build_info{version}
"""


def labels_by_name(registry: CollectorRegistry) -> dict[str, set[str]]:
    """Give the labels of every metric of which there is a series from the start."""
    found: dict[str, set[str]] = {}
    for family in registry.collect():
        name = family.name + ("_total" if family.type == "counter" else "")
        found[name] = {label for sample in family.samples for label in sample.labels if label != "le"}
    return found


@pytest.fixture(scope="module")
def exported() -> dict[str, set[str]]:
    return labels_by_name(Metrics(STAGE_NAMES).registry) | labels_by_name(GatewayMetrics().registry)


@pytest.mark.parametrize("metric", CONTRACT.split())
def test_is_exported_under_its_name_with_its_labels(metric, exported):
    name, labels = re.fullmatch(r"(\w+)(?:\{(.+)\})?", metric).groups()
    assert name in exported
    # Without a series of its own, as of partitions that are not assigned, its labels cannot be seen here.
    assert not exported[name] or set((labels or "").split(",")) - {""} <= exported[name]
