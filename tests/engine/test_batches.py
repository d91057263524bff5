"""Whatever the batches of a fetch hold: nothing raises, no record is left out, and the position moves on past them."""

from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.consumer import fetcher
from aiokafka.record.default_records import DefaultRecord
from aiokafka.record.legacy_records import LegacyRecordBatchBuilder
from aiokafka.record.util import calc_crc32c
from hypothesis import given, settings
from hypothesis import strategies as st

from processor.engine import batches
from processor.engine.batches import readable, sort_out
from processor.engine.records import _EXPANDED_ENOUGH
from processor.engine.stage import UnreadableRecord
from tests.engine.raw_batches import COMPRESS, GZIP, LZ4, NULL, SNAPPY, ZSTD, Batch, record, sized, varint
from tests.examples import examples

CODECS = (0, GZIP, SNAPPY, LZ4, ZSTD)
GOOD = [record(b"v%d" % number, b"k", [(b"name", b"value")], delta=number) for number in range(3)]
AROUND = Batch([record(b"before")]), Batch([record(b"after")])


def fetched(*written: bytes, position: int = 0) -> tuple[list[Any], int]:
    """Give what a consumer of committed records is handed of a fetch, and where it goes on."""
    records = fetcher.MemoryRecords(b"".join(written))
    found = fetcher.PartitionRecords(TopicPartition("t", 0), records, None, position, None, None, True, 1)
    return list(found), found.next_fetch_offset


def among_neighbours(bad: Batch) -> list[Any]:
    """Read a batch between two good ones; give what came of it."""
    before, after = AROUND
    bad.base_offset = 1
    next_offset = 1 + max(1, len(bad.records) if bad.last_delta is None else bad.last_delta + 1)
    after.base_offset = next_offset
    found, position = fetched(before.written(), bad.written(), after.written())
    assert found[0].value == b"before"
    assert found[-1].value == b"after"
    assert position == next_offset + 1
    return found[1:-1]


def values(records: list[Any]) -> list[bytes | None]:
    return [each.value for each in records]


def reasons(records: list[Any]) -> list[str]:
    return [each.error.reason.value for each in records if isinstance(each, UnreadableRecord)]


@pytest.fixture(params=CODECS, ids=["plain", "gzip", "snappy", "lz4", "zstd"])
def codec(request) -> int:
    return request.param


class TestGood:
    def test_is_read_by_the_c_code(self, codec):
        found, position = fetched(Batch(GOOD, codec, base_offset=7).written(), position=7)
        assert {type(each) for each in found} == {DefaultRecord}
        assert [(each.offset, each.key, each.value, each.headers) for each in found] == [
            (7 + number, b"k", b"v%d" % number, [("name", b"value")]) for number in range(3)
        ]
        assert {each.timestamp for each in found} == {1_700_000_000_000}
        assert position == 10

    def test_from_within_a_batch(self, codec):
        found, position = fetched(Batch(GOOD, codec).written(), position=1)
        assert values(found) == [b"v1", b"v2"]
        assert position == 3

    def test_a_batch_that_was_compacted_away_moves_the_position(self):
        assert fetched(Batch([], last_delta=4).written()) == ([], 5)

    def test_gaps_that_compaction_left(self, codec):
        kept = [record(b"a", delta=2), record(b"b", delta=5)]
        found, position = fetched(Batch(kept, codec, last_delta=9).written())
        assert [(each.offset, each.value) for each in found] == [(2, b"a"), (5, b"b")]
        assert position == 10

    def test_times_of_append(self, codec):
        found, _ = fetched(Batch([record(b"x", time_delta=-5)], codec, attributes=8).written())
        assert found[0].timestamp == 1_700_000_000_000

    def test_markers_and_what_was_aborted_are_withheld(self):
        marker = Batch([record(b"\0\0\0\0\0\0", b"\0\0\0\0")], attributes=0x30, producer_id=5, base_offset=3)
        aborted = Batch(GOOD, attributes=0x10, producer_id=5)
        records = fetcher.MemoryRecords(aborted.written() + marker.written())
        found = fetcher.PartitionRecords(TopicPartition("t", 0), records, [(5, 0)], 0, None, None, True, 1)
        assert list(found) == []
        assert found.next_fetch_offset == 4


class TestOneBadRecord:
    """Its neighbours in the batch live, and so do other batches."""

    def bad_among_good(self, bad: bytes, codec: int) -> UnreadableRecord:
        found = among_neighbours(Batch([GOOD[0], bad, GOOD[2]], codec))
        assert values([found[0], found[-1]]) == [b"v0", b"v2"]
        assert [each.offset for each in found] == [1, 2, 3]
        assert isinstance(found[1], UnreadableRecord)
        assert found[1].error.reason.value == "unreadable_record"
        return found[1]

    def test_a_name_of_a_header_that_is_no_text(self, codec):
        headers = [(b"good", b"1"), (b"bad\xff", b"2"), (b"null", None)]
        bad = self.bad_among_good(record(b"value", b"key", headers, delta=1, time_delta=7), codec)
        assert (bad.key, bad.value, bad.timestamp) == (b"key", b"value", 1_700_000_000_007)
        assert bad.headers == (("good", b"1"), ("bad\\xff", b"2"), ("null", None))
        assert bad.notes == (("delivery.dead.header_name", b"bad\xff"),)

    @pytest.mark.parametrize(
        "body",
        [
            sized(b"k") + sized(b"v") + varint(1) + NULL + sized(b"x"),
            sized(b"k") + sized(b"v") + varint(-3),
            sized(b"k") + sized(b"v") + varint(1 << 40),
            varint(1_000) + b"abc",
            varint(1 << 62) + b"abc",
            sized(b"k") + b"\xff" * 11,
        ],
        ids=["null name", "-3 headers", "too many headers", "key too long", "key of an exabyte", "endless number"],
    )
    def test_fields_that_cannot_be_read(self, body, codec):
        written = record(None, body=body, delta=1)
        bad = self.bad_among_good(written, codec)
        assert bad.value == written
        assert bad.notes == (("delivery.dead.form", b"record"),)

    @pytest.mark.parametrize("length", [0, 5, 10_000, -1, -(1 << 40), 1 << 60])
    def test_a_length_that_lies(self, length, codec):
        bad = self.bad_among_good(record(b"v" * 50, b"k", delta=1, length=length), codec)
        assert (bad.key, bad.value) == (b"k", b"v" * 50)

    def test_one_of_which_neither_length_nor_fields_say_where_it_ends(self, codec):
        bad = Batch([GOOD[0], b"\xff" * 12, GOOD[2]], codec)
        first, rest = among_neighbours(bad)
        assert first.value == b"v0"
        assert rest.error.reason.value == "unreadable_batch"
        assert rest.value == bad.written()
        assert rest.offset == 2


class TestOffsetsThatLie:
    """Brokers take them where a batch is not compressed, and aiokafka's own reader passes such records over."""

    @pytest.mark.parametrize("deltas", [(0, 0, 0), (-5, 1, 2), (2, 1, 0), (0, 1, 1_000_000), (7, 8, 9)])
    def test_every_record_is_there_in_its_place(self, deltas, codec):
        lying = [record(b"v%d" % number, delta=delta) for number, delta in enumerate(deltas)]
        found = among_neighbours(Batch(lying, codec))
        assert values(found) == [b"v0", b"v1", b"v2"]
        assert [each.offset for each in found] == [1, 2, 3]
        assert reasons(found) == []

    def test_a_wild_one_in_the_middle_hides_nothing(self):
        lying = [record(b"v%d" % number, delta=delta) for number, delta in enumerate((0, 1_000_000, 2))]
        assert values(among_neighbours(Batch(lying))) == [b"v0", b"v1", b"v2"]


class TestWholeBatch:
    """A batch that cannot be read is one dead letter with its bytes."""

    def assert_is_one_letter(self, bad: Batch, reason: str) -> None:
        [letter] = among_neighbours(bad)
        assert letter.error.reason.value == reason
        assert letter.value == bad.written()
        assert (letter.offset, letter.key) == (1, None)
        assert letter.notes == (("delivery.dead.form", b"batch"),)
        assert "3 records at offsets 1 to 3" in letter.error.detail

    def test_a_checksum_that_does_not_fit(self, codec):
        self.assert_is_one_letter(Batch(GOOD, codec, is_crc_wrong=True), "unreadable_batch")

    @pytest.mark.parametrize("number", [5, 6, 7])
    def test_a_codec_that_there_is_not(self, number):
        self.assert_is_one_letter(Batch(GOOD, attributes=number), "unreadable_batch")

    @pytest.mark.parametrize("claimed", CODECS[1:])
    def test_data_that_are_not_of_the_codec(self, claimed):
        self.assert_is_one_letter(Batch(GOOD, claimed, payload=b"no such data"), "unreadable_batch")

    @pytest.mark.parametrize("codec", CODECS[1:])
    def test_one_that_holds_too_much(self, codec):
        bomb = Batch(GOOD, codec, payload=COMPRESS[codec](bytes(40_000_000)))
        self.assert_is_one_letter(bomb, "batch_too_large")

    def test_it_is_not_lost_where_reading_begins_within_it(self):
        bad = Batch(GOOD, is_crc_wrong=True)
        [letter], position = fetched(bad.written(), position=2)
        assert (letter.offset, letter.value, position) == (2, bad.written(), 3)


class TestNumbersThatLie:
    @pytest.mark.parametrize("count", [0, 2, 5, -1, 1 << 30])
    def test_of_records(self, count, codec):
        found = among_neighbours(Batch(GOOD, codec, count=count))
        assert values(found)[:-1] == [b"v0", b"v1", b"v2"][: max(0, count)]
        assert reasons(found) == ["unreadable_batch"]

    def test_bytes_behind_the_last_record(self, codec):
        found = among_neighbours(Batch(GOOD, codec, payload=COMPRESS[codec](b"".join(GOOD) + b"behind")))
        assert values(found)[:-1] == [b"v0", b"v1", b"v2"]
        assert reasons(found) == ["unreadable_batch"]

    def test_a_stream_that_ends_early_gives_what_it_holds(self):
        whole = [record(bytes([number]) * 5_000, delta=number) for number in range(50)]
        payload = COMPRESS[GZIP](b"".join(whole))
        found = among_neighbours(Batch(whole, GZIP, payload=payload[: len(payload) * 3 // 4]))
        assert 1 < len(found) < 51
        assert reasons(found) == ["unreadable_batch"]

    def test_of_very_many_bad_records_some_are_told_and_the_rest_is_in_the_bytes_of_the_batch(self):
        many = Batch([record(b"v", None, [(b"\xff", None)], delta=number) for number in range(5_000)])
        found = among_neighbours(many)
        assert len(found) == batches._UNREADABLE_MAX + 1
        assert found[-1].value == many.written()


class TestManyBombs:
    def test_a_fetch_ends_where_it_has_given_enough_and_the_next_goes_on_there(self):
        large = record(b"v" * (_EXPANDED_ENOUGH // 2 + 1))
        written = [Batch([large], GZIP, base_offset=number).written() for number in range(5)]
        seen, position = [], 0
        while position < 5:
            found, after = fetched(*written[position:], position=position)
            assert sum(len(each.value) for each in found) <= 2 * _EXPANDED_ENOUGH
            assert after > position
            seen += [each.offset for each in found]
            position = after
        assert seen == [0, 1, 2, 3, 4]

    def test_what_is_not_compressed_is_all_of_it_given(self):
        written = [Batch([record(b"v" * 1_000_000)], base_offset=number).written() for number in range(12)]
        assert len(fetched(*written)[0]) == 12


class TestOldFormats:
    """Nobody can publish them any more; a log may hold them."""

    def old(self, magic: int, codec: int, *stored: bytes) -> bytes:
        builder = LegacyRecordBatchBuilder(magic=magic, compression_type=codec, batch_size=1 << 30)
        for number, value in enumerate(stored):
            builder.append(number, timestamp=1, key=None, value=value)
        return bytes(builder.build())

    @pytest.mark.parametrize("magic", [0, 1])
    @pytest.mark.parametrize("codec", [0, GZIP, SNAPPY])
    def test_are_read(self, magic, codec):
        assert values(fetched(self.old(magic, codec, b"one", b"two"))[0]) == [b"one", b"two"]

    @pytest.mark.parametrize("magic", [0, 1])
    def test_hold_no_bombs(self, magic):
        bomb = self.old(magic, GZIP, bytes(40_000_000))
        [letter], position = fetched(bomb)
        assert (letter.error.reason.value, letter.value, position) == ("unreadable_batch", bomb, 1)

    def test_garbage_is_a_letter(self):
        for magic in (0, 1):
            bad = Batch(GOOD, magic=magic)
            [letter, after], position = fetched(bad.written(), Batch([record(b"after")], base_offset=1).written())
            assert (letter.value, after.value, position) == (bad.written(), b"after", 2)


@given(st.data())
@settings(max_examples=examples(300), deadline=None)
@pytest.mark.parametrize("is_checked", [False, True])
def test_whatever_bytes_change_nothing_raises_and_neighbours_live(is_checked, data):
    """Behind the head's place and length, without which no broker could serve its own log."""
    bad = bytearray(Batch(GOOD, data.draw(st.sampled_from(CODECS))).written())
    for _ in range(data.draw(st.integers(1, 4))):
        bad[data.draw(st.integers(21, len(bad) - 1))] = data.draw(st.integers(0, 255))
    # Never a marker, nor of a transaction, nor far away.
    bad[22] &= 0x0F
    bad[23:27] = (2).to_bytes(4, "big")
    if is_checked:
        bad[17:21] = calc_crc32c(bytes(bad[21:])).to_bytes(4, "big")
    found, position = fetched(bytes(bad), Batch([record(b"after")], base_offset=3).written())
    assert (found[-1].value, position) == (b"after", 4)
    assert found[:-1]


def test_records_are_told_from_what_is_none():
    good, bad = GOOD[0], record(b"x", None, [(b"\xff", None)], delta=1)
    found, _ = fetched(Batch([good, bad]).written())
    records, unreadable = sort_out(found)
    assert (values(list(records)), values(unreadable)) == ([b"v0"], [b"x"])
    assert sort_out(records) == (records, [])
    assert values(list(readable("t", 0, found))) == [b"v0"]
