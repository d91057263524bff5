"""Rows and counts that cannot be read: set aside and named, nothing is written over them, and all others go on."""

import base64

import msgspec
import orjson
import pytest

from processor.domain.row import ROW_LAYOUT
from processor.metrics.labels import READ_BACK
from processor.stages import fold
from processor.wire import topics
from processor.wire.readback import UnreadableError
from processor.wire.rows import decode_row_record, encode_row, pack_row
from tests.former_rows import packed_as
from tests.stages.conftest import Read, event, ids, non_zero

pytestmark = pytest.mark.slow

MESSAGES, COUNTS = "t.messages.v1", "t.counts.v1"


def with_memory(value: bytes, change) -> bytes:
    """Give a row's record with its memory changed, as the list that it is."""
    record = orjson.loads(value)
    items = msgspec.msgpack.decode(base64.b64decode(record["memory"]))
    changed = change(items)
    packed = changed if isinstance(changed, bytes) else msgspec.msgpack.encode(changed)
    return orjson.dumps({**record, "memory": base64.b64encode(packed).decode()})


def at(place: int, item: object):
    return lambda items: [*items[:place], item, *items[place + 1 :]]


def moment(value: int):
    """Change how long after the first event of all the first observation was."""
    return lambda items: [*items[:7], [items[7][0], value, 0], *items[8:]]


GARBAGE = {
    "no bytes": lambda _: b"",
    "no text": lambda _: b"\xff\xfe",
    "no JSON": lambda _: b"not json",
    "nested too deeply": lambda _: b"[" * 100_000,
    "a list": lambda _: b"[]",
    "no memory": lambda _: b'{"message_id": "m-1"}',
    "memory is no base64": lambda value: orjson.dumps({**orjson.loads(value), "memory": "*"}),
    "memory is no msgpack": lambda value: with_memory(value, lambda _: b"\xc1"),
    "memory is cut": lambda value: with_memory(value, lambda items: msgspec.msgpack.encode(items)[:-5]),
    "memory is nested too deeply": lambda value: with_memory(value, lambda _: b"\x91" * 100_000),
    "memory is empty": lambda value: with_memory(value, lambda _: []),
    "a newer layout": lambda value: with_memory(value, at(0, ROW_LAYOUT + 1)),
    "a newer layout of another shape": lambda value: with_memory(value, lambda _: [ROW_LAYOUT + 1, {"all": "new"}]),
    "a node that there is not": lambda value: with_memory(value, at(2, 99)),
    "a node of another channel": lambda value: with_memory(value, at(2, 10)),
    "an unknown channel": lambda value: with_memory(value, at(1, "fax")),
    "no observations": lambda value: with_memory(value, at(7, [])),
    "since before the year 1": lambda value: with_memory(value, at(3, -(10**17))),
    "since after the year 9999": lambda value: with_memory(value, at(3, 10**18)),
    "observed before the year 1": lambda value: with_memory(value, at(4, 10**17)),
    "observed after the year 9999": lambda value: with_memory(value, moment(2**63 - 1)),
    "observed at no place": lambda value: with_memory(value, at(7, [0x1B, 0, 0])),
    "attempt 0": lambda value: with_memory(value, at(5, 0)),
}


@pytest.fixture
def d(desk):
    """Three failed messages and one that waits."""
    d = desk()
    d.chunk(
        *(event(name, "failed", delivery_id="DM1") for name in ids(3)), event("waits", "pending", delivery_id="DM1")
    )
    return d


def last(d, topic: str, key: bytes) -> bytes:
    return [value for written, value, _ in d.written[topic] if written == key][-1]


def put(d, topic: str, key: bytes, value: bytes | None) -> None:
    """Have somebody else write to a topic of ours, and the partition open anew."""
    d.written[topic].append((key, value, ()))
    d.restart()
    d.settle()


def unreadable(d, topic: str) -> float:
    return d.metrics.registry.get_sample_value("delivery_rows_unreadable", {"topic": topic.removeprefix("t.")})


def rows(d, key: bytes) -> list[bytes | None]:
    return [value for written, value, _ in d.written[MESSAGES] if written == key]


class TestRows:
    @pytest.mark.parametrize("garbage", GARBAGE.values(), ids=GARBAGE)
    def test_one_that_cannot_be_read_is_set_aside_and_the_others_go_on(self, d, garbage):
        bad = garbage(last(d, MESSAGES, b"m-1"))
        put(d, MESSAGES, b"m-1", bad)
        d.chunk(event("m-1", "sent", 1, delivery_id="DM1"), event("m-2", "sent", 1), event("new", "sent", 1))
        assert d.dead() == ["row_unreadable"]
        assert rows(d, b"m-1")[-1] == bad
        # Failed is final: what contradicts it is withheld, as ever.
        assert {key: d.work.row(key).status.value for key in (b"m-0", b"m-2", b"new", b"waits")} == {
            b"m-0": "failed",
            b"m-2": "failed",
            b"new": "sent",
            b"waits": "pending",
        }
        assert unreadable(d, MESSAGES) == 1
        assert non_zero(d.counts("DM1")["statuses"]) == {"failed": 2, "pending": 1}

    def test_it_is_named_by_topic_partition_offset_and_key(self, d):
        put(d, MESSAGES, b"m-1", b"not json")
        d.chunk(event("m-1", "sent"))
        [(_, _, headers)] = d.written["t.dead.v1"]
        told = dict(headers)["__streams.errors.message"].decode()
        assert "'m-1' in t.messages.v1[0] at offset 4 cannot be read" in told
        [row] = d.board.unreadable()
        assert (row.topic, row.partition, row.offset, row.key) == (MESSAGES, 0, 4, "m-1")
        with pytest.raises(UnreadableError, match="offset 4"):
            d.work.row(b"m-1")

    def test_that_is_not_forgotten_at_a_restart(self, d):
        put(d, MESSAGES, b"m-1", b"not json")
        for _ in range(2):
            d.restart()
            d.chunk(event("m-1", "sent", 1))
        assert d.dead() == ["row_unreadable"] * 2
        assert unreadable(d, MESSAGES) == 1
        d.work.suspended()
        assert unreadable(d, MESSAGES) == 0
        assert d.board.unreadable() == ()

    def test_a_readable_row_is_taken_again(self, d):
        good = last(d, MESSAGES, b"m-1")
        put(d, MESSAGES, b"m-1", b"not json")
        put(d, MESSAGES, b"m-1", good)
        assert unreadable(d, MESSAGES) == 0
        d.chunk(event("m-1", "sent", -1))
        assert d.dead() == []
        assert non_zero(d.counts("DM1")["statuses"]) == {"failed": 3, "pending": 1}

    def test_after_a_tombstone_the_message_begins_anew(self, d):
        put(d, MESSAGES, b"m-1", b"not json")
        put(d, MESSAGES, b"m-1", None)
        assert unreadable(d, MESSAGES) == 0
        d.chunk(event("m-1", "sent", 5, delivery_id="DM1"))
        assert d.dead() == []
        assert non_zero(d.counts("DM1")["statuses"]) == {"failed": 2, "sent": 1, "pending": 1}

    def test_a_cancel_and_retention_leave_it_alone(self, desk):
        d = desk(retention=60.0)
        d.chunk(event("m", "pending", delivery_id="DM1"), event("old", "failed", delivery_id="DM1"))
        d.chunk(event("waits", "pending", 10, delivery_id="DM1"))
        for key in (b"m", b"old"):
            d.written[MESSAGES].append((key, b"not json", ()))
        d.restart()
        d.cancel("DM1", 5)
        d.settle()
        d.sweep()
        d.settle()
        assert rows(d, b"m")[-1] == rows(d, b"old")[-1] == b"not json"
        assert d.work.row(b"waits").status.value == "canceled"

    @pytest.mark.parametrize("key", [b"\xff\xfe", b"m|\x00", b"", b"never heard of"])
    def test_whatever_key_it_has_nobody_dies(self, d, key):
        put(d, MESSAGES, key, b"not json")
        put(d, MESSAGES, key + b"2", last(d, MESSAGES, b"m-1"))
        d.cancel("DM1", 5)
        d.settle()
        d.sweep()
        d.restart()
        assert unreadable(d, MESSAGES) >= 1
        put(d, MESSAGES, b"\xff", None)

    def test_expired_messages_stay_counted_when_a_row_is_set_aside(self, desk):
        d = desk(retention=60.0)
        reason = {"category": "user_unknown", "permanence": "permanent"}
        about = {"delivery_id": "DM1", "provider": "kumomta", "reason": reason}
        d.chunk(*(event(name, "failed", **about) for name in ids(5)))
        d.chunk(event("late-1", "failed", 10, **about), event("late-2", "failed", 10, **about))
        d.sweep()
        d.settle()
        before = d.counts("DM1")
        assert before["expired"] == 5
        put(d, MESSAGES, b"late-1", b"not json")
        after = d.counts("DM1")
        assert (after["expired"], after["messages"]) == (5, 6)
        assert after["failed"] == {"user_unknown": 6}
        assert after["providers"] == {"kumomta": 6}
        d.restart()
        d.chunk(event("m-1", "failed", **about))
        assert d.dead() == ["too_old"]

    @pytest.mark.parametrize("layout", [0, 1])
    def test_rows_of_former_layouts_are_read_and_kept_in_the_present_one(self, d, layout):
        rows = {key: d.work.row(key) for key in (b"m-1", b"waits")}
        for key, row in rows.items():
            former = encode_row(key.decode(), row, None, packed_as(layout, row))
            assert decode_row_record(former).message_id == key.decode()
            d.written[MESSAGES].append((key, former, ()))
        d.restart()
        assert unreadable(d, MESSAGES) == 0
        assert {key: d.work.row(key) for key in rows} == rows
        assert d.store.get_many(list(rows)) == [pack_row(row) for row in rows.values()]
        d.chunk(event("waits", "sent", 1))
        assert d.statuses()["waits"] == "sent"
        memory = base64.b64decode(orjson.loads(last(d, MESSAGES, b"waits"))["memory"])
        assert msgspec.msgpack.decode(memory)[0] == ROW_LAYOUT
        assert memory == pack_row(d.work.row(b"waits"))


COUNTS_GARBAGE = {
    "no JSON": lambda _: b"not json",
    "a newer layout": lambda told: orjson.dumps({**told, "layout": 2}),
    "a negative number": lambda told: orjson.dumps({**told, "failed": {"undefined": -3}}),
    "a number beyond all": lambda told: orjson.dumps({**told, "messages": 2**60}),
    "before the year 1": lambda told: orjson.dumps({**told, "first": "0001-01-01T00:00:00+14:00"}),
    "after the year 9999": lambda told: orjson.dumps({**told, "last": "9999-12-31T23:59:59-14:00"}),
    "cancelled before the year 1": lambda told: orjson.dumps({**told, "canceled_at": "0001-01-01T00:00:00+14:00"}),
    "no time": lambda told: orjson.dumps({**told, "first": "yesterday"}),
    "more there than counted": lambda told: orjson.dumps({**told, "statuses": {}}),
    "of another partition": lambda told: orjson.dumps({**told, "partition": 5}),
    "of another delivery": lambda told: orjson.dumps({**told, "delivery_id": "DM2"}),
}


class TestCounts:
    @pytest.mark.parametrize("garbage", COUNTS_GARBAGE.values(), ids=COUNTS_GARBAGE)
    def test_those_that_cannot_be_read_are_worked_out_anew(self, d, garbage):
        d.chunk(event("n", "sent", delivery_id="DM2"))
        before = d.counts("DM1"), d.counts("DM2")
        d.written[COUNTS].append((b"DM1|0", garbage(before[0]), ()))
        d.restart()
        assert unreadable(d, COUNTS) == 1
        d.settle()
        assert unreadable(d, COUNTS) == 0
        assert non_zero(d.counts("DM1")["statuses"]) == non_zero(before[0]["statuses"])
        assert d.counts("DM2") == before[1]

    def test_those_of_another_partition_are_not_taken_for_ours(self, d):
        before = d.counts("DM1")
        put(d, COUNTS, b"DM1|5", orjson.dumps({**before, "partition": 5}))
        assert unreadable(d, COUNTS) == 1
        assert d.counts("DM1") == before

    @pytest.mark.parametrize("key", [b"nonsense", b"", b"\xff|0", b"DM1|7", b"|"])
    def test_what_has_no_key_of_ours_is_named_and_changes_nothing(self, d, key):
        before = d.counts("DM1")
        put(d, COUNTS, key, b"not json")
        assert unreadable(d, COUNTS) == 1
        d.chunk(event("new", "sent", delivery_id="DM1"))
        assert non_zero(d.counts("DM1")["statuses"]) == {**non_zero(before["statuses"]), "sent": 1}

    def test_a_cancel_that_was_kept_in_them_is_learned_again(self, d):
        d.cancel("DM1", 5)
        d.settle()
        put(d, COUNTS, b"DM1|0", b"not json")
        d.settle()
        assert d.counts("DM1")["canceled_at"] == "2026-11-23T08:05:00Z"
        d.chunk(event("new", "pending", delivery_id="DM1"))
        assert d.statuses()["new"] == "canceled"

    def test_the_numbers_of_other_deliveries_stay_those_of_expired_messages(self, desk, monkeypatch):
        monkeypatch.setattr(fold, "_ROWS_AT_A_TIME", 10)
        d = desk(retention=60.0)
        d.chunk(event("old", "failed", delivery_id="DM1"), event("b", "failed", 10, delivery_id="DM2"))
        d.sweep()
        d.settle()
        put(d, COUNTS, b"DM2|0", b"not json")
        assert d.counts("DM1")["expired"] == 1
        assert non_zero(d.counts("DM2")["statuses"]) == {"failed": 1}


def test_the_gauge_knows_every_topic_from_the_start():
    read_back = (topics.MESSAGES, topics.DELIVERIES, topics.COUNTS, topics.CORRELATIONS, topics.ADDRESSES)
    assert tuple(topic.name for topic in read_back) == READ_BACK


def test_a_record_without_a_key_is_passed_over(d):
    d.work.restore([Read(9, 0, None, b"x")], 10)
    d.work.restore_ledger([Read(9, 0, None, b"x")], 10)
