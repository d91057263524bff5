"""The statuses in which a message waits, when it is stuck, and when retention may remove it.

In every other status nothing is expected: either nothing may follow, or only an exception (a bounce after `sent` by
mail, late truth after a failure that was given up, a cancel that came too late).
"""

from __future__ import annotations

from processor.domain.row import Row
from processor.domain.status import Channel, Status

_HOUR = 3_600.0
#: How long an MTA retries.
_TRIED = 84 * _HOUR
#: How long an SMS centre keeps a message for a handset that is off.
_KEPT = 72 * _HOUR

#: Seconds in a status after which a message is stuck; DELIVERY_STUCK_AFTER overrides them. A label, not a status.
STUCK_AFTER: dict[tuple[Channel, Status], float] = {
    (Channel.EMAIL, Status.PENDING): _HOUR,
    (Channel.EMAIL, Status.TAKEN_INTO_ACCOUNT): _TRIED,
    (Channel.SMS, Status.PENDING): _HOUR,
    (Channel.SMS, Status.PREPARED): _HOUR,
    (Channel.SMS, Status.SENT_TO_PROVIDER): _KEPT,
    (Channel.SMS, Status.TAKEN_INTO_ACCOUNT): _TRIED,
    (Channel.SMS, Status.SENT): _KEPT,
}


def may_expire(row: Row, before: int) -> bool:
    """Return whether retention may remove a row: it does not wait, and its last report is old enough.

    Args:
        row: of the message.
        before: microseconds of event time; rows with a later report are kept.
    """
    return (row.channel, row.status) not in STUCK_AFTER and max(at.last for at in row.observations) <= before
