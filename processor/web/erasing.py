"""Erase a person: ask for it, wait for the workers, have removed what no worker keeps, and tell when the rest goes.

Workers erase what they keep: rows, links and receipts (ADR 0027). The links topic and the dead letters belong to none
of them, so whoever asks goes through them (erasing_topics.py). What only retention or compaction can remove is told
with its date.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import suppress
from datetime import datetime, timedelta, timezone
from typing import Annotated

import msgspec

from processor.domain.event import MAX_NAME
from processor.domain.moment import from_seconds, to_rfc3339
from processor.engine.admin import MissingTopicError, count_partitions, describe_topics
from processor.engine.bounds import end
from processor.engine.clients import KafkaError
from processor.engine.replaying import TakenOverError
from processor.engine.streams import Outgoing, Writer, read_to_end
from processor.providers.addresses import comparable_address
from processor.settings import Settings
from processor.stages.erasures import is_address, new_erasure
from processor.web.erasing_topics import erase_dead_letters, erase_links
from processor.web.problems import BROKER_AWAY, TAKEN_OVER, ProblemError, invalid
from processor.wire.deadletters import UnusableError
from processor.wire.erasures import ERASURE_HEADERS, ErasedRecord, ErasureRecord, decode_kept, encode_erasure
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
    links = await erase_links(settings, recipient)
    dead_letters, is_dead_erased = await erase_dead_letters(settings, recipient)
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
