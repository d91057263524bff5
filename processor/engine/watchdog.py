"""Checks of this worker's partitions: lag, stalls, changed topics, and counts that do not fit the rows.

A worker that has records to read and commits nothing ends, so that its supervisor restarts it; and so does one that its
group has not had for as long.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import NoReturn

from aiokafka import TopicPartition
from aiokafka.errors import KafkaError

from processor.engine.assignment import Assignment
from processor.engine.bounds import within
from processor.engine.brokers import Brokers
from processor.engine.topic_watch import TopicWatch
from processor.logs import get_logger
from processor.metrics import Metrics
from processor.metrics.labels import ByPartition
from processor.settings import Settings

log = get_logger(__name__)

#: Seconds between looks.
_LOOK_SECONDS = 2.0

#: Seconds without a look, beyond what one may take, after which the watch counts as hung.
_HUNG_SECONDS = 60.0

#: Seconds between audits of the books: the sums go over every delivery.
_AUDIT_SECONDS = 15.0

#: Seconds between questions whether the group has this worker.
_MEMBER_SECONDS = 15.0


class StalledError(Exception):
    """For too long no record was committed although there are some, or the group has not had this worker."""


class Watchdog:
    """Checks the partitions of this worker every few seconds.

    Args:
        is_member: asks whether the group has this worker; None: nobody can tell now.
        monotonic: seconds, by the clock that partitions tell their last commits by.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - what it watches, and by what
        self,
        settings: Settings,
        metrics: Metrics,
        assignment: Assignment,
        brokers: Brokers,
        is_member: Callable[[], Awaitable[bool | None]],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        #: Records still to commit, when the broker was last asked.
        self.lags: Mapping[TopicPartition, int] = {}
        self._settings, self._metrics, self._monotonic = settings, metrics, monotonic
        self._assignment, self._brokers, self._is_member = assignment, brokers, is_member
        self._topics = TopicWatch(metrics, monotonic)
        self._looked: float | None = None
        self._next_audit = self._next_member = 0.0
        #: Since when the group has not had this worker; None: it has, or nobody can tell.
        self._outside_since: float | None = None

    async def watch(self, partition_counts: Mapping[str, int]) -> NoReturn:
        """Check until a partition, or the membership, stalls.

        Args:
            partition_counts: how many partitions each topic had when the worker started, by its full name.

        Raises:
            StalledError: a partition has records to read and commits nothing, or the group does not have this worker.
        """
        while True:
            self._looked = self._monotonic()
            await asyncio.sleep(_LOOK_SECONDS)
            self._audit()
            for look in (
                partial(self._look_at_topics, partition_counts),
                self._look_at_lag,
                self._look_at_membership,
            ):
                with suppress(KafkaError, OSError, asyncio.TimeoutError):
                    # A broker that is away is waited for: without its answer there is nothing to judge by.
                    await within(look(), self._settings.commit_timeout)

    @property
    def stands_still(self) -> bool:
        """Whether the watchdog itself hangs."""
        patience = _LOOK_SECONDS + self._settings.commit_timeout + _HUNG_SECONDS
        return self._looked is not None and self._monotonic() - self._looked > patience

    @property
    def problems(self) -> Sequence[str]:
        """Changes of the topics, each with its remedy."""
        return list(self._topics.problems.values())

    async def _look_at_topics(self, partition_counts: Mapping[str, int]) -> None:
        await self._topics.look(self._brokers, partition_counts, dict(self._reached()))

    def _reached(self) -> Iterator[tuple[TopicPartition, int]]:
        """Yield how far the topics of the partitions that run had come, as these know it."""
        for _, partition in self._assignment.running():
            yield from partition.reached()

    def _audit(self) -> None:
        now = self._monotonic()
        if now < self._next_audit:
            return
        self._next_audit = now + _AUDIT_SECONDS
        error = sum(partition.audit() for _, partition in self._assignment.running())
        self._metrics.conservation_error.set(error)
        if error:
            log.error("conservation_broken", messages=error, mend="restart this worker: it recovers from the changelog")

    async def lag(self) -> int:
        """Return the number of records that the partitions have still to commit, from the broker."""
        return sum((await within(self._ask_lags(), self._settings.commit_timeout)).values())

    async def _ask_lags(self) -> dict[TopicPartition, int]:
        partitions = dict(self._assignment.running())
        ends = await self._brokers.stable_ends(partitions)
        return {tp: max(0, ends[tp] - partition.committed) for tp, partition in partitions.items()}

    async def _look_at_lag(self) -> None:
        """Export the lag, and raise StalledError if a partition has lag and has committed nothing for too long."""
        lags = self.lags = await self._ask_lags()
        now = self._monotonic()
        self._metrics.lag.clear()
        for tp, partition in self._assignment.running():
            if tp not in lags:
                continue
            lag, silent = lags[tp], now - partition.last_commit
            self._metrics.lag.labels(ByPartition(tp.topic, tp.partition)).set(lag)
            if not lag:
                partition.last_commit = now
            elif silent > self._settings.stall_timeout:
                raise StalledError(
                    f"{tp.topic}[{tp.partition}] has {lag} records to read, and none was committed for {silent:.0f} s"
                )

    async def _look_at_membership(self) -> None:
        """Raise StalledError if the group has not had this worker for too long: nothing in it joins any more."""
        now = self._monotonic()
        if now < self._next_member:
            return
        self._next_member = now + _MEMBER_SECONDS
        if await self._is_member() is not False:
            self._outside_since = None
            return
        self._outside_since = now if self._outside_since is None else self._outside_since
        if now - self._outside_since > self._settings.stall_timeout:
            raise StalledError(f"the group has not had this worker for {now - self._outside_since:.0f} s")
