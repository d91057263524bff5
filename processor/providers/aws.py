"""Unwrap events from AWS envelopes: SNS, SQS, Lambda, EventBridge, Firehose, Kinesis, CloudWatch Logs.

Source: the Developer Guides of Amazon SNS ("HTTP/HTTPS notification JSON format"), EventBridge ("Event structure"),
Data Firehose ("HTTP endpoint delivery request") and CloudWatch Logs ("Subscription filters", whose data is gzip inside
base64), 2026-08.
"""

from __future__ import annotations

import base64
import binascii
import zlib
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any, NamedTuple

from processor.providers.adapter import (
    UNREADABLE_MAX,
    Context,
    Finding,
    NoStatus,
    PayloadError,
    Room,
    Unknown,
    Unreadable,
    elements_of,
    left_unread,
)
from processor.providers.fields import MAX_TEXT, json_of, object_of, time_of_epoch

#: What carries an event, by the field that holds it: SNS, SNS in Lambda, EventBridge, SQS, Kinesis, Firehose,
#: CloudWatch Logs in Lambda, and one of its log events.
_ENVELOPES = ("Message", "Sns", "detail", "body", "kinesis", "data", "awslogs", "message")
#: CloudWatch Logs in Kinesis in Lambda is five envelopes; more is a loop.
_MAX_ENVELOPES = 8
#: What packed data may unpack to: an attack on memory ends here. CloudWatch Logs sends 1 MiB at most.
_MAX_UNPACKED = 4 * 2**20
#: What an array or an object counts for beside its characters: it takes as much memory, and more time than these.
_CONTAINER = 64
_GZIP = b"\x1f\x8b"


class Carried(NamedTuple):
    """An event, and the time of its log entry; None if it was not in a log."""

    event: dict[str, Any]
    written: datetime | None


def split(payload: object) -> Iterable[object]:
    """Split a batch: an array, a Lambda event's `Records`, a Firehose delivery's `records`."""
    if isinstance(payload, dict):
        for name in ("Records", "records"):
            if isinstance(payload.get(name), list):
                return elements_of(payload[name])
    return elements_of(payload)


def each_event(
    element: object, context: Context, marks: tuple[str, ...], read: Callable[[Carried], list[Finding]]
) -> list[Finding]:
    """Read the events inside an element: a bad line of a packed log becomes one `Unreadable`, the others are read."""
    carried = unwrap(element, marks, context.room)
    if len(carried) == 1 and isinstance(carried[0], Carried):
        return read(carried[0])
    findings: list[Finding] = []
    bad = 0
    for one in carried:
        if bad >= UNREADABLE_MAX:
            findings.append(Unreadable(left_unread(bad)))
            break
        try:
            findings += read(one) if isinstance(one, Carried) else [one]
        except PayloadError as error:
            bad += 1
            findings.append(Unreadable(f"a line of the log: {error}", one.event if isinstance(one, Carried) else None))
    return findings


def unwrap(element: object, marks: tuple[str, ...], room: Room | None) -> list[Carried | Finding]:
    """Take an event, known by the names that only it has, out of its envelopes; a packed log holds several.

    Raises:
        PayloadError: it is neither such an event nor an envelope of one.
    """
    announced: object = None
    written: datetime | None = None
    for _ in range(_MAX_ENVELOPES):
        record = _parsed(element)
        for mark in marks:
            if mark in record:
                return [Carried(record, written)]
        if record.get("Type") in ("SubscriptionConfirmation", "UnsubscribeConfirmation"):
            return [NoStatus(f"SNS {record['Type']}")]
        if record.get("messageType") == "CONTROL_MESSAGE":
            # CloudWatch Logs asks whether the destination can be reached.
            return [NoStatus("CloudWatch Logs CONTROL_MESSAGE")]
        lines = record.get("logEvents")
        if isinstance(lines, list):
            return _of_lines(lines, marks)
        for name in _ENVELOPES:
            if name in record:
                break
        else:
            if isinstance(announced, str):
                # EventBridge tells of other things than messages.
                return [Unknown(announced[:MAX_TEXT])]
            raise PayloadError(f"neither an event ('{marks[0]}') nor an envelope of one")
        announced = record.get("detail-type", announced)
        if name == "message":
            written = time_of_epoch(record.get("timestamp"))
        element = record[name]
        if name == "data":
            room = room or Room()
            element = _unpacked(element, room)
    raise PayloadError(f"more than {_MAX_ENVELOPES} envelopes around an event")


def _of_lines(lines: list[object], marks: tuple[str, ...]) -> list[Carried | Finding]:
    """Take the events out of a log's lines; those behind the thousandth bad line are one `Unreadable`."""
    found: list[Carried | Finding] = []
    bad = 0
    for line in lines:
        if bad >= UNREADABLE_MAX:
            found.append(Unreadable(left_unread(bad)))
            break
        one = _of_line(line, marks)
        bad += isinstance(one, Unreadable)
        found.append(one)
    return found


def _of_line(line: object, marks: tuple[str, ...]) -> Carried | Finding:
    """Take the event out of one line of a log; one bad line does not cost the others."""
    try:
        record = object_of(line)
        event = _parsed(record.get("message"))
    except PayloadError as error:
        return Unreadable(f"a line of the log: {error}", line)
    if not any(mark in event for mark in marks):
        return Unreadable(f"a line of the log: no event ('{marks[0]}')", line)
    return Carried(event, time_of_epoch(record.get("timestamp")))


def _parsed(element: object) -> dict[str, Any]:
    if isinstance(element, (str, bytes)):
        try:
            element = json_of(element)
        except ValueError as error:
            if isinstance(element, str) and element.startswith("Successfully validated SNS topic"):
                # SES writes this plain text to a topic when it is chosen as destination.
                return {"Type": "SubscriptionConfirmation"}
            raise PayloadError(f"broken JSON: {error}") from None
    return object_of(element)


def _unpacked(value: object, room: Room) -> bytes:
    """Take data out of base64, and out of gzip where it is packed."""
    if not isinstance(value, str):
        raise PayloadError("'data' is not a base64 text")
    try:
        data = base64.b64decode(value.encode(), validate=True)
        if not data.startswith(_GZIP):
            return data
        unpacker = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
        # One byte more than there is room for shows that it does not fit; zlib takes 0 for "all".
        unpacked = unpacker.decompress(data, min(_MAX_UNPACKED, max(room.left, 0)) + 1)
    except (binascii.Error, zlib.error) as error:
        raise PayloadError(f"'data' is neither base64 nor gzip: {error}") from None
    if len(unpacked) > _MAX_UNPACKED:
        room.left = 0
        raise PayloadError(f"'data' unpacks to more than {_MAX_UNPACKED} bytes")
    room.left -= len(unpacked) + _CONTAINER * (unpacked.count(b"[") + unpacked.count(b"{"))
    if room.left < 0:
        raise PayloadError("'data' unpacks to more than there is room for in one payload")
    return unpacked
