"""Which partition a key belongs to: Kafka's default partitioner, murmur2 as Java and aiokafka compute it.

librdkafka's default is another one (CRC32), so the same key may arrive elsewhere; the fold stage sends such events on
to where they belong (stages/fold.py).
"""

from __future__ import annotations

from murmurhash2 import murmurhash2

#: The seed of org.apache.kafka.common.utils.Utils.murmur2.
_SEED = 0x9747B28C


def partition_of(key: bytes, partitions: int) -> int:
    """Give the partition of a key among so many."""
    return (murmurhash2(key, _SEED) & 0x7FFFFFFF) % partitions
