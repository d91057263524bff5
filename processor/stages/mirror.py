"""The mirror stage of a shadow: what others publish to the live topics, into topics of its own. It keeps no state.

Everything after it is as it will be when the shadow takes over: it reads own topics only, with its own number of
partitions. What the live group has made itself is left out, since the shadow makes its own. Two groups may be shadows
of each other, while one takes over: what came from a group's own topics does not go back there (ADR 0031).
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from processor.engine.stage import Outbox, Partitioning, Positions, Record, Stage, UnreadableRecord, Work
from processor.metrics import Metrics
from processor.settings import Settings
from processor.stages.dead import DeadLetters
from processor.watch.board import Board
from processor.wire.links import order_in
from processor.wire.mirrored import MIRRORED_HEADER
from processor.wire.partitioner import partition_of
from processor.wire.topics import DEAD, EVENTS, PUBLISHED


class _Event(msgspec.Struct):
    """The part of an event that tells who made it."""

    from_payload: bool = False


_decode = msgspec.json.Decoder(_Event).decode


def stage(settings: Settings, metrics: Metrics, board: Board) -> Stage:
    """Declare the stage."""
    own = {settings.topic(topic.of_live()): settings.topic(topic) for topic in PUBLISHED}

    def start(partitioning: Partitioning) -> Work:
        dead = DeadLetters(settings.topic(DEAD), partitioning, metrics, board)
        is_of_events = partitioning.topic == settings.topic(EVENTS.of_live())
        return Mirror(settings, partitioning, own[partitioning.topic], dead, is_of_events=is_of_events)

    inputs = tuple(topic.of_live() for topic in PUBLISHED)
    return Stage(name="mirror", inputs=inputs, outputs=(*PUBLISHED, DEAD), start=start)


class Mirror(Work):
    """One partition of a live topic."""

    def __init__(
        self, settings: Settings, partitioning: Partitioning, own: str, dead: DeadLetters, *, is_of_events: bool
    ) -> None:
        self._mirrored = MIRRORED_HEADER, settings.shadow_of.encode()
        self._ours = MIRRORED_HEADER, settings.topic_prefix.encode()
        self._number, self._own, self._dead = partitioning.number, own, dead
        self._partitions = partitioning.counts[own]
        self._is_of_events = is_of_events

    def put_aside(self, unreadable: Sequence[UnreadableRecord], outbox: Outbox) -> None:
        """Keep what could not be read as dead letters."""
        self._dead.add_unreadable(unreadable, outbox)

    def process(self, records: Sequence[Record], outbox: Outbox) -> None:
        """Copy every record that others have published: key, value, headers, and when it was received."""
        for record in records:
            try:
                if self._ours not in record.headers and not (self._is_of_events and is_derived(record)):
                    self._copy(record, outbox)
            except Exception as error:
                self._dead.add(record, outbox, error)

    def _copy(self, record: Record, outbox: Outbox) -> None:
        # Without a key, records of one partition stay together and in order.
        key = record.key
        partition = self._number % self._partitions if key is None else partition_of(key, self._partitions)
        headers = (*record.headers, self._mirrored)
        outbox.forward(self._own, partition, record.timestamp, key, record.value, headers)

    def committed(self, positions: Positions) -> None:  # noqa: ARG002 - no changelog
        """Count what was put aside."""
        self._dead.committed()


def is_derived(record: Record) -> bool:
    """Return whether the live group made an event itself: of a payload, or as an order of a link."""
    if record.value is None:
        return False
    if order_in(record.headers) is not None:
        return True
    try:
        return _decode(record.value).from_payload
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        # It is no event, which its dead letter shall say.
        return False
