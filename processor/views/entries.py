"""The state of one delivery: the counts of each partition, their sums, and derived values."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import msgspec

from processor.domain.counts import STATUS_INDEX
from processor.domain.delivery import Delivery, State
from processor.domain.moment import Micros
from processor.domain.reason import Category
from processor.domain.status import Channel, Status
from processor.domain.traits import INDICATED, TAKEN, Indicator, SuccessFrom
from processor.views.series import Series
from processor.wire.counts import CountsRecord, from_rfc3339

_PENDING = STATUS_INDEX[Status.PENDING]
_TAKEN = tuple(STATUS_INDEX[status] for status in TAKEN)
_COUNTED = {
    success_from: {
        indicator: tuple(STATUS_INDEX[status] for status in statuses) for indicator, statuses in statuses_of.items()
    }
    for success_from, statuses_of in INDICATED.items()
}


class Share(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """One partition's share of a delivery; times are microseconds."""

    statuses: list[int]
    channels: dict[str, int]
    failed: dict[str, int]
    ignored: dict[str, int]
    providers: dict[str, int]
    live: dict[str, dict[str, int]]
    first: Micros | None
    last: Micros | None
    canceled_at: Micros | None
    expired: int


NOTHING = Share([0] * len(Status), {}, {}, {}, {}, {}, None, None, None, 0)

_pack = msgspec.msgpack.Encoder().encode
_unpack = msgspec.msgpack.Decoder(Share).decode


def share_of(record: CountsRecord) -> Share:
    """Return what is kept of a counts record."""
    return Share(
        [record.statuses.get(status, 0) for status in Status],
        {channel.value: number for channel, number in record.channels.items()},
        record.failed,
        record.ignored,
        record.providers,
        {
            channel.value: {status.value: number for status, number in numbers.items()}
            for channel, numbers in record.live.items()
        },
        _moment(record.first),
        _moment(record.last),
        _moment(record.canceled_at),
        record.expired,
    )


def _moment(text: str | None) -> Micros | None:
    return None if text is None else from_rfc3339(text)


def move(totals: dict[str, int], before: Mapping[str, int], after: Mapping[str, int]) -> None:
    """Bring totals up to date with the change of one share, and keep no zeroes."""
    if before == after:
        return
    for sign, numbers in ((-1, before), (1, after)):
        for name, number in numbers.items():
            totals[name] = totals.get(name, 0) + sign * number
    for name in [name for name in before if not totals[name]]:
        del totals[name]


class Entry:
    """One delivery, with sums that are updated on every change, so that reading is cheap."""

    __slots__ = (
        "_counted_from",
        "_shares",
        "channels",
        "delivery",
        "delivery_id",
        "expired",
        "failed",
        "first",
        "ignored",
        "last",
        "providers",
        "search",
        "series",
        "state",
        "statuses",
        "told_canceled_at",
        "touched",
    )

    def __init__(self, delivery_id: str, success_from: SuccessFrom = SuccessFrom.TAKEN) -> None:
        self.delivery_id = delivery_id
        self._counted_from = _COUNTED[success_from]
        #: What control records tell, and the state that follows from that alone; None: nothing.
        self.delivery: Delivery | None = None
        self.state: State | None = None
        #: Packed: there are as many as partitions.
        self._shares: dict[int, bytes] = {}
        self.statuses = [0] * len(Status)
        self.channels: dict[str, int] = {}
        self.failed: dict[str, int] = {}
        self.ignored: dict[str, int] = {}
        self.providers: dict[str, int] = {}
        self.expired = 0
        #: Event times of the first and the last change of a message's status.
        self.first: Micros | None = None
        self.last: Micros | None = None
        #: When the partitions were told that it was cancelled.
        self.told_canceled_at: Micros | None = None
        #: When anything happened last, of its messages or by control.
        self.touched: Micros | None = None
        self.series: Series | None = None
        #: What a search looks in.
        self.search = delivery_id.casefold()

    # Changing

    @property
    def is_empty(self) -> bool:
        """Whether nothing is known about it any more."""
        return not self._shares and self.delivery is None

    def share(self, number: int) -> Share:
        """Return one partition's share."""
        packed = self._shares.get(number)
        return NOTHING if packed is None else _unpack(packed)

    def replace(self, number: int, before: Share, share: Share | None) -> list[int]:
        """Put one partition's share in place of what `share` gave; None takes it away.

        Returns:
            The change of the counts by status.
        """
        after = NOTHING if share is None else share
        if share is None:
            self._shares.pop(number, None)
        else:
            self._shares[number] = _pack(share)
        change = [new - old for new, old in zip(after.statuses, before.statuses, strict=True)]
        self.statuses = [total + step for total, step in zip(self.statuses, change, strict=True)]
        self.expired += after.expired - before.expired
        move(self.channels, before.channels, after.channels)
        move(self.failed, before.failed, after.failed)
        move(self.ignored, before.ignored, after.ignored)
        move(self.providers, before.providers, after.providers)
        # A partition's first moment only moves back and its last only on: there is nothing to take out.
        self.first = _of(min, self.first, after.first)
        self.last = _of(max, self.last, after.last)
        self.told_canceled_at = _of(min, self.told_canceled_at, after.canceled_at)
        self.touched = _of(max, self.touched, after.last)
        return change

    def tell(self, delivery: Delivery | None) -> None:
        """Take the state from control records; None: there is none any more."""
        self.delivery = delivery
        self.state = None if delivery is None else delivery.state
        names = (self.delivery_id, self.label, self.campaign)
        self.search = "\n".join([name for name in names if name]).casefold()
        for done in delivery.actions if delivery is not None else ():
            self.touched = _of(max, self.touched, done.last)

    # Figures

    def count(self, status: Status) -> int:
        """Return how many messages stand at a status."""
        return self.statuses[STATUS_INDEX[status]]

    @property
    def messages(self) -> int:
        """The number of known messages."""
        return sum(self.statuses)

    @property
    def pending(self) -> int:
        """The number of pending messages."""
        return self.statuses[_PENDING]

    @property
    def failures(self) -> int:
        """The number of failed messages."""
        return self._counted(Indicator.ERROR)

    @property
    def success(self) -> int:
        """The number of messages that Adobe counts as success."""
        return self._counted(Indicator.SUCCESS)

    @property
    def processed(self) -> int:
        """The number of messages that Adobe counts as processed: prepared, errors and success."""
        return sum(map(self._counted, Indicator))

    def _counted(self, indicator: Indicator) -> int:
        return sum([self.statuses[index] for index in self._counted_from[indicator]])

    def failed_for(self, categories: Iterable[Category]) -> int:
        """Return how many messages failed for one of these reasons."""
        return sum([self.failed.get(category.value, 0) for category in categories])

    @property
    def left(self) -> int:
        """The number of messages still to leave `pending`, including planned ones that are not known yet."""
        messages = self.messages
        return max(self.planned or 0, messages) - messages + self.pending

    # What follows

    @property
    def is_under_way(self) -> bool:
        """Whether the MTA or the provider has accepted any of the messages."""
        return any(self.statuses[index] for index in _TAKEN)

    @property
    def has_pending(self) -> bool:
        """Whether messages are pending, or the delivery was started or scheduled and has none yet."""
        if self.pending:
            return True
        is_due = self.state is State.RUNNING or self.state is State.SCHEDULED
        return is_due and self.planned != 0 and not self.messages

    @property
    def may_be_pending(self) -> bool:
        """Whether it may be pending. Messages whose delivery no event has named are not a delivery."""
        return bool(self.delivery_id) and (self.has_pending or self.state is State.SCHEDULED)

    @property
    def is_running(self) -> bool:
        """Whether it uses a slot of the concurrency limit."""
        if self.state is not State.RUNNING or not self.is_under_way:
            return False
        return self.planned is None or self.left > 0

    @property
    def shown_state(self) -> State:
        """The displayed state: by control records, or by messages where control records are missing."""
        if self.state is None:
            if self.told_canceled_at is not None:
                return State.CANCELED
        elif self.state not in {State.PLANNED, State.SCHEDULED} or not self.is_under_way:
            return self.state
        return State.RUNNING if self.left else State.FINISHED

    @property
    def canceled_at(self) -> Micros | None:
        """When it was cancelled; None: it was not."""
        told = None if self.delivery is None else self.delivery.canceled_at
        return told if told is not None else self.told_canceled_at

    @property
    def channel(self) -> Channel | None:
        """The channel of its messages: by control records, else that of most of them."""
        if self.delivery is not None and self.delivery.channel is not None:
            return self.delivery.channel.value
        if not self.channels:
            return None
        return Channel(max(self.channels, key=lambda name: (self.channels[name], name)))

    @property
    def label(self) -> str | None:
        """Its name for people."""
        return None if self.delivery is None or self.delivery.label is None else self.delivery.label.value

    @property
    def campaign(self) -> str | None:
        """Its campaign."""
        return None if self.delivery is None or self.delivery.campaign is None else self.delivery.campaign.value

    @property
    def planned(self) -> int | None:
        """The planned number of messages; None: not known."""
        return None if self.delivery is None or self.delivery.planned is None else self.delivery.planned.value


def _of(choose: Callable[[Micros, Micros], Micros], one: Micros | None, other: Micros | None) -> Micros | None:
    """Choose one of two times, either of which may be None."""
    if one is None or other is None:
        return other if one is None else one
    return choose(one, other)
