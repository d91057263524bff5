"""What the partitions of a simulation work at, and what must come of it.

A *case* writes the input of a partition, makes the stage, and says what must be on the output topics when each record
had its effect exactly once, in order.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from random import Random
from typing import Any, Protocol

import orjson
from aiokafka import TopicPartition

from processor.engine.stage import Outbox, Partitioning, Positions, Stage, StoredWork, Work
from processor.metrics import Metrics
from processor.settings import Settings
from processor.stages import fold
from processor.watch.board import Board
from processor.wire.partitioner import partition_of
from processor.wire.rows import packed_row_in
from processor.wire.topics import COUNTS, DEAD, EVENTS, MESSAGES, RECEIPTS, REJECTED
from tests.engine.harness import Trial

PREFIX = "t."
PARTITIONS = 3
TOPICS = (EVENTS, MESSAGES, COUNTS, REJECTED, DEAD, RECEIPTS)

#: The start of simulated events, in milliseconds.
_START = 1_795_000_000_000

#: What can be told of an e-mail.
_STATUSES = ("pending", "taken_into_account", "sent", "failed", "ignored", "canceled")

#: A record to write, as an outbox has it.
Entry = tuple[int, "bytes | None", "bytes | None", tuple[tuple[str, bytes], ...]]


def place(topic: Any, number: int) -> TopicPartition:
    return TopicPartition(PREFIX + topic.name, number)


class Disk:
    """What a worker keeps of one partition when it dies."""

    def __init__(self) -> None:
        self.rows: dict[bytes, bytes] = {}
        self.position = 0


class Case(Protocol):
    """A stage's work, and what must come of it."""

    #: Whether the state outlives its process.
    is_durable: bool

    def entry(self, partition: int) -> Entry:
        """Give one more input record of a partition."""

    def stage(self, disks: Mapping[int, Disk]) -> Stage:
        """Make the stage of one worker.

        Args:
            disks: what the worker keeps, by partition; only a durable work uses it.
        """

    def expected(self, inputs: Sequence[Any]) -> tuple[list[tuple[Any, Any]], list[tuple[Any, Any]]]:
        """Give keys and values that must be on the changelog and on the output topic, of a partition's input."""

    def rows(self, work: Work) -> dict[bytes, bytes]:
        """Give the rows that a work holds."""

    def row_in(self, value: bytes) -> bytes:
        """Find the row in a changelog record."""


class Tally:
    """Rows that list all the records that they were told of: nothing can be missing, or twice, and not show.

    Args:
        random: chooses keys.
        knows_records: whether a row does nothing with a record that it has been told of, as the fold's rows do. Else
            each record that is processed again shows, which only a broker that forgets markers excuses.
        is_durable: whether rows are kept on disk.
    """

    def __init__(self, random: Random, *, knows_records: bool, is_durable: bool) -> None:
        self._random, self._knows, self.is_durable = random, knows_records, is_durable
        self._number = 0

    def entry(self, partition: int) -> Entry:
        self._number += 1
        key = b"key %d" % self._random.randrange(4)
        is_removal = not self._knows and self._random.random() < 0.05
        return _START + self._number, key, b"remove" if is_removal else b"%d" % self._number, ()

    def stage(self, disks: Mapping[int, Disk]) -> Stage:
        def start(partitioning: Partitioning) -> Work:
            disk = disks[partitioning.number] if self.is_durable else Disk()
            return _TallyWork(disk, partitioning.number, knows_records=self._knows, is_durable=self.is_durable)

        outputs = (MESSAGES, REJECTED)
        return Stage(name="fold", inputs=(EVENTS,), outputs=outputs, start=start, changelog=MESSAGES)

    def expected(self, inputs: Sequence[Any]) -> tuple[list[tuple[Any, Any]], list[tuple[Any, Any]]]:
        rows: dict[bytes, bytes | None] = {}
        changes = []
        for record in inputs:
            rows[record.key] = _told(rows.get(record.key), record.value)
            changes.append((record.key, rows[record.key]))
        return changes, [(record.key, record.value) for record in inputs]

    def rows(self, work: Any) -> dict[bytes, bytes]:
        return dict(work.disk.rows)

    def row_in(self, value: bytes) -> bytes:
        return value


def _told(row: bytes | None, value: bytes) -> bytes | None:
    if value == b"remove":
        return None
    return value if row is None else row + b"," + value


class _TallyWork(StoredWork):
    """One partition of it."""

    def __init__(self, disk: Disk, number: int, *, knows_records: bool, is_durable: bool) -> None:
        self.disk, self.is_durable = disk, is_durable
        self._number, self._knows = number, knows_records
        self._staged: dict[bytes, bytes | None] | None = None

    @property
    def position(self) -> int:
        return self.disk.position

    def restore(self, records: Sequence[Any], position: int) -> None:
        self._apply({record.key: record.value for record in records}, position)

    def forget(self) -> None:
        self.disk.rows.clear()
        self.disk.position = 0

    def restored(self) -> None:
        """There is nothing to show."""

    def process(self, records: Sequence[Any], outbox: Outbox) -> None:
        assert self._staged is None, "process was called again before committed"
        staged = self._staged = {}
        changelog = place(MESSAGES, self._number)
        for record in records:
            row = staged[record.key] if record.key in staged else self.disk.rows.get(record.key)
            if self._knows and row is not None and record.value in row.split(b","):
                continue
            staged[record.key] = row = _told(row, record.value)
            outbox.add(*changelog, record.timestamp, record.key, row)
            outbox.add(*place(REJECTED, 0), record.timestamp, record.key, record.value)

    def put_aside(self, unreadable: Sequence[Any], outbox: Outbox) -> None:
        raise AssertionError("nothing here is unreadable")

    def committed(self, positions: Positions) -> None:
        assert self._staged is not None or not positions.changelog
        self._apply(self._staged or {}, max(positions.changelog, self.disk.position))
        self._staged = None

    def _apply(self, rows: Mapping[bytes, "bytes | None"], position: int) -> None:
        for key, row in rows.items():
            if row is None:
                self.disk.rows.pop(key, None)
            else:
                self.disk.rows[key] = row
        self.disk.position = position

    def suspended(self) -> None:
        """There is nothing to take back."""

    def close(self) -> None:
        """There is nothing to let go of."""


class Folding:
    """The product's own fold, of a few messages whose events come in any order, some of them twice."""

    is_durable = False

    #: Metrics are dear to make, and no run looks at them.
    _metrics = Metrics(["fold"])
    _messages = tuple(
        [
            name
            for name in (f"message-{number}" for number in range(20))
            if partition_of(name.encode(), PARTITIONS) == partition
        ]
        for partition in range(PARTITIONS)
    )

    def __init__(self, random: Random, settings: Settings) -> None:
        self._random, self._settings = random, settings
        self._number = 0
        self._told: list[list[Entry]] = [[] for _ in range(PARTITIONS)]

    def entry(self, partition: int) -> Entry:
        random, told = self._random, self._told[partition]
        self._number += 1
        if told and random.random() < 0.1:
            return random.choice(told)
        message = random.choice(self._messages[partition][:5])
        time = _START + random.randrange(3_600_000)
        status = random.choice(_STATUSES)
        channel = "email"
        value = {"time": _iso(time), "message_id": message, "channel": channel, "status": status, "delivery_id": "d"}
        told.append((time, message.encode(), orjson.dumps(value), ()))
        return told[-1]

    def stage(self, disks: Mapping[int, Disk]) -> Stage:
        return fold.stage(self._settings, self._metrics, Board(self._metrics))

    def expected(self, inputs: Sequence[Any]) -> tuple[list[tuple[Any, Any]], list[tuple[Any, Any]]]:
        books = Trial._books([_Placed(record) for record in inputs])
        return books.messages[0], books.rejected[0]

    def rows(self, work: Any) -> dict[bytes, bytes]:
        assert work.audit() == 0
        return dict(work._store.items())

    def row_in(self, value: bytes) -> bytes:
        return packed_row_in(value)


class _Placed:
    """An input record as the books want it."""

    partition = 0

    def __init__(self, record: Any) -> None:
        self.value, self.timestamp = record.value, record.timestamp


def _iso(milliseconds: int) -> str:
    return datetime.fromtimestamp(milliseconds / 1000, timezone.utc).isoformat()


def surplus(found: Sequence[Any], expected: Sequence[Any]) -> tuple[Counter[Any], Counter[Any]]:
    """Tell what is there too often, and what is missing."""
    return Counter(found) - Counter(expected), Counter(expected) - Counter(found)
