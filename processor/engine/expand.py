"""Decompress batches within a bound on memory.

aiokafka decompresses a batch at once, so that a megabyte that expands to a gigabyte ends the process.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable

import cramjam
import zstandard

from processor.wire.topics import INPUT_MAX_BYTES

#: What a compressed batch may hold. One that is not compressed holds at most INPUT_MAX_BYTES, and clients cut batches
#: at a megabyte or two before they compress them.
EXPANDED_MAX = 4 * INPUT_MAX_BYTES

_GZIP, _SNAPPY, _LZ4, _ZSTD = 1, 2, 3, 4

#: A window of zlib's that expects the head of gzip.
_GZIP_WINDOW = 31
_GZIP_MAGIC = b"\x1f\x8b"
#: Each member costs a copy of what follows it; producers write one.
_GZIP_MEMBERS = 100

#: How much room lz4 gets at first, and by how much more each time that it was too little.
_LZ4_LEAST = 1 << 16
_LZ4_FACTOR = 8

#: The largest window that Kafka's own clients read with.
_ZSTD_WINDOW = 1 << 27
_ZSTD_PART = 1 << 20

#: How the Java library frames snappy: this head and two numbers, then blocks behind their lengths.
_XERIAL = b"\x82SNAPPY\x00"
_XERIAL_HEAD = len(_XERIAL) + 8
_XERIAL_LENGTH = struct.Struct(">i")


class TooLargeError(Exception):
    """A batch expands to more than the limit."""


class UnknownCodecError(Exception):
    """A batch has an unknown codec."""


def expand(codec: int, data: bytes, limit: int = EXPANDED_MAX) -> bytes:
    """Decompress data.

    A truncated stream gives what it holds; the caller counts the records and sees that some are missing.

    Args:
        codec: the codec in the attributes of a batch.
        data: compressed.
        limit: maximum number of decompressed bytes.

    Raises:
        TooLargeError: there would be more.
        UnknownCodecError: there is no such codec.
        Exception: the codec's own, if the data are damaged.
    """
    reader = _READERS.get(codec)
    if reader is None:
        raise UnknownCodecError(f"there is no codec {codec}")
    return reader(data, limit)


def _gzip(data: bytes, limit: int) -> bytes:
    parts, size = [], 0
    for _ in range(_GZIP_MEMBERS):
        member = zlib.decompressobj(_GZIP_WINDOW)
        part = member.decompress(data, limit - size + 1)
        parts.append(part)
        size += len(part)
        _check(size, limit)
        data = member.unused_data
        # As Java's reader: what follows and is no member is padding.
        if not data.startswith(_GZIP_MAGIC):
            break
    return b"".join(parts)


def _snappy(data: bytes, limit: int) -> bytes:
    if not data.startswith(_XERIAL):
        _check(cramjam.snappy.decompress_raw_len(data), limit)
        return bytes(cramjam.snappy.decompress_raw(data))
    parts, size, at = [], 0, _XERIAL_HEAD
    while at < len(data):
        (length,) = _XERIAL_LENGTH.unpack_from(data, at)
        at += _XERIAL_LENGTH.size
        if length < 0:
            raise ValueError(f"a block of {length} bytes")
        block = data[at : at + length]
        size += cramjam.snappy.decompress_raw_len(block)
        _check(size, limit)
        parts.append(bytes(cramjam.snappy.decompress_raw(block)))
        at += length
    return b"".join(parts)


def _lz4(data: bytes, limit: int) -> bytes:
    # The library cannot be told a limit, but it writes into what it is given and no further.
    size = max(_LZ4_LEAST, _LZ4_FACTOR * len(data))
    while True:
        room = bytearray(min(size, limit))
        try:
            written = cramjam.lz4.decompress_into(data, room)
        except cramjam.DecompressionError as error:
            if "whole buffer" not in str(error):
                raise
            _check(size + 1, limit)
            size *= _LZ4_FACTOR
        else:
            return bytes(memoryview(room)[:written])


def _zstd(data: bytes, limit: int) -> bytes:
    parts, size = [], 0
    with zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW).stream_reader(
        data, read_across_frames=True
    ) as reader:
        while part := reader.read(_ZSTD_PART):
            parts.append(part)
            size += len(part)
            _check(size, limit)
    return b"".join(parts)


_READERS: dict[int, Callable[[bytes, int], bytes]] = {_GZIP: _gzip, _SNAPPY: _snappy, _LZ4: _lz4, _ZSTD: _zstd}


def _check(size: int, limit: int) -> None:
    if size > limit:
        raise TooLargeError(f"more than {limit} bytes")
