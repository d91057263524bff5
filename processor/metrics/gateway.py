"""Every metric of a gateway: one row each, as those of a worker in table.py.

A gateway is a process of its own, and serves these and none of a worker's.
"""

from __future__ import annotations

from dataclasses import InitVar, dataclass

from prometheus_client import Counter, Gauge, Histogram

from processor.metrics import labels as known
from processor.metrics.families import Family, labelled, single
from processor.metrics.labels import ByCaller, ByWebhook
from processor.metrics.process import ProcessMetrics
from processor.settings import Settings

_SECONDS_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2, 5, 10, 15)


@dataclass(eq=False)
class GatewayMetrics(ProcessMetrics):
    """All metrics of one gateway, in a registry of its own."""

    commit: InitVar[str] = Settings.commit
    webhooks: Family[Counter, ByWebhook] = labelled(
        Counter, "delivery_webhooks", "Providers' calls by what became of them.", ByWebhook, known.by_webhook
    )
    webhook_seconds: Family[Histogram, ByCaller] = labelled(
        Histogram,
        "delivery_webhook_seconds",
        "Time from a call's last byte to its answer.",
        ByCaller,
        known.by_caller,
        buckets=_SECONDS_BUCKETS,
    )
    last_webhook: Family[Gauge, ByCaller] = labelled(
        Gauge,
        "delivery_last_webhook_timestamp_seconds",
        "When a provider's last verified call came, as Unix time; 0: none since the start.",
        ByCaller,
        known.by_caller,
    )
    spool_bytes: Gauge = single(Gauge, "delivery_spool_bytes", "Bytes of the records that wait in the spool for Kafka.")
    spool_records: Gauge = single(Gauge, "delivery_spool_records", "Records that wait in the spool for Kafka.")
    spool_oldest: Gauge = single(
        Gauge,
        "delivery_spool_oldest_seconds",
        "Age of the oldest record in the spool; 0 while it is empty. Take `max`, not `sum`.",
    )

    def __post_init__(self, commit: str) -> None:
        self._export(commit)
