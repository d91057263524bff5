"""One partition of the fold stage without a broker: what it writes is kept as Kafka would keep it."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import NamedTuple

import orjson
import pytest

from processor.domain.delivery import Action, Control, join
from processor.engine.stage import Outbox, Partitioning, Positions
from processor.engine.store import Store
from processor.metrics import Metrics
from processor.settings import Settings
from processor.stages import expiry, fold
from processor.watch import sweeper
from processor.watch.board import Board
from processor.watch.findings import Partial
from processor.wire.deliveries import encode_delivery
from processor.wire.rows import decode_row_record
from processor.wire.topics import DELIVERIES

START = datetime(2026, 11, 23, 8, tzinfo=timezone.utc)
SETTINGS = Settings(topic_prefix="t.")
TOPICS = {f"t.{name}.v1": 1 for name in ("events", "messages", "counts", "history", "rejected", "dead", "receipts")}


class Read(NamedTuple):
    """A record as the engine hands it over."""

    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: tuple = ()


def event(message_id: str, status: str, minute: float = 0, **fields: object) -> Read:
    time = START + timedelta(minutes=minute)
    value = {"time": time.isoformat(), "message_id": message_id, "channel": "email", "status": status, **fields}
    return Read(0, int(time.timestamp() * 1000), message_id.encode(), orjson.dumps(value))


def canceled(delivery_id: str, minute: float) -> Read:
    """Give what the control stage writes of a delivery that was cancelled."""
    time = START + timedelta(minutes=minute)
    value = encode_delivery(delivery_id, join(None, Control(time, delivery_id, Action.CANCEL)))
    return Read(0, int(time.timestamp() * 1000), delivery_id.encode(), value)


class CountingBoard(Board):
    """A board that counts how often it is written on."""

    puts = 0

    def put(self, partition: int, partial: Partial) -> None:
        super().put(partition, partial)
        self.puts += 1


class Desk:
    """Folds chunks, and starts anew from nothing but what was written."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.metrics = Metrics(["fold"])
        #: All that was written, by topic, in order.
        self.written: dict[str, list[tuple[bytes, bytes | None, tuple]]] = {topic: [] for topic in TOPICS}
        #: What the deliveries topic holds.
        self.deliveries: list[Read] = []
        #: The timestamp of what was written, as it is read again.
        self.written_at = 0
        #: The worker's clock: by default, it is long after all that the tests tell.
        self.now = START + timedelta(days=10_000)
        self._start()

    @property
    def store(self) -> Store:
        """The rows of the work."""
        return self.work._store

    def clock(self) -> float:
        return self.now.timestamp()

    def _start(self) -> None:
        self.board = CountingBoard(self.metrics)
        stage = fold.stage(self.settings, self.metrics, self.board, self.clock)
        self.outputs = [self.settings.topic(topic) for topic in stage.outputs]
        self.work = stage.start_work(Partitioning("t.events.v1", 0, TOPICS, "cluster"))
        assert stage.follows is not None
        self.follow = stage.follows.take

    def cancel(self, delivery_id: str, minute: float) -> None:
        """Have the deliveries topic say that a delivery was cancelled."""
        self.tell(canceled(delivery_id, minute))

    def tell(self, *records: Read) -> None:
        """Put records on the deliveries topic, which the stage follows."""
        self.deliveries += records
        self.follow(DELIVERIES, records)
        self.work.punctuate(is_behind=False)

    def chunk(self, *records: Read) -> None:
        """Fold one chunk and commit it."""
        outbox = Outbox(int(self.now.timestamp() * 1000), topics=self.outputs)
        self.work.process(records, outbox)
        for (topic, _), entries in outbox.records.items():
            self.written[topic] += [(key, value, headers) for _, key, value, headers in entries]
        positions = Positions(len(self.written["t.messages.v1"]), len(self.written["t.counts.v1"]))
        self.work.committed(positions)
        assert self.work.audit() == 0

    def settle(self) -> None:
        """Do what is due without records."""
        while self.work.is_due:
            self.chunk()

    def sweep(self) -> None:
        """Sweep all rows, as is done now and then."""
        before = self.sweeps
        while self.sweeps == before:
            self.work.punctuate(is_behind=False)

    @property
    def sweeps(self) -> int:
        """Count the sweeps that came to their end."""
        return self.board.puts

    def restart(self) -> None:
        """Forget the process; recover from the topics."""
        self.work.suspended()
        self.work.close()
        self._start()
        self.recover()
        if self.deliveries:
            # The follower reads the topic anew, at any time after the partition has opened.
            self.follow(DELIVERIES, self.deliveries)
            self.work.punctuate(is_behind=False)

    def recover(self) -> None:
        """Have the work read what the topics hold, as a partition does that opens."""
        # What is on disk reflects all up to its position.
        missed = self._records("t.messages.v1")[self.work.position :]
        self.work.restore(missed, len(self.written["t.messages.v1"]))
        self.work.restore_ledger(self._records("t.counts.v1"), len(self.written["t.counts.v1"]))
        self.work.restored()
        assert self.work.audit() == 0

    def _records(self, topic: str) -> list[Read]:
        return [Read(offset, self.written_at, *written) for offset, written in enumerate(self.written[topic])]

    def statuses(self) -> dict[str, str]:
        """Give the status of every message, as the last record of each tells it."""
        latest = {key: value for key, value, _ in self.written["t.messages.v1"]}
        records = [decode_row_record(value) for value in latest.values() if value is not None]
        return {record.message_id: record.status.value for record in records}

    def counts(self, delivery_id: str) -> dict:
        """Give the last counts that were published of a delivery."""
        key = f"{delivery_id}|0".encode()
        found = [value for written, value, _ in self.written["t.counts.v1"] if written == key]
        return orjson.loads(found[-1])

    def dead(self) -> list[str]:
        """Give the reasons of the dead letters."""
        return [dict(headers)["delivery.dead.reason"].decode() for _, _, headers in self.written["t.dead.v1"]]

    def gauge(self, status: str, channel: str = "email") -> float:
        return self.metrics.registry.get_sample_value("delivery_messages", {"channel": channel, "status": status}) or 0


@pytest.fixture(params=["memory", "rocksdb"])
def desk(request: pytest.FixtureRequest, tmp_path, monkeypatch) -> Callable[..., Desk]:
    # Nobody waits for the next sweep here, and none that began before what a test does is continued after it.
    monkeypatch.setattr(sweeper, "_SHARE_SECONDS", 1e9)
    monkeypatch.setattr(sweeper, "_REST_SECONDS", 0.0)
    monkeypatch.setattr(sweeper, "_PART_OF_TIME", 1e9)
    monkeypatch.setattr(expiry, "_GRACE_SECONDS", 0.0)

    def make(**settings: object) -> Desk:
        return Desk(replace(SETTINGS, store=request.param, store_path=str(tmp_path), store_cache_mib=8, **settings))

    return make


def non_zero(numbers: dict[str, int]) -> dict[str, int]:
    return {name: number for name, number in numbers.items() if number}


def ids(number: int) -> Iterable[str]:
    return [f"m-{each}" for each in range(number)]
