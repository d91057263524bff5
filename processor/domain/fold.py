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
from processor.domain.row import (
    AT_ONCE,
    FIRST_OF_PARTS,
    NODE_BITS,
    WHOLE,
    Claim,
    Names,
    NodeReason,
    Observation,
    Row,
    row_of,
)
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


#: What every event is compared with: to ask an enumeration for its member takes as long as a call.
_APPLIED, _REJECTED, _GAVE_UP = Verdict.APPLIED, Verdict.REJECTED, Node.FAILED_GAVE_UP


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
        return _first_row(event, node, time), _APPLIED
    if event.part is None and event.parts is None and not row.parts and event.channel is row.channel:
        spot, after = event.attempt << NODE_BITS | node, time - row.since + row.age
        if _is_next(row.seen, spot, after):
            return _take_step(row, event, node, time, spot, after)
    return _join_history(row, event, node, time)


def _is_next(seen: tuple[int, ...], spot: int, after: int) -> bool:
    """Return whether a point is later than all before it, and the first of its node in its attempt.

    Then the walk takes one step from the present node, and no earlier step is undone.
    """
    highest = seen[-3]
    # Observations of parts come last, and so do those of the latest attempt.
    if highest >= FIRST_OF_PARTS or highest >> NODE_BITS > spot >> NODE_BITS:
        return False
    times = iter(seen)
    for known, first, lasted in zip(times, times, times, strict=True):
        if first + lasted >= after or known == spot:
            return False
    return True


def _take_step(  # noqa: PLR0913, PLR0917 - what is known by now
    row: Row, event: Event, node: Node, time: Micros, spot: int, after: int
) -> tuple[Row, Verdict]:
    """Join an event that is later than all others: the usual case, with the same result as the full walk."""
    current, attempt, rejected, seen = row.node, event.attempt, row.rejected, row.seen
    verdict = _STEPS[row.channel][current][node]
    if current is _GAVE_UP and may_move(row.channel, current, row.attempt, node, attempt):
        verdict = _APPLIED
    elif verdict is _REJECTED and node not in rejected:
        rejected = tuple(sorted((*rejected, node)))
    seen = (*seen, spot, after, 0) if spot > seen[-3] else _insert_spot(seen, spot, after)
    names = _name_what_is_missing(row.names, event, after)
    reasons = row.reasons if event.reason is None else _join_reason(row.reasons, event, node, time)
    if verdict is _APPLIED:
        return Row(row.channel, node, time, after, attempt, rejected, seen, names, reasons), verdict
    reached = attempt if node is current else row.attempt
    return Row(row.channel, current, row.since, row.age, reached, rejected, seen, names, reasons), verdict


def _insert_spot(seen: tuple[int, ...], spot: int, after: int) -> tuple[int, ...]:
    """Insert a new observation in the order of spots."""
    index = 3 * sum(known < spot for known in seen[::3])
    return (*seen[:index], spot, after, 0, *seen[index:])


def _join_history(row: Row, event: Event, node: Node, time: Micros) -> tuple[Row, Verdict]:
    """Join an event that may change earlier steps: repeat the walk."""
    point, part = (event.attempt, time, node), event.part or WHOLE
    before = row.observations
    observations = _observe(before, point, part)
    channel = _join_channel(row, event, time)
    parts = max(row.parts, event.parts or 0)
    if observations is before and channel is row.channel and parts == row.parts:
        return _with_names(row, event, node, time)
    walk = resolve(channel, observations, parts) or Walk(row.node, row.since, row.attempt, row.rejected)
    joined = _join(row, event, node, time, channel, walk, observations, parts)
    if walk.node is not row.node:
        newest = all((at.attempt, at.last, at.node) < point for at in before)
        return joined, Verdict.APPLIED if newest else Verdict.CORRECTED
    return joined, Verdict.REJECTED if _is_rejected(channel, observations, point, part) else Verdict.LATE


_NAMELESS = Names()


def _first_row(event: Event, node: Node, time: Micros) -> Row:
    reasons = () if event.reason is None else _join_reason((), event, node, time)
    if event.part is None and event.parts is None:
        names = _name_what_is_missing(_NAMELESS, event, 0)
        seen = (event.attempt << NODE_BITS | node, 0, 0)
        return Row(event.channel, node, time, 0, event.attempt, (), seen, names, reasons)
    observations = (Observation(event.attempt, node, time, time, event.part or WHOLE),)
    walk = resolve(event.channel, observations, event.parts or 0) or Walk(node, time, event.attempt, ())
    claims = _join_claims(_NOTHING_NAMED, _told_by(event, time))
    return _row(event.channel, walk, observations, claims, reasons, event.parts or 0)


def _row(  # noqa: PLR0913, PLR0917 - the parts of a row
    channel: Channel,
    walk: Walk,
    observations: tuple[Observation, ...],
    claims: Iterable[Claim],
    reasons: tuple[NodeReason, ...],
    parts: int,
) -> Row:
    return row_of(channel, walk.node, walk.since, walk.attempt, walk.rejected, observations, claims, reasons, parts)


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
    claims = _join_claims(row.claims, _told_by(event, time))
    reasons = _join_reason(row.reasons, event, node, time) if event.reason is not None else row.reasons
    return _row(channel, walk, observations, claims, reasons, parts)


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
    claims = _join_claims(row.claims, other.claims)
    return _row(channel, walk, observations, claims, tuple(reasons[node] for node in sorted(reasons)), parts)


def _observe(observations: tuple[Observation, ...], point: Point, part: int) -> tuple[Observation, ...]:
    """Join one point into the observations; return the same object if that changes nothing."""
    attempt, time, node = point
    for index, at in enumerate(observations):
        if at.node is node and at.attempt == attempt and at.part == part:
            if at.first <= time <= at.last:
                return observations
            joined = Observation(attempt, node, min(at.first, time), max(at.last, time), part)
            return (*observations[:index], joined, *observations[index + 1 :])
    seen = (*observations, Observation(attempt, node, time, time, part))
    return tuple(sorted(seen, key=lambda at: (at.part, at.attempt, at.node)))


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


def _name_what_is_missing(names: Names, event: Event, after: int) -> Names:
    """Join the names of an event that is later than all others; earlier names stay.

    Args:
        names: those of the row.
        event: names perhaps more.
        after: its time, in microseconds after the first of the row.
    """
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
    times = names.after
    if after:
        first = times or AT_ONCE
        times = (
            first[0] if names.delivery_id or not delivery_id else after,
            first[1] if names.recipient or not recipient else after,
            first[2] if names.provider or not provider else after,
            first[3] if names.provider_message_id or not provider_message_id else after,
        )
        times = times if any(times) else ()
    return Names(delivery_id or None, recipient or None, provider or None, provider_message_id or None, times)


_NOTHING_NAMED: tuple[Claim, ...] = ((None, None),) * 4


def _told_by(event: Event, time: Micros) -> tuple[Claim, ...]:
    """Return what an event names, in the order of `Names`."""
    named = (event.delivery_id, event.recipient, event.provider, event.provider_message_id)
    return tuple([(name, time) if name else (None, None) for name in named])


def _join_claims(known: Iterable[Claim], told: Iterable[Claim]) -> Iterable[Claim]:
    return [_join_name(*one, *other) for one, other in zip(known, told, strict=True)]


def _join_name(known: str | None, known_at: Micros | None, named: str | None, time: Micros | None) -> Claim:
    if (
        named is None
        or time is None
        or (known is not None and known_at is not None and (known_at, known) <= (time, named))
    ):
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
