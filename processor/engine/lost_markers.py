"""Find records whose transaction has ended although its marker is missing, and write the marker.

A broker that dies between a commit and its markers may leave some out for good (ADR 0013). Readers of committed records
then wait before records that only the next transaction of the same producer in the same place decides. Its worker may
never write there again, or be gone. So one worker of the group looks at all outputs, and commits an empty transaction
there by the id that wrote them: what may come twice is better than what is missing.

A changelog is its partition's alone (ADR 0025). Whoever opens the partition ends what the changelog waits for before it
believes what is there (left_open.py). Once it runs, its owner looks: what its own rounds wrote it has already taken for
committed, so that is committed; what others wrote came too late, and is aborted, if the brokers still know the owner as
the owner.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import NamedTuple, NoReturn, Protocol

from aiokafka import TopicPartition
from aiokafka.errors import KafkaError

from processor.engine.bounds import within
from processor.engine.left_open import HANGING_MEND
from processor.engine.pin import PinnedGroup
from processor.engine.predecessors import Transaction, Undecided
from processor.engine.rounds import Rounds
from processor.engine.stage import Stage
from processor.logs import get_logger
from processor.metrics import Metrics
from processor.settings import Settings

log = get_logger(__name__)

#: Seconds between looks, and that one may take.
_LOOK_SECONDS = 15.0
_PATIENCE_SECONDS = 120.0

#: Seconds beyond the commit timeout after which no transaction that goes on is left undecided: producers are given ten
#: more, and brokers look for what has timed out every ten.
_BEYOND_SECONDS = 30.0


class Asked(Protocol):
    """The brokers, as far as they are asked here."""

    async def undecided(self, tps: Collection[TopicPartition]) -> frozenset[Undecided]:
        """Ask whose records in some partitions are neither committed nor aborted."""

    async def transactions(self, producer_ids: Collection[int]) -> Sequence[Transaction]:
        """Ask for the transactional ids of some producers, as far as we may see them."""


class Owned(NamedTuple):
    """A partition that runs, to which a changelog belongs."""

    tp: TopicPartition
    #: The group, as the member that the partition belongs to.
    group: PinnedGroup
    #: Since when it has run.
    since: float


class LostMarkers:
    """Looks at the outputs of a group, and at the changelogs of a worker.

    Args:
        settings: say how long a transaction may take.
        metrics: show what is undecided for too long.
        brokers: are asked.
        rounds: end transactions.
        monotonic: seconds.
    """

    def __init__(
        self, settings: Settings, metrics: Metrics, brokers: Asked, rounds: Rounds, monotonic: Callable[[], float]
    ) -> None:
        self._patience = settings.commit_timeout + _BEYOND_SECONDS
        self._prefix = f"{settings.app_id}-"
        self._metrics, self._brokers, self._rounds, self._monotonic = metrics, brokers, rounds, monotonic
        #: What was undecided at the last look, with the moment since when it has been.
        self._since: dict[Undecided, float] = {}

    async def watch(
        self,
        outputs: Callable[[], Collection[TopicPartition]],
        changelogs: Callable[[], Mapping[TopicPartition, Owned]],
    ) -> NoReturn:
        """Look again and again.

        Args:
            outputs: gives the partitions of all outputs that are no changelogs; none: another worker looks at them.
            changelogs: gives those of this worker's partitions that run.
        """
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            # Brokers that are away are waited for; those that are too old to tell never do.
            with suppress(KafkaError, OSError, asyncio.TimeoutError, NotImplementedError):
                await within(self._look(outputs(), changelogs()), _PATIENCE_SECONDS)

    async def _look(self, outputs: Collection[TopicPartition], changelogs: Mapping[TopicPartition, Owned]) -> None:
        """End what has been undecided for longer than any transaction takes."""
        now = self._monotonic()
        places = [*outputs, *changelogs]
        found = await self._brokers.undecided(places) if places else frozenset()
        self._since = {each: self._since.get(each, now) for each in found}
        late = [each for each, since in self._since.items() if now - since > self._patience]
        names = await self._names(late)
        # What others write in transactions of their own is theirs.
        lost = [each for each in late if names.get(each.producer_id, self._prefix).startswith(self._prefix)]
        self._metrics.undecided_partitions.set(len({each.tp for each in lost}))
        to_commit: dict[str, list[TopicPartition]] = defaultdict(list)
        for each in lost:
            name, owned = names.get(each.producer_id), changelogs.get(each.tp)
            if name is None:
                facts = {"topic": each.tp.topic, "partition": each.tp.partition, "producer_id": each.producer_id}
                log.warning("transaction_hangs", **facts, mend=HANGING_MEND)
            elif owned is None or (self._rounds.is_own(name) and self._is_after_opening(each, owned)):
                to_commit[name].append(each.tp)
            elif self._is_after_opening(each, owned):
                async with self._rounds.ending:
                    await self._rounds.end_transactions(name, owned.group, [each.tp], owned.tp)
                _tell(name, each.tp)
        for name, places in to_commit.items():
            async with self._rounds.ending:
                await self._rounds.commit_in(name, places)
            for place in places:
                _tell(name, place)

    def _is_after_opening(self, undecided: Undecided, owned: Owned) -> bool:
        """Return whether something came after a partition was opened; the opening ends what was there before."""
        return self._since[undecided] >= owned.since

    async def _names(self, found: Collection[Undecided]) -> Mapping[int, str]:
        if not found:
            return {}
        known = await self._brokers.transactions({each.producer_id for each in found})
        return {each.producer_id: each.transactional_id for each in known}


def _tell(transactional_id: str, place: TopicPartition) -> None:
    log.warning("lost_marker_written", topic=place.topic, partition=place.partition, transactional_id=transactional_id)


def outputs_without_changelogs(
    stages: Iterable[Stage], settings: Settings, counts: Mapping[str, int]
) -> list[TopicPartition]:
    """Return all partitions of what stages write to, but for those that hold their states.

    Args:
        stages: all of them.
        settings: say what topics are called.
        counts: partitions of each topic, by its full name.
    """
    stages = list(stages)
    changelogs = {settings.topic(stage.changelog) for stage in stages if stage.changelog is not None}
    topics = {settings.topic(topic) for stage in stages for topic in stage.outputs} - changelogs
    return [TopicPartition(topic, number) for topic in sorted(topics) for number in range(counts.get(topic, 0))]
