"""Read the two sides of a comparison from topics: those of the live group, and those of its shadow."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from processor.cli.buckets import Side
from processor.cli.common import progress
from processor.cli.inspect import delivery_totals
from processor.cli.unreadable import describe
from processor.domain.status import Status
from processor.engine.streams import read_to_end
from processor.settings import Settings
from processor.views.comparison import Standing
from processor.wire.links import is_moved
from processor.wire.readback import UnreadableError, read_back
from processor.wire.topics import COUNTS, MESSAGES, Topic

_decode = msgspec.json.Decoder(Standing).decode
_encode = msgspec.json.Encoder().encode

#: Counts by delivery.
Totals = dict[str, dict[Status, int]]


def sides_of(topic: Topic) -> Iterator[Topic]:
    """Yield a topic of the live group, and the shadow's own."""
    yield topic.of_live()
    yield topic


async def read_rows(settings: Settings, topic: Topic, side: Side, left_out: list[str]) -> None:
    """Put what a topic of messages holds into a side; the last record of a message counts."""
    bad: dict[bytes, str] = {}
    with progress(settings.topic(topic), None) as advance:
        async for record in read_to_end(settings, settings.topic(topic)):
            advance(1)
            if record.key is None:
                continue
            bad.pop(record.key, None)
            value = record.value
            try:
                side.put(record.key, None if value is None or is_moved(value) else _standing(value))
            except UnreadableError as error:
                side.put(record.key, None)
                bad[record.key] = describe(record, error)
    left_out += bad.values()


def _standing(value: bytes) -> bytes:
    standing = read_back(_decode, value)
    if standing.rejected:
        # `export` sorts them by name.
        standing = msgspec.structs.replace(standing, rejected=tuple(sorted(standing.rejected)))
    return _encode(standing)


async def read_sides(settings: Settings, sides: tuple[Side, Side], left_out: list[str]) -> None:
    """Read the rows of both sides."""
    for topic, side in zip(sides_of(MESSAGES), sides, strict=True):
        await read_rows(settings, topic, side, left_out)


async def read_counts(settings: Settings, left_out: list[str]) -> tuple[Totals, Totals]:
    """Return what both sides count, by delivery."""
    live, shadow = [await delivery_totals(settings, topic, left_out) for topic in sides_of(COUNTS)]
    return live, shadow
