"""Batches of Kafka written byte by byte, so that they can be wrong in every way, and sent as they are."""

import gzip
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cramjam
import zstandard
from aiokafka.client import AIOKafkaClient
from aiokafka.codec import lz4_encode, snappy_encode
from aiokafka.errors import for_code
from aiokafka.protocol.produce import ProduceRequest
from aiokafka.record.util import calc_crc32c, encode_varint

from processor.engine import clients
from processor.settings import Settings

GZIP, SNAPPY, LZ4, ZSTD = 1, 2, 3, 4

#: What a codec makes of bytes, as common producers do.
COMPRESS = {
    0: bytes,
    GZIP: gzip.compress,
    SNAPPY: lambda data: bytes(cramjam.snappy.compress_raw(data)),
    LZ4: lambda data: bytes(lz4_encode(data)),
    ZSTD: lambda data: zstandard.ZstdCompressor().compress(data),
}

#: Snappy as Java clients write it, in blocks.
XERIAL = snappy_encode

#: Bytes of a header or a key that is not there.
NULL = b"\x01"


def varint(number: int) -> bytes:
    written = bytearray()
    encode_varint(number, written.append)
    return bytes(written)


def sized(data: bytes | None) -> bytes:
    """Give bytes behind their length; null has the length -1."""
    return NULL if data is None else varint(len(data)) + data


def record(
    value: bytes | None,
    key: bytes | None = None,
    headers: Sequence[tuple[bytes | None, bytes | None]] = (),
    *,
    delta: int = 0,
    time_delta: int = 0,
    body: bytes | None = None,
    length: int | None = None,
) -> bytes:
    """Write one record.

    Args:
        value: null where None.
        key: null where None.
        headers: their names are bytes here.
        delta: of its offset, to that of its batch.
        time_delta: of its timestamp, to that of its batch.
        body: what follows the offset, in place of key, value and headers.
        length: what it says its length is.
    """
    if body is None:
        written = [varint(len(headers)), *(sized(part) for header in headers for part in header)]
        body = sized(key) + sized(value) + b"".join(written)
    whole = b"\x00" + varint(time_delta) + varint(delta) + body
    return varint(len(whole) if length is None else length) + whole


@dataclass
class Batch:
    """A batch; every field of its head may lie."""

    records: Sequence[bytes]
    codec: int = 0
    count: int | None = None
    last_delta: int | None = None
    attributes: int = 0
    timestamp: int = 1_700_000_000_000
    magic: int = 2
    #: In place of the records, compressed or not; or what makes it, where that takes time.
    payload: bytes | Callable[[], bytes] | None = None
    is_crc_wrong: bool = False
    length: int | None = None
    base_offset: int = 0
    producer_id: int = -1

    def written(self) -> bytes:
        payload = self.payload() if callable(self.payload) else self.payload
        if payload is None:
            payload = COMPRESS[self.codec](b"".join(self.records))
        number = len(self.records) if self.count is None else self.count
        last = len(self.records) - 1 if self.last_delta is None else self.last_delta
        times = self.timestamp, self.timestamp
        checked = struct.pack(">hiqqqhii", self.codec | self.attributes, last, *times, self.producer_id, -1, -1, number)
        checked += payload
        crc = calc_crc32c(checked) ^ (1 if self.is_crc_wrong else 0)
        length = len(checked) + 9 if self.length is None else self.length
        return struct.pack(">qiibI", self.base_offset, length, -1, self.magic, crc) + checked


async def produce(settings: Settings, topic: str, partition: int, batch: bytes) -> int:
    """Send a batch as it is; give the offset that it got, or raise what the broker answers."""
    client = AIOKafkaClient(**clients.connection(settings))
    await client.bootstrap()
    try:
        await client._wait_on_metadata(topic)
        leader = client.cluster.leader_for_partition(clients.TopicPartition(topic, partition))
        request = ProduceRequest(
            transactional_id=None, required_acks=-1, timeout=30_000, topics=[(topic, [(partition, batch)])]
        )
        response = await client.send(leader, request)
        [(_, [(_, code, offset, *_)])] = response.topics
        if code:
            raise for_code(code)
        return offset
    finally:
        await client.close()
