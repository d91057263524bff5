"""The fold of one event into one row. It never raises, and its rows do not depend on arrival order.

An event is *joined* into the row's memory (see row.py), and the status is a *function* of that memory, `resolve`: it
sorts the observations by (attempt, time, rank) and walks them by the transition tables. Most events are later than all
before; then the walk takes one step from the present node. A message of several parts is walked once for each part and
has the status of the worst one. All ways give the same row; tests/domain/test_fold.py compares them, and proves the
independence exhaustively.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from enum import Enum

import msgspec

from processor.domain.event import Event
from processor.domain.moment import Micros, to_microseconds
from processor.domain.reason import TEXT_MAX, Reason
from processor.domain.row import WHOLE, Names, NodeReason, Observation, Row
from processor.domain.status import Channel
from processor.domain.transitions import ANY_PART, LEAST_ADVANCED, REOPENING, TRANSITIONS, Node

#: A place in the walk: attempt, event time in microseconds, node. Its order is the order of the walk.
Point = tuple[int, Micros, Node]

#: An empty reason is no reason.
_NOTHING = Reason()


class Verdict(str, Enum):
    """The effect of one event on its row. It may depend on arrival order; the row does not."""

    #: The status moved.
    APPLIED = "applied"
    #: The status changed because older history arrived.
    CORRECTED = "corrected"
    #: New knowledge, same status.
    LATE = "late"
    #: A contradiction: no effect on the status, kept as evidence.
    REJECTED = "rejected"
    #: Nothing new.
    DUPLICATE = "duplicate"


class Walk(msgspec.Struct, frozen=True, gc=False):
    """The end of a walk over observations."""

    node: Node
    since: Micros
    attempt: int
    rejected: tuple[Node, ...]


def may_move(channel: Channel, current: Node, current_attempt: int, candidate: Node, attempt: int) -> bool:
    """Return whether the walk may move from `current` to `candidate`."""
    table = TRANSITIONS[channel]
    if candidate in table[current]:
        return True
    reopens = current is Node.FAILED_GAVE_UP and attempt > current_attempt and candidate in REOPENING
    return reopens and candidate in table


def contradicts(channel: Channel, current: Node, candidate: Node) -> bool:
    """Return whether `candidate`, which may not follow `current`, contradicts it; otherwise it is late."""
    return current not in TRANSITIONS[channel].get(candidate, ())


def step(channel: Channel, walk: Walk, candidate: Node, time: Micros, attempt: int) -> Walk:
    """Take one step: move, stay, or stay and record the candidate as rejected."""
    current = walk.node
    if candidate is current:
        return walk if attempt <= walk.attempt else Walk(current, walk.since, attempt, walk.rejected)
    if may_move(channel, current, walk.attempt, candidate, attempt):
        return Walk(candidate, time, attempt, walk.rejected)
    if candidate not in walk.rejected and contradicts(channel, current, candidate):
        return Walk(walk.node, walk.since, walk.attempt, tuple(sorted((*walk.rejected, candidate))))
    return walk


def _verdicts(channel: Channel) -> tuple[tuple[Verdict, ...], ...]:
    """Return the verdict on a step from each node to each other, by rank, without regard to attempts."""

    def verdict(current: Node, candidate: Node) -> Verdict:
        table = TRANSITIONS[channel]
        if candidate in table.get(current, ()):
            return Verdict.APPLIED
        is_rejected = candidate is not current and contradicts(channel, current, candidate)
        return Verdict.REJECTED if is_rejected else Verdict.LATE

    return tuple(tuple(verdict(current, candidate) for candidate in Node) for current in Node)


#: The tables of transitions.py, arranged for one look-up per step.
_STEPS: dict[Channel, tuple[tuple[Verdict, ...], ...]] = {channel: _verdicts(channel) for channel in Channel}


def walk_through(channel: Channel, observations: Iterable[Observation], until: Point | None = None) -> Walk | None:
    """Walk observations from the start, without regard to parts.

    Args:
        channel: the channel of the message; a node that it does not have is rejected, wherever it stands.
        observations: in any order.
        until: where to stop, before that point; None walks to the end.

    Returns:
        The end of the walk; None if no observed node exists on the channel.
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


def resolve(channel: Channel, observations: Sequence[Observation], parts: int = 0) -> Walk | None:
    """Return the status of a message that follows from all observations.

    Args:
        channel: the channel of the message; a node that it does not have is rejected, wherever it stands.
        observations: in any order.
        parts: the number of the message's parts, as far as known.

    Returns:
        Its node and more; None if no observed node exists on the channel.
    """
    table = TRANSITIONS[channel]
    known = [at for at in observations if at.node in table]
    seen = {at.part for at in known} - {WHOLE}
    if not seen:
        return walk_through(channel, observations)
    whole = [at for at in known if at.part == WHOLE]
    walks = [walk_through(channel, [*whole, *(at for at in known if at.part == part)]) for part in seen]
    if parts > len(seen):
        walks.append(walk_through(channel, whole) or _unheard(known))
    foreign = {at.node for at in observations if at.node not in table}
    return _together([walk for walk in walks if walk is not None], foreign)


def _unheard(observations: Sequence[Observation]) -> Walk:
    """Return the walk of a part without any report: the provider has it, since another part moved."""
    first, attempt = min(at.first for at in observations), min(at.attempt for at in observations)
    return Walk(Node.TAKEN_INTO_ACCOUNT, first, attempt, ())


def _together(walks: Sequence[Walk], foreign: Collection[Node]) -> Walk:
    """Return the walk of a message from the walks of its parts."""
    nodes = {walk.node for walk in walks}
    node = next(node for node in (*ANY_PART, *LEAST_ADVANCED) if node in nodes)
    there = [walk for walk in walks if walk.node is node]
    since = (min if node in ANY_PART else max)(walk.since for walk in there)
    rejected = {each for walk in walks for each in walk.rejected}.union(foreign)
    return Walk(node, since, max(walk.attempt for walk in there), tuple(sorted(rejected)))


def fold(row: Row | None, event: Event, node: Node, time: Micros | None = None) -> tuple[Row, Verdict]:
    """Join one event into a row.

    Args:
        row: the message's row, or None if it is not known.
        event: the report.
        node: the result of `node_of(event)`; if that is None, the event is a dead letter and not folded.
        time: the event's time in microseconds, if the caller already has it.

    Returns:
        The new row and the verdict. On `duplicate` the row is the same object.
    """
    if time is None:
        time = to_microseconds(event.time)
    if row is None:
        return _first_row(event, node, time), Verdict.APPLIED
    observations = row.observations
    if (
        event.part is None
        and event.parts is None
        # Observations of parts come last.
        and not row.parts
        and not observations[-1].part
        and event.channel is row.channel
        and _is_next(observations, event.attempt, time, node)
    ):
        return _take_step(row, event, node, time)
    return _join_history(row, event, node, time)


def _is_next(observations: tuple[Observation, ...], attempt: int, time: Micros, node: Node) -> bool:
    """Return whether a point is later than all before it, and the first of its node in its attempt.

    Then the walk takes one step from the present node, and no earlier step is undone.
    """
    for at in observations:
        if at.last >= time or at.attempt > attempt or (at.node is node and at.attempt == attempt):
            return False
    return True


def _take_step(row: Row, event: Event, node: Node, time: Micros) -> tuple[Row, Verdict]:
    """Join an event that is later than all others: the usual case, with the same result as the full walk."""
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
    reached = attempt if node is current else row.attempt
    return Row(row.channel, current, row.since, reached, rejected, observations, names, reasons), verdict


def _join_history(row: Row, event: Event, node: Node, time: Micros) -> tuple[Row, Verdict]:
    """Join an event that may change earlier steps: repeat the walk."""
    point, part = (event.attempt, time, node), event.part or WHOLE
    observations = _observe(row.observations, point, part)
    channel = _join_channel(row, event, time)
    parts = max(row.parts, event.parts or 0)
    if observations is row.observations and channel is row.channel and parts == row.parts:
        return _with_names(row, event, node, time)
    walk = resolve(channel, observations, parts) or Walk(row.node, row.since, row.attempt, row.rejected)
    joined = _join(row, event, node, time, channel, walk, observations, parts)
    if walk.node is not row.node:
        newest = all((at.attempt, at.last, at.node) < point for at in row.observations)
        return joined, Verdict.APPLIED if newest else Verdict.CORRECTED
    return joined, Verdict.REJECTED if _is_rejected(channel, observations, point, part) else Verdict.LATE


_NAMELESS = Names()


def _first_row(event: Event, node: Node, time: Micros) -> Row:
    names = _name_what_is_missing(_NAMELESS, event, time)
    reasons = () if event.reason is None else _join_reason((), event, node, time)
    if event.part is None and event.parts is None:
        seen = Observation(event.attempt, node, time, time)
        return Row(event.channel, node, time, event.attempt, (), (seen,), names, reasons)
    observations = (Observation(event.attempt, node, time, time, event.part or WHOLE),)
    parts = event.parts or 0
    walk = resolve(event.channel, observations, parts) or Walk(node, time, event.attempt, ())
    return Row(event.channel, walk.node, walk.since, walk.attempt, walk.rejected, observations, names, reasons, parts)


def _with_names(row: Row, event: Event, node: Node, time: Micros) -> tuple[Row, Verdict]:
    """Join an event with a known observation, which may still add a delivery, a recipient or a reason."""
    walk = Walk(row.node, row.since, row.attempt, row.rejected)
    joined = _join(row, event, node, time, row.channel, walk, row.observations, row.parts)
    return (row, Verdict.DUPLICATE) if joined == row else (joined, Verdict.LATE)


def _join(  # noqa: PLR0913, PLR0917 - the parts of a row
    row: Row,
    event: Event,
    node: Node,
    time: Micros,
    channel: Channel,
    walk: Walk,
    observations: tuple[Observation, ...],
    parts: int,
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
        parts,
    )


def join_rows(row: Row, other: Row) -> Row:
    """Join two rows of one message: the row that the events of both would have given."""
    observations = row.observations
    for at in other.observations:
        for time in (at.first, at.last):
            observations = _observe(observations, (at.attempt, time, at.node), at.part)
    first, rival = (min(at.first for at in each.observations) for each in (row, other))
    channel = min((first, row.channel), (rival, other.channel))[1]
    parts = max(row.parts, other.parts)
    reasons = {given.node: given for given in row.reasons}
    for given in other.reasons:
        rivals = (given, reasons.get(given.node, given))
        reasons[given.node] = max(rivals, key=lambda each: (each.reason.telling(), each.time, each.reason.order()))
    walk = resolve(channel, observations, parts) or Walk(row.node, row.since, row.attempt, row.rejected)
    return Row(
        channel,
        walk.node,
        walk.since,
        walk.attempt,
        walk.rejected,
        observations,
        _join_all_names(row.names, other.names),
        tuple(reasons[node] for node in sorted(reasons)),
        parts,
    )


def _join_all_names(names: Names, told: Names) -> Names:
    joined = names
    for name in ("delivery_id", "recipient", "provider", "provider_message_id"):
        at = getattr(told, f"{name}_at")
        if at is not None:
            value, time = _join_name(getattr(names, name), getattr(names, f"{name}_at"), getattr(told, name), at)
            joined = msgspec.structs.replace(joined, **{name: value, f"{name}_at": time})
    return joined


def _observe(observations: tuple[Observation, ...], point: Point, part: int) -> tuple[Observation, ...]:
    """Join one point into the observations; return the same object if that changes nothing."""
    attempt, time, node = point
    for index, at in enumerate(observations):
        if at.node is node and at.attempt == attempt and at.part == part:
            if at.first <= time <= at.last:
                return observations
            joined = Observation(attempt, node, min(at.first, time), max(at.last, time), part)
            return (*observations[:index], joined, *observations[index + 1 :])
    return _insert(observations, Observation(attempt, node, time, time, part))


def _insert(observations: tuple[Observation, ...], seen: Observation) -> tuple[Observation, ...]:
    """Insert a new observation in the order of (part, attempt, node)."""
    last = observations[-1]
    if last.node < seen.node and last.attempt <= seen.attempt and last.part == seen.part:
        return (*observations, seen)
    return tuple(sorted((*observations, seen), key=lambda at: (at.part, at.attempt, at.node)))


def _is_rejected(channel: Channel, observations: Sequence[Observation], point: Point, part: int) -> bool:
    """Return whether the walk rejects this point; for one of the whole message, whether any part's walk does."""
    parts = {part} if part != WHOLE else {at.part for at in observations} | {WHOLE}
    return any(_rejects(channel, [at for at in observations if at.part in {WHOLE, number}], point) for number in parts)


def _rejects(channel: Channel, observations: Sequence[Observation], point: Point) -> bool:
    node = point[2]
    before = walk_through(channel, observations, until=point)
    if before is None or before.node is node:
        return node not in TRANSITIONS[channel]
    if may_move(channel, before.node, before.attempt, node, point[0]):
        return False
    return contradicts(channel, before.node, node)


def _join_channel(row: Row, event: Event, time: Micros) -> Channel:
    """Return the channel that was named first; the smaller one if the times are equal."""
    if event.channel is row.channel:
        return row.channel
    first = min(at.first for at in row.observations)
    return min((first, row.channel), (time, event.channel))[1]


def _name_what_is_missing(names: Names, event: Event, time: Micros) -> Names:
    """Join the names of an event that is later than all others; earlier names stay."""
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


def _join_names(names: Names, event: Event, time: Micros) -> Names:
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


def _join_name(
    known: str | None, known_at: Micros | None, named: str | None, time: Micros
) -> tuple[str | None, Micros | None]:
    if not named or (known is not None and known_at is not None and (known_at, known) <= (time, named)):
        return known, known_at
    return named, time


def _join_reason(reasons: tuple[NodeReason, ...], event: Event, node: Node, time: Micros) -> tuple[NodeReason, ...]:
    reason = event.reason
    if reason is None or reason == _NOTHING:
        return reasons
    if reason.text is not None and len(reason.text) > TEXT_MAX:
        reason = msgspec.structs.replace(reason, text=reason.text[:TEXT_MAX])
    for index, given in enumerate(reasons):
        if given.node is node:
            known = given.reason
            if (reason.telling(), time, reason.order()) <= (known.telling(), given.time, known.order()):
                return reasons
            return (*reasons[:index], NodeReason(node, time, reason), *reasons[index + 1 :])
        if given.node > node:
            return (*reasons[:index], NodeReason(node, time, reason), *reasons[index:])
    return (*reasons, NodeReason(node, time, reason))
