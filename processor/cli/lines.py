"""Read files line by line: JSON Lines, and providers' logs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import IO

_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"


def lines_of(file: IO[bytes]) -> Iterator[tuple[int, bytes]]:
    """Yield the lines that are not blank, with their numbers from 1; decompress zstd, of one frame or several."""
    for number, line in enumerate(_unpacked(file), start=1):
        stripped = line.strip()
        if stripped:
            yield number, stripped


def payloads_of(lines: Iterable[bytes], is_header: Callable[[str], bool] | None) -> Iterator[bytes]:
    """Yield each line as a payload, preceded by the last header line if the format has headers."""
    header = b""
    for line in lines:
        if is_header is None:
            yield line
        elif is_header(line.decode(errors="replace")):
            header = line + b"\n"
        else:
            yield header + line


def _unpacked(file: IO[bytes]) -> Iterator[bytes]:
    start = file.read(len(_ZSTD_MAGIC))
    if start != _ZSTD_MAGIC:
        first, *rest = (start + file.readline()).splitlines(keepends=True) or [b""]
        yield first
        yield from rest
        yield from file
        return
    # Few files are packed, and the library takes longer to load than most commands to run.
    import zstandard

    unpacker = zstandard.ZstdDecompressor().decompressobj(read_across_frames=True)
    packed, pending = start, b""
    while packed:
        *lines, pending = (pending + unpacker.decompress(packed)).split(b"\n")
        yield from lines
        packed = file.read(1 << 16)
    yield pending
