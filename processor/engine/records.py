"""Records as aiokafka's C code reads and writes them.

aiokafka makes a Python object with eleven fields of each record that it fetches, and asks for each that it is given
three times what it is. Both cost more than the fold's own steps (docs/performance.md); here neither happens.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from aiokafka import AIOKafkaProducer
from aiokafka.consumer import fetcher

from processor.deadletter import Headers
from processor.engine.stage import Record, Written

_NO_HEADERS: list[tuple[str, bytes]] = []


class _PartitionRecords(fetcher.PartitionRecords):
    """What one fetch gave of one partition, handed out as the C objects that it is read into."""

    def __iter__(self) -> Iterator[Record]:
        records: Iterator[Record] = self._records_iterator
        return records

    def _consumer_record(self, _tp: Any, record: Record) -> Record:
        return record


# Fetcher looks the class up by this name, and offers no other way in. All consumers of the process take part.
fetcher.PartitionRecords = _PartitionRecords


class Stored(NamedTuple):
    """A record with the place that it was read from."""

    topic: str
    partition: int
    offset: int
    #: Milliseconds since the epoch.
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: Headers

    @classmethod
    def of(cls, topic: str, partition: int, record: Record) -> Stored:
        """Put a record and its place together."""
        return cls(topic, partition, record.offset, record.timestamp, record.key, record.value, tuple(record.headers))


def fill_batch(producer: AIOKafkaProducer, records: Sequence[Written], start: int) -> tuple[Any, int]:
    """Put as many records as it takes into a new batch.

    Args:
        producer: whose batch it is.
        records: what is to be written.
        start: the index of the first that goes into this batch.

    Returns:
        The batch, and the index of the first record that did not find room in it.
    """
    batch = producer.create_batch()
    append = batch._builder.append
    count = 0
    for timestamp, key, value, headers in records[start:] if start else records:
        # The C code takes headers as a list only.
        if append(count, timestamp, key, value, list(headers) if headers else _NO_HEADERS) is None:
            break
        count += 1
    batch._relative_offset = count
    return batch, start + count
