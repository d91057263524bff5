"""Expand what was compressed, up to a bound: a small body may stand for more than the memory holds."""

from __future__ import annotations

import zlib

#: By Content-Encoding, what tells zlib of it.
_WINDOWS = {"gzip": zlib.MAX_WBITS | 16, "x-gzip": zlib.MAX_WBITS | 16, "deflate": zlib.MAX_WBITS}

#: Octets that zlib is given at a time, and the compressed parts that may stand behind one another: what is left over
#: behind each of them is copied.
_PIECE = 16 * 1024
_MAX_PARTS = 10_000


class UnrecordableError(Exception):
    """No record can be made of a call: sent again, it would not be taken either."""


def expand(body: bytes, encoding: str, limit: int) -> bytes:
    """Expand a body by its Content-Encoding, which may be empty.

    Raises:
        UnrecordableError: it is not compressed so, or expands to more than the limit.
    """
    if encoding.strip().lower() in ("", "identity"):
        return body
    window = _WINDOWS.get(encoding.strip().lower())
    if window is None:
        raise UnrecordableError(f"content encoding {encoding!r:.40} is not known here")
    expanded, at = bytearray(), 0
    for _ in range(_MAX_PARTS):
        if at == len(body):
            return bytes(expanded)
        try:
            at = _expand_part(expanded, body, at, window, limit)
        except zlib.error as error:
            raise UnrecordableError(f"not {encoding.strip()}: {error}") from None
    raise UnrecordableError(f"more than {_MAX_PARTS} compressed parts")


def _expand_part(expanded: bytearray, body: bytes, at: int, window: int, limit: int) -> int:
    """Expand the compressed part that begins at a place; return where it ends."""
    unpacker = zlib.decompressobj(window)
    while not unpacker.eof:
        piece = body[at : at + _PIECE]
        if not piece:
            raise UnrecordableError("what is compressed ends too early")
        at += len(piece)
        expanded += unpacker.decompress(piece, limit + 1 - len(expanded))
        if len(expanded) > limit:
            raise UnrecordableError(f"it expands to more than {limit} octets")
    return at - len(unpacker.unused_data)
