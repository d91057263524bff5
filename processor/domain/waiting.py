"""In which statuses a message waits for somebody, and for how long that is still usual.

In every other status nobody waits: either nothing may follow, or what may follow is an exception (a bounce after
`sent` by mail, late truth after a failure that was given up, a cancel that came too late).
"""

from __future__ import annotations

from processor.domain.row import Row
from processor.domain.status import Channel, Status

_HOUR = 3_600.0
#: How long an MTA goes on trying.
_TRIED = 84 * _HOUR
#: How long an SMS is kept for a handset that is off.
_KEPT = 72 * _HOUR

#: Seconds in a status after which a message is called stuck, unless a setting differs. A label, never a status.
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
    """Say whether retention may remove a row: nobody waits for it, and nothing later than a moment was reported.

    Args:
        row: what is known of the message.
        before: the moment, in microseconds of event time.
    """
    return (row.channel, row.status) not in STUCK_AFTER and max(at.last for at in row.observations) <= before
