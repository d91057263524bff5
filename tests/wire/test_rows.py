"""Rows on the wire: what people read comes first, and the packed layout stands."""

import base64
import json
from datetime import datetime, timezone

import msgspec

from processor.domain.event import Event
from processor.domain.fold import fold
from processor.domain.moment import to_microseconds
from processor.domain.reason import Reason
from processor.domain.row import ROW_LAYOUT
from processor.domain.status import Channel, Permanence, Status
from processor.domain.transitions import Node
from processor.engine.store import rocksdb
from processor.wire.events import decode_event
from processor.wire.rows import encode_row, pack_row, packed_row_in

TIME = datetime(2026, 11, 23, 8, tzinfo=timezone.utc)
MINIMAL = b'{"time":"2026-11-23T08:00:00Z","message_id":"m","channel":"email","status":"sent"}'


def test_a_row_says_first_what_people_read():
    reason = Reason(permanence=Permanence.GAVE_UP, code="4.4.7")
    failed = Event(TIME, "m", Channel.EMAIL, Status.FAILED, delivery_id="DM1042", reason=reason)
    row, _ = fold(None, failed, Node.FAILED_GAVE_UP)
    record = json.loads(encode_row("m", row, None))
    assert list(record)[-2:] == ["memory", "previous"]
    assert record == {
        "message_id": "m",
        "delivery_id": "DM1042",
        "channel": "email",
        "status": "failed",
        "permanence": "gave_up",
        "since": "2026-11-23T08:00:00Z",
        "reason": {"permanence": "gave_up", "code": "4.4.7"},
        "rejected": [],
        "attempt": 1,
        "recipient": None,
        "provider": None,
        "provider_message_id": None,
        "memory": base64.b64encode(pack_row(row)).decode(),
        "previous": None,
    }


def test_recovery_gets_the_very_bytes_that_were_packed():
    row, _ = fold(None, *decode_event(MINIMAL, None)[:2])
    packed = pack_row(row)
    assert packed_row_in(encode_row("m", row, None)) == packed
    assert encode_row("m", row, None, packed) == encode_row("m", row, None)


def test_the_layout_of_packed_rows_stands():
    # Another layout is another version: raise ROW_LAYOUT, the format of stores on disk, and have this one read.
    assert (ROW_LAYOUT, rocksdb._FORMAT) == (1, 5)
    reason = Reason(permanence=Permanence.GAVE_UP, code="4.4.7")
    failed = Event(TIME, "m", Channel.EMAIL, Status.FAILED, delivery_id="DM1042", reason=reason)
    at_us = to_microseconds(TIME)
    assert msgspec.msgpack.decode(pack_row(fold(None, failed, Node.FAILED_GAVE_UP)[0])) == [
        1,
        "email",
        8,
        at_us,
        1,
        [],
        [[1, 8, at_us, at_us, 0]],
        ["DM1042", None, None, None, at_us, None, None, None],
        [[8, at_us, {"permanence": "gave_up", "code": "4.4.7"}]],
        0,
    ]
