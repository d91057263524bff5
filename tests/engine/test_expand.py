"""Compressed data are taken apart up to a limit, and no memory goes to what lies beyond it."""

import gzip
import tracemalloc
from contextlib import suppress

import cramjam
import pytest

from processor.engine.expand import TooLargeError, UnknownCodecError, expand
from tests.engine.raw_batches import COMPRESS, GZIP, LZ4, SNAPPY, XERIAL, ZSTD

CODECS = {"gzip": GZIP, "snappy": SNAPPY, "lz4": LZ4, "zstd": ZSTD}
TEXT = b"".join(b'{"message_id":"m-%06d","status":"sent"}' % number for number in range(20_000))


@pytest.fixture(params=CODECS.values(), ids=CODECS)
def codec(request) -> int:
    return request.param


@pytest.mark.parametrize("data", [b"", b"x", TEXT], ids=["nothing", "a byte", "800 kB"])
def test_gives_what_was_compressed(codec, data):
    assert expand(codec, COMPRESS[codec](data)) == data


def test_gives_what_fits_exactly_and_not_a_byte_more(codec):
    compressed = COMPRESS[codec](TEXT)
    assert expand(codec, compressed, len(TEXT)) == TEXT
    with pytest.raises(TooLargeError):
        expand(codec, compressed, len(TEXT) - 1)


@pytest.mark.slow
def test_a_bomb_takes_no_more_memory_than_the_limit(codec):
    bomb = COMPRESS[codec](bytes(200_000_000))
    limit = 4_000_000
    tracemalloc.start()
    try:
        with pytest.raises(TooLargeError):
            expand(codec, bomb, limit)
        assert tracemalloc.get_traced_memory()[1] < 4 * limit + 2 * len(bomb)
    finally:
        tracemalloc.stop()


def test_snappy_as_the_java_library_frames_it():
    framed = XERIAL(TEXT)
    assert expand(SNAPPY, framed) == TEXT
    with pytest.raises(TooLargeError):
        expand(SNAPPY, framed, len(TEXT) - 1)


def test_a_block_of_a_negative_length_is_refused():
    with pytest.raises(ValueError, match="-1 bytes"):
        expand(SNAPPY, XERIAL(b"")[:16] + b"\xff\xff\xff\xff")


def test_members_of_gzip_follow_one_another_and_padding_is_none():
    assert expand(GZIP, gzip.compress(b"a") + gzip.compress(b"b") + b"\0\0padding") == b"ab"


def test_what_ends_too_early_gives_no_more_than_it_holds(codec):
    compressed = COMPRESS[codec](TEXT)
    found = b""
    with suppress(cramjam.DecompressionError):
        found = expand(codec, compressed[: len(compressed) // 2])
    assert TEXT.startswith(found)
    assert len(found) < len(TEXT)


def test_what_is_none_of_a_codecs_making_raises_its_error(codec):
    with pytest.raises(Exception, match=r"."):
        expand(codec, b"this is none of it")


@pytest.mark.parametrize("number", [0, 5, 6, 7])
def test_a_codec_that_kafka_does_not_have_is_named(number):
    with pytest.raises(UnknownCodecError, match=str(number)):
        expand(number, b"")
