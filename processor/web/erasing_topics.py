"""Remove what is told of a person in topics that no worker keeps: links and dead letters (ADR 0027)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection, Mapping
from itertools import count

from processor.engine.admin import delete_before
from processor.engine.clients import KafkaError
from processor.engine.records import Stored
from processor.engine.replaying import Settler, TakenOverError, in_batches, letter_of
from processor.engine.streams import Outgoing, Writer, read_to_end
from processor.providers.addresses import comparable_address
from processor.settings import Settings
from processor.web.quoting import quotes
from processor.wire.deadletters import ERASED_HEADER, UnusableError
from processor.wire.links import decode_link
from processor.wire.topics import DEAD, LINKS

#: How often it is begun to write dead letters anew, while others take over.
_ATTEMPTS = 5


# Links


async def erase_links(settings: Settings, recipient: str) -> int:
    """Remove the links of a recipient that are the newest of their keys; return how many."""
    wanted, topic = comparable_address(recipient), settings.topic(LINKS)
    found: dict[tuple[int, bytes], None] = {}
    async for record in read_to_end(settings, topic):
        if record.key is None:
            continue
        found.pop((record.partition, record.key), None)
        if record.value is not None and _is_link_of(record.value, wanted):
            found[record.partition, record.key] = None
    async with Writer(settings) as writer:
        for partition, key in found:
            await writer.write(Outgoing(topic, None, key, partition=partition))
    return len(found)


def _is_link_of(value: bytes, wanted: str) -> bool:
    try:
        link = decode_link(value, None)
    except UnusableError:
        return quotes(value, wanted)
    ends = (link.recipient, link.message_id.rpartition(":")[2])
    return any(each is not None and comparable_address(each) == wanted for each in ends)


# Dead letters


async def erase_dead_letters(settings: Settings, recipient: str) -> tuple[int, bool]:
    """Remove the dead letters that quote a recipient; return how many there were, and whether they are gone.

    The topic is not compacted: a partition is written anew up to the last of them, and what came before is deleted.
    """
    wanted, topic = comparable_address(recipient), settings.topic(DEAD)
    found: dict[int, set[int]] = {}
    async for record in read_to_end(settings, topic):
        # It takes as long as the record is large, and others have the loop meanwhile.
        if await asyncio.to_thread(_quotes, record, wanted):
            found.setdefault(record.partition, set()).add(record.offset)
    if not found:
        return 0, True
    number = sum(map(len, found.values()))
    await _write_anew(settings, found, wanted)
    try:
        await delete_before(settings, topic, {partition: max(offsets) + 1 for partition, offsets in found.items()})
    except KafkaError:
        # Whoever asks may write and not delete.
        return number, False
    return number, True


async def _write_anew(settings: Settings, found: Mapping[int, Collection[int]], wanted: str) -> None:
    """Write partitions of dead letters anew up to the last one that quotes a recipient, those without their bytes.

    As a replay does, it takes over from whoever replays or writes anew, and discards what it writes anew in the same
    transaction: stopped at any moment, no letter is there twice to be replayed. What was settled before is left out.
    """
    for attempt in count(1):
        try:
            async with Settler(settings) as settler:
                async for batch in in_batches(_waiting(settings, settler, found)):
                    anew = [
                        _erased(record, wanted) if record.offset in found[record.partition] else _again(record)
                        for record in batch
                    ]
                    await settler.replace([letter_of(record) for record in batch], anew)
            return
        except TakenOverError:
            if attempt == _ATTEMPTS:
                raise


async def _waiting(settings: Settings, settler: Settler, found: Mapping[int, Collection[int]]) -> AsyncIterator[Stored]:
    """Yield the letters before the last that was found of each partition, but those that were settled."""
    ends = {partition: max(offsets) + 1 for partition, offsets in found.items()}
    async for record in read_to_end(settings, settings.topic(DEAD), found):
        if record.offset < ends[record.partition] and settler.outcome_of(letter_of(record)) is None:
            yield record


def _quotes(record: Stored, wanted: str) -> bool:
    parts = (record.key, record.value, *(value for _, value in record.headers))
    return any(quotes(part or b"", wanted) for part in parts)


def _again(record: Stored) -> Outgoing:
    # The client sends no record that has neither key nor value.
    value = b"" if record.key is None and record.value is None else record.value
    return Outgoing(record.topic, value, record.key, record.headers, partition=record.partition)


def _erased(record: Stored, wanted: str) -> Outgoing:
    """Return a dead letter without its bytes: reason and place stay, what quotes the recipient goes."""
    headers = tuple((name, value) for name, value in record.headers if not quotes(value or b"", wanted))
    key = None if record.key is None or quotes(record.key, wanted) else record.key
    marked = (*headers, (ERASED_HEADER, b"true"))
    return Outgoing(record.topic, b"", key, marked, partition=record.partition)
