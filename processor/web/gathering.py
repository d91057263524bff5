"""The reports of all workers on themselves, gathered over the internal hop."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import suppress
from typing import NamedTuple

import msgspec

from processor.logs import get_logger
from processor.metrics import REROUTED, Metrics
from processor.views.overview import Input, PartitionReport, Reports, WorkerReport
from processor.watch.board import Board
from processor.web.forwarding import Forwarding
from processor.web.owner import Owner
from processor.web.problems import STARTING, ProblemError
from processor.wire.topics import EVENTS

log = get_logger(__name__)

REPORT_PATH = "/internal/v1/report"

#: Seconds for which gathered reports count as fresh; seconds for which they may still be given while a worker is slow
#: to answer; and seconds to wait for it before they are.
_FRESH_SECONDS = 1.0
_USABLE_SECONDS = 10.0
_WAIT_SECONDS = 0.1

#: Seconds that the rate of events is measured over, and between two samples of the counter.
_RATE_SECONDS = 20.0
_SAMPLE_SECONDS = 2.0

#: How many of the records that cannot be read a report names.
_UNREADABLE_NAMED = 50

_decode_report = msgspec.json.Decoder(WorkerReport).decode


class Meter:
    """The events a second that this worker folds, over the last twenty seconds."""

    def __init__(self, metrics: Metrics, clock: Callable[[], float]) -> None:
        self._metrics = metrics
        self._clock = clock
        self._samples: deque[tuple[float, float]] = deque()

    def sample(self) -> None:
        """Take a sample of the counter; called every few seconds."""
        now = self._clock()
        self._samples.append((now, _events(self._metrics)))
        while now - self._samples[0][0] > _RATE_SECONDS:
            self._samples.popleft()

    @property
    def rate(self) -> float:
        """Events a second."""
        if len(self._samples) < 2:
            return 0.0
        (start, before), (end, after) = self._samples[0], self._samples[-1]
        return round((after - before) / (end - start), 2)


def _events(metrics: Metrics) -> float:
    return metrics.events.total(lambda labels: labels.verdict != REROUTED)


def _readable(heard: Mapping[str, bytes]) -> Iterator[WorkerReport]:
    for url, report in heard.items():
        try:
            # It is the report of the worker that was asked, whatever URL it names.
            yield msgspec.structs.replace(_decode_report(report), url=url)
        except (msgspec.MsgspecError, RecursionError) as error:
            # Its worker is of another version, during an upgrade: its partitions count as missing.
            log.warning("report_unreadable", url=url, error=str(error))


class Gathered(NamedTuple):
    """All reports, and the owners of partitions as far as they are known."""

    reports: Reports
    owners: Mapping[tuple[str, int], str]


class Gathering:
    """Asks all workers for their reports, at most once a second; concurrent callers share one answer.

    Args:
        owner: the worker.
        metrics: those of the worker.
        board: what the worker knows to be wrong.
        forwarding: asks the other workers.
        events_topic: the full name of the topic whose partitions have the messages.
        clock: gives seconds that only increase.
    """

    def __init__(  # noqa: PLR0913 - the worker, what it reports, and how the others are asked
        self,
        owner: Owner,
        metrics: Metrics,
        board: Board,
        forwarding: Forwarding,
        events_topic: str,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._owner = owner
        self._board = board
        self._forwarding = forwarding
        self._events_topic = events_topic
        self._clock = clock
        self._meter = Meter(metrics, clock)
        self._gathered: Gathered | None = None
        self._gathered_at = float("-inf")
        self._asking: asyncio.Task[Gathered] | None = None

    async def metering(self, _application: object) -> AsyncIterator[None]:
        """Measure the rate of events for as long as the server runs."""
        measuring = asyncio.ensure_future(self._measure())
        yield
        measuring.cancel()
        with suppress(asyncio.CancelledError):
            await measuring

    async def _measure(self) -> None:
        while True:
            self._meter.sample()
            await asyncio.sleep(_SAMPLE_SECONDS)

    def own(self) -> WorkerReport:
        """Return this worker's own report."""
        statuses = list(self._owner.partition_statuses())
        unreadable = self._board.unreadable()
        # A partition that recovers, or is gone, reports nothing.
        partials = {
            number: partial
            for number, partial in self._board.partials().items()
            if self._owner.running_work(EVENTS, number) is not None
        }
        return WorkerReport(
            self._owner.url,
            self._meter.rate,
            self._board.dead_letters(),
            tuple(
                [PartitionReport(at.stage, at.topic, at.partition, at.state, at.lag, at.progress) for at in statuses]
            ),
            partials,
            len(unreadable),
            unreadable[:_UNREADABLE_NAMED],
        )

    async def gather(self) -> Gathered:
        """Return the reports of all workers that answer.

        Raises:
            ProblemError: this worker has not reached Kafka yet.
        """
        age = self._clock() - self._gathered_at
        if self._gathered is not None and age < _FRESH_SECONDS:
            return self._gathered
        if self._asking is None:
            self._asking = asyncio.ensure_future(self._ask())
            self._asking.add_done_callback(self._asked)
        asking = self._asking
        if self._gathered is not None and age < _USABLE_SECONDS:
            await asyncio.wait({asking}, timeout=_WAIT_SECONDS)
            return self._gathered
        # A caller that leaves must not end the question for the others.
        return await asyncio.shield(asking)

    def _asked(self, asking: asyncio.Task[Gathered]) -> None:
        self._asking = None
        if not asking.cancelled():
            # Its callers may all have left: then nobody else takes the error.
            asking.exception()

    async def _ask(self) -> Gathered:
        counts = self._owner.partition_counts
        if self._events_topic not in counts:
            raise ProblemError(STARTING, "this worker has not reached Kafka yet")
        try:
            owners = await self._forwarding.owners()
            heard = await self._forwarding.ask_all(REPORT_PATH)
        except ProblemError:
            # Without the group this worker gives its own report; the other partitions count as missing.
            owners, heard = {}, {}
        reports = [self.own(), *_readable(heard)]
        inputs = [Input(stage, topic, counts[topic]) for stage, topic in self._owner.inputs()]
        [messages] = [each for each in inputs if each.topic == self._events_topic]
        self._gathered = Gathered(Reports(reports, inputs, messages), owners)
        self._gathered_at = self._clock()
        return self._gathered
