"""The view of deliveries: progress, counts of messages, and why a delivery is pending.

It takes the records of compacted topics, which every worker reads whole: counts by delivery and partition, samples of
them (history.py), and deliveries. So every worker can answer for every delivery, with the same totals. There is no
clock: `now` is an argument, in microseconds like all times.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Protocol

import msgspec

from processor.domain.counts import STATUS_INDEX
from processor.domain.delivery import Action, Cause, Delivery, Pending, State, Told, pending_cause
from processor.domain.moment import Micros, Millis, to_micros, to_rfc3339
from processor.domain.reason import HARD, SOFT
from processor.domain.status import Channel, Status
from processor.domain.traits import SuccessFrom
from processor.views.entries import NOTHING, Entry, Share, move, share_of
from processor.views.history import History
from processor.views.series import Series
from processor.wire.counts import CountsRecord, decode_counts
from processor.wire.deliveries import decode_delivery
from processor.wire.history import decode_history
from processor.wire.topics import COUNTS, DELIVERIES, HISTORY, Topic

#: The topics that tell all of deliveries.
FOLLOWED = (COUNTS, DELIVERIES, HISTORY)

_NAMES = tuple(status.value for status in Status)

_SECOND = 1_000_000
#: A running delivery's rate is what was done in the last ten minutes, once it has been watched for half of one.
_RATE_WINDOW = 600 * _SECOND
_RATE_LEAST = 30 * _SECOND
#: An end that lies further ahead is no estimate.
_END_MAX = 366 * 24 * 3_600 * _SECOND


# What is told


class Indicators(msgspec.Struct, frozen=True):
    """Adobe's indicators of a delivery. Failures for other reasons are neither hard nor soft."""

    processed: int
    success: int
    failed: int
    hard: int
    soft: int
    #: By category.
    ignored: dict[str, int]


class Rates(msgspec.Struct, frozen=True):
    """Shares of processed messages, from 0 to 1, and the rate at which messages leave `pending`; null: not known."""

    success: float | None
    failed: float | None
    per_second: float | None


class PendingView(msgspec.Struct, frozen=True):
    """Why a delivery is pending; a figure without a part in the cause is null."""

    cause: Cause
    detail: str
    scheduled_at: str | None
    running: int | None
    limit: int | None


class SeriesPoint(msgspec.Struct, frozen=True):
    """Counts by status at a time."""

    time: str
    statuses: dict[str, int]


class DeliveryAction(msgspec.Struct, frozen=True):
    """An action of control records: when it was first done, and when last."""

    action: Action
    first: str
    last: str


class DeliveryFact(msgspec.Struct, frozen=True):
    """A fact of control records as it was told last, and when."""

    fact: str
    value: str
    time: str


class DeliveryView(msgspec.Struct, frozen=True):
    """One delivery. Its id is empty for messages whose delivery no event has named."""

    delivery_id: str
    label: str | None
    campaign: str | None
    #: By control records, else that of most of its messages.
    channel: Channel | None
    #: Those of its messages.
    channels: tuple[Channel, ...]
    planned: int | None
    state: State
    scheduled_at: str | None
    started_at: str | None
    paused_at: str | None
    finished_at: str | None
    canceled_at: str | None
    messages: int
    statuses: dict[str, int]
    pending: PendingView | None
    indicators: Indicators
    #: Messages that failed, by category.
    failures: dict[str, int]
    rates: Rates
    #: The first change of a message's status; and when anything happened last, of its messages or by control.
    first_activity: str | None
    last_activity: str | None
    estimated_end: str | None
    #: Null: whoever answers does not know.
    stuck: int | None
    providers: dict[str, int]
    #: How many of the messages retention has removed; they stay counted.
    expired: int
    #: Counts over time since the worker follows; only of a delivery that is asked for by its id.
    series: tuple[SeriesPoint, ...] | msgspec.UnsetType = msgspec.UNSET
    #: What control records told: likewise.
    actions: tuple[DeliveryAction, ...] | msgspec.UnsetType = msgspec.UNSET
    told: tuple[DeliveryFact, ...] | msgspec.UnsetType = msgspec.UNSET


# What is asked


class TopicRecord(Protocol):
    """The part of a record that is needed here."""

    @property
    def key(self) -> bytes | None:
        """The bytes of its key."""

    @property
    def value(self) -> bytes | None:
        """The bytes of its value."""

    @property
    def timestamp(self) -> Millis:
        """Its timestamp, in milliseconds since the epoch."""


class Deliveries:
    """All deliveries.

    Args:
        limit: the number of deliveries that the sending system runs at the same time.
        since: when following began; earlier counts are in the totals but not in the series.
        success_from: from where on a message is a success.
    """

    def __init__(self, limit: int, since: Micros, success_from: SuccessFrom = SuccessFrom.TAKEN) -> None:
        self.entries: dict[str, Entry] = {}
        self.success_from = success_from
        self.history = History(success_from)
        self._takers: dict[str, Callable[[TopicRecord], None]] = {
            COUNTS.name: self._take_counts_record,
            DELIVERIES.name: self._take_delivery_record,
            HISTORY.name: self._take_history_record,
        }
        #: Records of the topics that could not be read: none of ours.
        self.unreadable = 0
        self._limit, self._since = limit, since
        self._live: dict[str, dict[str, int]] = {channel.value: {} for channel in Channel}
        #: Kept up to date, since a page asks for the cause of many: who runs, and who may be pending.
        self._running: set[str] = set()
        self._candidates: set[str] = set()
        #: Until when each delivery is held, in microseconds: those that have a date or were paused. Read it, do not
        #: change it.
        self.holds: dict[str, Micros] = {}

    # Feeding

    def take(self, topic: Topic, records: Iterable[TopicRecord]) -> None:
        """Take records of a topic of `FOLLOWED`, in order by partition; null values delete."""
        take = self._takers[topic.name]
        for record in records:
            try:
                take(record)
            except (msgspec.DecodeError, ValueError):
                self.unreadable += 1

    def _take_counts_record(self, record: TopicRecord) -> None:
        if record.value is not None:
            counts = decode_counts(record.value)
            self.take_counts(counts, to_micros(record.timestamp))
            self.history.take_counts(counts, record.timestamp)
        elif record.key is not None:
            delivery_id, _, number = record.key.decode().rpartition("|")
            self._replace(delivery_id, int(number), None, to_micros(record.timestamp))

    def _take_history_record(self, record: TopicRecord) -> None:
        if record.value is not None:
            self.history.take_sample(decode_history(record.value))

    def _take_delivery_record(self, record: TopicRecord) -> None:
        if record.value is not None:
            self.take_delivery(*decode_delivery(record.value))
        elif record.key is not None:
            self.take_delivery(record.key.decode(), None)

    def take_counts(self, record: CountsRecord, time: Micros) -> None:
        """Replace one partition's counts of a delivery.

        Args:
            record: absolute numbers.
            time: when they were written, in microseconds.
        """
        self._replace(record.delivery_id, record.partition, share_of(record), time)

    def _replace(self, delivery_id: str, number: int, share: Share | None, time: Micros) -> None:
        entry = self._entry(delivery_id)
        before = entry.share(number)
        is_live = time >= self._since
        if is_live and entry.series is None:
            entry.series = Series(len(Status))
            if entry.messages:
                entry.series.add(self._since, entry.statuses)
        change = entry.replace(number, before, share)
        if is_live and entry.series is not None:
            entry.series.add(time, entry.statuses)
        elif entry.series is not None:
            entry.series.shift(change)
        after = NOTHING if share is None else share
        for channel, numbers in self._live.items():
            move(numbers, before.live.get(channel, {}), after.live.get(channel, {}))
        self._note(entry)

    def take_delivery(self, delivery_id: str, delivery: Delivery | None) -> None:
        """Take the state of a delivery from its control records; None deletes it."""
        entry = self._entry(delivery_id)
        entry.tell(delivery)
        self._note(entry)

    def _entry(self, delivery_id: str) -> Entry:
        entry = self.entries.get(delivery_id)
        if entry is None:
            entry = self.entries[delivery_id] = Entry(delivery_id, self.success_from)
        return entry

    def _note(self, entry: Entry) -> None:
        """Update the sets of known, held, running and possibly pending deliveries."""
        delivery_id = entry.delivery_id
        held_until = None if entry.delivery is None else entry.delivery.held_until
        if held_until is not None:
            self.holds[delivery_id] = held_until
        else:
            self.holds.pop(delivery_id, None)
        if entry.is_empty:
            del self.entries[delivery_id]
        for members, is_member in ((self._running, entry.is_running), (self._candidates, entry.may_be_pending)):
            if is_member and not entry.is_empty:
                members.add(delivery_id)
            else:
                members.discard(delivery_id)

    # Asking

    def of_campaign(self, campaign: str) -> list[str]:
        """Return the ids of a campaign's deliveries."""
        return [each.delivery_id for each in self.entries.values() if each.campaign == campaign]

    def one(self, delivery_id: str, now: Micros, stuck: Mapping[str, int] | None = None) -> DeliveryView | None:
        """Return the view of one delivery with its series; None: it is not known."""
        entry = self.entries.get(delivery_id)
        if entry is None:
            return None
        points = tuple([SeriesPoint(to_rfc3339(point.time), _named(point.counts)) for point in entry.series or ()])
        actions, told = _actions(entry.delivery), _told(entry.delivery)
        return msgspec.structs.replace(self.view(entry, now, stuck), series=points, actions=actions, told=told)

    def pending(self, delivery_id: str, now: Micros) -> Pending | None:
        """Return why a delivery is pending; None: it is not pending, or not known."""
        if delivery_id not in self._candidates:
            return None
        entry = self.entries[delivery_id]
        return pending_cause(
            entry.delivery,
            now,
            len(self._running),
            self._limit,
            has_pending=entry.has_pending,
            is_under_way=entry.is_under_way,
        )

    def state_of(self, delivery_id: str) -> State | None:
        """Return where a delivery stands by what was told of it; None: nothing was."""
        entry = self.entries.get(delivery_id)
        if entry is None:
            return None
        return State.CANCELED if entry.canceled_at is not None else entry.state

    def pending_deliveries(self, now: Micros) -> dict[str, int]:
        """Count the pending deliveries by cause, with every cause as a key."""
        counts = dict.fromkeys([cause.value for cause in Cause], 0)
        for delivery_id in self._candidates:
            pending = self.pending(delivery_id, now)
            if pending is not None:
                counts[pending.cause.value] += 1
        return counts

    def running(self) -> int:
        """Count the deliveries that use a slot of the concurrency limit."""
        return len(self._running)

    def messages(self) -> dict[str, dict[str, int]]:
        """Count the existing messages of all deliveries by channel and status, with every status as a key."""
        return {channel: {name: numbers.get(name, 0) for name in _NAMES} for channel, numbers in self._live.items()}

    def view(self, entry: Entry, now: Micros, stuck: Mapping[str, int] | None) -> DeliveryView:
        """Return the view of one delivery without its series.

        Args:
            entry: of `entries`.
            now: the present time.
            stuck: the number of stuck messages by delivery; None: not known.
        """
        delivery = entry.delivery or Delivery()
        pending = self.pending(entry.delivery_id, now)
        per_second = _per_second(entry, now, self._since)
        return DeliveryView(
            delivery_id=entry.delivery_id,
            label=entry.label,
            campaign=entry.campaign,
            channel=entry.channel,
            channels=tuple([channel for channel in Channel if entry.channels.get(channel.value)]),
            planned=entry.planned,
            state=entry.shown_state,
            scheduled_at=_written(delivery.scheduled_at.value if delivery.scheduled_at else None),
            started_at=_written(delivery.started_at),
            paused_at=_written(delivery.paused_at),
            finished_at=_written(delivery.finished_at),
            canceled_at=_written(entry.canceled_at),
            messages=entry.messages,
            statuses=_named(entry.statuses),
            pending=None if pending is None else _pending_view(pending),
            indicators=_indicators(entry),
            failures=dict(entry.failed),
            rates=Rates(
                _share(entry.success, entry.processed), _share(entry.failures, entry.processed), _rounded(per_second)
            ),
            first_activity=_written(entry.first),
            last_activity=_written(entry.touched),
            estimated_end=_written(_estimated_end(entry, now, per_second)),
            stuck=None if stuck is None else stuck.get(entry.delivery_id, 0),
            providers=dict(entry.providers),
            expired=entry.expired,
        )


def _actions(delivery: Delivery | None) -> tuple[DeliveryAction, ...]:
    done = () if delivery is None else delivery.actions
    return tuple([DeliveryAction(each.action, to_rfc3339(each.first), to_rfc3339(each.last)) for each in done])


def _told(delivery: Delivery | None) -> tuple[DeliveryFact, ...]:
    if delivery is None:
        return ()
    date = delivery.scheduled_at
    facts = {
        "label": delivery.label,
        "campaign": delivery.campaign,
        "channel": None if delivery.channel is None else Told(delivery.channel.time, delivery.channel.value.value),
        "planned": None if delivery.planned is None else Told(delivery.planned.time, str(delivery.planned.value)),
        "scheduled_at": None if date is None else Told(date.time, to_rfc3339(date.value)),
    }
    return tuple(
        [DeliveryFact(name, told.value, to_rfc3339(told.time)) for name, told in facts.items() if told is not None]
    )


def _named(counts: Iterable[int]) -> dict[str, int]:
    return dict(zip(_NAMES, counts, strict=True))


def _written(moment: Micros | None) -> str | None:
    return None if moment is None else to_rfc3339(moment)


def _share(part: int, whole: int) -> float | None:
    return round(part / whole, 6) if whole else None


def _rounded(rate: float | None) -> float | None:
    return None if rate is None else round(rate, 3)


def _indicators(entry: Entry) -> Indicators:
    hard, soft = entry.failed_for(HARD), entry.failed_for(SOFT)
    return Indicators(entry.processed, entry.success, entry.failures, hard, soft, dict(entry.ignored))


def _pending_view(pending: Pending) -> PendingView:
    date = _written(pending.scheduled_at)
    details = {
        Cause.SCHEDULED: f"its date is {date}",
        Cause.CONCURRENCY_LIMIT: f"{pending.running} deliveries run, and {pending.limit} may",
        Cause.MTA_RESOURCES: "the MTA has not taken its messages",
    }
    return PendingView(pending.cause, details[pending.cause], date, pending.running, pending.limit)


def _per_second(entry: Entry, now: Micros, since: Micros) -> float | None:
    """Return the rate at which messages leave `pending`: the recent one while it runs, else the average."""
    done = entry.messages - entry.pending
    opening = Micros(now - _RATE_WINDOW)
    if entry.shown_state is State.RUNNING and now - since >= _RATE_LEAST:
        start = None if entry.series is None else entry.series.at(opening)
        if start is None:
            return 0.0
        span = now - max(start.time, opening)
        if span >= _RATE_LEAST:
            before = sum(start.counts) - start.counts[STATUS_INDEX[Status.PENDING]]
            return max(0.0, (done - before) / span * _SECOND)
    if entry.first is None or entry.last is None or entry.last <= entry.first:
        return None
    return done / (entry.last - entry.first) * _SECOND


def _estimated_end(entry: Entry, now: Micros, per_second: float | None) -> Micros | None:
    left = entry.left
    if entry.shown_state is not State.RUNNING or not per_second or not left:
        return None
    ahead = left / per_second * _SECOND
    return Micros(now + round(ahead)) if ahead < _END_MAX else None
