"""The commands `backup` and `restore`: the state of all workers, as it is on the compacted topics.

A backup is JSON Lines: first a head, then one record a line, in the order of its partition, last their number: one that
was stopped on the way, or filled its disk, is none. Keys, values and headers are base64. It may be taken while workers
run: what it misses comes again with the events, which have their effect once.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Iterator
from io import SEEK_END
from itertools import islice
from pathlib import Path
from typing import BinaryIO

import click
import msgspec

from processor.cli.buckets import Side
from processor.cli.common import EXIT_FAILED, Failure, echo, progress
from processor.cli.connection import run_async, settings_from_environment
from processor.cli.repartition import Repartition
from processor.cli.unreadable import RUNBOOK
from processor.domain.moment import Millis
from processor.engine.admin import count_partitions
from processor.engine.records import Stored
from processor.engine.streams import Outgoing, Writer, read_to_end
from processor.settings import Settings
from processor.wire.counts import RESTORED_HEADER
from processor.wire.readback import UnreadableError
from processor.wire.topics import COUNTS, MESSAGES, OUTPUT_MAX_BYTES, TOPICS, Topic

_FORMAT = 1

#: Counts are read before the rows that they count, which may be newer: from what is restored workers count anew.
STATE: tuple[Topic, ...] = (
    COUNTS,
    *(topic for topic in TOPICS if topic.is_compacted and topic not in (COUNTS, MESSAGES)),
    MESSAGES,
)


class _Head(msgspec.Struct, frozen=True):
    """The first line of a backup."""

    backup: int
    partitions: int


class _Line(msgspec.Struct, frozen=True, omit_defaults=True):
    """A record. Its topic is without the prefix, which may be another one where it is restored."""

    topic: str
    partition: int
    timestamp: int
    key: bytes | None = None
    value: bytes | None = None
    #: Whoever publishes control records may leave a value out.
    headers: tuple[tuple[str, bytes | None], ...] = ()


class _End(msgspec.Struct, frozen=True):
    """The last line of a backup."""

    records: int


#: Bytes of a file's end in which its last line is, if that is the end of a backup.
_END_BYTES = 1_000

_encode = msgspec.json.Encoder().encode
_decode_head = msgspec.json.Decoder(_Head).decode
_decode_end = msgspec.json.Decoder(_End).decode
_decode_line = msgspec.json.Decoder(_Line).decode


@click.command()
@click.argument("file", type=click.File("wb"))
def backup(file: BinaryIO) -> None:
    """Write the state of all messages and deliveries, as it is committed, into a file; `-`: standard output.

    Workers may go on meanwhile. The events that came since are not part of it.
    """
    settings = settings_from_environment()

    async def main() -> int:
        partitions = await count_partitions(settings, settings.topic(MESSAGES))
        file.write(_encode(_Head(_FORMAT, partitions)) + b"\n")
        written = 0
        with progress("backup", None) as advance:
            async for topic, record in _state(settings):
                line = _Line(topic.name, record.partition, record.timestamp, record.key, record.value, record.headers)
                file.write(_encode(line) + b"\n")
                written += 1
                advance(1)
        file.write(_encode(_End(written)) + b"\n")
        return written

    echo(f"wrote {run_async(settings, main):,} records", err=True)


async def _state(settings: Settings) -> AsyncIterator[tuple[Topic, Stored]]:
    for topic in STATE:
        async for record in read_to_end(settings, settings.topic(topic)):
            yield topic, record


@click.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--repartition", is_flag=True, help="Spread the records over the partitions that the topics have.")
def restore(file: Path, repartition: bool) -> None:
    """Write what `backup` wrote into new topics, before any worker runs there.

    The topics must be there (`topics create`), empty, and with as many partitions as they had; with --repartition, all
    with the same number.
    """
    settings = settings_from_environment()

    async def main() -> int:
        written = 0
        with file.open("rb") as lines, Side() as rows:
            head, end = _read_head(lines), _read_end(lines)
            partitions = await count_partitions(settings, settings.topic(MESSAGES)) if repartition else head.partitions
            await _refuse_unfit(settings, partitions)
            records = records_in(settings, lines, end)
            if repartition:
                records = _spread(records, Repartition(settings, partitions, rows))
            async with Writer(settings, max_bytes=OUTPUT_MAX_BYTES) as writer:
                with progress("restore", None) as advance:
                    for record in records:
                        await writer.write(record)
                        written += 1
                        advance(1)
        return written

    echo(f"restored {run_async(settings, main):,} records; now start the workers", err=True)


def _read_head(lines: BinaryIO) -> _Head:
    try:
        head = _decode_head(lines.readline())
    except msgspec.DecodeError as error:
        raise Failure(f"this is no backup: {error}") from None
    if head.backup != _FORMAT:
        raise Failure(f"the backup has format {head.backup}, and this version reads {_FORMAT}")
    return head


def _read_end(lines: BinaryIO) -> int:
    """Return how many records a backup says that it has; the place in the file stays."""
    here = lines.tell()
    lines.seek(max(here, lines.seek(0, SEEK_END) - _END_BYTES))
    last = lines.read().splitlines()[-1:] or [b""]
    lines.seek(here)
    try:
        return _decode_end(last[0]).records
    except msgspec.DecodeError:
        raise Failure("the backup has no end: it was stopped, or its disk was full; take another one") from None


async def _refuse_unfit(settings: Settings, wanted: int) -> None:
    """Refuse topics that hold something, or have another number of partitions than is wanted."""
    for topic in STATE:
        name = settings.topic(topic)
        partitions = await count_partitions(settings, name)
        if partitions != wanted:
            raise Failure(
                f"{name} has {partitions} partitions, and {wanted} are needed: create the topics with "
                f"DELIVERY_PARTITIONS={wanted}, or spread the records with --repartition",
                EXIT_FAILED,
            )
        async for _ in read_to_end(settings, name):
            raise Failure(f"{name} is not empty: restore into new topics, by another DELIVERY_TOPIC_PREFIX")


def _spread(records: Iterator[Outgoing], repartition: Repartition) -> Iterator[Outgoing]:
    """Yield records at their places among other partitions, then what each partition says of itself."""
    for record in records:
        try:
            placed = repartition.place(record)
        except UnreadableError as error:
            raise Failure(f"a record of the backup cannot be read: {error}; {RUNBOOK}") from None
        if placed is not None:
            yield placed
    yield from repartition.rest()


def records_in(settings: Settings, lines: Iterable[bytes], number: int) -> Iterator[Outgoing]:
    """Yield the records to write into new topics, by the lines of a backup after its head, of which so many have one.

    Raises:
        Failure: a line has none, or lines are missing.
    """
    topics = {topic.name: settings.topic(topic) for topic in STATE}
    read = 0
    for read, line in enumerate(islice(lines, number), 1):
        try:
            record = _decode_line(line)
            name = topics[record.topic]
        except (msgspec.DecodeError, KeyError) as error:
            raise Failure(f"line {read + 1} of the backup cannot be read: {error!r}") from None
        headers = record.headers
        if record.topic == COUNTS.name:
            headers = (*headers, (RESTORED_HEADER, b"true"))
        yield Outgoing(name, record.value, record.key, headers, Millis(record.timestamp), record.partition)
    if read < number:
        raise Failure(f"the backup lacks lines: of {number:,} records {read:,} are there")
