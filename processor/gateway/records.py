"""Make records of a verified call: its body as it came, where that fits, and what travelled beside it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple
from urllib.parse import urlencode

import msgspec

from processor.gateway import firehose
from processor.gateway.dialects import Dialect, Reading
from processor.gateway.expanding import UnrecordableError
from processor.gateway.verifiers import Call, octets_of
from processor.gateway.verifiers.forms import parts_of
from processor.gateway.verifiers.shared import without_secrets

#: The array of a CloudWatch Logs record, its lines.
_LOG_LINES = "logEvents"
#: Of a batch that is split: each may part two elements, of which one takes 100 octets of memory besides its own. 64 MiB
#: of reports have a quarter of that.
_MAX_COMMAS = 8_000_000


class Record(NamedTuple):
    """What goes into Kafka."""

    value: bytes
    #: The query of the address, where the value does not hold it.
    query: str = ""


def records_of(dialect: Dialect, call: Call, secrets: Sequence[str], limit: int) -> list[Record]:
    """Make the records of a call, in their order; a call that says nothing has none.

    Args:
        dialect: how the provider calls.
        call: verified, its body expanded.
        secrets: of the route; none goes into a record with the address's query.
        limit: octets of a record's value.

    Raises:
        UnrecordableError: it is not what the provider sends, or a part of it is too large for any record.
    """
    query = without_secrets(call.url.partition("#")[0].partition("?")[2], secrets)
    if not call.body.strip():
        return [Record(_fitting(octets_of(query), limit))] if query else []
    if dialect.reading is Reading.FIREHOSE and firehose.is_delivery(call):
        unpacked = firehose.unpack(call.body)
        return [Record(part, query) for value in unpacked for part in _parts(value, _LOG_LINES, limit)]
    if _is_json(call.body):
        return [Record(part, query) for part in _parts(call.body, dialect.batch, limit)]
    form = _form_of(call)
    if form is None:
        return [Record(_fitting(call.body, limit), query)]
    # Readers take the last of equal names: the provider's own.
    return [Record(_fitting(b"&".join(filter(None, (octets_of(query), form))), limit))]


def _is_json(body: bytes) -> bool:
    return body.lstrip()[:1] in (b"{", b"[")


def _form_of(call: Call) -> bytes | None:
    """Return the body as a form; None where it is another text, as a line of a log."""
    [kind] = call.headers.get("content-type", ("",))[:1]
    if kind.lower().startswith("multipart/form-data"):
        return urlencode(parts_of(kind, call.body)).encode()
    if "xml" in kind.lower() or call.body.lstrip()[:1] == b"<":
        raise UnrecordableError("XML: the provider is to send JSON, or a form")
    return call.body if "form" in kind.lower() or b"=" in call.body else None


def _fitting(value: bytes, limit: int) -> bytes:
    if len(value) > limit:
        raise UnrecordableError(f"{len(value)} octets, where a record holds {limit}, and it cannot be split")
    return value


def _parts(value: bytes, batch: str, limit: int) -> list[bytes]:
    """Split a value that is too large between the elements of its array, each of them octet for octet as it came.

    Args:
        value: an array, or an object with an array of that name; whatever stands beside it is repeated.
        batch: the name.
        limit: octets of each part.
    """
    if len(value) <= limit:
        return [value]
    if value.count(b",") > _MAX_COMMAS:
        raise UnrecordableError(f"more than {_MAX_COMMAS} commas: what is between them is no report")
    try:
        fields = _OBJECT.decode(value) if value.lstrip()[:1] == b"{" else {}
        elements = _ARRAY.decode(fields.pop(batch) if fields else value)
    except (msgspec.MsgspecError, KeyError, RecursionError):
        return [_fitting(value, limit)]
    named = [msgspec.json.encode(name) + b":" + bytes(field) for name, field in fields.items()]
    is_object = value.lstrip()[:1] == b"{"
    head = b"{" + b",".join([*named, msgspec.json.encode(batch) + b":["]) if is_object else b"["
    tail = b"]}" if is_object else b"]"
    groups = _groups(map(bytes, elements), limit - len(head) - len(tail))
    return [head + b",".join(group) + tail for group in groups]


_OBJECT = msgspec.json.Decoder(dict[str, msgspec.Raw])
_ARRAY = msgspec.json.Decoder(list[msgspec.Raw])


def _groups(elements: Iterable[bytes], room: int) -> Iterator[list[bytes]]:
    """Group elements so that each group has room, with a comma between two."""
    group: list[bytes] = []
    size = 0
    for element in elements:
        _fitting(element, room)
        if group and size + 1 + len(element) > room:
            yield group
            group, size = [], 0
        size += len(element) + bool(group)
        group.append(element)
    if group:
        yield group
