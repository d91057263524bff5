"""A key goes to the partition that Kafka's own clients choose for it."""

import pytest
from aiokafka.partitioner import DefaultPartitioner, murmur2
from hypothesis import example, given, settings
from hypothesis import strategies as st

from processor.wire.partitioner import partition_of
from tests.examples import examples

#: org.apache.kafka.common.utils.UtilsTest, testMurmur2: what Java gives, as a signed integer.
JAVA = {
    b"21": -973_932_308,
    b"foobar": -790_332_482,
    b"a-little-bit-long-string": -985_981_536,
    b"a-little-bit-longer-string": -1_486_304_829,
    b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": -58_897_971,
    b"abc": 479_470_107,
}


@pytest.mark.parametrize(("key", "java"), JAVA.items())
def test_the_hash_is_that_of_java(key, java):
    # As many partitions as there are hashes: the partition is the hash, made positive as Java makes it.
    assert partition_of(key, 2**31) == java & 0x7FFFFFFF


@given(key=st.binary(max_size=64), partitions=st.integers(1, 10_000))
@settings(derandomize=True, deadline=None, database=None, max_examples=examples(1_000))
@example(key=b"", partitions=8)
@example(key=b"\xff" * 7, partitions=1)
def test_the_partition_is_the_one_of_aiokafka(key, partitions):
    numbers = list(range(partitions))
    assert partition_of(key, partitions) == DefaultPartitioner()(key, numbers, numbers)


@given(key=st.binary(max_size=300))
@settings(derandomize=True, deadline=None, database=None, max_examples=examples(1_000))
def test_the_hash_is_the_one_of_aiokafka(key):
    assert partition_of(key, 2**31) == murmur2(key) & 0x7FFFFFFF


def test_message_ids_spread_over_all_partitions():
    counts = [0] * 8
    for number in range(8_000):
        counts[partition_of(f"m-{number:06}".encode(), 8)] += 1
    assert min(counts) > 800
