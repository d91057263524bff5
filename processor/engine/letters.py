"""The topic of dead letters, for whoever lists, shows and settles some of them: bounded in what is read and held."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import aclosing
from typing import NamedTuple

from processor.domain.moment import Millis
from processor.engine.backwards import Backwards
from processor.engine.records import Stored
from processor.engine.replaying import Settler, letter_of, letters_at
from processor.engine.streams import offsets_of, read_to_end
from processor.settings import Settings
from processor.wire.deadletters import DeadReason
from processor.wire.letters import DeadLetter, LetterId, obstacle
from processor.wire.settled import Outcome, Outcomes
from processor.wire.topics import DEAD, INPUT_MAX_BYTES, INPUTS, SETTLED

#: Bytes of values that one request may replay; a first one may be larger.
_BYTES_MAX = 16 * 1024 * 1024


class KnownLetter(NamedTuple):
    """A dead letter, what became of it, and why it cannot be replayed."""

    letter: DeadLetter
    outcome: Outcome | None
    obstacle: str | None


class LetterPage(NamedTuple):
    """Some dead letters, newest first, and where to go on: before which offset, by partition; None: nowhere."""

    found: tuple[KnownLetter, ...]
    before: Mapping[int, int] | None


class LetterCounter(NamedTuple):
    """How many dead letters there are, by reason and outcome, and whether all were looked at."""

    counts: Counter[tuple[DeadReason | None, Outcome | None]]
    is_whole: bool


class Settlement(NamedTuple):
    """Which dead letters were settled, and which were left as they are, and why."""

    settled: tuple[LetterId, ...]
    refused: tuple[tuple[LetterId, str], ...]
    missing: tuple[LetterId, ...]


class DeadLetterTopic:
    """Reads the dead letters and what became of them, on demand; settles those that are named, one request at a time.

    Every method raises MissingTopicError where a topic does not exist, and KafkaError where the brokers do not answer.

    Args:
        settings: where the topics are.
        light: gives a letter without what a list does not need.
    """

    def __init__(self, settings: Settings, light: Callable[[DeadLetter], DeadLetter]) -> None:
        self._settings, self._light = settings, light
        self._inputs = frozenset(settings.topic(topic) for topic in INPUTS)
        #: What became of letters, as far as it has been read.
        self._outcomes = Outcomes()
        self._read_to: dict[int, int] = {}
        self._renewing, self._settling = asyncio.Lock(), asyncio.Lock()

    async def page(  # noqa: PLR0913 - where to begin and to end
        self,
        has: Callable[[DeadLetter, Outcome | None], bool],
        limit: int,
        *,
        before: Mapping[int, int] | None = None,
        since: Millis | None = None,
        until: Millis | None = None,
        most: int | None = None,
    ) -> LetterPage:
        """Return the newest letters that are chosen.

        Args:
            has: chooses.
            limit: how many to return at most.
            before: where the page before ended.
            since: end with the first letter of this time, in milliseconds.
            until: begin before the first letter of this time.
            most: how many letters to look at; None: all. A page may have few letters and still a next one.
        """
        outcomes = await self._renewed()
        backwards = Backwards(self._settings, self._settings.topic(DEAD), self._kept, before)
        found: list[KnownLetter] = []
        looked_at = 0
        async with aclosing(backwards.records(until)) as newest:
            async for placed in newest:
                letter, hindrance = placed.kept
                if since is not None and letter.written < since:
                    # Over all partitions the newest comes first.
                    return LetterPage(tuple(found), None)
                outcome = outcomes.of(letter)
                if has(letter, outcome):
                    found.append(KnownLetter(letter, outcome, hindrance))
                looked_at += 1
                if len(found) == limit or looked_at == most:
                    break
        return LetterPage(tuple(found), None if backwards.is_done else backwards.before)

    async def one(self, wanted: LetterId) -> KnownLetter | None:
        """Return a letter; None: none is kept under this id."""
        outcomes = await self._renewed()
        found = [letter async for letter in letters_at(self._settings, [wanted])]
        return KnownLetter(found[0], outcomes.of(found[0]), self._obstacle(found[0])) if found else None

    async def count(self, most: int | None = None) -> LetterCounter:
        """Count the letters that are kept, by reason and by what became of them.

        Args:
            most: how many offsets of the topic to look at, the newest of each partition; None: all.
        """
        outcomes, topic = await self._renewed(), self._settings.topic(DEAD)
        places = await offsets_of(self._settings, topic)
        share = None if most is None else most // len(places)
        begin = {number: first if share is None else max(first, end - share) for number, (first, end) in places.items()}
        counts: Counter[tuple[DeadReason | None, Outcome | None]] = Counter()
        async with aclosing(read_to_end(self._settings, topic, begin=begin)) as records:
            async for record in records:
                letter = letter_of(record)
                counts[letter.reason, outcomes.of(letter)] += 1
        return LetterCounter(counts, all(begin[number] == first for number, (first, _) in places.items()))

    async def settle(self, ids: Sequence[LetterId], outcome: Outcome, *, force: bool, dry_run: bool) -> Settlement:
        """Replay or discard the letters that are named, in one transaction.

        Raises:
            TakenOverError: another has begun; nothing was done.
        """
        async with self._settling, Settler(self._settings, is_reading_only=dry_run) as settler:
            chosen: list[DeadLetter] = []
            refused: list[tuple[LetterId, str]] = []
            room = _BYTES_MAX
            async for letter in letters_at(self._settings, ids):
                why = settler.refusal(letter, outcome, force=force)
                room -= len(letter.value or b"")
                if why is None and chosen and room < 0:
                    why = "it did not fit into this request: ask for it once more"
                if why is None:
                    chosen.append(letter if outcome is Outcome.REPLAYED else self._light(letter))
                else:
                    refused.append((letter.id, why))
            if chosen and not dry_run:
                await settler.settle(chosen, outcome)
        seen = {letter.id for letter in chosen} | {letter for letter, _ in refused}
        missing = tuple([each for each in ids if each not in seen])
        return Settlement(tuple([letter.id for letter in chosen]), tuple(refused), missing)

    def _kept(self, record: Stored) -> tuple[DeadLetter, str | None]:
        letter = letter_of(record)
        return self._light(letter), self._obstacle(letter)

    def _obstacle(self, letter: DeadLetter) -> str | None:
        return obstacle(letter, self._inputs, INPUT_MAX_BYTES)

    async def _renewed(self) -> Outcomes:
        """Read on what became of letters."""
        async with self._renewing:
            topic = self._settings.topic(SETTLED)
            async with aclosing(read_to_end(self._settings, topic, begin=self._read_to)) as records:
                async for record in records:
                    self._outcomes.take(record.value)
                    self._read_to[record.partition] = record.offset + 1
            return self._outcomes
