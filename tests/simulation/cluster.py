"""A Kafka cluster of one broker, as far as transactions go: logs, a transaction coordinator, a group's offsets.

Each rule is one of Kafka 4's own, reduced to one broker and one thread. tests/engine/test_transactions.py shows those
that matter most on a real broker.

What is kept apart, because faults live in between: a transaction is *decided* when its coordinator says so, and *told*
to each partition by a marker, one after the other and later. Until then its records are open, and its offsets pending.
"""

from collections.abc import Callable, Collection
from enum import Enum
from typing import Any, NamedTuple

from aiokafka import TopicPartition
from aiokafka.errors import (
    ConcurrentTransactions,
    IllegalGenerationError,
    InvalidProducerEpoch,
    InvalidProducerIdMapping,
    InvalidTxnState,
    NotEnoughReplicasError,
    OutOfOrderSequenceNumber,
    UnknownMemberIdError,
    UnknownTopicOrPartitionError,
)
from aiokafka.record.memory_records import MemoryRecords
from aiokafka.structs import OffsetAndMetadata

from processor.engine.predecessors import Transaction as Told
from processor.engine.predecessors import Undecided

_NONE = 0
#: aiokafka knows no error of this number.
PRODUCER_FENCED = 90

#: The highest epoch of a producer id; the one after it is the first of another id.
_LAST_EPOCH = 32_766

#: A producer's last batches of a partition that a repetition is recognized by.
_REMEMBERED_BATCHES = 5

#: The group's offsets are a partition of their own as far as transactions go.
OFFSETS = TopicPartition("__consumer_offsets", 0)

#: The versions that a broker of Kafka 4.3 takes, of the requests that are known here; and one of Kafka 3.
VERSIONS = {0: (0, 13), 22: (0, 5), 24: (0, 5), 25: (0, 4), 26: (0, 5), 28: (0, 5)}
OLD_VERSIONS = {**VERSIONS, 26: (0, 3)}


class Fate(Enum):
    """What became of a record."""

    OPEN = "open"
    COMMITTED = "committed"
    ABORTED = "aborted"
    #: The place of a marker: no reader sees it.
    MARKER = "marker"


class Stored:
    """A record in its log."""

    __slots__ = ("fate", "headers", "is_compacted", "key", "offset", "timestamp", "value")

    def __init__(self, offset: int, fate: Fate, record: Any = None) -> None:
        self.offset, self.fate, self.is_compacted = offset, fate, False
        if record is not None:
            self.timestamp, self.key, self.value, self.headers = record

    def __repr__(self) -> str:
        return f"{self.offset}:{self.fate.value}" + ("" if self.fate is Fate.MARKER else f" {self.key}={self.value}")


class Batch(NamedTuple):
    """What one producer writes to one partition at once."""

    producer_id: int
    epoch: int
    sequence: int
    records: list[tuple[int, "bytes | None", "bytes | None", tuple[tuple[str, bytes], ...]]]


class _Producer:
    """What a partition remembers of a producer."""

    __slots__ = ("batches", "epoch")

    def __init__(self, epoch: int) -> None:
        self.epoch = epoch
        #: First sequence, number of records and offset of its last batches of this epoch.
        self.batches: list[tuple[int, int, int]] = []


class Log:
    """One partition."""

    def __init__(self) -> None:
        self.records: list[Stored] = []
        #: Records by producer that wait for their transaction's end.
        self._open: dict[int, list[Stored]] = {}
        self._producers: dict[int, _Producer] = {}
        #: Called when there is more to read.
        self.on_change: list[Callable[[], None]] = []

    @property
    def end(self) -> int:
        """The high watermark."""
        return len(self.records)

    @property
    def stable(self) -> int:
        """The last stable offset: what readers of committed records may read is before it."""
        return min((records[0].offset for records in self._open.values()), default=len(self.records))

    def has_open(self, producer_id: int, epoch: int) -> bool:
        producer = self._producers.get(producer_id)
        return producer_id in self._open and producer is not None and producer.epoch == epoch

    def holders(self) -> dict[int, int]:
        """Give the producers that have records open, each with the offset of the first of them."""
        return {producer_id: records[0].offset for producer_id, records in self._open.items()}

    def append(self, batch: Batch) -> tuple[int, int]:
        """Take a batch; give an error code, and the first offset."""
        producer = self._producers.get(batch.producer_id)
        if producer is None:
            producer = self._producers[batch.producer_id] = _Producer(batch.epoch)
        if batch.epoch < producer.epoch:
            return InvalidProducerEpoch.errno, -1
        if batch.epoch > producer.epoch:
            if batch.sequence:
                return OutOfOrderSequenceNumber.errno, -1
            producer.epoch, producer.batches = batch.epoch, []
        for sequence, count, offset in producer.batches:
            if (sequence, count) == (batch.sequence, len(batch.records)):
                return _NONE, offset
        expected = producer.batches[-1][0] + producer.batches[-1][1] if producer.batches else batch.sequence
        if batch.sequence != expected:
            return OutOfOrderSequenceNumber.errno, -1
        first = self.end
        new = [Stored(offset, Fate.OPEN, record) for offset, record in enumerate(batch.records, first)]
        self.records.extend(new)
        self._open.setdefault(batch.producer_id, []).extend(new)
        producer.batches = [*producer.batches, (batch.sequence, len(batch.records), first)][-_REMEMBERED_BATCHES:]
        return _NONE, first

    def mark(self, producer_id: int, epoch: int, fate: Fate) -> None:
        """Tell the partition how a transaction ended: this ends all that its producer has open here."""
        producer = self._producers.setdefault(producer_id, _Producer(epoch))
        if epoch > producer.epoch:
            producer.epoch, producer.batches = epoch, []
        for record in self._open.pop(producer_id, ()):
            record.fate = fate
        self.records.append(Stored(self.end, Fate.MARKER))
        self._tell()

    def write(self, records: list[Any], fate: Fate = Fate.COMMITTED) -> None:
        """Write as somebody whose transaction is over at once."""
        self.records += [Stored(offset, fate, record) for offset, record in enumerate(records, self.end)]
        self._tell()

    def skip(self) -> None:
        """Write a marker of somebody else's transaction."""
        self.records.append(Stored(self.end, Fate.MARKER))
        self._tell()

    def read(self, position: int, count: int) -> tuple[list[Stored], int]:
        """Give committed records from a position on, from up to so many offsets, and the position after them."""
        after = min(position + count, self.stable)
        found = self.records[position:after]
        return [each for each in found if each.fate is Fate.COMMITTED and not each.is_compacted], max(position, after)

    def committed(self) -> list[Stored]:
        """Give what has ever been committed, in order, of what has been compacted too."""
        return [each for each in self.records if each.fate is Fate.COMMITTED]

    def compact(self) -> None:
        """Remove all but the last record of each key; the last record of all stays."""
        latest: set[bytes | None] = set()
        for record in reversed(self.records[: self.stable]):
            if record.fate is Fate.COMMITTED:
                record.is_compacted = record.key in latest
                latest.add(record.key)

    def _tell(self) -> None:
        for callback in self.on_change:
            callback()


class Offsets:
    """The group's committed offsets, and those of transactions that have not ended."""

    def __init__(self) -> None:
        self.committed: dict[TopicPartition, OffsetAndMetadata] = {}
        self._pending: dict[int, dict[TopicPartition, OffsetAndMetadata]] = {}
        self._epochs: dict[int, int] = {}

    def has_open(self, producer_id: int, epoch: int) -> bool:
        return producer_id in self._pending and self._epochs.get(producer_id) == epoch

    def holders(self) -> dict[int, int]:
        """Give the producers that have offsets pending, each with a number of the transaction."""
        return {producer_id: self._epochs[producer_id] for producer_id in self._pending}

    def is_stable(self, tp: TopicPartition) -> bool:
        """Say whether no transaction that has not ended would change an offset."""
        return not any(tp in offsets for offsets in self._pending.values())

    def add(self, producer_id: int, epoch: int, offsets: dict[TopicPartition, OffsetAndMetadata]) -> int:
        """Take offsets that count when their transaction commits; give an error code."""
        if epoch < self._epochs.get(producer_id, epoch):
            return InvalidProducerEpoch.errno
        self._epochs[producer_id] = epoch
        self._pending.setdefault(producer_id, {}).update(offsets)
        return _NONE

    def mark(self, producer_id: int, epoch: int, fate: Fate) -> None:
        """Learn how a transaction ended."""
        self._epochs[producer_id] = max(epoch, self._epochs.get(producer_id, epoch))
        pending = self._pending.pop(producer_id, {})
        if fate is Fate.COMMITTED:
            self.committed.update(pending)


class Phase(Enum):
    """Where a transactional id stands."""

    EMPTY = "empty"
    ONGOING = "ongoing"
    #: Decided; markers are still to be written.
    PREPARED = "prepared"
    COMPLETE = "complete"


class Transaction:
    """One transactional id, as its coordinator knows it."""

    def __init__(self, producer_id: int, epoch: int, timeout: float) -> None:
        self.producer_id, self.epoch, self.timeout = producer_id, epoch, timeout
        #: Who it was before the end that was answered last (EndTxn v5): whoever asks again is recognized by it.
        self.before: tuple[int, int] | None = None
        self.phase = Phase.EMPTY
        self.places: set[TopicPartition] = set()
        self.fate = Fate.ABORTED
        #: Counts transactions, so that what was scheduled for one does not touch the next.
        self.number = 0
        #: Markers to write: each place, with the producer as whom.
        self.untold: dict[TopicPartition, tuple[int, int]] = {}

    @property
    def producer(self) -> tuple[int, int]:
        return self.producer_id, self.epoch


class Group:
    """The group's present generation, and its members: who else commits offsets is refused."""

    def __init__(self) -> None:
        self.generation = 0
        self._members: frozenset[str] = frozenset()

    def begin(self, members: Collection[str]) -> int:
        """Begin another generation."""
        self.generation += 1
        self._members = frozenset(members)
        return self.generation

    def has(self, transactional_id: str) -> bool:
        """Say whether a transactional id is that of a member, or of one of its partitions that commit apart."""
        return any(f"{transactional_id}-".startswith(f"app-worker-{member}-") for member in self._members)

    def judge(self, generation: int, member: str) -> int:
        """Give the error code for a membership; none is accepted, as brokers do."""
        if (generation, member) == (-1, ""):
            return _NONE
        if member not in self._members:
            return UnknownMemberIdError.errno
        return _NONE if generation == self.generation else IllegalGenerationError.errno


class Cluster:
    """The broker.

    Args:
        later: schedules a call, so many seconds from now.
        marker_delay: gives the seconds until one marker is written.
        first_epoch: the epoch that a new producer id begins with; a high one lets epochs come to their end.
        trace: is told what happens, a line each.
    """

    def __init__(
        self,
        later: Callable[[float, Callable[[], None]], Any],
        marker_delay: Callable[[], float],
        trace: Callable[[str], None],
        first_epoch: int = 0,
    ) -> None:
        self._later, self._marker_delay, self._trace, self._first_epoch = later, marker_delay, trace, first_epoch
        self.logs: dict[TopicPartition, Log] = {}
        self.offsets = Offsets()
        self.group = Group()
        self._transactions: dict[str, Transaction] = {}
        self._producer_ids = 0
        #: Places that were not told of a transaction's end.
        self.forgotten: set[TopicPartition] = set()
        #: The error code that turns the request in hand away.
        self._busy = _NONE
        #: Called with a transactional id when all places have been told of its transaction's end.
        self.on_complete: Callable[[str], None] = lambda _: None
        self._handlers: dict[int, Callable[[Any], dict[str, Any]]] = {
            0: self._produce,
            22: self._init_producer_id,
            24: self._add_partitions,
            25: self._add_offsets,
            26: self._end,
            28: self._commit_offsets,
        }

    def handle(self, request: Any, busy: int = _NONE) -> Any:
        """Do what a request asks for, or turn it away with an error code; give the response."""
        self._busy = busy
        fields = {"throttle_time_ms": 0, "tags": {}, **self._handlers[request.API_KEY](request)}
        return request.RESPONSE_TYPE(*(fields[name] for name in request.RESPONSE_TYPE.SCHEMA.names))

    # Producers

    def _new_producer_id(self) -> int:
        self._producer_ids += 1
        return self._producer_ids

    def _init_producer_id(self, request: Any) -> dict[str, Any]:
        name = request.transactional_id
        found = self._transactions.get(name)
        if self._busy:
            return self._no_producer(self._busy)
        if found is None:
            timeout = request.transaction_timeout_ms / 1000
            found = Transaction(self._new_producer_id(), self._first_epoch, timeout)
            self._transactions[name] = found
        elif found.phase is Phase.PREPARED:
            return self._no_producer(ConcurrentTransactions.errno)
        elif found.phase is Phase.ONGOING:
            self._fence(name, found)
            return self._no_producer(ConcurrentTransactions.errno)
        else:
            found.before = None
            self._bump(found)
        return {"error_code": _NONE, "producer_id": found.producer_id, "producer_epoch": found.epoch}

    @staticmethod
    def _no_producer(error: int) -> dict[str, Any]:
        return {"error_code": error, "producer_id": -1, "producer_epoch": -1}

    def _bump(self, transaction: Transaction) -> None:
        if transaction.epoch >= _LAST_EPOCH:
            transaction.producer_id, transaction.epoch = self._new_producer_id(), 0
        else:
            transaction.epoch += 1

    def _fence(self, name: str, transaction: Transaction) -> None:
        """Abort a transaction in the name of a later epoch."""
        transaction.before = None
        transaction.epoch += 1
        self._decide(name, transaction, Fate.ABORTED, as_whom=transaction.producer)

    # Records and offsets

    def _produce(self, request: Any) -> dict[str, Any]:
        topics = []
        for topic, partitions in request.topics:
            answers = []
            for number, data in partitions:
                error, offset = self._append(request.transactional_id, TopicPartition(topic, number), data)
                answers.append((number, error, offset, -1, 0))
            topics.append((topic, answers))
        return {"topics": topics}

    def _append(self, name: str, place: TopicPartition, data: bytes) -> tuple[int, int]:
        batch = _read_batch(data)
        log = self.logs.get(place)
        if self._busy:
            return self._busy, -1
        if log is None:
            return UnknownTopicOrPartitionError.errno, -1
        if not log.has_open(batch.producer_id, batch.epoch):
            error = self._verify(name, (batch.producer_id, batch.epoch), place)
            if error:
                return error, -1
        error, offset = log.append(batch)
        self._trace(f"broker   {place.topic}[{place.partition}] {batch[:3]} error {error} at {offset}")
        return error, offset

    def _verify(self, name: str, producer: tuple[int, int], place: TopicPartition) -> int:
        """Refuse what belongs to no transaction that is going on (KIP-890)."""
        transaction = self._transactions.get(name)
        if transaction is None or transaction.producer_id != producer[0]:
            return InvalidProducerIdMapping.errno
        if transaction.producer != producer:
            return InvalidProducerEpoch.errno
        if transaction.phase is Phase.PREPARED:
            return NotEnoughReplicasError.errno
        if transaction.phase is not Phase.ONGOING or place not in transaction.places:
            return InvalidTxnState.errno
        return _NONE

    def _commit_offsets(self, request: Any) -> dict[str, Any]:
        producer = request.producer_id, request.producer_epoch
        error = self._busy
        if not error and request.API_VERSION >= 3:
            error = self.group.judge(request.generation_id, request.member_id)
        if not error and not self.offsets.has_open(*producer):
            error = self._verify(request.transactional_id, producer, OFFSETS)
        offsets = {
            TopicPartition(topic, partition): OffsetAndMetadata(offset, metadata)
            for topic, partitions in ((each[0], each[1]) for each in request.topics)
            for partition, offset, metadata in ((part[0], part[1], _metadata(part)) for part in partitions)
        }
        error = error or self.offsets.add(*producer, offsets)
        self._trace(f"broker   offsets {producer} {[tuple(each) for each in offsets.values()]} error {error}")
        answers = [(topic, [(part[0], error) for part in partitions]) for topic, partitions, *_ in request.topics]
        if request.API_VERSION >= 3:
            answers = [(topic, [(*part, {}) for part in partitions], {}) for topic, partitions in answers]
        return {"errors": answers, "topics": answers}

    # Transactions

    def _join(self, request: Any, places: list[TopicPartition]) -> int:
        name = request.transactional_id
        transaction = self._transactions.get(name)
        if self._busy:
            return self._busy
        if transaction is None or transaction.producer_id != request.producer_id:
            return InvalidProducerIdMapping.errno
        if transaction.epoch != request.producer_epoch:
            return InvalidProducerEpoch.errno
        if transaction.phase is Phase.PREPARED:
            return ConcurrentTransactions.errno
        if transaction.phase is not Phase.ONGOING:
            transaction.phase = Phase.ONGOING
            transaction.before = None
            transaction.places = set()
            transaction.number += 1
            number = transaction.number
            self._later(transaction.timeout, lambda: self._time_out(name, transaction, number))
        transaction.places |= set(places)
        return _NONE

    def _add_partitions(self, request: Any) -> dict[str, Any]:
        places = [TopicPartition(topic, number) for topic, numbers in request.topics for number in numbers]
        error = self._join(request, places)
        self._trace(f"broker   join {(request.producer_id, request.producer_epoch)} {sorted(places)} error {error}")
        return {"errors": [(topic, [(number, error) for number in numbers]) for topic, numbers in request.topics]}

    def _add_offsets(self, request: Any) -> dict[str, Any]:
        error = self._join(request, [OFFSETS])
        self._trace(f"broker   join {(request.producer_id, request.producer_epoch)} offsets error {error}")
        return {"error_code": error}

    def _end(self, request: Any) -> dict[str, Any]:
        transaction = self._transactions.get(request.transactional_id)
        is_commit = request.transaction_result if "transaction_result" in request.SCHEMA.names else request.committed
        fate = Fate.COMMITTED if is_commit else Fate.ABORTED
        producer = request.producer_id, request.producer_epoch
        error = self._busy
        if transaction is None:
            error = error or InvalidProducerIdMapping.errno
        elif not error:
            end = self._end_and_bump if request.API_VERSION >= 5 else self._end_in_place
            error = end(request.transactional_id, transaction, producer, fate)
        self._trace(f"broker   end v{request.API_VERSION} {producer} {fate.value} error {error}")
        if error or transaction is None:
            return self._no_producer(error)
        return {"error_code": error, "producer_id": transaction.producer_id, "producer_epoch": transaction.epoch}

    def _end_in_place(self, name: str, transaction: Transaction, producer: tuple[int, int], fate: Fate) -> int:
        """End a transaction as before KIP-890: the next one looks the same, so a late request may end that."""
        if transaction.producer_id != producer[0]:
            return InvalidProducerIdMapping.errno
        if transaction.epoch != producer[1]:
            return InvalidProducerEpoch.errno
        if transaction.phase is Phase.ONGOING:
            self._decide(name, transaction, fate, as_whom=producer)
            return _NONE
        return self._answer_again(transaction, fate)

    def _end_and_bump(self, name: str, transaction: Transaction, producer: tuple[int, int], fate: Fate) -> int:
        """End a transaction with a new epoch in the answer (KIP-890): a late request is told from all later ones."""
        if transaction.producer == producer:
            if transaction.phase is Phase.ONGOING:
                transaction.before = producer
                self._bump(transaction)
                self._decide(name, transaction, fate, as_whom=(producer[0], producer[1] + 1))
                return _NONE
            return ConcurrentTransactions.errno if transaction.phase is Phase.PREPARED else InvalidTxnState.errno
        if transaction.before == producer and transaction.phase is not Phase.ONGOING:
            return self._answer_again(transaction, fate)
        return PRODUCER_FENCED

    @staticmethod
    def _answer_again(transaction: Transaction, fate: Fate) -> int:
        if transaction.phase is Phase.EMPTY or transaction.fate is not fate:
            return InvalidTxnState.errno
        return ConcurrentTransactions.errno if transaction.phase is Phase.PREPARED else _NONE

    def _time_out(self, name: str, transaction: Transaction, number: int) -> None:
        if transaction.phase is Phase.ONGOING and transaction.number == number:
            self._trace(f"broker   {name} timed out")
            self._fence(name, transaction)

    def _decide(self, name: str, transaction: Transaction, fate: Fate, as_whom: tuple[int, int]) -> None:
        transaction.phase, transaction.fate = Phase.PREPARED, fate
        transaction.untold = dict.fromkeys(sorted(transaction.places), as_whom)
        number = transaction.number
        for place in list(transaction.untold):
            self._later(self._marker_delay(), lambda place=place: self._tell(name, transaction, number, place))

    def _tell(self, name: str, transaction: Transaction, number: int, place: TopicPartition) -> None:
        if transaction.number != number or place not in transaction.untold:
            return
        self._mark(place, *transaction.untold.pop(place), transaction.fate)
        if not transaction.untold:
            transaction.phase = Phase.COMPLETE
            self._trace(f"broker   {name} complete")
            self.on_complete(name)

    def _mark(self, place: TopicPartition, producer_id: int, epoch: int, fate: Fate) -> None:
        self._trace(f"broker   {place.topic}[{place.partition}] marker of {producer_id}/{epoch}: {fate.value}")
        target = self.offsets if place == OFFSETS else self.logs[place]
        target.mark(producer_id, epoch, fate)

    def holders(self, place: TopicPartition) -> frozenset[Undecided]:
        """Tell whose transactions hold up a place, and each by what of it."""
        target = self.offsets if place == OFFSETS else self.logs[place]
        return frozenset(Undecided(place, *holder) for holder in target.holders().items())

    def transactional_ids(self, producer_ids: Collection[int], *, spares_members: bool) -> list[str]:
        """Tell the transactional ids that have some producer ids now; of members, only those that have ended."""
        open_phases = (Phase.ONGOING, Phase.PREPARED)
        return [
            name
            for name, found in self._transactions.items()
            if found.producer_id in producer_ids
            and not (spares_members and found.phase in open_phases and self.group.has(name))
        ]

    def transactions(self, producer_ids: Collection[int]) -> list[Told]:
        """Tell the transactional ids of some producer ids."""
        return [
            Told(name, found.producer_id, found.phase.value)
            for name, found in self._transactions.items()
            if found.producer_id in producer_ids
        ]

    def restart(self, forgets: Callable[[], bool]) -> None:
        """Start the broker anew: markers that were still to be written are, or they are forgotten (ADR 0013)."""
        for name, transaction in self._transactions.items():
            for place in list(transaction.untold):
                if forgets():
                    self._trace(f"broker   {place.topic}[{place.partition}] forgets the end of {name}")
                    self.forgotten.add(place)
                    del transaction.untold[place]
                    if not transaction.untold:
                        transaction.phase = Phase.COMPLETE
                else:
                    self._tell(name, transaction, transaction.number, place)


def _metadata(partition: Any) -> str:
    """Find an offset's metadata: the last field, before tags where there are some."""
    return partition[2] if isinstance(partition[2], str) else partition[3]


def _read_batch(data: bytes) -> Batch:
    batch = MemoryRecords(bytes(data)).next_batch()
    records = [(each.timestamp, each.key, each.value, tuple(each.headers)) for each in batch]
    return Batch(batch.producer_id, batch.producer_epoch, batch.base_sequence, records)
