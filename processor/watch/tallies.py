"""Records that a worker has put aside since it started: dead letters by reason, and unreadable ones of our topics."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from processor.domain.moment import Millis
from processor.wire.deadletters import DeadReason

#: A detail may quote what a stranger sent: enough to see.
_DETAIL_MAX = 300


class DeadLetterTally(msgspec.Struct, frozen=True):
    """The number of dead letters of one reason since the worker started, and the newest of them."""

    reason: DeadReason
    records: int
    #: The newest record's timestamp in milliseconds, and where it was read.
    time: Millis
    topic: str
    partition: int
    offset: int
    detail: str


class UnreadableRow(msgspec.Struct, frozen=True):
    """An unreadable record of our own topics: its place, its key as text, and why it cannot be read."""

    topic: str
    partition: int
    offset: int
    key: str
    problem: str


def cut(detail: str) -> str:
    """Cut a long detail, with a mark that shows the cut."""
    return detail if len(detail) <= _DETAIL_MAX else detail[: _DETAIL_MAX - 1] + "\N{HORIZONTAL ELLIPSIS}"


def merge_dead(dead: Iterable[DeadLetterTally]) -> tuple[DeadLetterTally, ...]:
    """Merge the tallies of several workers: sums, and the newest of each reason. Associative and commutative."""
    by_reason: dict[DeadReason, DeadLetterTally] = {}
    for each in dead:
        known = by_reason.get(each.reason)
        if known is not None:
            newest = max(known, each, key=lambda at: (at.time, at.topic, at.partition, at.offset))
            each = msgspec.structs.replace(newest, records=known.records + each.records)  # noqa: PLW2901 - the join
        by_reason[each.reason] = each
    return tuple(by_reason[reason] for reason in DeadReason if reason in by_reason)
