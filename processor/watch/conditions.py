"""Numbers of addresses by condition, over all partitions of a worker."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from processor.domain.addresses import State
from processor.domain.status import Channel
from processor.metrics import Metrics
from processor.metrics.labels import ByCondition

#: Numbers of addresses by channel and state.
Conditions = Mapping[tuple[str, State], int]


class ConditionsBoard:
    """The latest numbers of each partition, shown in the gauges."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._partitions: dict[int, Conditions] = {}

    def put(self, partition: int, conditions: Conditions) -> None:
        """Take what a sweep through a partition found."""
        self._partitions[partition] = conditions
        self._show()

    def drop(self, partition: int) -> None:
        """Forget a partition that is no longer ours."""
        self._partitions.pop(partition, None)
        self._show()

    def _show(self) -> None:
        total: Counter[tuple[str, State]] = Counter()
        for each in self._partitions.values():
            total.update(each)
        for channel in Channel:
            for state in State:
                self._metrics.addresses.labels(ByCondition(channel, state)).set(total[channel.value, state])
