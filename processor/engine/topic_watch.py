"""Whether the topics are still as they were when the worker started: if not, it may not claim to be well."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition

from processor.engine.admin import TOPICS_RUNBOOK, changed_topics
from processor.logs import get_logger
from processor.metrics import Metrics

log = get_logger(__name__)

#: Seconds between looks.
_LOOK_SECONDS = 5.0


class TopicWatch:
    """Looks now and then whether topics have gone, have other partitions, or were made anew, and tells it once."""

    def __init__(self, metrics: Metrics) -> None:
        #: What is wrong, with its mend, by topic or partition.
        self.problems: Mapping[str, str] = {}
        self._metrics = metrics
        self._next_look = 0.0
        #: Partitions that ended too early at the last look: one whose leader has just changed may for a moment.
        self._suspected: set[str] = set()

    async def look(
        self, admin: Any, reader: AIOKafkaConsumer, known: Mapping[str, int], reached: Mapping[TopicPartition, int]
    ) -> None:
        """Compare the topics with what is known of them, if it is time to.

        Args:
            admin: asks for the partitions.
            reader: asks for the ends, of open transactions too.
            known: how many partitions each topic had, by its full name.
            reached: offsets that partitions had reached before they were asked for.
        """
        if time.monotonic() < self._next_look:
            return
        self._next_look = time.monotonic() + _LOOK_SECONDS
        problems = await changed_topics(admin, known)
        early = await _ending_early(reader, {tp: end for tp, end in reached.items() if tp.topic not in problems})
        problems.update({place: problem for place, problem in early.items() if place in self._suspected})
        self._suspected = set(early)
        if problems.keys() != self.problems.keys():
            for problem in problems.values():
                log.error("topics_changed", problem=problem)
        self.problems = problems
        self._metrics.topic_problems.set(len(problems))


async def _ending_early(reader: AIOKafkaConsumer, reached: Mapping[TopicPartition, int]) -> dict[str, str]:
    ends = await reader.end_offsets(list(reached)) if reached else {}
    return {
        f"{tp.topic}[{tp.partition}]": (
            f"topic {tp.topic} ends at offset {ends[tp]} in partition {tp.partition}, and had reached {offset}: it was "
            f"made anew, or its broker has lost records; see {TOPICS_RUNBOOK}"
        )
        for tp, offset in reached.items()
        if ends[tp] < offset
    }
