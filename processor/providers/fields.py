"""Read the fields of a payload: objects, texts, ids, addresses and times, the same for all adapters.

No type is trusted: payloads come from the network, through foreign gateways.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any

import msgspec
import orjson

from processor.providers.adapter import PayloadError

#: A reason's text is cut to this: it explains, it does not archive.
MAX_TEXT = 500
#: An id or address beyond this is no id; RFC 5321 allows an address 256 octets.
MAX_ID = 512
#: What lies outside is a zero value (epoch 0, Go's year 1) or an end of time, not when something happened.
_YEARS = range(1971, 9999)
#: Around ids: white space, and the NUL that ends a C string.
_PADDING = " \t\r\n\0"
#: Beyond, a float does not hold every integer.
_EXACT = 2**53


def object_of(element: object) -> dict[str, Any]:
    """Take an element that must be a JSON object; raise PayloadError, which says what it is instead."""
    if isinstance(element, dict):
        return element
    if isinstance(element, str):
        if element.lstrip()[:1] in ("{", "["):
            try:
                json_of(element)
            except ValueError as error:
                raise PayloadError(f"broken JSON: {error}") from None
            raise PayloadError("a JSON text inside a JSON string, where an object is expected")
        raise PayloadError("text, where a JSON object is expected")
    raise PayloadError(f"a JSON {_JSON_TYPES.get(type(element), 'value')}, where an object is expected")


_JSON_TYPES = {list: "array", type(None): "null", bool: "boolean", int: "number", float: "number"}


def json_of(text: str | bytes) -> object:
    """Decode JSON; a character that was cut in half is replaced and does not spoil the whole.

    A text that was cut in the middle of an emoji holds half of a pair of surrogates: that is JSON by its grammar (RFC
    8259, section 8.2), which strict decoders refuse. So are octets of another encoding than UTF-8.

    Raises:
        TooManyError: it holds more arrays and objects than any batch has.
        ValueError: it is no JSON.
    """
    if len(text) > CONTAINERS_MAX and (containers := _containers_in(text)) > CONTAINERS_MAX:
        raise TooManyError(f"{containers} arrays and objects, and {CONTAINERS_MAX} are read")
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        octets = text.encode(errors="replace") if isinstance(text, str) else text
        if octets.lstrip()[:1] not in (b"{", b"[", b'"'):
            raise
        return orjson.loads(_LONE_SURROGATE.sub(_marked, octets.decode(errors="replace")))


#: Arrays and objects that one payload may hold: one in twenty bytes of a record of the usual limit, and no report is so
#: short. To make them, and to look through them for garbage, costs more than all that is done with a report.
CONTAINERS_MAX = 50_000


class TooManyError(ValueError):
    """JSON holds more arrays and objects than any batch of reports has."""


def _containers_in(text: str | bytes) -> int:
    """Count what may begin an array or an object, in texts as well."""
    if isinstance(text, str):
        return text.count("[") + text.count("{")
    return text.count(b"[") + text.count(b"{")


# Half of a pair of surrogates, as an escape; whole pairs, and backslashes that escape one another, are stepped over.
_LONE_SURROGATE = re.compile(
    r"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|u[dD][89a-fA-F][0-9a-fA-F]{2}|.)"
)


def _marked(match: re.Match[str]) -> str:
    return "\\ufffd" if len(match[0]) == 6 and match[0][2] in "dD" else match[0]


def part_of(record: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Take an object inside an object; one that is absent, or of another type, is empty."""
    part = record.get(name)
    return part if isinstance(part, dict) else {}


def text_of(value: object) -> str | None:
    """Take a text for people: NULs replaced, cut to MAX_TEXT; a whole number is written out; else None."""
    if not isinstance(value, str):
        return _written_out(value)
    text = value[: MAX_TEXT * 2].strip()
    if "\0" in text:
        text = text.replace("\0", "\N{REPLACEMENT CHARACTER}")
    return text[:MAX_TEXT] or None


def _written_out(value: object) -> str | None:
    """Write out a whole number, also one that a pipeline has made a float of, as long as that is exact; else None."""
    if type(value) is float and value.is_integer() and abs(value) < _EXACT:
        value = int(value)
    # Python refuses to format integers of thousands of digits.
    return str(value) if type(value) is int and -(10**30) < value < 10**30 else None


def identifier(value: object) -> str | None:
    """Take an id or an address, as sent; None when there is none.

    Raises:
        PayloadError: it is longer than any id, or was damaged on its way.
    """
    if not isinstance(value, str):
        return _written_out(value)
    if len(value) > MAX_ID:
        raise PayloadError(f"an id or address of {len(value)} characters")
    if "\N{REPLACEMENT CHARACTER}" in value:
        # What stands in its place was lost on the way: another message could have the same.
        raise PayloadError("an id or address with a character that is none")
    return value.strip(_PADDING) or None


def first_identifier(*values: object) -> str | None:
    """Take the first that is an id or an address: of several places for one, another may hold what is none."""
    return next((found for value in values if (found := identifier(value)) is not None), None)


def required(value: object, name: str) -> str:
    """Take a required id; raise PayloadError, which names it, if it is absent."""
    found = identifier(value)
    if found is None:
        raise PayloadError(f"no {name}")
    return found


def time_of(value: object) -> datetime | None:
    """Read an RFC 3339 time; None when it is none, has no zone, or is a zero value."""
    if not isinstance(value, str):
        return None
    try:
        time = msgspec.convert(value, datetime)
    except msgspec.ValidationError:
        return None
    return time if time.tzinfo is not None and time.year in _YEARS else None


_TOO_MANY_SECONDS = 100_000_000_000
_LONGEST_EPOCH = 40


# A number of seconds, milliseconds, microseconds or nanoseconds. No other lengths: "20251120111241" is a date.
_EPOCH_IN_TEXT = re.compile(r"(?:[0-9]{1,11}|[0-9]{13}|[0-9]{16}|[0-9]{19})(?:\.[0-9]{1,9})?")


def time_of_epoch(value: object) -> datetime | None:
    """Read a number of seconds since 1970-01-01T00:00:00Z; None when it is none or is a zero value.

    What would be after the year 5138 is milliseconds, microseconds or nanoseconds: many senders write these. Forms,
    queries and gateways make a text of the number.
    """
    if isinstance(value, str):
        value = value.strip()[:_LONGEST_EPOCH]
        if not _EPOCH_IN_TEXT.fullmatch(value):
            return None
        value = float(value) if "." in value else int(value)
    elif type(value) is not int and type(value) is not float:
        return None
    try:
        if not -_TOO_MANY_SECONDS < value < _TOO_MANY_SECONDS:
            for _ in range(3):
                if abs(value) >= _TOO_MANY_SECONDS:
                    value /= 1000
        time = datetime.fromtimestamp(value, timezone.utc)
    except (ValueError, OverflowError, OSError):  # not a number, infinite, or beyond the year 9999
        return None
    return time if time.year in _YEARS else None
