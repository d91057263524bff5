"""Counts by status: derived from rows, and what they sum to is the number of known messages.

A message's *place* is all that counts tell apart. Rows change much more often than they change their place, and many
messages make the same move: so moves are summed first, and applied once each.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from processor.domain.reason import Category
from processor.domain.row import Row
from processor.domain.status import Channel, Status
from processor.domain.transitions import NODE_STATUS, Node

#: The place of each status in a list of counts.
STATUS_INDEX: dict[Status, int] = {status: index for index, status in enumerate(Status)}

#: The same, by the rank of a node.
_NODE_INDEX: tuple[int, ...] = tuple(STATUS_INDEX[status] for status in NODE_STATUS)

#: Where a message that gets there has a reason worth counting.
ENDINGS = frozenset({Node.FAILED, Node.FAILED_GAVE_UP, Node.IGNORED})

#: The delivery, the channel, the node, the provider (None: not named), and why it failed or was ignored (else None).
#: A plain tuple: two are made for every row that changes.
Place = tuple[str, Channel, Node, "str | None", "Category | None"]


def place_of(row: Row, provider: str | None) -> Place:
    """Give the place at which a row is counted; the provider goes by the name that the caller gives it."""
    node = row.node
    return row.names.delivery_id or "", row.channel, node, provider, category_of(row) if node in ENDINGS else None


def category_of(row: Row) -> Category:
    """Give why a message failed or was ignored, as it is counted."""
    reason = row.reason
    return (reason.category if reason is not None else None) or Category.UNDEFINED


class DeliveryCounts:
    """Absolute numbers of one delivery's messages in one partition."""

    __slots__ = (
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
        #: By channel and status, without those that retention has removed: the rows that there are.
        self.live = {channel: [0] * len(Status) for channel in Channel}
        #: By category: messages that stand at failed, and at ignored.
        self.failed: dict[str, int] = {}
        self.ignored: dict[str, int] = {}
        self.providers: dict[str, int] = {}
        #: Event times, in microseconds, of the earliest and of the latest change of a status; None: there was none.
        self.first: int | None = None
        self.last: int | None = None
        #: When the delivery was cancelled, and whether every message that there was then has been told.
        self.canceled_at: int | None = None
        self.is_cancel_done = True

    @property
    def messages(self) -> int:
        """How many messages the delivery has here, those that retention has removed among them."""
        return sum(self.statuses)

    @property
    def expired(self) -> int:
        """How many of them retention has removed."""
        return self.messages - sum(map(sum, self.live.values()))

    def add(self, place: Place, number: int) -> None:
        """Count so many messages more (or less) at a place of this delivery."""
        _, channel, node, provider, category = place
        index = _NODE_INDEX[node]
        self.statuses[index] += number
        self.channels[channel] += number
        self.live[channel][index] += number
        if provider is not None:
            _add(self.providers, provider, number)
        if category is not None:
            _add(self.ignored if node is Node.IGNORED else self.failed, category, number)

    def take_over(self, published: DeliveryCounts) -> None:
        """Take over, after a recount of the rows, what does not follow from them.

        That is when anything changed, the cancel, and the messages that retention has removed. Why those had failed,
        and whose they were, is told by no row any more: it is what the published numbers have more, as far as it goes.
        """
        self.first, self.last = published.first, published.last
        self.canceled_at, self.is_cancel_done = published.canceled_at, published.is_cancel_done
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

    def see(self, first: int, last: int) -> bool:
        """Take note of the event times of changes; say whether they tell anything new."""
        before = self.first, self.last
        self.first = first if self.first is None else min(self.first, first)
        self.last = last if self.last is None else max(self.last, last)
        return before != (self.first, self.last)


def _add(numbers: dict[str, int], key: str, change: int) -> None:
    """Change one number, and keep no zeroes."""
    number = numbers.get(key, 0) + change
    if number:
        numbers[key] = number
    else:
        del numbers[key]


def _add_missing(numbers: dict[str, int], published: Mapping[str, int], most: int) -> None:
    """Add what the published numbers have more, up to so many in all."""
    for key, number in published.items():
        missing = min(most, number - numbers.get(key, 0))
        if missing > 0:
            _add(numbers, key, missing)
            most -= missing


class Counts:
    """Absolute counts of one partition's messages, by delivery.

    The conservation law: what is not expired sums to the number of known rows. A delivery whose last message moved
    away stays, with zeroes: what was published must be corrected, not forgotten.
    """

    def __init__(self) -> None:
        self.deliveries: dict[str, DeliveryCounts] = {}
        #: Rows by channel and status, over all deliveries.
        self.live: dict[Channel, list[int]] = {channel: [0] * len(Status) for channel in Channel}
        #: Whether retention has ever removed a row.
        self.has_expired = False

    def delivery(self, delivery_id: str) -> DeliveryCounts:
        """Give the counts of a delivery; of one that was not known, new ones."""
        counts = self.deliveries.get(delivery_id)
        if counts is None:
            counts = self.deliveries[delivery_id] = DeliveryCounts()
        return counts

    def restore(self, delivery_id: str, counts: DeliveryCounts) -> None:
        """Put what was published of a delivery in place of what was known of it."""
        for channel, before in self.delivery(delivery_id).live.items():
            changes = zip(self.live[channel], before, counts.live[channel], strict=True)
            self.live[channel] = [number - old + new for number, old, new in changes]
        self.deliveries[delivery_id] = counts
        self.has_expired = self.has_expired or counts.expired > 0

    def move(self, moves: Mapping[tuple[Place | None, Place | None], int]) -> set[str]:
        """Count so many messages as moved, for each pair of places; None stands for no row.

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
        """Take one row out that retention removes: its delivery goes on counting it."""
        index = _NODE_INDEX[place[2]]
        self.delivery(place[0]).live[place[1]][index] -= 1
        self.live[place[1]][index] -= 1
        self.has_expired = True

    def by_channel(self, channel: Channel) -> dict[Status, int]:
        """Give the rows of one channel, every status a key."""
        return dict(zip(Status, self.live[channel], strict=True))

    def by_status(self, delivery_id: str) -> dict[Status, int]:
        """Give the counts of one delivery, every status a key."""
        counts = self.deliveries.get(delivery_id)
        return dict(zip(Status, counts.statuses if counts is not None else [0] * len(Status), strict=True))

    def conservation_error(self, known: int) -> int:
        """Give how many messages the counts are off, against the number of known rows; 0 when the law holds."""
        by_channel = sum(map(sum, self.live.values()))
        return abs(sum(self._live()) - known) + abs(by_channel - known)

    def _live(self) -> Iterator[int]:
        for counts in self.deliveries.values():
            for numbers in counts.live.values():
                yield sum(numbers)
