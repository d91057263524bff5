"""Counts of messages by status, derived from rows; they sum to the number of known messages.

A message's *place* is the key by which it is counted. Rows change more often than their place does, and many messages
make the same move: so moves are summed first, and each is applied once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from processor.domain.moment import Micros
from processor.domain.reason import HARD, SOFT, Category
from processor.domain.row import Row
from processor.domain.status import Channel, Status
from processor.domain.traits import IS_COUNTED_BY_REASON
from processor.domain.transitions import NODE_STATUS, Node

#: The place of each status in a list of counts.
STATUS_INDEX: dict[Status, int] = {status: index for index, status in enumerate(Status)}

#: The figures that are kept of each provider of a delivery, by name: messages by status, and failures of two kinds.
FIGURES: tuple[str, ...] = (*[status.value for status in Status], "hard", "soft")
_FAILED, _HARD, _SOFT = map(FIGURES.index, (Status.FAILED.value, "hard", "soft"))

#: The same, by the rank of a node.
_NODE_INDEX: tuple[int, ...] = tuple(STATUS_INDEX[status] for status in NODE_STATUS)

#: The delivery, the channel, the node, the provider (None: not named), and why it failed or was ignored (else None).
#: A plain tuple: two are made for every row that changes.
Place = tuple[str, Channel, Node, "str | None", "Category | None"]


def place_of(row: Row, provider: str | None) -> Place:
    """Return the place at which a row is counted, with the provider's label from the caller."""
    node = row.node
    return (
        row.names.delivery_id or "",
        row.channel,
        node,
        provider,
        category_of(row) if IS_COUNTED_BY_REASON[node] else None,
    )


def category_of(row: Row) -> Category:
    """Return the category by which a failed or ignored message is counted."""
    reason = row.reason
    return (reason.category if reason is not None else None) or Category.UNDEFINED


class DeliveryCounts:
    """Absolute numbers of one delivery's messages in one partition."""

    __slots__ = (
        "by_provider",
        "canceled_at",
        "channels",
        "failed",
        "first",
        "ignored",
        "is_cancel_done",
        "last",
        "live",
        "providers",
        "statuses",
    )

    def __init__(self) -> None:
        #: By status, in the order of `Status`; messages that retention has removed stay counted.
        self.statuses = [0] * len(Status)
        self.channels = dict.fromkeys(Channel, 0)
        #: By channel and status, without those that retention has removed: the existing rows.
        self.live = {channel: [0] * len(Status) for channel in Channel}
        #: By category: messages that stand at failed, and at ignored.
        self.failed: dict[str, int] = {}
        self.ignored: dict[str, int] = {}
        self.providers: dict[str, int] = {}
        #: By provider, in the order of `FIGURES`; an empty name: no event has named one. Made for differences: messages
        #: of which an older version wrote the counts are missing, so that a number may be below zero.
        self.by_provider: dict[str, list[int]] = {}
        #: Event times, in microseconds, of the earliest and of the latest change of a status; None: there was none.
        self.first: Micros | None = None
        self.last: Micros | None = None
        #: When the delivery was cancelled, and whether the cancel has reached every message that existed then.
        self.canceled_at: Micros | None = None
        self.is_cancel_done = True

    @property
    def messages(self) -> int:
        """The number of the delivery's messages here, including those that retention has removed."""
        return sum(self.statuses)

    @property
    def expired(self) -> int:
        """The number of its messages that retention has removed."""
        return self.messages - sum(map(sum, self.live.values()))

    def add(self, place: Place, number: int) -> None:
        """Add a number of messages, which may be negative, at a place of this delivery."""
        _, channel, node, provider, category = place
        index = _NODE_INDEX[node]
        self.statuses[index] += number
        self.channels[channel] += number
        self.live[channel][index] += number
        self._figure(provider or "", index, category, number)
        if provider is not None:
            _add(self.providers, provider, number)
        if category is not None:
            _add(self.ignored if node is Node.IGNORED else self.failed, category, number)

    def _figure(self, provider: str, index: int, category: Category | None, number: int) -> None:
        figures = self.by_provider.get(provider)
        if figures is None:
            figures = self.by_provider[provider] = [0] * len(FIGURES)
        figures[index] += number
        if category is not None and index == _FAILED:
            figures[_HARD] += number if category in HARD else 0
            figures[_SOFT] += number if category in SOFT else 0
        if number < 0 and not any(figures):
            del self.by_provider[provider]

    def take_over(self, published: DeliveryCounts) -> None:
        """Take over, after a recount of the rows, what cannot be derived from rows.

        That is the times of changes, the cancel, the figures of providers, and the messages that retention has removed.
        No row has their reason and provider any more: these are the difference to the published counts, as far as that
        goes.
        """
        self.first, self.last = published.first, published.last
        self.canceled_at, self.is_cancel_done = published.canceled_at, published.is_cancel_done
        if published.by_provider:
            # Only their differences mean something: history goes on from where it was.
            self.by_provider = published.by_provider
        gone = [total - there for total, there in zip(published.statuses, published._live_statuses(), strict=True)]
        if not any(gone):
            return
        self.statuses = [total + number for total, number in zip(self.statuses, gone, strict=True)]
        for channel, number in published.channels.items():
            self.channels[channel] += max(0, number - sum(published.live[channel]))
        _add_missing(self.failed, published.failed, gone[STATUS_INDEX[Status.FAILED]])
        _add_missing(self.ignored, published.ignored, gone[STATUS_INDEX[Status.IGNORED]])
        _add_missing(self.providers, published.providers, sum(gone))

    def _live_statuses(self) -> list[int]:
        return [sum(numbers) for numbers in zip(*self.live.values(), strict=True)]

    def see(self, first: Micros, last: Micros) -> bool:
        """Record the event times of changes; return whether that changed anything."""
        before = self.first, self.last
        self.first = first if self.first is None else min(self.first, first)
        self.last = last if self.last is None else max(self.last, last)
        return before != (self.first, self.last)


def _add(numbers: dict[str, int], key: str, change: int) -> None:
    """Change one number; remove it if it becomes zero."""
    number = numbers.get(key, 0) + change
    if number:
        numbers[key] = number
    else:
        del numbers[key]


def _add_missing(numbers: dict[str, int], published: Mapping[str, int], most: int) -> None:
    """Add the numbers by which the published counts are higher, up to a total."""
    for key, number in published.items():
        missing = min(most, number - numbers.get(key, 0))
        if missing > 0:
            _add(numbers, key, missing)
            most -= missing


class Counts:
    """Absolute counts of one partition's messages, by delivery.

    The conservation law: counts without expired messages sum to the number of known rows. A delivery whose last message
    moved away stays, with zeroes: the published counts must be corrected, not forgotten.
    """

    def __init__(self) -> None:
        self.deliveries: dict[str, DeliveryCounts] = {}
        #: Rows by channel and status, over all deliveries.
        self.live: dict[Channel, list[int]] = {channel: [0] * len(Status) for channel in Channel}
        #: Whether retention has ever removed a row.
        self.has_expired = False

    def delivery(self, delivery_id: str) -> DeliveryCounts:
        """Return the counts of a delivery, new ones if it is not known."""
        counts = self.deliveries.get(delivery_id)
        if counts is None:
            counts = self.deliveries[delivery_id] = DeliveryCounts()
        return counts

    def restore(self, delivery_id: str, counts: DeliveryCounts) -> None:
        """Replace the counts of a delivery by the published ones."""
        for channel, before in self.delivery(delivery_id).live.items():
            changes = zip(self.live[channel], before, counts.live[channel], strict=True)
            self.live[channel] = [number - old + new for number, old, new in changes]
        self.deliveries[delivery_id] = counts
        self.has_expired = self.has_expired or counts.expired > 0

    def move(self, moves: Mapping[tuple[Place | None, Place | None], int]) -> set[str]:
        """Move a number of messages for each pair of places; None stands for no row.

        Returns:
            The deliveries whose counts changed.
        """
        changed = set()
        for (before, after), number in moves.items():
            for place, change in ((before, -number), (after, number)):
                if place is not None:
                    self.delivery(place[0]).add(place, change)
                    self.live[place[1]][_NODE_INDEX[place[2]]] += change
                    changed.add(place[0])
        return changed

    def expire(self, place: Place) -> None:
        """Remove one row for retention; its delivery keeps counting it."""
        index = _NODE_INDEX[place[2]]
        self.delivery(place[0]).live[place[1]][index] -= 1
        self.live[place[1]][index] -= 1
        self.has_expired = True

    def by_channel(self, channel: Channel) -> dict[Status, int]:
        """Return the number of rows of one channel, with every status as a key."""
        return dict(zip(Status, self.live[channel], strict=True))

    def by_status(self, delivery_id: str) -> dict[Status, int]:
        """Return the counts of one delivery, with every status as a key."""
        counts = self.deliveries.get(delivery_id)
        return dict(zip(Status, counts.statuses if counts is not None else [0] * len(Status), strict=True))

    def conservation_error(self, known: int) -> int:
        """Return by how many messages the counts differ from the number of known rows; 0 if the law holds."""
        by_channel = sum(map(sum, self.live.values()))
        return abs(sum(self._live()) - known) + abs(by_channel - known)

    def _live(self) -> Iterator[int]:
        for counts in self.deliveries.values():
            for numbers in counts.live.values():
                yield sum(numbers)
