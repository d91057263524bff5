"""Decode foreign JSON; refuse unusable records with the reason of their dead letter."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import timedelta
from functools import lru_cache
from typing import TypeVar

import msgspec
from msgspec import inspect

from processor.domain.event import MAX_AHEAD
from processor.domain.moment import Micros, Millis
from processor.wire.deadletters import DeadReason, UnusableError

Decoded = TypeVar("Decoded")

MAX_AHEAD_MS = MAX_AHEAD // timedelta(milliseconds=1)

#: How msgspec reports a value that its enumeration does not have. The value may hold anything; the path comes last.
_NOT_A_MEMBER = re.compile(r"Invalid enum value .* - at `\$\.([\w.]+)`", re.DOTALL)


def decode_json(decoder: msgspec.json.Decoder[Decoded], value: bytes, invalid: DeadReason) -> Decoded:
    """Decode the value of an untrusted record.

    Args:
        decoder: reads JSON into a type.
        value: the record's value.
        invalid: the reason if the JSON does not fit the type.

    Raises:
        UnusableError: it cannot be decoded; it says why.
    """
    if not value:
        raise UnusableError(DeadReason.EMPTY_VALUE, "the record's value has no bytes")
    try:
        # msgspec does not read what it skips, and an unknown field goes on to the rejected topic as it came.
        if not value.isascii():
            value.decode()
        return decoder.decode(value)
    except msgspec.ValidationError as error:
        raise UnusableError(invalid, explain(error, decoder.type)) from None
    except UnicodeDecodeError as error:
        raise UnusableError(DeadReason.INVALID_ENCODING, str(error)) from None
    except msgspec.DecodeError as error:
        raise UnusableError(DeadReason.INVALID_JSON, str(error)) from None
    except RecursionError:
        raise UnusableError(DeadReason.INVALID_JSON, "nested too deeply") from None


def explain(error: Exception, kind: type) -> str:
    """Return what is wrong with JSON that does not fit a type, with the values that an enumeration allows."""
    allowed = allowed_values(error, kind)
    return f"{error}; allowed: {', '.join(allowed)}" if allowed else str(error)


def allowed_values(error: Exception, kind: type) -> tuple[str, ...]:
    """Return the values that are allowed where JSON has another; none if the error is not about an enumeration."""
    found = _NOT_A_MEMBER.fullmatch(str(error))
    return () if found is None else _enumerations(kind).get(found[1], ())


@lru_cache(maxsize=64)
def _enumerations(kind: type) -> dict[str, tuple[str, ...]]:
    """Return the values of each enumeration in a type, by its path."""
    return dict(_walk(inspect.type_info(kind), ""))


def _walk(described: inspect.Type, path: str) -> Iterator[tuple[str, tuple[str, ...]]]:
    if isinstance(described, inspect.EnumType):
        yield path, tuple(str(member.value) for member in described.cls)
    elif isinstance(described, inspect.UnionType):
        for each in described.types:
            yield from _walk(each, path)
    elif isinstance(described, inspect.StructType):
        for field in described.fields:
            yield from _walk(field.type, f"{path}.{field.encode_name}".lstrip("."))


def is_ahead(time: Micros, record_ms: Millis | None) -> bool:
    """Return whether a time lies more than 24 hours after the record that carries it.

    Args:
        time: microseconds since the epoch.
        record_ms: the Kafka record's timestamp in milliseconds; None (or a negative one, which Kafka uses for "none")
            skips the check.
    """
    return record_ms is not None and record_ms >= 0 and time > (record_ms + MAX_AHEAD_MS) * 1000
