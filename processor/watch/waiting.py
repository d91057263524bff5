"""Receipts that wait for their links: how many of each provider, and since when, over all partitions of a worker."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import NamedTuple

from processor.domain.moment import Millis
from processor.metrics import PROVIDERS, Metrics, Provider
from processor.metrics.labels import ByProvider


class WaitingReceipts(NamedTuple):
    """What waits in one partition, by provider."""

    receipts: Mapping[Provider, int]
    #: When the one that has waited longest came in.
    oldest: Mapping[Provider, Millis]


class WaitingBoard:
    """The latest of each partition, shown in the gauges."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._partitions: dict[int, WaitingReceipts] = {}

    def put(self, partition: int, waiting: WaitingReceipts, now: Millis) -> None:
        """Take what a sweep through a partition found."""
        self._partitions[partition] = waiting
        self._show(now)

    def drop(self, partition: int, now: Millis) -> None:
        """Forget a partition that is no longer ours."""
        self._partitions.pop(partition, None)
        self._show(now)

    def receipts(self) -> Mapping[Provider, int]:
        """Return how many receipts of each provider wait."""
        total: Counter[Provider] = Counter()
        for each in self._partitions.values():
            total.update(each.receipts)
        return total

    def _show(self, now: Millis) -> None:
        receipts = self.receipts()
        for provider in PROVIDERS:
            oldest = min(
                [each.oldest[provider] for each in self._partitions.values() if provider in each.oldest], default=now
            )
            self._metrics.receipts_waiting.labels(ByProvider(provider)).set(receipts.get(provider, 0))
            self._metrics.receipts_oldest_waiting.labels(ByProvider(provider)).set(max(0, now - oldest) / 1_000)
