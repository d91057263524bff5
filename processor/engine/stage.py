"""What a stage declares, and what the work of one of its partitions must offer."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from processor.wire.deadletters import ROOM_BESIDE, DeadReason, Headers, UnusableError, size_of
from processor.wire.received import keep_received, window
from processor.wire.topics import INPUT_MAX_BYTES, Topic


class Record(Protocol):
    """One record as it was read; of which partition, its reader knows."""

    offset: int
    #: Milliseconds since the epoch.
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: Headers


@dataclass
class UnreadableRecord:
    """A record that cannot be handed on as one, or a batch that cannot be read. It stands where a record would."""

    offset: int
    #: Milliseconds since the epoch.
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: Headers
    error: UnusableError
    #: What a dead letter says of it besides.
    notes: Headers


#: One record to write: timestamp in milliseconds, key, value, headers. A plain tuple: one is made for every event.
Written = tuple[int, "bytes | None", "bytes | None", Headers]


#: The largest record that may go on, headers included; without any, DELIVERY_MAX_RECORD_BYTES sees to it.
_FORWARDED_MAX = INPUT_MAX_BYTES - ROOM_BESIDE


class Outbox:
    """What one chunk writes, by topic and partition: all of it is committed, or none.

    Args:
        now: the brokers' time in milliseconds, as far as it is known; None: this machine's.
        kept: the first and the last timestamp that records are written with, and else with that of now; None: those
            close to it.
    """

    def __init__(self, now: int | None = None, kept: tuple[int, int] | None = None) -> None:
        self.now = int(time.time() * 1000) if now is None else now
        self.kept = kept or window(self.now)
        self.records: dict[tuple[str, int], list[Written]] = defaultdict(list)

    def to(self, topic: str, partition: int) -> list[Written]:
        """Give the records for one partition, to append to."""
        return self.records[topic, partition]

    def add(  # noqa: PLR0913, PLR0917 - the parts of a Kafka record
        self,
        topic: str,
        partition: int,
        timestamp: int,
        key: bytes | None,
        value: bytes | None,
        headers: Headers = (),
    ) -> None:
        """Add one record; its timestamp, in milliseconds, gives way to the present if it is far from it."""
        self.records[topic, partition].append((timestamp, key, value, headers))

    def forward(  # noqa: PLR0913, PLR0917 - the parts of a Kafka record
        self,
        topic: str,
        partition: int,
        timestamp: int,
        key: bytes | None,
        value: bytes | None,
        headers: Headers = (),
    ) -> None:
        """Add one record that goes on from one that came; a header keeps that one's timestamp if it is far back.

        Raises:
            UnusableError: with its headers it is too large for a topic of input; compressed, it was not.
        """
        if headers and (size := size_of(key, value, headers)) > _FORWARDED_MAX:
            raise UnusableError(
                DeadReason.RECORD_TOO_LARGE, f"{size} bytes with its headers; {_FORWARDED_MAX} can go on"
            )
        self.add(topic, partition, timestamp, key, value, keep_received(headers, timestamp, self.kept[0]))


class Work(Protocol):
    """One partition's share of a stage: its state and what it does with a chunk.

    The engine calls `restore` for what its changelog holds beyond `position`, then `process` and `committed` in turn.
    It never calls `process` again before `committed`: when a transaction fails, it closes the object and makes another.
    """

    #: Whether the state outlives the process: then it is closed with its partition, and else kept for its return.
    is_durable: bool

    #: The ledger position that the state reflects.
    ledger_position: int

    @property
    def position(self) -> int:
        """The changelog position that the state reflects."""

    def restore(self, records: Sequence[Record], position: int) -> None:
        """Take committed records of the changelog, up to a position; a null value is a tombstone."""

    def forget(self) -> None:
        """Forget the state: it reflects more than has been committed."""

    def restore_ledger(self, records: Sequence[Record], position: int) -> None:
        """Take committed records of the ledger, up to a position; the last of each key counts."""

    def restored(self) -> None:
        """Learn that the changelog and the ledger have been read to their ends."""

    @property
    def is_due(self) -> bool:
        """Whether there is something to write although no record has come."""

    def look_around(self, *, is_behind: bool) -> None:
        """Use a moment between chunks for what need not be done at once, a few milliseconds of it.

        Args:
            is_behind: whether records wait.
        """

    def process(self, records: Sequence[Record], outbox: Outbox) -> None:
        """Turn a chunk (of no records, when something is due) into what is to be written.

        Must not raise for anything that a record may hold.
        """

    def put_aside(self, unreadable: Sequence[UnreadableRecord], outbox: Outbox) -> None:
        """Keep what could not be read, in the transaction of the chunk that it came with; `process` may follow."""

    def committed(self, position: int) -> None:
        """Learn that all of the last chunk is true now: update the store, the views and the metrics.

        Args:
            position: the changelog position after what the chunk wrote there; 0 when it wrote nothing.
        """

    def released(self) -> None:
        """Learn that this partition is no longer ours: take back what it added to gauges."""

    def audit(self) -> int:
        """Check what must always hold, at any moment; give by how much it does not: 0 when all is well."""

    def close(self) -> None:
        """Let go of files and memory: the object is not used again."""


class Partitioning(NamedTuple):
    """Where a partition's work stands among the others."""

    topic: str
    number: int
    #: Partitions of each topic, by its full name.
    counts: Mapping[str, int]
    #: The cluster's id: what is kept on disk belongs to it.
    cluster: str


#: What is done with the latest record of each key, in one fetch from one topic.
Take = Callable[[Topic, Sequence[Record]], None]


class Followed(NamedTuple):
    """Compacted topics that every worker reads whole, whichever partitions it has, and what takes their records.

    It is told on the loop that the stage's work runs on, between two steps of that work, and may be told again.
    """

    topics: tuple[Topic, ...]
    take: Take


class Stage(NamedTuple):
    """A stage: what it reads, where its state is kept, what it writes, and how one partition's work is made."""

    name: str
    inputs: tuple[Topic, ...]
    #: The compacted topic whose partition n holds the state of input partition n; None: the stage keeps none.
    changelog: Topic | None
    #: The small compacted topic whose partition n holds what was derived of that state and is not worked out again.
    ledger: Topic | None
    outputs: tuple[Topic, ...]
    start: Callable[[Partitioning], Work]
    #: What the work is to know beside its own partition.
    follows: Followed | None = None
