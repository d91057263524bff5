"""Check that the topics are as they were when the worker started; otherwise the worker is not healthy."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from aiokafka import TopicPartition

from processor.engine.admin import TOPICS_RUNBOOK
from processor.engine.brokers import Brokers
from processor.logs import get_logger
from processor.metrics import Metrics

log = get_logger(__name__)

#: Seconds between looks.
_LOOK_SECONDS = 5.0


class TopicWatch:
    """Checks periodically whether topics were deleted, repartitioned or created again, and logs it once.

    A partition must end too early at two checks in a row, because its leader may not know the end immediately after an
    election. Open transactions are included, because the end of committed records lags until the marker of a
    transaction is written, in a new topic by all of its first transaction.
    """

    def __init__(self, metrics: Metrics, monotonic: Callable[[], float] = time.monotonic) -> None:
        #: What is wrong, with its mend, by topic or partition.
        self.problems: Mapping[str, str] = {}
        self._metrics, self._monotonic = metrics, monotonic
        self._next_look = 0.0
        #: Partitions that ended too early at the last look.
        self._suspected: set[str] = set()

    async def look(self, brokers: Brokers, known: Mapping[str, int], reached: Mapping[TopicPartition, int]) -> None:
        """Compare the topics with their known state, if a check is due.

        Args:
            brokers: answer for partitions and ends.
            known: the former number of partitions of each topic, by its full name.
            reached: offsets that partitions had reached before their ends are asked for.
        """
        if self._monotonic() < self._next_look:
            return
        self._next_look = self._monotonic() + _LOOK_SECONDS
        problems = await brokers.changed_topics(known)
        early = await _ending_early(brokers, {tp: end for tp, end in reached.items() if tp.topic not in problems})
        problems.update({place: problem for place, problem in early.items() if place in self._suspected})
        self._suspected = set(early)
        if problems.keys() != self.problems.keys():
            for problem in problems.values():
                log.error("topics_changed", problem=problem)
        self.problems = problems
        self._metrics.topic_problems.set(len(problems))


async def _ending_early(brokers: Brokers, reached: Mapping[TopicPartition, int]) -> dict[str, str]:
    # Not the ends of what is committed: see above.
    ends = await brokers.ends(reached)
    return {
        f"{tp.topic}[{tp.partition}]": (
            f"topic {tp.topic} ends at offset {ends[tp]} in partition {tp.partition}, and had reached {offset}: it was "
            f"made anew, or its broker has lost records; see {TOPICS_RUNBOOK}"
        )
        for tp, offset in reached.items()
        if ends[tp] < offset
    }
