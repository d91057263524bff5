"""The declaration of a stage, and the interface of its work on one partition."""

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
    """One record as it was read, without its partition, which its reader knows."""

    offset: int
    #: Milliseconds since the epoch.
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: Headers


@dataclass
class UnreadableRecord:
    """An unreadable record or batch, in the place of a record."""

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
    """The records that one chunk writes, by topic and partition: all of them are committed, or none.

    Args:
        now: the brokers' time in milliseconds, as far as known; None: this machine's.
        kept: the first and the last timestamp that records may keep; others become `now`. None: a window around it.
    """

    def __init__(self, now: int | None = None, kept: tuple[int, int] | None = None) -> None:
        self.now = int(time.time() * 1000) if now is None else now
        self.kept = kept or window(self.now)
        self.records: dict[tuple[str, int], list[Written]] = defaultdict(list)

    def to(self, topic: str, partition: int) -> list[Written]:
        """Return the records for one partition, to append to."""
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
        """Add one record; a timestamp, in milliseconds, that is far from the present is replaced by it."""
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
        """Add one record that derives from a received one; a header keeps a timestamp that is far back.

        Raises:
            UnusableError: with its headers it is too large for an input topic; the received one was compressed.
        """
        if headers and (size := size_of(key, value, headers)) > _FORWARDED_MAX:
            raise UnusableError(
                DeadReason.RECORD_TOO_LARGE, f"{size} bytes with its headers; {_FORWARDED_MAX} can go on"
            )
        self.add(topic, partition, timestamp, key, value, keep_received(headers, timestamp, self.kept[0]))


class Work(Protocol):
    """The work of a stage on one partition: its state and its processing of chunks.

    The engine calls `restore` with the changelog after `position`, then `process` and `committed` in turn. It never
    calls `process` again before `committed`: if a transaction fails, it closes the object and makes another.
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
        """Take note that the changelog and the ledger have been read to their ends."""

    @property
    def is_due(self) -> bool:
        """Whether there is something to write without new records."""

    def look_around(self, *, is_behind: bool) -> None:
        """Do deferred work between chunks, for a few milliseconds.

        Args:
            is_behind: whether there is lag.
        """

    def process(self, records: Sequence[Record], outbox: Outbox) -> None:
        """Process a chunk, which is empty if only due work is to be done, into records to write.

        It must not raise, whatever a record holds.
        """

    def put_aside(self, unreadable: Sequence[UnreadableRecord], outbox: Outbox) -> None:
        """Write unreadable records as dead letters, in the transaction of their chunk; `process` may follow."""

    def committed(self, position: int) -> None:
        """Apply the last chunk, which has been committed: update the store, the findings and the metrics.

        Args:
            position: the changelog position after the chunk's records there; 0 if it wrote none.
        """

    def released(self) -> None:
        """Remove this partition's share from the gauges: it is no longer ours."""

    def audit(self) -> int:
        """Check the invariant, which holds at any time; return the error, 0 if there is none."""

    def close(self) -> None:
        """Release files and memory; the object is not used again."""


class Partitioning(NamedTuple):
    """A partition and the numbers of partitions, as the work needs them."""

    topic: str
    number: int
    #: Partitions of each topic, by its full name.
    counts: Mapping[str, int]
    #: The cluster's id: what is kept on disk belongs to it.
    cluster: str


#: What is done with the latest record of each key, in one fetch from one topic.
Take = Callable[[Topic, Sequence[Record]], None]


class Followed(NamedTuple):
    """Compacted topics that every worker reads whole, whichever partitions it has, and the function that takes them.

    The function is called on the loop of the stage's work, between two steps of it; records may come repeatedly.
    """

    topics: tuple[Topic, ...]
    take: Take


class Stage(NamedTuple):
    """A stage: its inputs, the topics of its state, its outputs, and the factory of one partition's work."""

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
