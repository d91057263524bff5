"""Amazon Data Firehose: unpack what it delivers, and answer as it wants.

Source: Amazon Data Firehose Developer Guide, "HTTP endpoint delivery request and response specifications". An answer
without its request id counts as a failure, and 413 as a loss for good. CloudWatch Logs data is gzip again inside
base64.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterator
from itertools import islice

import msgspec

from processor.gateway.dialects import Answer
from processor.gateway.expanding import UnrecordableError, expand
from processor.gateway.verifiers import Call

_REQUEST_ID = "x-amz-firehose-request-id"
_GZIP = b"\x1f\x8b"
#: Octets that one delivery may unpack to.
_MAX_UNPACKED = 256 * 2**20
#: Values that it may hold: each becomes a record, which takes more memory than a short value does.
_MAX_VALUES = 250_000


class _Packed(msgspec.Struct):
    data: str


class _Delivery(msgspec.Struct):
    records: list[_Packed]


def is_delivery(call: Call) -> bool:
    """Return whether Firehose delivers this call."""
    return call.has(_REQUEST_ID)


def unpack(body: bytes) -> Iterator[bytes]:
    """Yield each JSON value that was packed: a record may hold several, behind one another.

    Raises:
        UnrecordableError: the body is not what Firehose delivers, or unpacks to more than anybody sends.
    """
    try:
        delivery = _DECODER.decode(body)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise UnrecordableError(f"not what Firehose delivers: {error}") from None
    octets, values = _MAX_UNPACKED, _MAX_VALUES
    for packed in delivery.records:
        data = _unpacked(packed.data, octets)
        octets -= len(data)
        if octets < 0:
            # No room would be any room for zlib.
            raise UnrecordableError(f"it unpacks to more than {_MAX_UNPACKED} octets")
        for value in _values(data, values):
            values -= 1
            if values < 0:
                raise UnrecordableError(f"more than {_MAX_VALUES} values")
            yield value


_DECODER = msgspec.json.Decoder(_Delivery)


def _unpacked(text: str, left: int) -> bytes:
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise UnrecordableError(f"not what Firehose delivers: data: {error}") from None
    return expand(data, "gzip", left) if data.startswith(_GZIP) else data


def _values(data: bytes, most: int) -> Iterator[bytes]:
    """Take JSON values apart that stand behind one another; what is no JSON is one value, for whoever reads it.

    Of more than `most`, one too many is yielded.
    """
    try:
        text = data.decode()
        ends = list(islice(_ends(text), most + 1))
    except (ValueError, RecursionError):
        yield data
        return
    yield from (text[begin:end].encode() for begin, end in ends)


def _ends(text: str) -> Iterator[tuple[int, int]]:
    decoder = json.JSONDecoder()
    at = 0
    while at < len(text):
        if text[at].isspace():
            at += 1
            continue
        _, end = decoder.raw_decode(text, at)
        yield at, end
        at = end


def answer(call: Call, told: Answer, now: float) -> Answer:
    """Return the same as an answer does, in Firehose's words; one that is no success has a message.

    Args:
        call: what is answered.
        told: the dialect's answer.
        now: seconds since 1970.
    """
    identity = call.headers.get(_REQUEST_ID, ("",))[0]
    said: dict[str, object] = {"requestId": identity, "timestamp": int(now * 1000)}
    if told.status >= 300:
        said["errorMessage"] = "not verified" if told.status < 500 else "not taken, try again"
    return told._replace(body=json.dumps(said).encode(), content_type="application/json")
