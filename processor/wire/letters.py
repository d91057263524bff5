"""Read dead letters back: where a record came from, why it was put aside, and the record to publish again.

Anything with access to the topic can write anything into it, and a record's own headers are as foreign as its value:
what is read here never fails, and what cannot be understood is told as an obstacle.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

from processor.domain.moment import Micros, Millis, to_rfc3339
from processor.wire.deadletters import (
    ERASED_HEADER,
    FORM_HEADER,
    NAME_HEADER,
    ROOM_BESIDE,
    DeadReason,
    Headers,
    Origin,
    size_of,
)
from processor.wire.received import keep_received, window

#: What our headers of a dead letter begin with; a letter that was published by hand may come with them.
_OURS = ("delivery.dead.", "__streams.errors.")
_REASON = "delivery.dead.reason"

#: The headers that mark a record as replayed: how many times, where it came from at first, and as which letter.
ROUND_HEADER, ORIGIN_HEADER, LETTER_HEADER = (f"delivery.replayed.{name}" for name in ("round", "origin", "letter"))
_REPLAYED = frozenset((ROUND_HEADER, ORIGIN_HEADER, LETTER_HEADER))

#: The header by which a gateway tells when it received a raw record, which adapters read.
_RAW_RECEIVED = "received"

#: Digits of a number in a header: what is longer was not written by us.
_DIGITS_MAX = 18

_REASONS = {reason.value: reason for reason in DeadReason}


class LetterId(NamedTuple):
    """The place of a dead letter in its topic, which names it."""

    partition: int
    offset: int

    def __str__(self) -> str:
        return f"{self.partition}-{self.offset}"

    @classmethod
    def parse(cls, text: str) -> LetterId | None:
        """Read an id, like `3-104233`; None: it is none."""
        partition, _, offset = text.partition("-")
        if _is_number(partition) and _is_number(offset):
            return cls(int(partition), int(offset))
        return None


class DeadLetter(NamedTuple):
    """A dead letter, read back."""

    id: LetterId
    #: When it was written, in milliseconds.
    written: Millis
    key: bytes | None
    value: bytes | None
    #: The record's own headers, without ours and without the marks of earlier replays.
    headers: Headers
    #: Why; None: our headers are not there, or a newer version wrote them.
    reason: DeadReason | None
    detail: str
    stacktrace: str
    #: Where the record was read; None: its headers do not tell.
    origin: Origin | None
    #: The record's own timestamp in milliseconds; None: it had none.
    timestamp: Millis | None
    #: How many times it has been replayed before, and where it came from at first.
    rounds: int
    first_origin: Origin | None
    #: The size of the value as it came, in bytes; larger than the value where it was cut.
    size: int
    #: What of the record is missing or altered; None: it is whole.
    damage: str | None

    @property
    def provider(self) -> str | None:
        """The provider that the record's header names."""
        for name, value in self.headers:
            if name.lower() == "provider" and value:
                return value.decode(errors="replace").strip().lower()
        return None


def read_letter(
    place: LetterId, written: Millis, key: bytes | None, value: bytes | None, headers: Headers
) -> DeadLetter:
    """Read a record of the dead letter topic."""
    came, ours = _parted(headers)
    told = {name: (told or b"").decode(errors="replace") for name, told in ours}
    marks = {name: (mark or b"").decode(errors="replace") for name, mark in came if name in _REPLAYED}
    origin = _origin([told.get(f"__streams.errors.{part}", "") for part in ("topic", "partition", "offset")])
    size = told.get("delivery.dead.size", "")
    rounds = marks.get(ROUND_HEADER, "")
    return DeadLetter(
        place,
        written,
        key,
        value,
        tuple([header for header in came if header[0] not in _REPLAYED and not header[0].startswith(_OURS)]),
        _REASONS.get(told.get(_REASON, "")),
        told.get("__streams.errors.message", ""),
        told.get("__streams.errors.stacktrace", ""),
        origin,
        _timestamp(told.get("delivery.dead.timestamp", "")),
        int(rounds) if _is_number(rounds) else 0,
        _origin(marks.get(ORIGIN_HEADER, "").rsplit("|", 2)) or origin,
        int(size) if _is_number(size) else len(value or b""),
        _damage(came, told),
    )


def _parted(headers: Headers) -> tuple[Headers, Headers]:
    """Part the record's own headers from ours, which follow them and begin with the last reason."""
    for number in range(len(headers) - 1, -1, -1):
        if headers[number][0] == _REASON:
            return headers[:number], headers[number:]
    return headers, ()


def _damage(came: Headers, told: dict[str, str]) -> str | None:
    if ERASED_HEADER in told:
        return "its bytes were erased with the data of a person"
    if _REASON not in told:
        return "it has no headers of ours, so this application did not write it"
    forms = [(form or b"").decode(errors="replace") for name, form in came if name == FORM_HEADER]
    if forms:
        return f"its value is the bytes of a {forms[-1]} as they lay in the log, not the value of a record"
    if any(name == NAME_HEADER for name, _ in came):
        return "names of its headers are not text, and are altered here"
    cut = [part for part, name in (("value", "size"), ("key", "key_size")) if f"delivery.dead.{name}" in told]
    if "delivery.dead.headers" in told:
        cut.append("headers")
    if cut:
        return f"it did not fit into the topic: of its {' and '.join(cut)} only the beginning is left"
    return None


def obstacle(letter: DeadLetter, inputs: Collection[str], limit: int) -> str | None:
    """Return why a dead letter cannot be replayed, or None.

    Args:
        letter: as it was read.
        inputs: the full names of the topics that workers read records from which others may publish.
        limit: bytes that a batch of these topics may have.
    """
    if letter.damage is not None:
        return letter.damage
    if letter.origin is None:
        return "its headers do not tell where it came from"
    if letter.origin.topic not in inputs:
        return f"it came from {letter.origin.topic}, which is no topic that records are published to"
    if size_of(letter.key, letter.value, replayed_headers(letter, Millis(0))) > limit - ROOM_BESIDE:
        return "with the headers of a replay it is larger than its topic takes"
    return None


def replayed_headers(letter: DeadLetter, now: Millis) -> Headers:
    """Return the headers of a replayed record: its own, when it was received, and what marks it as replayed.

    Args:
        letter: with an origin.
        now: the present time in milliseconds.
    """
    origin = letter.first_origin
    headers = letter.headers
    if letter.timestamp is not None and replayed_at(letter, now) != letter.timestamp:
        headers = keep_received(headers, letter.timestamp, now)
        if not any(name.lower() == _RAW_RECEIVED for name, _ in headers):
            received = to_rfc3339(Micros(letter.timestamp * 1000))
            headers = (*headers, (_RAW_RECEIVED, received.encode()))
    return (
        *headers,
        (ROUND_HEADER, str(letter.rounds + 1).encode()),
        (ORIGIN_HEADER, ("" if origin is None else "|".join(map(str, origin))).encode()),
        (LETTER_HEADER, str(letter.id).encode()),
    )


def replayed_at(letter: DeadLetter, now: Millis) -> Millis:
    """Return the timestamp of a replayed record in milliseconds: its own, if Kafka would keep that (received.py)."""
    first, last = window(now)
    return letter.timestamp if letter.timestamp is not None and first <= letter.timestamp <= last else now


def _origin(parts: list[str]) -> Origin | None:
    if len(parts) != 3 or not parts[0] or not _is_number(parts[1]) or not _is_number(parts[2]):
        return None
    return Origin(parts[0], int(parts[1]), int(parts[2]))


def _timestamp(text: str) -> Millis | None:
    # What lies beyond the year 9999 no time can be told of.
    return Millis(int(text)) if _is_number(text) and int(text) < 253_402_300_800_000 else None


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= _DIGITS_MAX
