"""The overview: present problems and throughput, merged from the reports of all workers.

A worker's report is small: its partitions, its share of the counters, and the findings of the partitions that it owns
(watch/findings.py). Who did not report is named by the partitions that are missing, never passed over.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import NamedTuple

import msgspec

from processor.domain.moment import to_micros, to_rfc3339
from processor.domain.status import DEFINITIONS, Channel, Status
from processor.views.failing import FailingView, failing
from processor.watch import silence
from processor.watch.findings import Contradiction, Found, Partial, Stuck, WaitingStatus, merge
from processor.watch.silence import Answering
from processor.watch.tallies import DeadLetterTally, UnreadableRow, merge_dead
from processor.wire.deadletters import DeadReason

#: The state of a partition without a report.
UNKNOWN = "unknown"


# What a worker reports of itself


class PartitionReport(msgspec.Struct, frozen=True):
    """The status of one partition at its owner."""

    stage: str
    topic: str
    partition: int
    state: str
    #: Records still to commit; null: not known yet.
    lag: int | None
    #: How much of the changelog has been read, from 0 to 1, while it recovers.
    progress: float | None


class WorkerReport(msgspec.Struct, frozen=True):
    """The report of one worker. Dead letters are counted since it started."""

    url: str
    events_per_second: float
    dead_letters: tuple[DeadLetterTally, ...]
    partitions: tuple[PartitionReport, ...]
    #: What it knows of the rows of each partition of messages that it runs.
    partials: dict[int, Partial]
    #: Records of our own topics that it has set aside: how many, and some of them.
    unreadable_rows: int = 0
    unreadable: tuple[UnreadableRow, ...] = ()


class Input(NamedTuple):
    """One topic that a stage reads."""

    stage: str
    topic: str
    partitions: int


# What people are told


class FoundMessage(msgspec.Struct, frozen=True):
    """A message, and since when the finding holds.

    `reference` is what a path names it by: its id, or, where that is masked, the id sealed.
    """

    message_id: str
    since: str
    reference: str


class StuckMessages(msgspec.Struct, frozen=True):
    """Stuck messages of one delivery and provider in one status, the oldest first."""

    channel: Channel
    status: Status
    delivery_id: str | None
    provider: str | None
    messages: int
    since: str
    sample: tuple[FoundMessage, ...]


class WaitingMessages(msgspec.Struct, frozen=True):
    """One status in which messages wait: the number of stuck ones, and the one that has waited longest."""

    channel: Channel
    status: Status
    stuck: int
    oldest: FoundMessage | None


class ContradictoryMessages(msgspec.Struct, frozen=True):
    """Messages of one status with a report of another that contradicts it, the newest report first."""

    channel: Channel
    standing: str = msgspec.field(name="from")
    reported: str = msgspec.field(name="to")
    provider: str | None
    messages: int
    sample: tuple[FoundMessage, ...]


class ProviderView(msgspec.Struct, frozen=True):
    """Whether a provider reports on the messages handed over to it."""

    provider: str | None
    answering: Answering
    #: When it was last heard, and how many seconds ago; null: never.
    heard: str | None
    quiet: float | None
    #: Within how many seconds it usually answers; null: too little is known.
    usual: float | None
    #: Messages handed over since it was last heard.
    unanswered: int
    #: All messages that wait for its answer, and since when.
    waiting: int
    waiting_since: str | None
    #: Since when those were handed over that count as unanswered; null: all that wait.
    unanswered_since: str | None = None


class PartitionView(msgspec.Struct, frozen=True):
    """One partition and its owner; null: it has none, or it is not known."""

    stage: str
    topic: str
    partition: int
    owner: str | None
    state: str
    lag: int | None
    progress: float | None


class Throughput(msgspec.Struct, frozen=True):
    """The throughput of all workers that reported."""

    events_per_second: float


class Wrong(msgspec.Struct, frozen=True):
    """Present problems: the largest groups of stuck messages, silent providers, contradictions, failures."""

    stuck: tuple[StuckMessages, ...]
    silent: tuple[ProviderView, ...]
    contradictions: tuple[ContradictoryMessages, ...]
    #: By reason, since the workers started.
    dead_letters: dict[str, int]
    #: Records of our own topics that cannot be read and were set aside: how many, and some of them.
    unreadable_rows: int = 0
    unreadable: tuple[UnreadableRow, ...] = ()
    #: Providers, deliveries and channels of which more messages fail than is usual with them.
    failing: tuple[FailingView, ...] = ()


class Overview(msgspec.Struct, frozen=True):
    """The overview. `incomplete` names the partitions of messages whose owners could not be asked."""

    #: By channel and status.
    messages: dict[str, dict[str, int]]
    throughput: Throughput
    wrong: Wrong
    #: By cause.
    pending_deliveries: dict[str, int]
    partitions: tuple[PartitionView, ...]
    incomplete: tuple[int, ...]


class DeadLetterView(msgspec.Struct, frozen=True):
    """Dead letters of one reason since the workers started, with the place of the newest."""

    reason: DeadReason
    records: int
    time: str
    topic: str
    partition: int
    offset: int
    detail: str


class DeadLetterList(msgspec.Struct, frozen=True):
    """Dead letters, by reason."""

    items: tuple[DeadLetterView, ...]


class StuckList(msgspec.Struct, frozen=True):
    """All known stuck messages."""

    items: tuple[StuckMessages, ...]
    waiting: tuple[WaitingMessages, ...]
    incomplete: tuple[int, ...]


class ContradictionList(msgspec.Struct, frozen=True):
    """All known contradictions."""

    items: tuple[ContradictoryMessages, ...]
    incomplete: tuple[int, ...]


class ProviderList(msgspec.Struct, frozen=True):
    """All known providers."""

    items: tuple[ProviderView, ...]
    incomplete: tuple[int, ...]


# Putting it together

#: Groups and kinds that the overview shows; the lists behind it have all.
_SHOWN = 10


class Reports:
    """The reports of all workers that answered, merged."""

    def __init__(self, reports: Iterable[WorkerReport], inputs: Iterable[Input], messages: Input) -> None:
        """Merge the reports.

        Args:
            reports: one from each worker.
            inputs: the input topics of the stages.
            messages: the input topic whose partitions own the messages.
        """
        self._reports = tuple(reports)
        self._inputs = tuple(inputs)
        # While a partition changes hands two may report it.
        partials = {number: partial for report in self._reports for number, partial in report.partials.items()}
        self.partial = merge(partials.values())
        self.incomplete = tuple(number for number in range(messages.partitions) if number not in partials)

    def overview(
        self,
        messages: Mapping[str, Mapping[str, int]],
        pending_deliveries: Mapping[str, int],
        owners: Mapping[tuple[str, int], str],
    ) -> Overview:
        """Return the overview.

        Args:
            messages: the rows by channel and status.
            pending_deliveries: by cause.
            owners: of partitions, by topic and number, as far as known.
        """
        silent = tuple(each for each in self.providers().items if each.answering is Answering.SILENT)
        dead = {each.reason.value: each.records for each in self.dead_letters().items}
        return Overview(
            {channel.value: _existing(channel, messages[channel.value]) for channel in Channel},
            Throughput(round(sum(report.events_per_second for report in self._reports), 1)),
            Wrong(
                self.stuck().items[:_SHOWN],
                silent,
                self.contradictions().items[:_SHOWN],
                dead,
                sum(report.unreadable_rows for report in self._reports),
                tuple([row for report in self._reports for row in report.unreadable])[:_SHOWN],
                failing(self.partial.outcomes)[:_SHOWN],
            ),
            dict(pending_deliveries),
            tuple(self._partitions(owners)),
            self.incomplete,
        )

    def stuck(self) -> StuckList:
        """Return the stuck messages, the largest groups first."""
        return StuckList(
            tuple(map(_stuck, self.partial.stuck)), tuple(map(_waiting, self.partial.waiting)), self.incomplete
        )

    def contradictions(self) -> ContradictionList:
        """Return all contradictions, the newest first."""
        return ContradictionList(tuple(map(_contradiction, self.partial.contradictions)), self.incomplete)

    def providers(self) -> ProviderList:
        """List every provider, and whether it answers."""
        now = self.partial.now
        return ProviderList(
            tuple(_provider(silence.judge(each, now)) for each in self.partial.providers), self.incomplete
        )

    def dead_letters(self) -> DeadLetterList:
        """Return the dead letters of all workers since they started."""
        dead = merge_dead(each for report in self._reports for each in report.dead_letters)
        return DeadLetterList(tuple(map(_dead, dead)))

    def _partitions(self, owners: Mapping[tuple[str, int], str]) -> Iterable[PartitionView]:
        reported: dict[tuple[str, int], PartitionView] = {}
        for report in self._reports:
            for at in report.partitions:
                view = PartitionView(at.stage, at.topic, at.partition, report.url, at.state, at.lag, at.progress)
                reported[at.topic, at.partition] = view
        for stage, topic, partitions in self._inputs:
            for number in range(partitions):
                unknown = PartitionView(stage, topic, number, owners.get((topic, number)), UNKNOWN, None, None)
                yield reported.get((topic, number), unknown)


def _existing(channel: Channel, numbers: Mapping[str, int]) -> dict[str, int]:
    """Leave out statuses that a channel does not have."""
    return {name: number for name, number in numbers.items() if channel in DEFINITIONS[Status(name)].channels}


def _found(found: Found) -> FoundMessage:
    return FoundMessage(found.message_id, to_rfc3339(found.since), found.message_id)


def _sample(found: Collection[Found]) -> tuple[FoundMessage, ...]:
    return tuple(map(_found, found))


def _stuck(at: Stuck) -> StuckMessages:
    since = to_rfc3339(at.sample[0].since)
    delivery_id = at.delivery_id or None
    return StuckMessages(at.channel, at.status, delivery_id, at.provider, at.messages, since, _sample(at.sample))


def _waiting(at: WaitingStatus) -> WaitingMessages:
    return WaitingMessages(at.channel, at.status, at.stuck, None if at.oldest is None else _found(at.oldest))


def _contradiction(at: Contradiction) -> ContradictoryMessages:
    return ContradictoryMessages(at.channel, at.standing, at.reported, at.provider, at.messages, _sample(at.sample))


def _dead(at: DeadLetterTally) -> DeadLetterView:
    time = to_rfc3339(to_micros(at.time))
    return DeadLetterView(at.reason, at.records, time, at.topic, at.partition, at.offset, at.detail)


def _provider(at: silence.Silence) -> ProviderView:
    return ProviderView(
        at.provider,
        at.answering,
        None if at.heard is None else to_rfc3339(at.heard),
        at.quiet,
        at.usual,
        at.unanswered,
        at.waiting,
        None if at.waiting_since is None else to_rfc3339(at.waiting_since),
        None if at.unanswered_since is None else to_rfc3339(at.unanswered_since),
    )
