"""The fold: one row, one event, one verdict. Total, never raises, and its rows do not depend on arrival order.

How that is achieved: an event is *joined* into the row's memory (see row.py), and the status is a *function* of that
memory, `resolve`: sort what was observed by (attempt, time, rank) and walk it by the transition tables. The usual
event is later than all before it; then the walk takes one step from where it stood. Both ways give the same row;
tests/domain/test_fold.py compares them, and proves the independence exhaustively.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum

import msgspec

from processor.domain.event import Event
from processor.domain.moment import to_microseconds
from processor.domain.reason import TEXT_MAX, Reason
from processor.domain.row import Names, NodeReason, Observation, Row
from processor.domain.status import Channel
from processor.domain.transitions import REOPENING, TRANSITIONS, Node

#: A place in the walk: attempt, event time in microseconds, node. Its order is the order of the walk.
Point = tuple[int, int, Node]

#: A reason that says nothing is no reason.
_NOTHING = Reason()


class Verdict(str, Enum):
    """What one event did to its row. It may depend on arrival order; the row may not."""

    #: The status moved.
    APPLIED = "applied"
    #: The status changed because older history arrived.
    CORRECTED = "corrected"
    #: New knowledge, same status.
    LATE = "late"
    #: A contradiction: effect withheld, evidence kept.
    REJECTED = "rejected"
    #: Nothing new.
    DUPLICATE = "duplicate"


class Walk(msgspec.Struct, frozen=True, gc=False):
    """Where a walk over the observations ends."""

    node: Node
    since: int
    attempt: int
    rejected: tuple[Node, ...]


def may_move(channel: Channel, current: Node, current_attempt: int, candidate: Node, attempt: int) -> bool:
    """Say whether the walk may move from `current` to `candidate`."""
    table = TRANSITIONS[channel]
    if candidate in table[current]:
        return True
    reopens = current is Node.FAILED_GAVE_UP and attempt > current_attempt and candidate in REOPENING
    return reopens and candidate in table


def contradicts(channel: Channel, current: Node, candidate: Node) -> bool:
    """Say whether `candidate`, which may not follow `current`, contradicts it; else it is late: already passed."""
    return current not in TRANSITIONS[channel].get(candidate, ())


def step(channel: Channel, walk: Walk, candidate: Node, time: int, attempt: int) -> Walk:
    """Take one step: move, stay, or stay and remember the candidate as rejected."""
    current = walk.node
    if candidate is current:
        return walk
    if may_move(channel, current, walk.attempt, candidate, attempt):
        return Walk(candidate, time, attempt, walk.rejected)
    if candidate not in walk.rejected and contradicts(channel, current, candidate):
        return Walk(walk.node, walk.since, walk.attempt, tuple(sorted((*walk.rejected, candidate))))
    return walk


def _verdicts(channel: Channel) -> tuple[tuple[Verdict, ...], ...]:
    """Say what a step from each node to each other does, by their ranks; new attempts are not looked at."""

    def verdict(current: Node, candidate: Node) -> Verdict:
        table = TRANSITIONS[channel]
        if candidate in table.get(current, ()):
            return Verdict.APPLIED
        is_refused = candidate is not current and contradicts(channel, current, candidate)
        return Verdict.REJECTED if is_refused else Verdict.LATE

    return tuple(tuple(verdict(current, candidate) for candidate in Node) for current in Node)


#: The tables of transitions.py, laid out for one look-up a step.
_STEPS: dict[Channel, tuple[tuple[Verdict, ...], ...]] = {channel: _verdicts(channel) for channel in Channel}


def resolve(channel: Channel, observations: Iterable[Observation], until: Point | None = None) -> Walk | None:
    """Walk all that was observed, from the start.

    Args:
        channel: the channel of the message; a node that it does not have is rejected, wherever it stands.
        observations: in any order.
        until: where to stop, before that point; None walks to the end.

    Returns:
        Where the walk ends; None when nothing was observed that the channel has.
    """
    table = TRANSITIONS[channel]
    seen = {(at.attempt, time, at.node) for at in observations for time in (at.first, at.last)}
    points = sorted(point for point in seen if point[2] in table and (until is None or point < until))
    if not points:
        return None
    attempt, time, node = points[0]
    foreign = {point[2] for point in seen if point[2] not in table}
    walk = Walk(node, time, attempt, tuple(sorted(foreign)))
    for attempt, time, node in points[1:]:
        walk = step(channel, walk, node, time, attempt)
    return walk


def fold(row: Row | None, event: Event, node: Node, time: int | None = None) -> tuple[Row, Verdict]:
    """Join one event into a row.

    Args:
        row: what is known of the message, or None.
        event: the report.
        node: what `node_of(event)` gave; the caller has dead-lettered an event for which that is None.
        time: the event's time in microseconds, where the caller has it already.

    Returns:
        The new row and the verdict. On `duplicate` the row is the very object that came in.
    """
    if time is None:
        time = to_microseconds(event.time)
    if row is None:
        return _first_row(event, node, time), Verdict.APPLIED
    if event.channel is row.channel and _is_next(row.observations, event.attempt, time, node):
        return _take_step(row, event, node, time)
    return _join_history(row, event, node, time)


def _is_next(observations: tuple[Observation, ...], attempt: int, time: int, node: Node) -> bool:
    """Say whether a point is later than all before it, and the first of its node in its attempt.

    Then the walk goes on by one step from where it stood, and no point that it stepped on before has gone.
    """
    for at in observations:
        if at.last >= time or at.attempt > attempt or (at.node is node and at.attempt == attempt):
            return False
    return True


def _take_step(row: Row, event: Event, node: Node, time: int) -> tuple[Row, Verdict]:
    """Join an event that comes after all others: the usual case, and the same result as the full walk."""
    current, attempt, rejected = row.node, event.attempt, row.rejected
    verdict = _STEPS[row.channel][current][node]
    if current is Node.FAILED_GAVE_UP and may_move(row.channel, current, row.attempt, node, attempt):
        verdict = Verdict.APPLIED
    elif verdict is Verdict.REJECTED and node not in rejected:
        rejected = tuple(sorted((*rejected, node)))
    seen = Observation(attempt, node, time, time)
    observations = _insert(row.observations, seen)
    names = _name_what_is_missing(row.names, event, time)
    reasons = row.reasons if event.reason is None else _join_reason(row.reasons, event, node, time)
    if verdict is Verdict.APPLIED:
        return Row(row.channel, node, time, attempt, rejected, observations, names, reasons), verdict
    return Row(row.channel, current, row.since, row.attempt, rejected, observations, names, reasons), verdict


def _join_history(row: Row, event: Event, node: Node, time: int) -> tuple[Row, Verdict]:
    """Join an event that may change what the walk stepped on: walk it anew."""
    point = (event.attempt, time, node)
    observations = _observe(row.observations, point)
    channel = _join_channel(row, event, time)
    if observations is row.observations and channel is row.channel:
        return _with_names(row, event, node, time)
    walk = resolve(channel, observations) or Walk(row.node, row.since, row.attempt, row.rejected)
    joined = _join(row, event, node, time, channel, walk, observations)
    if walk.node is not row.node:
        newest = all((at.attempt, at.last, at.node) < point for at in row.observations)
        return joined, Verdict.APPLIED if newest else Verdict.CORRECTED
    return joined, Verdict.REJECTED if _is_refused(channel, observations, point) else Verdict.LATE


_NAMELESS = Names()


def _first_row(event: Event, node: Node, time: int) -> Row:
    return Row(
        event.channel,
        node,
        time,
        event.attempt,
        (),
        (Observation(event.attempt, node, time, time),),
        _name_what_is_missing(_NAMELESS, event, time),
        () if event.reason is None else _join_reason((), event, node, time),
    )


def _with_names(row: Row, event: Event, node: Node, time: int) -> tuple[Row, Verdict]:
    """Join an event whose observation is known already: it may still name a delivery, a recipient or a reason."""
    walk = Walk(row.node, row.since, row.attempt, row.rejected)
    joined = _join(row, event, node, time, row.channel, walk, row.observations)
    return (row, Verdict.DUPLICATE) if joined == row else (joined, Verdict.LATE)


def _join(  # noqa: PLR0913, PLR0917 - the parts of a row
    row: Row,
    event: Event,
    node: Node,
    time: int,
    channel: Channel,
    walk: Walk,
    observations: tuple[Observation, ...],
) -> Row:
    return Row(
        channel,
        walk.node,
        walk.since,
        walk.attempt,
        walk.rejected,
        observations,
        _join_names(row.names, event, time),
        _join_reason(row.reasons, event, node, time) if event.reason is not None else row.reasons,
    )


def _observe(observations: tuple[Observation, ...], point: Point) -> tuple[Observation, ...]:
    """Join one point into what was observed; give the same object when the point lies within what is known."""
    attempt, time, node = point
    for index, at in enumerate(observations):
        if at.node is node and at.attempt == attempt:
            if at.first <= time <= at.last:
                return observations
            joined = Observation(attempt, node, min(at.first, time), max(at.last, time))
            return (*observations[:index], joined, *observations[index + 1 :])
    return _insert(observations, Observation(attempt, node, time, time))


def _insert(observations: tuple[Observation, ...], seen: Observation) -> tuple[Observation, ...]:
    """Insert an observation that is not there yet, in order of (attempt, node)."""
    last = observations[-1]
    if last.node < seen.node and last.attempt <= seen.attempt:
        return (*observations, seen)
    return tuple(sorted((*observations, seen), key=lambda at: (at.attempt, at.node)))


def _is_refused(channel: Channel, observations: tuple[Observation, ...], point: Point) -> bool:
    """Say whether a walk over the observations refuses this point where it steps on it."""
    node = point[2]
    before = resolve(channel, observations, until=point)
    if before is None or before.node is node:
        return node not in TRANSITIONS[channel]
    if may_move(channel, before.node, before.attempt, node, point[0]):
        return False
    return contradicts(channel, before.node, node)


def _join_channel(row: Row, event: Event, time: int) -> Channel:
    """Give the channel that was named first; the smaller one where the times are equal."""
    if event.channel is row.channel:
        return row.channel
    first = min(at.first for at in row.observations)
    return min((first, row.channel), (time, event.channel))[1]


def _name_what_is_missing(names: Names, event: Event, time: int) -> Names:
    """Join the names of an event that comes after all others: what was named before stays."""
    delivery_id, recipient = names.delivery_id or event.delivery_id, names.recipient or event.recipient
    provider = names.provider or event.provider
    provider_message_id = names.provider_message_id or event.provider_message_id
    if (
        delivery_id is names.delivery_id
        and recipient is names.recipient
        and provider is names.provider
        and provider_message_id is names.provider_message_id
    ):
        return names
    return Names(
        delivery_id or None,
        recipient or None,
        provider or None,
        provider_message_id or None,
        names.delivery_id_at if names.delivery_id or not delivery_id else time,
        names.recipient_at if names.recipient or not recipient else time,
        names.provider_at if names.provider or not provider else time,
        names.provider_message_id_at if names.provider_message_id or not provider_message_id else time,
    )


def _join_names(names: Names, event: Event, time: int) -> Names:
    delivery_id, delivery_id_at = _join_name(names.delivery_id, names.delivery_id_at, event.delivery_id, time)
    recipient, recipient_at = _join_name(names.recipient, names.recipient_at, event.recipient, time)
    provider, provider_at = _join_name(names.provider, names.provider_at, event.provider, time)
    provider_message_id, provider_message_id_at = _join_name(
        names.provider_message_id, names.provider_message_id_at, event.provider_message_id, time
    )
    return Names(
        delivery_id,
        recipient,
        provider,
        provider_message_id,
        delivery_id_at,
        recipient_at,
        provider_at,
        provider_message_id_at,
    )


def _join_name(known: str | None, known_at: int | None, named: str | None, time: int) -> tuple[str | None, int | None]:
    if not named or (known is not None and known_at is not None and (known_at, known) <= (time, named)):
        return known, known_at
    return named, time


def _join_reason(reasons: tuple[NodeReason, ...], event: Event, node: Node, time: int) -> tuple[NodeReason, ...]:
    reason = event.reason
    if reason is None or reason == _NOTHING:
        return reasons
    if reason.text is not None and len(reason.text) > TEXT_MAX:
        reason = msgspec.structs.replace(reason, text=reason.text[:TEXT_MAX])
    for index, given in enumerate(reasons):
        if given.node is node:
            if (time, reason.order()) <= (given.time, given.reason.order()):
                return reasons
            return (*reasons[:index], NodeReason(node, time, reason), *reasons[index + 1 :])
        if given.node > node:
            return (*reasons[:index], NodeReason(node, time, reason), *reasons[index:])
    return (*reasons, NodeReason(node, time, reason))
