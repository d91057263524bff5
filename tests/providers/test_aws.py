"""What AWS wraps around events comes off, within bounds."""

import base64
import gzip
import json

import pytest

from processor.domain.event import Event
from processor.providers import read
from processor.providers.adapter import UNREADABLE_MAX, NoStatus, Unreadable

EVENT = {"eventType": "TEXT_DELIVERED", "messageId": "m1", "eventTimestamp": 1767225600000}


def packed(value):
    return base64.b64encode(gzip.compress(json.dumps(value).encode())).decode()


def test_data_that_unpacks_to_too_much_is_refused(context):
    bomb = base64.b64encode(gzip.compress(b"[" + b" " * 50_000_000, mtime=0)).decode()
    (found,) = read("aws_eum_sms", {"data": bomb}, context)
    assert isinstance(found, Unreadable)
    assert "unpacks to more than" in found.detail


@pytest.mark.parametrize("filling", [b" " * 2_000_000, b"[]," * 40_000], ids=["bytes", "arrays"])
def test_all_packed_data_of_a_payload_has_room_together(filling, context):
    control = b'{"messageType": "CONTROL_MESSAGE", "x": [%s0]}' % filling
    pieces = [{"data": base64.b64encode(gzip.compress(control, mtime=0)).decode()}] * 100
    findings = read("aws_eum_sms", pieces, context)
    assert [type(found) for found in findings[:2]] == [NoStatus] * 2
    assert [type(found) for found in findings[5:]] == [Unreadable] * 95
    assert "room for in one payload" in findings[-1].detail
    assert [type(found) for found in read("aws_eum_sms", pieces[:1], context)] == [NoStatus]


def test_data_that_holds_very_many_arrays_is_not_read(context):
    data = base64.b64encode(b"[%s0]" % (b"[]," * 60_000)).decode()
    (found,) = read("aws_eum_sms", {"data": data}, context)
    assert isinstance(found, Unreadable)
    assert "60001 arrays and objects" in found.detail


def test_envelopes_without_end_are_refused(context):
    nested: object = EVENT
    for _ in range(20):
        nested = {"detail": nested}
    (found,) = read("aws_eum_sms", nested, context)
    assert isinstance(found, Unreadable)
    assert "envelopes" in found.detail


@pytest.mark.parametrize("data", ["%%%", base64.b64encode(b"\x1f\x8bnot gzip").decode(), "bm8=", "säs=", "\0", 7, None])
def test_broken_data_is_refused_in_words(data, context):
    (found,) = read("aws_eum_sms", {"data": data}, context)
    assert isinstance(found, Unreadable)
    assert "ValueError" not in found.detail


def test_one_bad_line_of_a_log_costs_only_itself(context):
    lines = [
        {"message": json.dumps(EVENT)},
        {"message": "START"},
        7,
        {"message": json.dumps({"eventType": "TEXT_SENT"})},
    ]
    log = {"awslogs": {"data": packed({"messageType": "DATA_MESSAGE", "logEvents": lines})}}
    findings = read("aws_eum_sms", log, context)
    assert [type(found) for found in findings] == [Event, Unreadable, Unreadable, Unreadable]
    assert [found.element for found in findings[1:]] == [lines[1], 7, {"eventType": "TEXT_SENT"}]


@pytest.mark.parametrize("line", [{}, {"message": json.dumps({"eventType": "TEXT_SENT"})}], ids=["no event", "no id"])
def test_of_very_many_bad_lines_the_rest_is_left_unread(line, context):
    good = {"message": json.dumps(EVENT)}
    findings = read("aws_eum_sms", {"logEvents": [good, *[line] * UNREADABLE_MAX, good, line]}, context)
    assert [type(found) for found in findings] == [Event] + [Unreadable] * (UNREADABLE_MAX + 1)
    assert "those behind them were not looked at" in findings[-1].detail


def test_a_log_inside_a_log_is_not_followed(context):
    line = {"message": json.dumps({"logEvents": [{"message": json.dumps(EVENT)}]})}
    (found,) = read("aws_eum_sms", {"logEvents": [line]}, context)
    assert isinstance(found, Unreadable)


@pytest.mark.parametrize("kind", ["SubscriptionConfirmation", "UnsubscribeConfirmation"])
def test_what_sns_says_of_itself_is_no_status(kind, context):
    assert read("aws_eum_sms", {"Type": kind, "Message": "…"}, context) == [NoStatus(f"SNS {kind}")]
