"""A backup is spread over another number of partitions: each row is where its events will go, and counted once."""

from collections import Counter

import orjson
import pytest

from processor.cli.buckets import Side
from processor.cli.repartition import Repartition
from processor.domain.addresses import Window
from processor.domain.counts import Counts
from processor.domain.fold import fold
from processor.domain.status import Channel, Status
from processor.engine.streams import Outgoing
from processor.settings import Settings
from processor.stages.books import row_place
from processor.wire.addresses import RELEASES_KEY, decode_releases, encode_releases
from processor.wire.counts import decode_counts_of, encode_counts
from processor.wire.events import decode_event
from processor.wire.links import encode_moved
from processor.wire.partitioner import partition_of
from processor.wire.readback import UnreadableError
from processor.wire.rows import encode_row
from processor.wire.topics import (
    ADDRESSES,
    CONTROL,
    CORRELATIONS,
    COUNTS,
    DELIVERIES,
    ERASURES,
    HISTORY,
    MESSAGES,
    Topic,
)

SETTINGS = Settings(topic_prefix="new.")
BEFORE, AFTER = 4, 8


def row_of(number: int):
    """Give a row: of three deliveries, on both channels, some of them failed for one of two reasons."""
    status = ("sent", "failed", "pending")[number % 3]
    event = {
        "message_id": f"m-{number}",
        "channel": "sms" if number % 5 == 0 else "email",
        "status": status,
        "time": f"2026-11-23T08:00:{number % 60:02}Z",
        "delivery_id": f"DM{number % 3 + number % 2}",
        "provider": "twilio" if number % 5 == 0 else "kumomta",
    }
    if status == "failed":
        event["reason"] = {"category": "user_unknown" if number % 2 else "mailbox_full"}
    row, _ = fold(None, *decode_event(orjson.dumps(event), None))
    return row


ROWS = {f"m-{number}": row_of(number) for number in range(200)}
#: Messages that retention has removed: counted, and no rows.
REMOVED = {f"m-{number}" for number in range(0, 200, 7)}


def counts_before() -> dict[bytes, bytes]:
    by_partition = [Counts() for _ in range(BEFORE)]
    for message_id, row in ROWS.items():
        counts = by_partition[partition_of(message_id.encode(), BEFORE)]
        counts.move({(None, row_place(row)): 1})
        counts.delivery(row.delivery).see(row.since, row.since)
        if message_id in REMOVED:
            counts.expire(row_place(row))
    return dict(
        encode_counts(delivery, number, counted)
        for number, counts in enumerate(by_partition)
        for delivery, counted in counts.deliveries.items()
    )


def record(topic: Topic, key: bytes | None, value: bytes | None) -> Outgoing:
    return Outgoing(SETTINGS.topic(topic), value, key, partition=0)


@pytest.fixture
def repartition():
    with Side() as rows:
        yield Repartition(SETTINGS, AFTER, rows)


class TestPlaces:
    @pytest.mark.parametrize(
        "topic", [MESSAGES, CORRELATIONS, CONTROL, DELIVERIES, ERASURES], ids=lambda topic: topic.name
    )
    def test_a_record_goes_to_the_partition_of_its_key(self, repartition, topic):
        placed = repartition.place(record(topic, b"order-4711", b"{}"))
        assert placed == record(topic, b"order-4711", b"{}")._replace(partition=partition_of(b"order-4711", AFTER))

    def test_what_a_partition_has_erased_it_erases_again(self, repartition):
        assert repartition.place(record(ERASURES, b"0123|fold|3", b"{}")) is None

    def test_samples_of_counts_are_left_out(self, repartition):
        assert repartition.place(record(HISTORY, b"minute|7|3", b"{}")) is None

    def test_a_record_without_a_key_has_no_place(self, repartition):
        assert repartition.place(record(MESSAGES, None, b"{}")) is None

    def test_counts_that_cannot_be_read_end_it(self, repartition):
        with pytest.raises(UnreadableError):
            repartition.place(record(COUNTS, b"DM1|0", b"{}"))


def test_released_windows_go_to_every_partition(repartition):
    first, second = Window("example.org", 1, 2), Window("example.com", 3, 4)
    repartition.place(record(ADDRESSES, RELEASES_KEY, encode_releases((second,))))
    for partition, windows in ((0, (first,)), (1, (first, second))):
        released = record(ADDRESSES, RELEASES_KEY, encode_releases(windows))._replace(partition=partition)
        assert repartition.place(released) is None
    written = list(repartition.rest())
    assert [(each.topic, each.key, each.partition) for each in written] == [
        ("new.addresses.v1", RELEASES_KEY, number) for number in range(AFTER)
    ]
    assert {decode_releases(each.value) for each in written} == {(second, first)}


class TestCounts:
    @pytest.fixture
    def counted(self, repartition):
        for key, value in counts_before().items():
            assert repartition.place(record(COUNTS, key, value)) is None
        for message_id, row in ROWS.items():
            key = message_id.encode()
            # Older values of a row come before it, as they lie in the topic.
            repartition.place(record(MESSAGES, key, encode_row(message_id, row_of(1), None)))
            value = None if message_id in REMOVED else encode_row(message_id, row, None)
            repartition.place(record(MESSAGES, key, value))
        return [decode_counts_of(each.value, each.key) for each in repartition.rest()]

    def test_every_delivery_counts_in_all_what_it_counted(self, counted):
        def total(records, name):
            numbers = Counter()
            for each in records:
                numbers.update({(each.delivery_id, key): number for key, number in getattr(each, name).items()})
            return +numbers

        before = [decode_counts_of(value, key) for key, value in counts_before().items()]
        for name in ("statuses", "channels", "failed", "ignored", "providers"):
            assert total(counted, name) == total(before, name), name
        assert sum(each.expired for each in counted) == sum(each.expired for each in before) == len(REMOVED)

    def test_each_partition_counts_the_rows_that_are_there(self, counted):
        rows = Counter(
            (partition_of(key.encode(), AFTER), row.delivery, row.channel, row.status)
            for key, row in ROWS.items()
            if key not in REMOVED
        )
        assert rows == Counter({
            (each.partition, each.delivery_id, channel, status): number
            for each in counted
            for channel, numbers in each.live.items()
            for status, number in numbers.items()
        })  # fmt: skip

    def test_they_are_written_to_the_topic_of_counts_by_partition(self, repartition):
        repartition.place(record(MESSAGES, b"m-1", encode_row("m-1", ROWS["m-1"], None)))
        [written] = repartition.rest()
        assert (written.topic, written.partition) == ("new.counts.v1", partition_of(b"m-1", AFTER))

    def test_a_delivery_of_which_nothing_is_left_keeps_its_counts_and_times(self, repartition):
        counts = Counts()
        for number in range(3):
            counts.move({(None, row_place(row_of(1))): 1})
            counts.delivery("DM2").see(1_000_000 * number, 1_000_000 * number)
            counts.expire(row_place(row_of(1)))
        repartition.place(record(COUNTS, *encode_counts("DM2", 0, counts.delivery("DM2"))))
        [written] = repartition.rest()
        told = decode_counts_of(written.value, written.key)
        assert (told.messages, told.expired, told.statuses[Status.FAILED]) == (3, 3, 3)
        assert told.failed == {"user_unknown": 3}
        assert told.channels == {Channel.EMAIL: 3}
        assert (told.first, told.last) == ("1970-01-01T00:00:00Z", "1970-01-01T00:00:02Z")

    def test_a_row_that_was_moved_or_cannot_be_read_is_not_counted(self, repartition):
        repartition.place(record(MESSAGES, b"kumomta:1", encode_moved("kumomta:1", "m-1")))
        repartition.place(record(MESSAGES, b"m-2", b"{}"))
        assert list(repartition.rest()) == []
