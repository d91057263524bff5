"""Expand what was compressed, up to a bound: a small body may stand for more than the memory holds."""

from __future__ import annotations

import zlib

#: By Content-Encoding, what tells zlib of it.
_WINDOWS = {"gzip": zlib.MAX_WBITS | 16, "x-gzip": zlib.MAX_WBITS | 16, "deflate": zlib.MAX_WBITS}


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
    expanded = bytearray()
    rest = body
    while rest:
        # Several compressed parts may stand behind one another.
        unpacker = zlib.decompressobj(window)
        try:
            expanded += unpacker.decompress(rest, limit + 1 - len(expanded))
        except zlib.error as error:
            raise UnrecordableError(f"not {encoding.strip()}: {error}") from None
        if len(expanded) > limit:
            raise UnrecordableError(f"it expands to more than {limit} octets")
        if not unpacker.eof:
            raise UnrecordableError(f"not {encoding.strip()}: it ends too early")
        rest = unpacker.unused_data
    return bytes(expanded)
