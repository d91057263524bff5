"""Read the fields of a payload: what every adapter does alike with objects, texts, ids, addresses and times.

Nothing here trusts a type: payloads come from the network, through other people's gateways.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timezone
from typing import Any

import msgspec
import orjson

from processor.domain.event import Event
from processor.providers.adapter import Finding, PayloadError, Unreadable

#: A reason's text is cut to this: it explains, it does not archive.
MAX_TEXT = 500
#: An id or address beyond this is no id; RFC 5321 allows an address 256 octets.
MAX_ID = 512
#: What lies outside is a zero value (epoch 0, Go's year 1) or an end of time, not when something happened.
_YEARS = range(1971, 9999)
#: Around ids: white space, and the NUL that ends a C string.
_PADDING = " \t\r\n\0"


def object_of(element: object) -> dict[str, Any]:
    """Take an element that must be a JSON object; raise PayloadError, which says what it is instead."""
    if isinstance(element, dict):
        return element
    if isinstance(element, str):
        if element.lstrip()[:1] in ("{", "["):
            try:
                orjson.loads(element)
            except orjson.JSONDecodeError as error:
                raise PayloadError(f"broken JSON: {error}") from None
            raise PayloadError("a JSON text inside a JSON string, where an object is expected")
        raise PayloadError("text, where a JSON object is expected")
    raise PayloadError(f"a JSON {_JSON_TYPES.get(type(element), 'value')}, where an object is expected")


_JSON_TYPES = {list: "array", type(None): "null", bool: "boolean", int: "number", float: "number"}


def part_of(record: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Take an object inside an object; one that is absent, or of another type, is empty."""
    part = record.get(name)
    return part if isinstance(part, dict) else {}


def text_of(value: object) -> str | None:
    """Take a text for people: NULs replaced, cut to MAX_TEXT; a whole number is written out; else None."""
    if type(value) is int:
        # Python refuses to write out integers of thousands of digits, and nobody wants to read one.
        return str(value) if -(10**30) < value < 10**30 else None
    if not isinstance(value, str):
        return None
    text = value[: MAX_TEXT * 2].strip()
    if "\0" in text:
        text = text.replace("\0", "\N{REPLACEMENT CHARACTER}")
    return text[:MAX_TEXT] or None


def identifier(value: object) -> str | None:
    """Take an id or an address, as sent; None when there is none.

    Raises:
        PayloadError: it is longer than any id.
    """
    if type(value) is int:
        value = str(value) if -(10**30) < value < 10**30 else None
    if not isinstance(value, str):
        return None
    if len(value) > MAX_ID:
        raise PayloadError(f"an id or address of {len(value)} characters")
    return value.strip(_PADDING) or None


def required(value: object, name: str) -> str:
    """Take an id without which nothing can be said; raise PayloadError, which names it when absent."""
    found = identifier(value)
    if found is None:
        raise PayloadError(f"no {name}")
    return found


def own_id(names: Iterable[str], *places: Mapping[str, Any]) -> str | None:
    """Find one of our own ids by its configured names, in order; a name matches exactly, else in any case."""
    for place in places:
        if place:
            for name in names:
                found = _first(place.get(name))
                if found is not None:
                    return found
    for place in places:
        if place:
            by_lower_case = {key.lower(): value for key, value in place.items()}
            for name in names:
                found = _first(by_lower_case.get(name.lower()))
                if found is not None:
                    return found
    return None


def _first(value: object) -> str | None:
    # Tags and repeated headers come as lists; an id is the first of them.
    if isinstance(value, list):
        value = value[0] if value else None
    return identifier(value)


def message_key(provider: str, native_id: str, own: str | None, recipient: str | None, *, shared: bool) -> str:
    """Name the message: our own id, else `provider:id`; with `:recipient` where one id covers several recipients.

    One message is one message to one recipient, so a shared id of our own needs the recipient just as much.

    Raises:
        PayloadError: the recipient is needed and absent.
    """
    name = own or f"{provider}:{native_id}"
    if not shared:
        return name
    if recipient is None:
        raise PayloadError("one of several recipients has no address")
    return f"{name}:{bare_address(recipient)}"


def bare_address(recipient: str) -> str:
    """Reduce a recipient to what identifies it: lower case, without a display name ('Jane <jane@…>')."""
    if recipient.endswith(">") and "<" in recipient:
        recipient = recipient[recipient.rindex("<") + 1 : -1]
    return recipient.strip().lower()


def time_of(value: object) -> datetime | None:
    """Read an RFC 3339 time; None when it is none, has no zone, or is a zero value."""
    if not isinstance(value, str):
        return None
    try:
        time = msgspec.convert(value, datetime)
    except msgspec.ValidationError:
        return None
    return time if time.tzinfo is not None and time.year in _YEARS else None


def time_of_epoch(value: object) -> datetime | None:
    """Read a number of seconds since 1970-01-01T00:00:00Z; None when it is none or is a zero value."""
    if type(value) is not int and type(value) is not float:
        return None
    try:
        time = datetime.fromtimestamp(value, timezone.utc)
    except (ValueError, OverflowError, OSError):  # not a number, infinite, or beyond the year 9999
        return None
    return time if time.year in _YEARS else None


def each_recipient(recipients: Sequence[Any], event: Callable[[Any], Event]) -> list[Finding]:
    """Make one event a recipient; one bad recipient of several is one `Unreadable`, the others live."""
    if len(recipients) == 1:
        return [event(recipients[0])]
    findings: list[Finding] = []
    for recipient in recipients:
        try:
            findings.append(event(recipient))
        except PayloadError as error:
            findings.append(Unreadable(f"one of {len(recipients)} recipients: {error}", recipient))
    return findings
