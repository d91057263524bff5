"""What every worker reports of itself, gathered from all of them over the internal hop."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from contextlib import suppress
from typing import NamedTuple, Protocol

import msgspec

from processor.engine.stage import Work
from processor.engine.status import PartitionStatus
from processor.logs import get_logger
from processor.metrics import REROUTED, Metrics
from processor.views.overview import Input, PartitionReport, Reports, WorkerReport
from processor.watch.board import Board
from processor.web.forwarding import Forwarding
from processor.web.problems import STARTING, ProblemError
from processor.wire.topics import EVENTS, Topic

log = get_logger(__name__)

REPORT_PATH = "/internal/v1/report"

#: Seconds for which what was gathered is taken as true, however many ask; and, when a worker is slow to answer, for how
#: long the last answer will do, after so many seconds of waiting for a new one.
_FRESH_SECONDS = 1.0
_USABLE_SECONDS = 10.0
_WAIT_SECONDS = 0.1

#: Seconds that the rate of events is measured over, and between looks at the counter.
_RATE_SECONDS = 20.0
_SAMPLE_SECONDS = 2.0

#: How many of the records that cannot be read a worker names.
_UNREADABLE_TOLD = 50

_decode_report = msgspec.json.Decoder(WorkerReport).decode


class Host(Protocol):
    """What is asked of the worker."""

    url: str
    partition_counts: dict[str, int]

    def running_work(self, topic: Topic, number: int) -> Work | None:
        """Give the work of an input partition, when it is ours and has recovered."""

    def partition_statuses(self) -> Iterable[PartitionStatus]:
        """Give the status of every partition of this worker."""

    def inputs(self) -> Iterable[tuple[str, str]]:
        """Give stage and full name of every topic that the stages read."""


class Meter:
    """How many events a second this worker folds, over the last moments."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._samples: deque[tuple[float, float]] = deque()

    def sample(self) -> None:
        """Look at the counter; to be called every few seconds."""
        now = time.monotonic()
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
    return sum(
        sample.value
        for family in metrics.events.collect()
        for sample in family.samples
        if sample.name.endswith("_total") and sample.labels["verdict"] != REROUTED
    )


def _readable(heard: Mapping[str, bytes]) -> Iterator[WorkerReport]:
    for url, report in heard.items():
        try:
            # It is the report of whom was asked, whatever it calls itself.
            yield msgspec.structs.replace(_decode_report(report), url=url)
        except (msgspec.MsgspecError, RecursionError) as error:
            # Of another version, while workers are replaced one by one: its partitions are named as missing.
            log.warning("report_unreadable", url=url, error=str(error))


class Gathered(NamedTuple):
    """All reports, and who owns what, as far as that is known."""

    reports: Reports
    owners: Mapping[tuple[str, int], str]


class Gathering:
    """Asks all workers for their reports, at most once a second; many may wait for one answer."""

    def __init__(self, host: Host, metrics: Metrics, board: Board, forwarding: Forwarding, events_topic: str) -> None:
        self._host = host
        self._board = board
        self._forwarding = forwarding
        self._events_topic = events_topic
        self._meter = Meter(metrics)
        self._gathered: Gathered | None = None
        self._gathered_at = float("-inf")
        self._asking: asyncio.Task[Gathered] | None = None

    async def metering(self, _application: object) -> AsyncIterator[None]:
        """Measure for as long as the server runs."""
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
        """Give this worker's own report."""
        statuses = list(self._host.partition_statuses())
        unreadable = self._board.unreadable()
        # One that is being recovered, or has gone, says nothing.
        partials = {
            number: partial
            for number, partial in self._board.partials().items()
            if self._host.running_work(EVENTS, number) is not None
        }
        return WorkerReport(
            self._host.url,
            self._meter.rate,
            self._board.dead_letters(),
            tuple(
                [PartitionReport(at.stage, at.topic, at.partition, at.state, at.lag, at.progress) for at in statuses]
            ),
            partials,
            len(unreadable),
            unreadable[:_UNREADABLE_TOLD],
        )

    async def gather(self) -> Gathered:
        """Give the reports of all workers that answer.

        Raises:
            ProblemError: this worker has not reached Kafka yet.
        """
        age = time.monotonic() - self._gathered_at
        if self._gathered is not None and age < _FRESH_SECONDS:
            return self._gathered
        if self._asking is None:
            self._asking = asyncio.ensure_future(self._ask())
            self._asking.add_done_callback(self._asked)
        asking = self._asking
        if self._gathered is not None and age < _USABLE_SECONDS:
            await asyncio.wait({asking}, timeout=_WAIT_SECONDS)
            return self._gathered
        # One who leaves must not end the question for the others.
        return await asyncio.shield(asking)

    def _asked(self, asking: asyncio.Task[Gathered]) -> None:
        self._asking = None
        if not asking.cancelled():
            # Whoever asked may have left: then nobody else looks at the error.
            asking.exception()

    async def _ask(self) -> Gathered:
        counts = self._host.partition_counts
        if self._events_topic not in counts:
            raise ProblemError(STARTING, "this worker has not reached Kafka yet")
        try:
            owners = await self._forwarding.owners()
            heard = await self._forwarding.ask_all(REPORT_PATH)
        except ProblemError:
            # While nobody can tell who there is, what this worker knows is better than nothing: the rest is named.
            owners, heard = {}, {}
        reports = [self.own(), *_readable(heard)]
        inputs = [Input(stage, topic, counts[topic]) for stage, topic in self._host.inputs()]
        [messages] = [each for each in inputs if each.topic == self._events_topic]
        self._gathered = Gathered(Reports(reports, inputs, messages), owners)
        self._gathered_at = time.monotonic()
        return self._gathered
