"""The findings of one partition: stuck messages, the oldest messages, contradictions, silent providers, failures.

Only the owner of a partition can sweep its rows. It does so periodically (see sweep.py), and keeps the findings as a
`Partial`: of bounded size, and sent as JSON. The worker that answers a request gathers and merges the partials of all
partitions. Merging loses nothing, so the size of the result is bounded by the number of partitions.

Nothing here changes a row: *stuck* is a label, and a later report removes it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from itertools import groupby

import msgspec

from processor.domain.moment import Micros
from processor.domain.status import Channel, Status
from processor.domain.traits import STUCK_AFTER
from processor.watch import evidence, failing
from processor.watch.evidence import Evidence
from processor.watch.failing import Outcomes

#: Messages that are named as evidence of one finding.
SAMPLE = 5


class Found(msgspec.Struct, frozen=True, order=True):
    """A message, and the event time (microseconds) since when the finding holds."""

    since: Micros
    message_id: str


class WaitingStatus(msgspec.Struct, frozen=True):
    """One status in which messages wait: the number of stuck ones, and the one that has waited longest."""

    channel: Channel
    status: Status
    stuck: int
    oldest: Found | None


class Stuck(msgspec.Struct, frozen=True):
    """Stuck messages of one delivery and provider in one status, with the ids of the oldest."""

    channel: Channel
    status: Status
    delivery_id: str
    provider: str | None
    messages: int
    sample: tuple[Found, ...]


class Contradiction(msgspec.Struct, frozen=True):
    """Messages of one status with a report of another that contradicts it, with the ids of the newest."""

    channel: Channel
    standing: str = msgspec.field(name="from")
    reported: str = msgspec.field(name="to")
    provider: str | None
    messages: int
    #: When the rejected report says that it happened, newest first.
    sample: tuple[Found, ...]


class Partial(msgspec.Struct, frozen=True):
    """The findings of one partition, or of several."""

    #: Until when the records had been read, in microseconds.
    now: Micros
    partitions: int
    #: Partitions that are behind with reading: they say nothing of providers.
    behind: int
    #: Every status in which messages wait, by channel.
    waiting: tuple[WaitingStatus, ...]
    #: The largest groups of each partition; `waiting` counts the others too.
    stuck: tuple[Stuck, ...]
    #: Messages of which a report was rejected.
    contradicted: int
    contradictions: tuple[Contradiction, ...]
    providers: tuple[Evidence, ...]
    #: Stuck messages by delivery: of each partition the deliveries that have most.
    stuck_deliveries: dict[str, int] = {}
    #: How messages ended lately: every provider, and of each partition the deliveries with most failures.
    outcomes: tuple[Outcomes, ...] = ()


# Merging


def merge(partials: Iterable[Partial]) -> Partial:
    """Merge the findings of several partitions. Associative and commutative; empty for none."""
    several = list(partials)
    stuck_deliveries: Counter[str] = Counter()
    for each in several:
        stuck_deliveries.update(each.stuck_deliveries)
    return Partial(
        max((each.now for each in several), default=Micros(0)),
        sum(each.partitions for each in several),
        sum(each.behind for each in several),
        tuple(_merge_waiting([at for each in several for at in each.waiting])),
        tuple(sorted(_merge_stuck([at for each in several for at in each.stuck]), key=_by_size)),
        sum(each.contradicted for each in several),
        tuple(sorted(_merge_contradictions([at for each in several for at in each.contradictions]), key=_by_time)),
        evidence.merge(at for each in several for at in each.providers),
        dict(sorted(stuck_deliveries.items())),
        failing.merge(at for each in several for at in each.outcomes),
    )


def _merge_waiting(waiting: list[WaitingStatus]) -> Iterable[WaitingStatus]:
    for channel, status in STUCK_AFTER:
        same = [at for at in waiting if at.channel is channel and at.status is status]
        oldest = min((at.oldest for at in same if at.oldest is not None), default=None)
        yield WaitingStatus(channel, status, sum(at.stuck for at in same), oldest)


def _merge_stuck(stuck: list[Stuck]) -> Iterable[Stuck]:
    for _, same in groupby(sorted(stuck, key=_stuck_key), _stuck_key):
        first, *others = same
        sample = sorted(found for at in (first, *others) for found in at.sample)[:SAMPLE]
        messages = first.messages + sum(at.messages for at in others)
        yield msgspec.structs.replace(first, messages=messages, sample=tuple(sample))


def _merge_contradictions(contradictions: list[Contradiction]) -> Iterable[Contradiction]:
    for _, same in groupby(sorted(contradictions, key=_contradiction_key), _contradiction_key):
        first, *others = same
        sample = sorted((found for at in (first, *others) for found in at.sample), key=_newest)[:SAMPLE]
        messages = first.messages + sum(at.messages for at in others)
        yield msgspec.structs.replace(first, messages=messages, sample=tuple(sample))


def _newest(found: Found) -> tuple[int, str]:
    return -found.since, found.message_id


def _stuck_key(at: Stuck) -> tuple[str, ...]:
    return at.channel.value, at.status.value, at.delivery_id, at.provider or ""


def _contradiction_key(at: Contradiction) -> tuple[str, ...]:
    return at.channel.value, at.standing, at.reported, at.provider or ""


def _by_size(at: Stuck) -> tuple[int, Found, tuple[str, ...]]:
    return -at.messages, at.sample[0], _stuck_key(at)


def _by_time(at: Contradiction) -> tuple[int, tuple[str, ...]]:
    return -at.sample[0].since, _contradiction_key(at)
