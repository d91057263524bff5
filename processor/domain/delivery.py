"""A delivery: the join of its control records, its state, and why it is pending.

Control records arrive out of order and repeated like everything else. So the memory is a join, like a row's (see
row.py): the latest value of each fact, the first and the last time of each action. The state is a *function* of the
memory: the same records give the same delivery, in any order and with any repetitions.
"""

from __future__ import annotations

from datetime import datetime
from enum import Enum
from typing import Annotated, Generic, NamedTuple, TypeVar

import msgspec

from processor.domain.moment import Micros, Moment, to_microseconds
from processor.domain.status import Channel


class Action(str, Enum):
    """The action of a control record. The order breaks ties of time, lowest first."""

    #: The delivery exists, with these facts.
    REGISTER = "register"
    #: It is to start at `scheduled_at`.
    SCHEDULE = "schedule"
    #: It runs.
    START = "start"
    #: It waits.
    PAUSE = "pause"
    #: It runs again.
    RESUME = "resume"
    #: No more messages come. Final: a finished delivery does not start again.
    FINISH = "finish"
    #: What was not sent yet is not to be sent. Final, and stronger than all others.
    CANCEL = "cancel"


class State(str, Enum):
    """The state of a delivery."""

    #: It is known and has no start date.
    PLANNED = "planned"
    #: It has a date and has not started.
    SCHEDULED = "scheduled"
    #: It was started or resumed, and neither paused nor finished after that.
    RUNNING = "running"
    #: It was paused, and not resumed after that.
    PAUSED = "paused"
    #: No more messages come.
    FINISHED = "finished"
    #: An operator cancelled it.
    CANCELED = "canceled"


class Cause(str, Enum):
    """Why a delivery is pending."""

    #: Its date lies ahead.
    SCHEDULED = "scheduled"
    #: The limit is reached by others that run.
    CONCURRENCY_LIMIT = "concurrency_limit"
    #: Neither: the MTA has not taken its messages.
    MTA_RESOURCES = "mta_resources"


#: Longer names are refused: a delivery must fit into one Kafka record.
_Name = Annotated[str, msgspec.Meta(max_length=1_000)]

#: A higher number is a mistake, and not exact in every JSON parser.
PLANNED_MAX = 1_000_000_000_000
Planned = Annotated[int, msgspec.Meta(ge=0, le=PLANNED_MAX)]


class Control(msgspec.Struct, gc=False, omit_defaults=True):
    """One control record: one action, and facts about the delivery.

    Decoding checks types and ranges; `breach_of` checks that `schedule` has a date.
    """

    time: Annotated[datetime, msgspec.Meta(tz=True)]
    delivery_id: Annotated[str, msgspec.Meta(min_length=1, max_length=1_000)]
    action: Action
    id: _Name | None = None
    label: _Name | None = None
    campaign: _Name | None = None
    channel: Channel | None = None
    #: How many messages it will have.
    planned: Planned | None = None
    scheduled_at: Annotated[datetime, msgspec.Meta(tz=True)] | None = None


def breach_of(control: Control) -> str | None:
    """Return how a control record breaks the contract beyond types and ranges; None when it does not."""
    if control.action is Action.SCHEDULE and control.scheduled_at is None:
        return "to schedule is to say when - at `$.scheduled_at`"
    return None


Value = TypeVar("Value", str, int, Micros, Channel)


class Told(msgspec.Struct, Generic[Value], array_like=True, frozen=True, gc=False):
    """A fact of control records: the latest value wins, the greatest if the times are equal."""

    time: Moment
    value: Value


class Done(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """The first and the last time at which an action was reported, in microseconds."""

    action: Action
    first: Moment
    last: Moment


#: The state by the latest of these actions, unless the delivery is finished or cancelled.
_TURNS: dict[Action, State] = {
    Action.START: State.RUNNING,
    Action.PAUSE: State.PAUSED,
    Action.RESUME: State.RUNNING,
}

_RANK: dict[Action, int] = {action: rank for rank, action in enumerate(Action)}

#: What ends a delivery, and any pause of it.
_ENDS = frozenset({Action.FINISH, Action.CANCEL})

#: Until when a delivery is held that is paused: later than any time.
ENDLESS = Micros(1 << 62)


#: The version of the layout that a delivery's memory begins with.
DELIVERY_LAYOUT = 1


class Delivery(msgspec.Struct, array_like=True, tag=DELIVERY_LAYOUT, frozen=True, gc=False):
    """The join of all control records of one delivery; times are microseconds.

    Immutable: a changed delivery is a new one.
    """

    label: Told[str] | None = None
    campaign: Told[str] | None = None
    channel: Told[Channel] | None = None
    planned: Told[Planned] | None = None
    scheduled_at: Told[Moment] | None = None
    #: In the order of `Action`, each once.
    actions: tuple[Done, ...] = ()

    @property
    def state(self) -> State:
        """The present state."""
        done = {each.action: each.last for each in self.actions}
        if Action.CANCEL in done:
            return State.CANCELED
        if Action.FINISH in done:
            return State.FINISHED
        turns = [(done[action], _RANK[action], state) for action, state in _TURNS.items() if action in done]
        if turns:
            return max(turns)[2]
        return State.PLANNED if self.scheduled_at is None else State.SCHEDULED

    @property
    def started_at(self) -> Micros | None:
        """When it started; None: not yet, or not known."""
        start = self._done(Action.START) or self._done(Action.RESUME)
        return None if start is None else start.first

    @property
    def paused_at(self) -> Micros | None:
        """When it was paused; None if it is not paused."""
        pause = self._done(Action.PAUSE)
        return pause.last if pause is not None and self.state is State.PAUSED else None

    @property
    def finished_at(self) -> Micros | None:
        """When it was finished; None: not yet."""
        finish = self._done(Action.FINISH)
        return None if finish is None else finish.first

    @property
    def canceled_at(self) -> Micros | None:
        """When it was cancelled, by the first cancel; None: it was not."""
        cancel = self._done(Action.CANCEL)
        return None if cancel is None else cancel.first

    @property
    def held_until(self) -> Micros | None:
        """Until when it keeps back what nobody took: its date, or the end of its last pause; None: it never did."""
        date = None if self.scheduled_at is None else self.scheduled_at.value
        pause = self._done(Action.PAUSE)
        if pause is None:
            return date
        # The first end counts, of those that are known: a start that is only repeated is none.
        paused = pause.last, _RANK[Action.PAUSE]
        ends = [each.first for each in self.actions if each.action in _ENDS]
        ends += [
            time
            for each in self.actions
            if _TURNS.get(each.action) is State.RUNNING
            for time in (each.first, each.last)
            if (time, _RANK[each.action]) > paused
        ]
        end = min(ends, default=ENDLESS)
        return end if date is None else max(date, end)

    def _done(self, action: Action) -> Done | None:
        return next((each for each in self.actions if each.action is action), None)


def join(delivery: Delivery | None, control: Control) -> Delivery:
    """Join one control record into a delivery.

    Returns:
        The new delivery; the same object if the record changes nothing.
    """
    known = Delivery() if delivery is None else delivery
    time = to_microseconds(control.time)
    date = None if control.scheduled_at is None else to_microseconds(control.scheduled_at)
    joined = Delivery(
        _tell(known.label, control.label, time),
        _tell(known.campaign, control.campaign, time),
        _tell(known.channel, control.channel, time),
        _tell(known.planned, control.planned, time),
        _tell(known.scheduled_at, date, time),
        _do(known.actions, control.action, time),
    )
    return delivery if delivery is not None and joined == delivery else joined


def _tell(told: Told[Value] | None, value: Value | None, time: Micros) -> Told[Value] | None:
    if value is None or (told is not None and (told.time, told.value) >= (time, value)):
        return told
    return Told(time, value)


def _do(actions: tuple[Done, ...], action: Action, time: Micros) -> tuple[Done, ...]:
    done = {each.action: each for each in actions}
    before = done.get(action)
    done[action] = Done(action, time, time) if before is None else _stretch(before, time)
    return tuple([done[each] for each in Action if each in done])


def _stretch(done: Done, time: Micros) -> Done:
    return Done(done.action, min(done.first, time), max(done.last, time))


class Pending(NamedTuple):
    """Why a delivery is pending, with figures; a figure without a part in the cause is None."""

    cause: Cause
    #: Microseconds since the epoch.
    scheduled_at: Micros | None = None
    #: How many deliveries run, and how many may.
    running: int | None = None
    limit: int | None = None


def pending_cause(  # noqa: PLR0913 - the facts that the cause follows from
    delivery: Delivery | None, now: Micros, running: int, limit: int, *, has_pending: bool, is_under_way: bool = False
) -> Pending | None:
    """Return why a delivery is pending.

    Args:
        delivery: the join of its control records; None: there are none.
        now: the present moment, in microseconds.
        running: the number of deliveries that run and are under way.
        limit: the number that may run at the same time.
        has_pending: whether any of its messages is pending, or it was started or scheduled and has no messages yet.
        is_under_way: whether any of its messages got further, so that neither its date nor the limit holds it.

    Returns:
        The cause; None if it is not pending, or was paused or cancelled.
    """
    state = None if delivery is None else delivery.state
    if state in {State.CANCELED, State.PAUSED}:
        return None
    date = delivery.scheduled_at if delivery is not None and state is State.SCHEDULED else None
    if date is not None and date.value > now and not is_under_way:
        return Pending(Cause.SCHEDULED, scheduled_at=date.value)
    if not has_pending:
        return None
    if not is_under_way and running >= limit:
        return Pending(Cause.CONCURRENCY_LIMIT, running=running, limit=limit)
    return Pending(Cause.MTA_RESOURCES)
