"""Kafka's default partitioner: murmur2 as in Java and aiokafka.

librdkafka has another default (CRC32), so its events may be in the wrong partition; the fold stage reroutes them
(stages/beside.py).
"""

from __future__ import annotations

from murmurhash2 import murmurhash2

#: The seed of org.apache.kafka.common.utils.Utils.murmur2.
_SEED = 0x9747B28C


def partition_of(key: bytes, partitions: int) -> int:
    """Return the partition of a key, given the number of partitions."""
    return (murmurhash2(key, _SEED) & 0x7FFFFFFF) % partitions
