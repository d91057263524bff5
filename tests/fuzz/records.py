"""Records as nobody should send them: a payload beside headers, a key and a timestamp that were changed at random."""

from __future__ import annotations

from random import Random
from typing import NamedTuple

from tests.fuzz.fragments import TEXTS, TIMES
from tests.fuzz.mutations import Seeds, payload, percent

#: When most records were written, in milliseconds.
USUAL = 1_767_225_600_000

#: Milliseconds since the epoch: absent, wrong units, and the ends of what a record can hold.
TIMESTAMPS = (-1, -(2**63), -2, 0, 1, 1_767_225_600, USUAL * 1_000, 253_402_300_799_999, 253_402_300_800_000, 2**63 - 1)

_OCTETS = (
    None,
    b"",
    b"\0",
    b"\xff\xfe",
    b" kumomta ",
    b"KUMOMTA",
    b"pigeon",
    b"ses,smpp",
    "säs".encode(),
    b"a" * 5_000,
)
_NAMES = (
    "",
    "provider",
    "Provider",
    "account",
    "received",
    "query",
    "traceparent",
    "delivery.control",
    "\0",
    "ä" * 300,
)
_QUERIES = ("message_id=a&delivery_id=b", "message_id=a&message_id=&attempt=99", "?message_id=a", "attempt=0&x")


class Read(NamedTuple):
    """A record as the engine hands it over."""

    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...] = ()


def record(random: Random, offset: int, provider: str, seeds: Seeds) -> Read:
    """Make one record of a provider's; of most, only the payload is odd."""
    value = random.choice((None, b"")) if random.random() < 0.005 else payload(random, seeds)
    headers: tuple[tuple[str, bytes | None], ...] = (("provider", provider.encode()),)
    if random.random() < 0.3:
        headers = _headers(random, headers)
    timestamp = USUAL + random.randrange(86_400_000) if random.random() < 0.9 else random.choice(TIMESTAMPS)
    key = random.choice((None, b"", b"\xff", random.randbytes(12), b"k" * 3_000)) if random.random() < 0.2 else None
    return Read(offset, timestamp, key, value, headers)


def _headers(random: Random, headers: tuple[tuple[str, bytes | None], ...]) -> tuple[tuple[str, bytes | None], ...]:
    kind = random.random()
    if kind < 0.1:
        return random.choice(((), (("provider", random.choice(_OCTETS)),), (*_odd(random), *headers)))
    text = random.choice(random.choice((TEXTS, TIMES)))
    if kind < 0.4:
        query = percent(random, random.choice(_QUERIES) + random.choice(("", f"&{text}", f"={text}")), Seeds([], []))
        return (*headers, ("query", query.encode(errors="replace")))
    if kind < 0.6:
        return (*headers, ("account", random.choice((text.encode(), b"eu-1", random.choice(_OCTETS)))))
    if kind < 0.8:
        return (*headers, ("received", random.choice(TIMES).encode()))
    return (*headers, *_odd(random))


def _odd(random: Random) -> tuple[tuple[str, bytes | None], ...]:
    return tuple((random.choice(_NAMES), random.choice(_OCTETS)) for _ in range(random.choice((1, 2, 40))))
