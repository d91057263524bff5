"""Read and write records as aiokafka's C objects.

aiokafka makes a Python object with eleven fields of each record that it fetches, and checks the type of each one to
write three times. Both cost more than the fold itself (docs/performance.md) and are avoided here.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from aiokafka import AIOKafkaProducer
from aiokafka.consumer import fetcher

from processor.domain.moment import Millis
from processor.engine.batches import (
    not_before,
    offset_of,
    open_batch,
    places_of_batches,
    read_batch,
    unreadable_batch,
)
from processor.engine.stage import Record, Written
from processor.wire.deadletters import Headers
from processor.wire.topics import INPUT_MAX_BYTES

#: Bytes out of compressed batches after which a fetch has given enough. What a partition's queue may hold counts on a
#: fetch being about a megabyte.
_EXPANDED_ENOUGH = INPUT_MAX_BYTES

_NO_HEADERS: list[tuple[str, bytes]] = []


class _Fetched(fetcher.MemoryRecords):
    """The batches of one fetch of one partition, with their bytes."""

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self.data = data


class _PartitionRecords(fetcher.PartitionRecords):
    """The records of one fetch of one partition, as C objects.

    Unreadable ones are among them (batches.py): nothing raises, so that the reader neither stops nor skips another. It
    ends early once compressed batches have expanded to enough bytes; the rest is fetched again.
    """

    next_fetch_offset: int

    def __iter__(self) -> Iterator[Record]:
        records: Iterator[Record] = self._records_iterator
        return records

    def _unpack_records(self) -> Iterator[Record]:
        first: int = self.next_fetch_offset
        data, given = self._records.data, 0
        for begin, end in places_of_batches(data):
            if given >= _EXPANDED_ENOUGH:
                return
            try:
                batch = open_batch(data, begin, end)
            except Exception as error:
                yield from not_before(first, [unreadable_batch(data[begin:end], error)])
                self.next_fetch_offset = offset_of(data, begin) + 1
                continue
            if not self._is_withheld(batch):
                records, expanded = read_batch(batch, data, begin, end)
                given += expanded
                yield from records if not records or records[0].offset >= first else not_before(first, records)
            self.next_fetch_offset = batch.next_offset

    def _is_withheld(self, batch: Any) -> bool:
        """Return whether a batch is a marker, or of a transaction that was aborted."""
        is_control = batch.is_control_batch
        if self._isolation_level == fetcher.READ_COMMITTED and batch.producer_id is not None:
            self._consume_aborted_up_to(batch.base_offset)
            if is_control and self._contains_abort_marker(batch):
                self._aborted_producers.discard(batch.producer_id)
            elif batch.is_transactional and batch.producer_id in self._aborted_producers:
                return True
        return bool(is_control)


# Fetcher looks the classes up by these names, and offers no other way in. All consumers of the process take part.
fetcher.MemoryRecords = _Fetched
fetcher.PartitionRecords = _PartitionRecords


class Stored(NamedTuple):
    """A record with its place."""

    topic: str
    partition: int
    offset: int
    #: Milliseconds since the epoch.
    timestamp: Millis
    key: bytes | None
    value: bytes | None
    headers: Headers

    @classmethod
    def of(cls, topic: str, partition: int, record: Record) -> Stored:
        """Combine a record and its place."""
        return cls(topic, partition, record.offset, record.timestamp, record.key, record.value, tuple(record.headers))


def fill_batch(
    producer: AIOKafkaProducer, records: Sequence[Written], start: int, now: Millis, kept: tuple[Millis, Millis]
) -> tuple[Any, int]:
    """Put as many records as fit into a new batch.

    Args:
        producer: of the batch.
        records: to be written.
        start: the index of the first record of this batch.
        now: the brokers' time in milliseconds, for records whose own timestamp is not kept.
        kept: the first and the last timestamp that are kept.

    Returns:
        The batch, and the index of the first record that did not fit.
    """
    batch = producer.create_batch()
    append = batch._builder.append
    count = 0
    first, last = kept
    for given, key, value, headers in records[start:] if start else records:
        timestamp = given if first <= given <= last else now
        # The C code takes headers as a list only.
        if append(count, timestamp, key, value, list(headers) if headers else _NO_HEADERS) is None:
            break
        count += 1
    batch._relative_offset = count
    return batch, start + count
