"""What is said of JSON that does not fit."""

import msgspec
import pytest

from processor.domain.reason import Category
from processor.domain.status import Channel, Status
from processor.wire.control import decode_control
from processor.wire.deadletters import UnusableError
from processor.wire.decoding import allowed_values
from processor.wire.events import decode_event

EVENT = {"message_id": "m-1", "channel": "email", "status": "sent", "time": "2026-11-23T08:00:00Z"}


@pytest.mark.parametrize(
    ("given", "kind"),
    [
        ({"status": "delivered"}, Status),
        ({"channel": "tv - at `$.status`"}, Channel),
        ({"reason": {"category": "bad"}}, Category),
    ],
    ids=["status", "channel", "category"],
)
def test_a_word_that_an_enumeration_does_not_have_is_told_with_those_that_it_has(given, kind):
    with pytest.raises(UnusableError) as refused:
        decode_event(msgspec.json.encode({**EVENT, **given}), None)
    assert refused.value.detail.endswith(f"; allowed: {', '.join(member.value for member in kind)}")


def test_the_same_is_told_of_control_records():
    record = {"time": EVENT["time"], "delivery_id": "DM1", "action": "begin"}
    with pytest.raises(UnusableError, match="allowed: register, schedule, start, pause, resume, finish, cancel"):
        decode_control(msgspec.json.encode(record), None)


def test_what_is_wrong_otherwise_has_no_list():
    error = msgspec.ValidationError("Expected `str`, got `int` - at `$.status`")
    assert allowed_values(error, dict) == ()
