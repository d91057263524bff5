"""The parameters of queries, as data: how each is parsed and described, and which values it takes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from enum import Enum
from typing import Annotated, Any, NamedTuple

import msgspec

from processor.domain.moment import to_microseconds
from processor.web.problems import invalid

#: No event has a longer name: see domain/event.py.
NAME_MAX = 1_000


class Parameter(NamedTuple):
    """One parameter of a query. `parse` raises ValueError, which says what is wrong."""

    name: str
    meaning: str
    schema: Mapping[str, Any]
    parse: Callable[[str], Any]
    #: The values that it takes, where they can be listed.
    allowed: tuple[str, ...] = ()
    is_required: bool = False


def choice(name: str, values: Iterable[str | Enum], meaning: str) -> Parameter:
    """Declare a parameter that takes one of some values: texts, or members of an enumeration by their values."""
    return named(name, {value.value if isinstance(value, Enum) else value: value for value in values}, meaning)


def named(name: str, known: Mapping[str, Any], meaning: str) -> Parameter:
    """Declare a parameter that takes one of some names, and gives what it stands for."""
    allowed = tuple(known)

    def parse(text: str) -> Any:
        if text not in known:
            raise ValueError(f"must be one of {', '.join(allowed)}")
        return known[text]

    return Parameter(name, meaning, {"type": "string", "enum": list(allowed)}, parse, allowed)


def flag(name: str, meaning: str) -> Parameter:
    """Declare a parameter that takes true or false."""

    def parse(text: str) -> bool:
        if text not in {"true", "false"}:
            raise ValueError("must be true or false")
        return text == "true"

    return Parameter(name, meaning, {"type": "boolean"}, parse, ("true", "false"))


def whole(name: str, low: int, high: int, default: int, meaning: str) -> Parameter:
    """Declare a parameter that takes a whole number."""
    detail = f"must be a whole number from {low} to {high}"

    def parse(text: str) -> int:
        if not (text.isascii() and text.isdecimal() and len(text) < 20 and low <= int(text) <= high):
            raise ValueError(detail)
        return int(text)

    schema = {"type": "integer", "minimum": low, "maximum": high, "default": default}
    return Parameter(name, meaning, schema, parse)


_Moment = Annotated[datetime, msgspec.Meta(tz=True)]


def moment(name: str, meaning: str) -> Parameter:
    """Declare a parameter that takes a time, and gives microseconds since the epoch."""

    def parse(text: str) -> int:
        try:
            # A plus sign that was not encoded arrives as a space; only a space before an offset can be one.
            head, space, offset = text.rpartition(" ")
            time = f"{head}+{offset}" if space and "T" in head.upper() else text
            return to_microseconds(msgspec.convert(time, _Moment))
        except msgspec.ValidationError:
            raise ValueError("must be a time with an offset, like 2026-11-23T08:00:00Z") from None

    return Parameter(name, meaning, {"type": "string", "format": "date-time"}, parse)


def text(name: str, meaning: str, *, min_length: int = 1, max_length: int = NAME_MAX) -> Parameter:
    """Declare a parameter that takes any text, but the empty one only if told."""

    def parse(given: str) -> str:
        if not min_length <= len(given) <= max_length:
            raise ValueError(f"must have {min_length} to {max_length} characters")
        if not is_text(given):
            raise ValueError("must be UTF-8")
        return given

    return Parameter(name, meaning, {"type": "string", "minLength": min_length, "maxLength": max_length}, parse)


def is_text(given: str) -> bool:
    """Return whether a text can be written in UTF-8: what was sent may hold halves of characters."""
    try:
        given.encode()
    except UnicodeEncodeError:
        return False
    return True


def parse_query(query: Mapping[str, str], parameters: Iterable[Parameter]) -> dict[str, Any]:
    """Parse a query into values by name.

    Args:
        query: as it was sent; a name may stand in it twice.
        parameters: those that the route takes.

    Raises:
        ProblemError: a name is unknown, repeated or missing, or a value is not one that its parameter takes.
    """
    known = {parameter.name: parameter for parameter in parameters}
    values: dict[str, Any] = {}
    for name, given in query.items():
        parameter = known.get(name)
        if parameter is None:
            takes = f"it takes {', '.join(known)}" if known else "it takes none"
            raise invalid(f"there is no parameter {name[:100]!r} here; {takes}", tuple(known))
        if name in values:
            raise invalid(f"{name} may be given once")
        try:
            values[name] = parameter.parse(given)
        except ValueError as error:
            raise invalid(f"{name} {error}", parameter.allowed) from None
    for name, parameter in known.items():
        if parameter.is_required and name not in values:
            raise invalid(f"{name} must be given")
    return values
