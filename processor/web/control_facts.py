"""Read what is posted about a delivery, and make a control record of it."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import msgspec

from processor.domain.delivery import PLANNED_MAX, Action, Control
from processor.domain.moment import to_microseconds, to_millis
from processor.domain.status import Channel
from processor.web.parameters import NAME_MAX
from processor.web.problems import invalid
from processor.wire.control import decode_control, encode_control
from processor.wire.deadletters import UnusableError

_Name = Annotated[str, msgspec.Meta(max_length=NAME_MAX)]
_Moment = Annotated[datetime, msgspec.Meta(tz=True)]


class ControlFacts(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """A control record as it is posted: the path names the delivery, and the time is now unless it is given."""

    action: Action
    time: _Moment | None = None
    id: _Name | None = None
    label: _Name | None = None
    campaign: _Name | None = None
    channel: Channel | None = None
    planned: Annotated[int, msgspec.Meta(ge=0, le=PLANNED_MAX)] | None = None
    #: Needed by `schedule`.
    scheduled_at: _Moment | None = None


def control_record(delivery_id: str, facts: ControlFacts, now: datetime) -> tuple[Control, bytes]:
    """Make the control record of what was posted, and its bytes.

    Raises:
        ProblemError: the record breaks the contract.
    """
    given = {name: value for name, value in msgspec.structs.asdict(facts).items() if value is not None}
    try:
        value = encode_control(Control(**{"time": now, **given, "delivery_id": delivery_id}))
        return decode_control(value, to_millis(to_microseconds(now))), value
    except UnusableError as error:
        raise invalid(error.detail) from None
