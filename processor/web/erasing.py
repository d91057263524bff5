"""Erase a person: ask for it, wait for the workers, remove what no worker keeps, and tell when the rest goes.

Workers erase what they keep: rows, links and receipts (ADR 0027). The links topic and the dead letters belong to none
of them, so they are gone through here. What only retention or compaction can remove is told with its date.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from contextlib import suppress
from datetime import datetime, timedelta, timezone
from functools import lru_cache
from itertools import count
from typing import Annotated

import msgspec

from processor.domain.event import MAX_NAME
from processor.domain.moment import from_seconds, to_rfc3339
from processor.engine.admin import MissingTopicError, count_partitions, delete_before, describe_topics
from processor.engine.bounds import end
from processor.engine.clients import KafkaError
from processor.engine.records import Stored
from processor.engine.replaying import Settler, TakenOverError, in_batches, letter_of
from processor.engine.streams import Outgoing, Writer, read_to_end
from processor.providers.addresses import comparable_address
from processor.settings import Settings
from processor.stages.erasures import is_address, new_erasure
from processor.web.masking.reading import read
from processor.web.problems import BROKER_AWAY, TAKEN_OVER, ProblemError, invalid
from processor.wire.deadletters import ERASED_HEADER, UnusableError
from processor.wire.erasures import (
    ERASURE_HEADERS,
    ErasedRecord,
    ErasureRecord,
    decode_kept,
    encode_erasure,
)
from processor.wire.links import decode_link
from processor.wire.topics import (
    CONTROL,
    CORRELATIONS,
    DEAD,
    ERASURES,
    EVENTS,
    LINKS,
    MESSAGES,
    MTA,
    RECEIPTS,
    REJECTED,
    SMS,
    Topic,
)

#: The stages that keep what is told of recipients.
_STAGES = ("fold", "correlate")

#: The topics that have recipients, in the order in which they are told of.
_TOPICS = (MESSAGES, CORRELATIONS, LINKS, DEAD, MTA, SMS, EVENTS, RECEIPTS, REJECTED)

#: Seconds between two looks at what the workers have done.
_LOOK_SECONDS = 0.5

#: Seconds that Kafka may take to take an erasure, and that a request waits for the workers.
_ASK_SECONDS = 20.0
_PATIENCE_SECONDS = 10.0

#: How often it is begun to write dead letters anew, while others take over.
_ATTEMPTS = 5

#: Characters of the shortest address: fewer could be in anything.
_SHORTEST = 5

#: Brokers look for what may be deleted or compacted every few minutes.
_BROKERS_SECONDS = 600

#: An option of so many milliseconds is none.
_NEVER_MS = 1 << 62


class TopicReport(msgspec.Struct, frozen=True, omit_defaults=True):
    """What of a person is still in a topic."""

    topic: str
    #: Whether nobody who reads the newest value of each key finds anything now.
    is_erased: bool
    #: By when older bytes have gone from the brokers' disks, in RFC 3339; null: the topic's options set no time.
    gone_by: str | None
    #: What removes them.
    by: str


class ErasureReport(msgspec.Struct, frozen=True):
    """What of a person is gone, and when the rest will be."""

    erasure_id: str
    time: str
    #: Whether all workers have erased what they keep; if not, they do when they run.
    is_done: bool
    #: From how many messages, native keys, links and dead letters something was removed.
    messages: int
    native_keys: int
    links: int
    dead_letters: int
    #: Until when events of this address are erased as they come, in RFC 3339; null: for ever.
    remembered_until: str | None
    topics: tuple[TopicReport, ...]


class Person(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Whose data is to be erased."""

    #: The whole address or number, as people write it.
    recipient: Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_NAME)]


class Erasing:
    """Erases for one worker's API; what was begun goes on when nobody waits for it any more."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._running: set[asyncio.Future[ErasureReport]] = set()
        #: Held by the one that goes through the topics: that takes long, and two would take over from one another.
        self._finishing = asyncio.Lock()

    async def erase(self, person: Person, asked: Callable[[str], None]) -> ErasureReport:
        """Erase a person's data, and report.

        Args:
            person: whose.
            asked: is told the erasure's id before it is asked for: from then on it may be done, whatever this raises.

        Raises:
            ProblemError: it is no whole address, or Kafka does not answer.
        """
        if not is_whole(person.recipient):
            raise invalid("`recipient` must be a whole address or number")
        task = asyncio.ensure_future(self._erase(person.recipient, asked))
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        try:
            return await asyncio.shield(task)
        except TakenOverError as error:
            raise ProblemError(TAKEN_OVER, str(error)) from None
        except (KafkaError, OSError, MissingTopicError, asyncio.TimeoutError) as error:
            raise ProblemError(BROKER_AWAY, f"Kafka does not take part: {type(error).__name__}") from None

    async def _erase(self, recipient: str, asked: Callable[[str], None]) -> ErasureReport:
        erasure = await asyncio.wait_for(plan(self._settings, recipient), _ASK_SECONDS)
        asked(erasure.erasure_id)
        await asyncio.wait_for(ask(self._settings, erasure), _ASK_SECONDS)
        async with self._finishing:
            return await finish(self._settings, recipient, erasure, _PATIENCE_SECONDS)

    async def stop(self) -> None:
        """End what still runs."""
        await end(list(self._running))


class _Done(msgspec.Struct, frozen=True):
    is_done: bool
    erased: Mapping[str, int]


def is_whole(recipient: str) -> bool:
    """Return whether a text may be a whole address or number: a word would erase every letter that has it."""
    wanted = comparable_address(recipient)
    return is_address(wanted) and len(wanted) >= _SHORTEST


async def plan(settings: Settings, recipient: str) -> ErasureRecord:
    """Make the erasure of an address, with the key of those that are remembered.

    Raises:
        MissingTopicError: the topic of erasures does not exist.
    """
    key = None
    async for kept in _kept(settings):
        if isinstance(kept, ErasureRecord):
            key = kept.key
    return new_erasure(recipient, datetime.now(timezone.utc), key)


async def ask(settings: Settings, erasure: ErasureRecord) -> None:
    """Ask the workers for an erasure.

    Raises:
        MissingTopicError: the topic of control records does not exist.
    """
    topic = settings.topic(CONTROL)
    await count_partitions(settings, topic)
    async with Writer(settings) as writer:
        record = Outgoing(topic, encode_erasure(erasure), erasure.erasure_id.encode(), ERASURE_HEADERS)
        await writer.write(record)


async def finish(settings: Settings, recipient: str, erasure: ErasureRecord, patience: float) -> ErasureReport:
    """Wait for the workers, erase what none of them keeps, and report.

    Args:
        settings: where the topics are.
        recipient: the address, as people write it.
        erasure: as it was asked for.
        patience: seconds to wait for the workers.
    """
    done = await _wait(settings, erasure.erasure_id, patience)
    links = await _erase_links(settings, recipient)
    dead_letters, is_dead_erased = await _erase_dead_letters(settings, recipient)
    options = await describe_topics(settings, _TOPICS)
    now = time.time()
    erased = {
        MESSAGES.name: done.is_done,
        CORRELATIONS.name: done.is_done,
        LINKS.name: True,
        DEAD.name: is_dead_erased,
    }
    until = erasure.time + timedelta(seconds=settings.retention)
    return ErasureReport(
        erasure.erasure_id,
        _written(erasure.time.timestamp()),
        done.is_done,
        done.erased["fold"],
        done.erased["correlate"],
        links,
        dead_letters,
        _written(until.timestamp()) if settings.retention else None,
        tuple(_report(topic, settings, options, erased.get(topic.name, False), now) for topic in _TOPICS),
    )


def _written(seconds: float) -> str:
    return to_rfc3339(from_seconds(float(int(seconds))))


async def _kept(settings: Settings) -> AsyncIterator[ErasureRecord | ErasedRecord]:
    """Yield what the topic of erasures holds."""
    async for record in read_to_end(settings, settings.topic(ERASURES)):
        if record.key is not None and record.value is not None:
            with suppress(UnusableError):
                yield decode_kept(record.key, record.value)


# Workers


async def _wait(settings: Settings, erasure_id: str, patience: float) -> _Done:
    ends = time.monotonic() + patience
    while True:
        done = await _look(settings, erasure_id)
        if done.is_done or time.monotonic() >= ends:
            return done
        await asyncio.sleep(_LOOK_SECONDS)


async def _look(settings: Settings, erasure_id: str) -> _Done:
    """Return what the workers have done of an erasure by now."""
    partitions = await count_partitions(settings, settings.topic(EVENTS))
    told: dict[tuple[str, int], int] = {}
    async for kept in _kept(settings):
        if isinstance(kept, ErasedRecord) and kept.erasure_id == erasure_id:
            told[kept.stage, kept.partition] = max(kept.erased, told.get((kept.stage, kept.partition), 0))
    expected = {(stage, number) for stage in _STAGES for number in range(partitions)}
    erased = {stage: sum(number for (each, _), number in told.items() if each == stage) for stage in _STAGES}
    return _Done(expected <= told.keys(), erased)


# Links


async def _erase_links(settings: Settings, recipient: str) -> int:
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


async def _erase_dead_letters(settings: Settings, recipient: str) -> tuple[int, bool]:
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


#: What people write between the digits of a number.
_BETWEEN = r"[ ().,/\-]{0,3}"

#: Characters that are read at a time, and those of them that are read again with the next ones: more than the longest
#: address has, however it is escaped.
_WINDOW, _OVERLAP = 32 * 1024, 8 * 1024


@lru_cache(maxsize=16)
def _pattern(wanted: str) -> re.Pattern[str]:
    """Return what finds an address, given as addresses are compared, in any form and not within another one."""
    if wanted.isdecimal():
        return re.compile(rf"(?<![0-9])(?:\+|00)?{_BETWEEN.join(wanted)}(?![0-9])")
    return re.compile(rf"(?<![\w.+-]){re.escape(wanted)}(?![\w-]|\.\w)")


def quotes(data: bytes, wanted: str) -> bool:
    """Return whether bytes quote an address, given in the form that addresses are compared in.

    A text as it reads takes a hundred times the room of its bytes, so that a large one is read in parts.
    """
    text = data.decode(errors="replace")
    lasts = max(0, len(text) - _OVERLAP)
    return any(
        _has(text[start : start + _WINDOW], wanted, is_first=not start, is_last=start + _WINDOW >= len(text))
        for start in range(0, lasts or 1, _WINDOW - _OVERLAP)
    )


def _has(part: str, wanted: str, *, is_first: bool, is_last: bool) -> bool:
    """Return whether a part of a text quotes an address; what its edge cuts may be another one."""
    plain = read(part).plain.casefold()
    return any(
        (is_first or found.start()) and (is_last or found.end() < len(plain))
        for found in _pattern(wanted).finditer(plain)
    )


# Dates


def _report(
    topic: Topic, settings: Settings, options: Mapping[str, Mapping[str, str]], is_erased: bool, now: float
) -> TopicReport:
    name = settings.topic(topic)
    found = options[name]
    milliseconds, by = _lasts(found)
    gone_by = None if milliseconds >= _NEVER_MS else _written(now + milliseconds / 1000 + _BROKERS_SECONDS)
    return TopicReport(name, is_erased, gone_by, by)


def _lasts(options: Mapping[str, str]) -> tuple[int, str]:
    """Return for how many milliseconds at most a record's bytes stay after another took its place, and what ends that.

    Brokers remove whole segments: a record stays for as long as its segment takes records, too.
    """
    segment = int(options["segment.ms"])
    lasts: list[tuple[int, str]] = []
    policy = options["cleanup.policy"]
    if "delete" in policy:
        retention = int(options["retention.ms"])
        lasts.append((_NEVER_MS if retention < 0 else segment + retention, "retention.ms"))
    if "compact" in policy:
        lag = int(options["max.compaction.lag.ms"])
        lasts.append((min(_NEVER_MS, lag), "max.compaction.lag.ms"))
    return min(lasts)
