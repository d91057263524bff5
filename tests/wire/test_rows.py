"""Rows on the wire: what people read comes first, and the packed layout stands."""

import base64
import json
from datetime import datetime, timedelta, timezone

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from processor.domain.event import Event, node_of
from processor.domain.fold import fold
from processor.domain.moment import to_microseconds
from processor.domain.reason import Category, Reason
from processor.domain.retraction import retract
from processor.domain.row import ROW_LAYOUT, Row
from processor.domain.status import Channel, Permanence, Status
from processor.domain.transitions import Node
from processor.engine.store import rocksdb
from processor.wire.events import decode_event
from processor.wire.readback import UnreadableError
from processor.wire.rows import decode_row, encode_row, pack_row, packed_row_in, row_in, unpack_row
from tests.examples import examples
from tests.former_rows import packed_as

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


def failed_row() -> Row:
    """Give the row of a message that was pending, was sent, and failed without a retry, half an hour later."""
    reason = Reason(permanence=Permanence.GAVE_UP, code="4.4.7")
    told = (
        Event(TIME, "m", Channel.EMAIL, Status.PENDING, delivery_id="DM1042"),
        Event(TIME + timedelta(milliseconds=300), "m", Channel.EMAIL, Status.SENT, provider="kumomta"),
        Event(TIME + timedelta(minutes=30), "m", Channel.EMAIL, Status.FAILED, attempt=2, reason=reason),
    )
    row = None
    for event in told:
        row, _ = fold(row, event, node_of(event))
    assert row is not None
    return row


def test_the_layout_of_packed_rows_stands():
    # Another layout is another version: raise ROW_LAYOUT, the format of stores on disk, and have this one read.
    assert (ROW_LAYOUT, rocksdb._FORMAT) == (2, 6)
    at_us = to_microseconds(TIME)
    assert msgspec.msgpack.decode(pack_row(failed_row())) == [
        2,
        "email",
        8,
        at_us + 1_800_000_000,
        1_800_000_000,
        2,
        [],
        [0x10, 0, 0, 0x17, 300_000, 0, 0x28, 1_800_000_000, 0],
        ["DM1042", None, "kumomta", None, [0, 0, 300_000, 0]],
        [[8, at_us + 1_800_000_000, {"permanence": "gave_up", "code": "4.4.7"}]],
        0,
    ]


#: The same row as each version packed it.
PACKED = {
    2: "9b02a5656d61696c08cf000660ed664b7200ce6b49d20002909910000017ce000493e00028ce6b49d2000095a6444d31303432c0a76b75"
    "6d6f6d7461c0940000ce000493e000919308cf000660ed664b720082aa7065726d616e656e6365a7676176655f7570a4636f6465a5342e34"
    "2e3700",
    1: "9a01a5656d61696c08cf000660ed664b7200029093950100cf000660ecfb01a000cf000660ecfb01a00000950107cf000660ecfb0633e0"
    "cf000660ecfb0633e000950208cf000660ed664b7200cf000660ed664b72000098a6444d31303432c0a76b756d6f6d7461c0cf000660ecfb"
    "01a000c0cf000660ecfb0633e0c0919308cf000660ed664b720082aa7065726d616e656e6365a7676176655f7570a4636f6465a5342e342e"
    "3700",
    0: "98a5656d61696c08cf000660ed664b7200029093940100cf000660ecfb01a000cf000660ecfb01a000940107cf000660ecfb0633e0cf00"
    "0660ecfb0633e0940208cf000660ed664b7200cf000660ed664b720098a6444d31303432c0a76b756d6f6d7461c0cf000660ecfb01a000c0"
    "cf000660ecfb0633e0c0919308cf000660ed664b720082aa7065726d616e656e6365a7676176655f7570a4636f6465a5342e342e37",
}


@pytest.mark.parametrize("layout", PACKED)
def test_the_bytes_of_every_layout_are_read(layout):
    packed = bytes.fromhex(PACKED[layout])
    assert unpack_row(packed) == failed_row()
    assert packed == (pack_row(failed_row()) if layout == ROW_LAYOUT else packed_as(layout, failed_row()))


#: Events of one message, often about the same moments, attempts and parts.
events = st.builds(
    Event,
    time=st.integers(0, 5).map(lambda seconds: TIME + timedelta(seconds=seconds))
    | st.timedeltas(timedelta(days=-730_000), timedelta(days=2_900_000)).map(lambda since: TIME + since),
    message_id=st.just("m"),
    channel=st.sampled_from(Channel),
    status=st.sampled_from(Status),
    delivery_id=st.sampled_from([None, "", "DM1", "DM2"]),
    provider=st.sampled_from([None, "ses", "twilio"]),
    provider_message_id=st.none() | st.text(st.characters(codec="utf-8"), max_size=40),
    recipient=st.sampled_from([None, "user@example.com", "ünal@example.com"]),
    attempt=st.integers(1, 3) | st.integers(1, 99),
    reason=st.none() | st.builds(Reason, category=st.sampled_from(Category), text=st.sampled_from([None, "550 no"])),
    part=st.sampled_from([None, None, 1, 2, 255]),
    parts=st.sampled_from([None, None, 2, 255]),
).filter(lambda event: node_of(event) is not None)


def folded(told: list[Event]) -> Row:
    row = None
    for event in told:
        row, _ = fold(row, event, node_of(event))
    assert row is not None
    return row


@given(st.lists(events, min_size=1, max_size=6))
@settings(deadline=None, max_examples=examples(500), derandomize=True)
def test_a_row_is_read_from_what_is_packed_published_and_was_packed_before(told):
    row = folded(told)
    packed = pack_row(row)
    assert unpack_row(packed) == decode_row(encode_row("m", row, None)) == row
    former = packed_as(1, row)
    assert unpack_row(former) == row
    # What is restored is kept in the present layout, so that it takes no more room than the others.
    assert row_in(encode_row("m", row, None, former)) == (packed, row)
    if not row.parts and not any(at.part for at in row.observations):
        assert unpack_row(packed_as(0, row)) == row


@given(st.lists(events, min_size=2, max_size=5), st.data())
@settings(deadline=None, max_examples=examples(200), derandomize=True)
def test_a_row_from_which_a_report_was_taken_back_is_read_too(told, data):
    event = data.draw(st.sampled_from(told))
    node = node_of(event)
    assert node is not None
    row = retract(folded(told), event, node, to_microseconds(event.time))
    if row is not None:
        assert decode_row(encode_row("m", row, None)) == row
        assert unpack_row(packed_as(1, row)) == row


def with_items(change) -> bytes:
    """Give a record of a row whose packed items are changed."""
    items = msgspec.msgpack.decode(pack_row(failed_row()))
    change(items)
    return encode_row("m", failed_row(), None, msgspec.msgpack.encode(items))


SEEN, AFTER = 7, 8
IMPOSSIBLE = {
    "two numbers of three": lambda items: items[SEEN].pop(),
    "a node that there is not": lambda items: items[SEEN].__setitem__(0, 0x1B),
    "no attempt": lambda items: items[SEEN].__setitem__(0, 0x07),
    "attempt 100": lambda items: items[SEEN].__setitem__(0, 100 << 4),
    "part 256": lambda items: items[SEEN].__setitem__(0, 256 << 11 | 0x10),
    "first of all before the year 1": lambda items: items.__setitem__(4, 10**17),
    "observed after the year 9999": lambda items: items[SEEN].__setitem__(7, 26 * 10**16),
    "named after the year 9999": lambda items: items[AFTER].__setitem__(4, [26 * 10**16, 0, 0, 0]),
    "named at two of four times": lambda items: items[AFTER].__setitem__(4, [1, 0]),
}


@pytest.mark.parametrize("change", IMPOSSIBLE.values(), ids=IMPOSSIBLE)
def test_no_row_is_recovered_that_no_fold_can_have_made(change):
    assert decode_row(with_items(lambda items: None)) == failed_row()
    with pytest.raises(UnreadableError):
        decode_row(with_items(change))


def test_a_version_that_writes_the_former_layout_refuses_this_one():
    # What version 1 did with an array that it could not read: it looked at the first item.
    assert msgspec.msgpack.decode(pack_row(failed_row()))[0] > msgspec.msgpack.decode(packed_as(1, failed_row()))[0]
