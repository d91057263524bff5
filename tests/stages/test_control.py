"""The control stage without a broker: what a chunk of control records writes, and what it leaves alone."""

import sys
import time
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta, timezone
from typing import Any, NamedTuple

import orjson
import pytest

from processor.domain.delivery import Delivery, State
from processor.engine.stage import Outbox, Partitioning, Positions
from processor.metrics import Metrics
from processor.metrics.labels import NO_PROVIDER, ByDeadReason, ByTopic
from processor.settings import Settings
from processor.stages import STAGE_NAMES, control
from processor.stages.erasures import Erasures, new_erasure
from processor.watch.board import Board
from processor.wire.deadletters import DeadReason
from processor.wire.deliveries import decode_delivery
from processor.wire.erasures import encode_erasure
from processor.wire.partitioner import partition_of
from processor.wire.topics import TOPICS

SETTINGS = Settings(topic_prefix="t.", max_record_bytes=20_000)
PARTITIONS = 4
NOW_MS = 1_763_884_800_000
NOW = datetime.fromtimestamp(NOW_MS / 1000, timezone.utc)
CONTROL, DELIVERIES, DEAD = "t.control.v1", "t.deliveries.v1", "t.dead.v1"


class Record(NamedTuple):
    """A record of the control topic."""

    value: bytes | None
    key: bytes | None = b"DM1"
    offset: int = 0
    timestamp: int = NOW_MS
    headers: tuple[tuple[str, bytes], ...] = ()


class Written(NamedTuple):
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...]


def told(action: str, minute: int = 0, delivery_id: str = "DM1", **facts: Any) -> Record:
    fact = {"time": f"2025-11-23T08:{minute:02}:00Z", "delivery_id": delivery_id, "action": action, **facts}
    return Record(orjson.dumps(fact), delivery_id.encode())


class Corner:
    """The work of the partition that holds DM1."""

    def __init__(self, delivery_id: str = "DM1", clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        counts = {"t." + topic.name: PARTITIONS for topic in TOPICS}
        self.number = partition_of(delivery_id.encode(), PARTITIONS)
        self.metrics = Metrics(STAGE_NAMES)
        self._partitioning = Partitioning(CONTROL, self.number, counts, "cluster")
        self.work = self.anew()

    def anew(self) -> Any:
        return control.stage(SETTINGS, self.metrics, Board(self.metrics), self._clock).start(self._partitioning)

    def take(self, *records: Record, commit: bool = True) -> dict[tuple[str, int], list[Written]]:
        outbox = Outbox(NOW_MS)
        self.work.process(records, outbox)
        if commit:
            self.work.committed(Positions())
        return {target: [Written(*each) for each in written] for target, written in outbox.records.items()}

    def delivery(self, *records: Record) -> Delivery:
        """Give the one delivery that these records write."""
        [written] = self.take(*records)[DELIVERIES, self.number]
        assert written.value is not None
        return decode_delivery(written.value)[1]


@pytest.fixture
def corner() -> Corner:
    return Corner()


class TestDeliveries:
    def test_a_fact_becomes_a_delivery_in_the_partition_of_its_key(self, corner):
        written = corner.take(told("register", label="Autumn sale", planned=10, channel="sms"))
        assert list(written) == [(DELIVERIES, corner.number)]
        [record] = written[DELIVERIES, corner.number]
        assert (record.key, record.timestamp, record.headers) == (b"DM1", NOW_MS, ())
        value = orjson.loads(record.value)
        assert value["delivery_id"] == "DM1"
        assert (value["label"], value["planned"], value["channel"], value["state"]) == (
            "Autumn sale", 10, "sms", "planned"
        )  # fmt: skip

    def test_a_chunk_writes_a_delivery_once_however_much_it_tells(self, corner):
        delivery = corner.delivery(told("register", label="a"), told("start", 5), told("pause", 7))
        assert delivery.state is State.PAUSED
        assert delivery.label is not None

    def test_what_comes_later_is_joined_to_what_was_committed(self, corner):
        corner.take(told("register", label="Autumn sale"))
        delivery = corner.delivery(told("start", 5))
        assert delivery.label is not None
        assert delivery.state is State.RUNNING

    def test_what_tells_nothing_new_writes_nothing(self, corner):
        corner.take(told("start", 5), told("start", 5))
        assert corner.take(told("start", 5)) == {}

    def test_chunks_in_another_order_leave_the_same_delivery(self, corner):
        facts = [told("register", 0, label="a"), told("start", 3, label="b"), told("finish", 9)]
        other = Corner()
        for fact in facts[:-1]:
            corner.take(fact)
        for fact in reversed(facts[1:]):
            other.take(fact)
        assert corner.delivery(facts[-1]) == other.delivery(facts[0])

    def test_deliveries_of_one_chunk_are_kept_apart(self, corner):
        neighbour = next(f"DM{n}" for n in range(2, 99) if partition_of(f"DM{n}".encode(), PARTITIONS) == corner.number)
        written = corner.take(told("start"), told("pause", delivery_id=neighbour))
        found = dict(decode_delivery(each.value) for each in written[DELIVERIES, corner.number] if each.value)
        assert {name: delivery.state for name, delivery in found.items()} == {
            "DM1": State.RUNNING, neighbour: State.PAUSED
        }  # fmt: skip


class TestRecovery:
    def test_what_was_written_is_what_comes_back(self, corner):
        written = corner.take(told("register", label="a"), told("cancel", 1))[DELIVERIES, corner.number]
        again = Corner()
        again.work.restore(written, 7)
        again.work.restored()
        assert again.work.position == 7
        assert again.take(told("register", label="a"), told("cancel", 1)) == {}

    def test_what_was_not_committed_is_not_known_to_the_next_one(self, corner):
        first = corner.take(told("start"), commit=False)
        corner.work = corner.anew()
        assert corner.take(told("start")) == first

    def test_a_null_value_forgets_a_delivery(self, corner):
        written = corner.take(told("start"))[DELIVERIES, corner.number]
        corner.work.restore([*written, Record(None)], 9)
        assert corner.delivery(told("pause", 1)).started_at is None

    def test_what_is_forgotten_is_read_from_the_start(self, corner):
        corner.work.restore(corner.take(told("start"))[DELIVERIES, corner.number], 9)
        corner.work.forget()
        assert corner.work.position == 0
        assert corner.delivery(told("pause", 1)).started_at is None


class TestCancel:
    def test_it_is_written_with_the_delivery_and_nowhere_else(self, corner):
        written = corner.take(told("cancel", 1))
        assert list(written) == [(DELIVERIES, corner.number)]
        [delivery] = written[DELIVERIES, corner.number]
        assert orjson.loads(delivery.value)["canceled_at"] == "2025-11-23T08:01:00Z"

    def test_the_first_moment_counts_whatever_comes_in_which_order(self, corner):
        corner.take(told("cancel", 2))
        assert corner.delivery(told("cancel", 1)).canceled_at == NOW_MS * 1000 + 60_000_000
        assert corner.delivery(told("cancel", 3)).canceled_at == NOW_MS * 1000 + 60_000_000


def refused(written: dict[tuple[str, int], list[Written]]) -> Iterable[str]:
    for (topic, _), records in written.items():
        if topic == DEAD:
            yield from (dict(each.headers)["delivery.dead.reason"].decode() for each in records)


BAD = {
    "no bytes": (b"", "empty_value"),
    "no text": (b"\xff\xfe", "invalid_encoding"),
    "no JSON": (b'{"time":', "invalid_json"),
    # From Python 3.13 on, this is not too deep yet.
    "nested too deeply": (
        b'{"x":' + b"[" * 5_000 + b"]" * 5_000 + b"}",
        "invalid_json" if sys.version_info < (3, 13) else "invalid_control",
    ),
    "too large": (b'{"label": "' + b"x" * 30_000 + b'"}', "record_too_large"),
    "an array": (b"[]", "invalid_control"),
    "no time": (b'{"delivery_id": "DM1", "action": "start"}', "invalid_control"),
    "an unknown action": (told("explode").value, "invalid_control"),
    "no delivery": (told("start", delivery_id="").value, "invalid_control"),
    "a negative plan": (told("start", planned=-1).value, "invalid_control"),
    "a label of 1,001 characters": (told("start", label="x" * 1_001).value, "invalid_control"),
    "to schedule without a date": (told("schedule").value, "invalid_control"),
    "a date outside the calendar": (
        told("schedule", scheduled_at="0001-01-01T00:00:00+01:00").value,
        "invalid_control",
    ),
    "a time days ahead": (
        orjson.dumps({"time": "2025-11-25T08:00:00Z", "delivery_id": "DM1", "action": "start"}),
        "time_ahead",
    ),
}


class TestBadRecords:
    @pytest.mark.parametrize(("value", "reason"), BAD.values(), ids=BAD)
    def test_a_bad_record_is_a_dead_letter_and_the_others_live(self, corner, value, reason):
        bad = Record(value, b"as it came", offset=5, headers=(("own", b"1"),))
        written = corner.take(told("start"), bad, told("pause", 1))
        assert list(refused(written)) == [reason]
        [letter] = written[DEAD, corner.number]
        assert (letter.key, letter.value, letter.headers[0]) == (b"as it came", value, ("own", b"1"))
        assert dict(letter.headers)["__streams.errors.topic"] == CONTROL.encode()
        [delivery] = written[DELIVERIES, corner.number]
        assert orjson.loads(delivery.value)["state"] == "paused"

    def test_it_is_counted_after_the_commit(self, corner):
        bad = Record(b"{}")
        counted = corner.metrics.dead_letters.labels(ByDeadReason(DeadReason.INVALID_CONTROL, NO_PROVIDER))
        corner.take(bad, commit=False)
        assert counted._value.get() == 0
        corner.work.committed(Positions())
        assert counted._value.get() == 1

    def test_a_fault_of_ours_keeps_the_record(self, corner, monkeypatch):
        monkeypatch.setattr(control, "join", lambda *_: 1 / 0)
        written = corner.take(told("start"))
        assert list(refused(written)) == ["internal_error"]

    def test_a_null_value_tells_nothing(self, corner):
        assert corner.take(Record(None)) == {}

    def test_a_record_in_the_wrong_partition_goes_to_its_own_as_it_came(self):
        elsewhere = Corner(next(f"DM{n}" for n in range(2, 99) if Corner(f"DM{n}").number != Corner().number))
        astray = told("start")._replace(key=b"another", headers=(("own", b"1"),))
        written = elsewhere.take(astray)
        assert written == {(CONTROL, Corner().number): [Written(NOW_MS, b"DM1", astray.value, (("own", b"1"),))]}


def delivery_record(**memory: Any) -> bytes:
    """Give a delivery's record with items of its memory changed, by place."""
    corner = Corner()
    [written] = corner.take(told("cancel", 1, label="a", planned=5))[DELIVERIES, corner.number]
    record = orjson.loads(written.value)
    for place, item in memory.items():
        record["memory"][int(place[1:])] = item
    return orjson.dumps(record)


UNREADABLE = {
    "no bytes": b"",
    "no text": b"\xff",
    "nested too deeply": b"[" * 100_000,
    "no memory": b'{"delivery_id": "DM1"}',
    "a newer layout": delivery_record(_0=2),
    "a time before the year 1": delivery_record(_6=[["cancel", -(10**17), 0]]),
    "a time after the year 9999": delivery_record(_6=[["cancel", 0, 10**18]]),
    "a date beyond all": delivery_record(_5=[0, 10**18]),
    "a plan beyond all": delivery_record(_4=[0, 10**15]),
    "of another delivery": delivery_record().replace(b"DM1", b"DM2"),
}


class TestWhatCannotBeRead:
    @pytest.mark.parametrize("value", UNREADABLE.values(), ids=UNREADABLE)
    def test_it_is_set_aside_and_the_others_go_on(self, corner, value):
        corner.work.restore([Record(value, offset=7)], 8)
        corner.work.restored()
        other = next(f"DM{n}" for n in range(2, 99) if Corner(f"DM{n}").number == corner.number)
        written = corner.take(told("start"), told("start", delivery_id=other))
        assert list(refused(written)) == ["row_unreadable"]
        assert [each.key for each in written[DELIVERIES, corner.number]] == [other.encode()]
        [letter] = written[DEAD, corner.number]
        assert b"t.deliveries.v1[" in dict(letter.headers)["__streams.errors.message"]
        assert corner.metrics.rows_unreadable.labels(ByTopic("deliveries.v1"))._value.get() == 1
        corner.work.suspended()
        assert corner.metrics.rows_unreadable.labels(ByTopic("deliveries.v1"))._value.get() == 0

    @pytest.mark.parametrize("mended", [delivery_record(), None], ids=["readable", "forgotten"])
    def test_once_it_is_mended_it_is_taken_again(self, corner, mended):
        corner.work.restore([Record(b"x"), Record(mended)], 8)
        corner.work.restored()
        assert list(refused(corner.take(told("pause", 2)))) == []
        assert corner.metrics.rows_unreadable.labels(ByTopic("deliveries.v1"))._value.get() == 0

    def test_a_key_that_is_no_text_harms_nobody(self, corner):
        corner.work.restore([Record(b"x", key=b"\xff"), Record(None, key=b"\xfe"), Record(b"x", key=None)], 8)
        corner.work.restored()
        assert corner.delivery(told("start")).started_at is not None

    def test_one_from_before_layouts_had_versions_is_read(self, corner):
        record = orjson.loads(delivery_record())
        former = orjson.dumps({**record, "memory": record["memory"][1:]})
        corner.work.restore([Record(former)], 8)
        delivery = corner.delivery(told("finish", 5))
        assert (delivery.label.value, delivery.state) == ("a", State.CANCELED)


class TestErasures:
    def make(self, age: timedelta, ahead: float) -> tuple[Corner, bytes]:
        """Give a partition whose worker knows an erasure of some age, and the erasure's id."""
        corner, erasures = Corner(clock=lambda: NOW_MS / 1000 + ahead), Erasures()
        asked = (new_erasure("ulla@example.com", NOW - age, None) for _ in range(100))
        own = next(each for each in asked if partition_of(each.erasure_id.encode(), PARTITIONS) == corner.number)
        erasures.take([Record(encode_erasure(own), own.erasure_id.encode())])
        stage = control.stage(SETTINGS, corner.metrics, Board(corner.metrics), corner._clock, erasures)
        corner.work = stage.start(corner._partitioning)
        return corner, own.erasure_id.encode()

    @pytest.mark.parametrize("ahead", [0.0, 10 * 365 * 86_400.0])
    def test_one_that_is_over_is_removed_from_both_topics(self, ahead):
        corner, erasure_id = self.make(timedelta(days=31), ahead)
        corner.work.punctuate(is_behind=False)
        written = corner.take()
        assert {topic: [each[1:3] for each in records] for (topic, _), records in written.items()} == {
            CONTROL: [(erasure_id, None)],
            "t.erasures.v1": [(erasure_id, None)],
        }

    def test_no_clock_that_is_ahead_brings_a_person_back(self):
        corner, _ = self.make(timedelta(days=1), 10 * 365 * 86_400.0)
        corner.work.punctuate(is_behind=False)
        assert corner.take() == {}
        corner.work.punctuate(is_behind=False)
        assert not corner.work.is_due


class TestClock:
    def test_a_record_without_timestamp_is_of_now(self):
        corner = Corner(clock=lambda: NOW_MS / 1000)
        absurd = orjson.dumps({"time": "9998-01-01T00:00:00Z", "delivery_id": "DM1", "action": "cancel"})
        written = corner.take(told("start")._replace(timestamp=-1), Record(absurd, timestamp=-1))
        assert list(refused(written)) == ["time_ahead"]
        [delivery] = written[DELIVERIES, corner.number]
        assert (delivery.timestamp, orjson.loads(delivery.value)["state"]) == (NOW_MS, "running")
