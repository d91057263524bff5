"""The declaration of a stage, and the interface of its work on one partition."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol, runtime_checkable

from processor.domain.moment import Millis
from processor.wire.deadletters import ROOM_BESIDE, DeadReason, Headers, UnusableError, size_of
from processor.wire.received import keep_received, window
from processor.wire.topics import INPUT_MAX_BYTES, Topic


class Record(Protocol):
    """One record as it was read, without its partition, which its reader knows."""

    offset: int
    #: Milliseconds since the epoch.
    timestamp: Millis
    key: bytes | None
    value: bytes | None
    headers: Headers


@dataclass
class UnreadableRecord:
    """An unreadable record or batch, in the place of a record."""

    offset: int
    #: Milliseconds since the epoch.
    timestamp: Millis
    key: bytes | None
    value: bytes | None
    headers: Headers
    error: UnusableError
    #: What a dead letter says of it besides.
    notes: Headers


#: One record to write: timestamp in milliseconds, key, value, headers. A plain tuple: one is made for every event.
Written = tuple[Millis, "bytes | None", "bytes | None", Headers]


#: The largest record that may go on, headers included; without any, DELIVERY_MAX_RECORD_BYTES sees to it.
_FORWARDED_MAX = INPUT_MAX_BYTES - ROOM_BESIDE


class UndeclaredTopicError(Exception):
    """A stage writes to a topic that is not among its outputs: a fault of ours."""


class _Places(dict["tuple[str, int]", "list[Written]"]):
    """Records by topic and partition; a topic is looked at when it is first written to, not for each record."""

    def __init__(self, topics: Collection[str] | None) -> None:
        super().__init__()
        self._topics = topics

    def __missing__(self, place: tuple[str, int]) -> list[Written]:
        if self._topics is not None and place[0] not in self._topics:
            raise UndeclaredTopicError(f"{place[0]} is not among the outputs that the stage declares")
        records: list[Written] = []
        self[place] = records
        return records


class Outbox:
    """The records that one chunk writes, by topic and partition: all of them are committed, or none.

    Args:
        now: the brokers' time in milliseconds, as far as known.
        kept: the first and the last timestamp that records may keep; others become `now`. None: a window around it.
        topics: the full names of the topics that may be written to; None: any.
    """

    def __init__(
        self,
        now: Millis,
        kept: tuple[Millis, Millis] | None = None,
        topics: Collection[str] | None = None,
    ) -> None:
        self.now = now
        self.kept = kept or window(self.now)
        self.records: dict[tuple[str, int], list[Written]] = _Places(topics)

    def to(self, topic: str, partition: int) -> list[Written]:
        """Return the records for one partition, to append to."""
        return self.records[topic, partition]

    def add(  # noqa: PLR0913, PLR0917 - the parts of a Kafka record
        self,
        topic: str,
        partition: int,
        timestamp: Millis,
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
        timestamp: Millis,
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


class Positions(NamedTuple):
    """The offsets after what one chunk wrote to the partition's changelog and ledger; 0 where it wrote nothing."""

    changelog: int = 0
    ledger: int = 0


class Work(Protocol):
    """The work of a stage on one partition: its processing of chunks.

    The engine calls `process` and `committed` in turn. It never calls `process` again before `committed`: if a
    transaction fails, it drops the object and makes another.
    """

    def process(self, records: Sequence[Record], outbox: Outbox) -> None:
        """Process a chunk, which is empty if only due work is to be done, into records to write.

        It must not raise, whatever a record holds.
        """

    def put_aside(self, unreadable: Sequence[UnreadableRecord], outbox: Outbox) -> None:
        """Write unreadable records as dead letters, in the transaction of their chunk; `process` may follow."""

    def committed(self, positions: Positions) -> None:
        """Apply the last chunk, which has been committed: update the store, the findings and the metrics."""


@runtime_checkable
class StatefulWork(Work, Protocol):
    """The work of a stage that has a changelog. The engine calls `restore` with the changelog after `position`."""

    @property
    def position(self) -> int:
        """The changelog position that the state reflects."""

    def restore(self, records: Sequence[Record], position: int) -> None:
        """Take committed records of the changelog, up to a position; a null value is a tombstone."""

    def restored(self) -> None:
        """Take note that the changelog, and the ledger if there is one, have been read to their ends."""

    def forget(self) -> None:
        """Forget the state: it reflects more than has been committed."""

    def suspended(self) -> None:
        """Remove this partition's share from the gauges: it is no longer ours, but may be restored again."""


@runtime_checkable
class LedgerWork(StatefulWork, Protocol):
    """The work of a stage that has a ledger: books that are derived from its state."""

    @property
    def ledger_position(self) -> int:
        """The ledger position that the books reflect."""

    def restore_ledger(self, records: Sequence[Record], position: int) -> None:
        """Take committed records of the ledger, up to a position; the last of each key counts."""


@runtime_checkable
class AuditedWork(Work, Protocol):
    """Work that keeps books which can be checked."""

    def audit(self) -> int:
        """Check the books, which are right at any time; return the error, 0 if there is none."""


@runtime_checkable
class StoredWork(StatefulWork, Protocol):
    """Work whose state is in a store."""

    #: Whether the state outlives the process: then it is closed with its partition, and else kept for its return.
    is_durable: bool

    def close(self) -> None:
        """Release files and memory; the object is not used again."""


@runtime_checkable
class PunctuatedWork(Work, Protocol):
    """Work that goes on when no record comes."""

    @property
    def is_due(self) -> bool:
        """Whether there is something to write without new records."""

    def punctuate(self, *, is_behind: bool) -> None:
        """Do deferred work between chunks, for a few milliseconds.

        Args:
            is_behind: whether there is lag.
        """


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


@dataclass(frozen=True, kw_only=True)
class Stage:
    """A stage: its inputs, the topics of its state, its outputs, and the factory of one partition's work."""

    name: str
    inputs: tuple[Topic, ...]
    #: All topics that its work writes to, changelog and ledger among them.
    outputs: tuple[Topic, ...]
    start: Callable[[Partitioning], Work]
    #: The compacted topic whose partition n holds the state of input partition n: the work is a StatefulWork.
    changelog: Topic | None = None
    #: The small compacted topic whose partition n holds what was derived of that state and is not worked out again: the
    #: work is a LedgerWork.
    ledger: Topic | None = None
    #: What the work is to know beside its own partition.
    follows: Followed | None = None

    def __post_init__(self) -> None:
        """Refuse a stage that would write to what is the live group's."""
        written = (*self.outputs, *(topic for topic in (self.changelog, self.ledger) if topic is not None))
        if live := [topic.name for topic in written if topic.is_live]:
            raise UndeclaredTopicError(f"stage {self.name} declares {', '.join(live)} of the live group as its output")

    def start_work(self, partitioning: Partitioning) -> Work:
        """Make the work of a partition.

        Raises:
            TypeError: it lacks what the topics of the stage ask for: its state would not be restored.
        """
        work = self.start(partitioning)
        if self.changelog is not None and not isinstance(work, StatefulWork):
            raise TypeError(f"stage {self.name} has a changelog, and its work restores nothing from it")
        if self.ledger is not None and not isinstance(work, LedgerWork):
            raise TypeError(f"stage {self.name} has a ledger, and its work restores nothing from it")
        return work


def suspend(work: Work) -> Work | None:
    """Take a work out of the gauges; return it, unless its state outlives it: then it is closed, to be opened anew."""
    if isinstance(work, StatefulWork):
        work.suspended()
    if isinstance(work, StoredWork) and work.is_durable:
        work.close()
        return None
    return work


def close(work: Work) -> None:
    """Let go of a work that is suspended."""
    if isinstance(work, StoredWork):
        work.close()
