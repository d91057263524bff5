"""Put the two sides of a comparison side by side, in files instead of in memory.

Each side is written into temporary files, one for each *bucket* of keys by a hash, in the order in which it comes. A
bucket is then read whole. So memory is one bucket of both sides, whatever order and partitions the sides have, and
everything is written and read in sequence.
"""

from __future__ import annotations

import struct
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from types import TracebackType
from typing import IO, NamedTuple
from zlib import crc32

#: Buckets of a side. All files are open at once, of which most systems allow 1,024.
_BUCKETS = 128

#: Bytes of a bucket that stay in memory: a small comparison writes no file.
_IN_MEMORY = 256 * 1024

#: Lengths of key and value before both; the value's is one more than it is, 0: the key was removed.
_LENGTHS = struct.Struct("<II")


class Pair(NamedTuple):
    """What each side has of a key; None: nothing."""

    key: bytes
    live: bytes | None
    shadow: bytes | None


class Side:
    """One side: the last value of each key counts. To be closed."""

    def __init__(self) -> None:
        self._files = ExitStack()
        self._buckets: list[IO[bytes]] = [
            self._files.enter_context(tempfile.SpooledTemporaryFile(_IN_MEMORY))  # noqa: SIM115 - closed with the side
            for _ in range(_BUCKETS)
        ]

    def put(self, key: bytes, value: bytes | None) -> None:
        """Take the value of a key, in place of the one before; None removes it."""
        lengths = _LENGTHS.pack(len(key), 0 if value is None else len(value) + 1)
        self._buckets[crc32(key) % _BUCKETS].write(lengths + key + (value or b""))

    def bucket(self, number: int) -> dict[bytes, bytes]:
        """Return what is in a bucket."""
        found: dict[bytes, bytes] = {}
        for key, value in _read(self._buckets[number]):
            if value is None:
                found.pop(key, None)
            else:
                found[key] = value
        return found

    def items(self) -> Iterator[tuple[bytes, bytes]]:
        """Yield each key that is there with its value, in no order."""
        for number in range(_BUCKETS):
            yield from self.bucket(number).items()

    def __enter__(self) -> Side:  # noqa: PYI034 - Self is not in Python 3.10
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._files.close()


def _read(file: IO[bytes]) -> Iterator[tuple[bytes, bytes | None]]:
    file.seek(0)
    while lengths := file.read(_LENGTHS.size):
        of_key, of_value = _LENGTHS.unpack(lengths)
        key = file.read(of_key)
        yield key, file.read(of_value - 1) if of_value else None


def side_by_side(live: Side, shadow: Side) -> Iterator[Pair]:
    """Yield each key that either side has, once, in no order."""
    for number in range(_BUCKETS):
        ours, theirs = live.bucket(number), shadow.bucket(number)
        for key, value in ours.items():
            yield Pair(key, value, theirs.pop(key, None))
        for key, value in theirs.items():
            yield Pair(key, None, value)
