"""Compare the messages of two results of the same events: of the live group and its shadow, or of two exports.

What only one side tells of a message is not compared: an export has no provider, a list of the API no attempt.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from typing import NamedTuple

import msgspec

from processor.domain.reason import Reason
from processor.domain.status import Channel, Permanence, Status
from processor.providers import ADAPTERS

#: In the place of what a side does not tell.
_Untold = msgspec.UnsetType


class Standing(msgspec.Struct, frozen=True, gc=False):
    """Where one side says that a message stands, and what it tells besides."""

    channel: Channel
    status: Status
    since: str
    permanence: Permanence | None = None
    delivery_id: str | _Untold | None = msgspec.UNSET
    reason: Reason | _Untold | None = msgspec.UNSET
    rejected: tuple[str, ...] | _Untold = msgspec.UNSET
    attempt: int | _Untold = msgspec.UNSET
    provider: str | _Untold | None = msgspec.UNSET

    @property
    def place(self) -> str:
        """The status, with the permanence of a failure."""
        return self.status.value if self.permanence is None else f"{self.status.value} ({self.permanence.value})"


#: What is told beside the status. It may differ though a message stands at the same.
_DETAILS = tuple(name for name in Standing.__struct_fields__ if name not in {"status", "permanence"})


class Kind(str, Enum):
    """How two sides differ about one message."""

    #: It has another status.
    STATUS = "status"
    #: It stands at the same status; since when, why or what else is told otherwise.
    DETAILS = "details"
    ONLY_LIVE = "only_live"
    ONLY_SHADOW = "only_shadow"


class Difference(msgspec.Struct, frozen=True):
    """A message about which the sides differ."""

    message_id: str
    difference: Kind
    #: The names of what is told otherwise.
    fields: tuple[str, ...]
    live: Standing | None
    shadow: Standing | None

    def is_newer_than(self, until: datetime) -> bool:
        """Return whether either side says that the message moved after a time."""
        return any(
            msgspec.convert(side.since, datetime) > until for side in (self.live, self.shadow) if side is not None
        )


def difference_of(message_id: str, live: Standing | None, shadow: Standing | None) -> Difference | None:
    """Return how two sides differ about a message; None: they do not."""
    if live is None or shadow is None:
        only = Kind.ONLY_SHADOW if live is None else Kind.ONLY_LIVE
        return None if live is shadow else Difference(message_id, only, (), live, shadow)
    fields = tuple(name for name in _DETAILS if _differ(getattr(live, name), getattr(shadow, name)))
    if (live.status, live.permanence) != (shadow.status, shadow.permanence):
        return Difference(message_id, Kind.STATUS, fields, live, shadow)
    return Difference(message_id, Kind.DETAILS, fields, live, shadow) if fields else None


def _differ(live: object, shadow: object) -> bool:
    return live is not msgspec.UNSET and shadow is not msgspec.UNSET and live != shadow


class Move(NamedTuple):
    """From where to where messages would move; None: that side does not know them."""

    live: str | None
    shadow: str | None
    provider: str
    category: str


def move_of(difference: Difference) -> Move:
    """Return the move of one message. Provider and reason are those of the shadow, or of the live side."""
    sides = [each for each in (difference.shadow, difference.live) if each is not None]
    provider = next((each.provider for each in sides if each.provider), None)
    reason = next((each.reason for each in sides if each.reason), None)
    category = None if not reason else reason.category
    return Move(
        None if difference.live is None else difference.live.place,
        None if difference.shadow is None else difference.shadow.place,
        "" if not provider else provider if provider in ADAPTERS else "other",
        "" if category is None else category.value,
    )


class CountsDifference(msgspec.Struct, frozen=True):
    """A delivery of which the sides count otherwise: both numbers of each status that differs."""

    delivery_id: str
    live: dict[Status, int]
    shadow: dict[Status, int]


#: Numbers of messages by delivery and status.
DeliveryCounts = Mapping[str, Mapping[Status, int]]


def counts_differences(live: DeliveryCounts, shadow: DeliveryCounts) -> Iterator[CountsDifference]:
    """Yield the deliveries of which the sides count otherwise; one that a side does not know has no messages there."""
    for delivery_id in sorted(live.keys() | shadow.keys()):
        ours, theirs = live.get(delivery_id, {}), shadow.get(delivery_id, {})
        statuses = [status for status in Status if ours.get(status, 0) != theirs.get(status, 0)]
        if statuses:
            yield CountsDifference(
                delivery_id,
                {status: ours.get(status, 0) for status in statuses},
                {status: theirs.get(status, 0) for status in statuses},
            )


@dataclass
class Comparison:
    """The sum of a comparison. Its size has a bound: it names a few messages of each kind."""

    #: How many messages, and how many deliveries, of each kind are named.
    named_max: int
    #: Messages that a side moved after this are not judged: the other may not have heard of it yet. None: all are.
    until: datetime | None = None
    live: int = 0
    shadow: int = 0
    #: Of which both sides tell the same.
    equal: int = 0
    left_out: int = 0
    kinds: Counter[Kind] = field(default_factory=Counter)
    moves: Counter[Move] = field(default_factory=Counter)
    fields: Counter[str] = field(default_factory=Counter)
    named: dict[Kind, list[Difference]] = field(default_factory=lambda: {kind: [] for kind in Kind})
    #: Deliveries whose counts were compared; None: none were given.
    deliveries: int | None = None
    counts_differ: int = 0
    counts_named: list[CountsDifference] = field(default_factory=list)

    @property
    def agrees(self) -> bool:
        """Whether no message and no delivery differs."""
        return not self.kinds and not self.counts_differ

    def see_equal(self) -> None:
        """Count a message of which both sides tell the same."""
        self.live += 1
        self.shadow += 1
        self.equal += 1

    def see(self, message_id: str, live: Standing | None, shadow: Standing | None) -> Difference | None:
        """Count one message; return how the sides differ, if they do and it is judged."""
        self.live += live is not None
        self.shadow += shadow is not None
        difference = difference_of(message_id, live, shadow)
        if difference is None:
            self.equal += 1
            return None
        if self.until is not None and difference.is_newer_than(self.until):
            self.left_out += 1
            return None
        kind = difference.difference
        self.kinds[kind] += 1
        if kind is Kind.DETAILS:
            self.fields.update(difference.fields)
        else:
            self.moves[move_of(difference)] += 1
        if len(self.named[kind]) < self.named_max:
            self.named[kind].append(difference)
        return difference

    def see_counts(self, live: DeliveryCounts, shadow: DeliveryCounts) -> Iterable[CountsDifference]:
        """Compare the counts of deliveries; yield those that differ."""
        self.deliveries = len(live.keys() | shadow.keys())
        for difference in counts_differences(live, shadow):
            self.counts_differ += 1
            if len(self.counts_named) < self.named_max:
                self.counts_named.append(difference)
            yield difference
