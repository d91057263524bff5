"""Take a report back from a row: it proved to be another message's.

Only receipts that a link had put down to the wrong message are taken back (domain/links.py). A row remembers of each
node the first and the last time, so what lay between them is not known: where one of the two goes, the other stands for
both. That is exact unless the same status of the same message was reported at a third time, or a name or the reason of
the status by an event that is later still.
"""

from __future__ import annotations

from processor.domain.event import Event
from processor.domain.fold import resolve
from processor.domain.moment import Micros
from processor.domain.row import WHOLE, Claim, Observation, Row, row_of
from processor.domain.transitions import Node


def retract(row: Row, event: Event, node: Node, time: Micros) -> Row | None:
    """Return a row without one report.

    Args:
        row: of the message that the report is not about.
        event: the report, as it was folded.
        node: the result of `node_of(event)`.
        time: the event's time, in microseconds.

    Returns:
        The same object if it does not know of the report; None if it knows of nothing else.
    """
    place = event.part or WHOLE, event.attempt, node
    before = row.observations
    seen = next((at for at in before if (at.part, at.attempt, at.node) == place), None)
    if seen is None or time not in {seen.first, seen.last}:
        return row
    observations = tuple(left for at in before if (left := _without(at, time) if at is seen else at))
    walk = resolve(row.channel, observations, row.parts) if observations else None
    if walk is None:
        return None
    reasons = tuple(each for each in row.reasons if (each.node, each.time) != (node, time))
    return row_of(
        row.channel,
        walk.node,
        walk.since,
        walk.attempt,
        walk.rejected,
        observations,
        _claims(row, event, time),
        reasons,
        row.parts,
    )


def _without(seen: Observation, time: Micros) -> Observation | None:
    """Return an observation without its first or its last time; None if it had but that one."""
    if seen.first == seen.last:
        return None
    left = seen.last if time == seen.first else seen.first
    return Observation(seen.attempt, seen.node, left, left, seen.part)


def _claims(row: Row, event: Event, time: Micros) -> list[Claim]:
    """Return the names, and their times, without those that the report was the first to tell."""
    told = (event.delivery_id, event.recipient, event.provider, event.provider_message_id)
    return [(None, None) if claim == (name, time) else claim for claim, name in zip(row.claims, told, strict=True)]
