"""Tell when a message is stuck, and when retention may remove it: the rules about rows and time."""

from __future__ import annotations

from collections.abc import Mapping

from processor.domain.moment import Micros
from processor.domain.row import Row
from processor.domain.status import Channel, Status
from processor.domain.traits import MAY_BE_HELD, STUCK_AFTER

_SECOND = 1_000_000

#: Earlier than any moment.
_EVER = Micros(-(1 << 62))

#: Seconds by channel and status, for some of the keys of STUCK_AFTER.
StuckAfter = Mapping[tuple[Channel, Status], float]

#: Until when deliveries are held, of those that ever were, in microseconds (`held_until` in domain/delivery.py).
Holds = Mapping[str, Micros]

NO_HOLDS: Holds = {}


def stuck_before(stuck_after: StuckAfter, now: Micros) -> dict[tuple[Channel, Status], Micros]:
    """Return, by channel and status, the moment since which a message must wait there to be stuck: in microseconds."""
    return {place: Micros(now - int(seconds * _SECOND)) for place, seconds in stuck_after.items()}


def is_stuck(row: Row, before: Micros | None, holds: Holds = NO_HOLDS) -> bool:
    """Return whether a message is stuck: it has been in its status for longer than the threshold.

    Args:
        row: of the message.
        before: what `stuck_before` returns for the row's channel and status; None: nothing.
        holds: while its delivery is held, a message that nobody has taken waits for no one; then its time begins.
    """
    if before is None or row.since > before:
        return False
    return not MAY_BE_HELD[row.node] or holds.get(row.delivery, _EVER) <= before


def may_expire(row: Row, before: Micros) -> bool:
    """Return whether retention may remove a row: it does not wait, and its last report is old enough.

    Args:
        row: of the message.
        before: microseconds of event time; rows with a later report are kept.
    """
    return (row.channel, row.status) not in STUCK_AFTER and max(at.last for at in row.observations) <= before
