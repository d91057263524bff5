"""Rejected events on the wire."""

import json
from datetime import datetime, timedelta, timezone

from processor.domain.event import Event
from processor.domain.fold import fold
from processor.domain.status import Channel, Status
from processor.domain.transitions import Node
from processor.wire.events import encode_event
from processor.wire.rejected import encode_rejected

TIME = datetime(2026, 11, 23, 8, tzinfo=timezone.utc)


def test_a_rejected_transition_names_the_rule():
    sent = Event(TIME, "m", Channel.EMAIL, Status.SENT)
    ignored = Event(TIME + timedelta(seconds=1), "m", Channel.EMAIL, Status.IGNORED)
    row, _ = fold(fold(None, sent, Node.SENT)[0], ignored, Node.IGNORED)
    assert json.loads(encode_rejected(encode_event(ignored), row, Node.IGNORED)) == {
        "event": json.loads(encode_event(ignored)),
        "row": {"status": "sent", "permanence": None, "since": "2026-11-23T08:00:00Z"},
        "from": "sent",
        "to": "ignored",
        "rule": "on email, ignored may neither follow nor precede sent",
    }
