"""Pack what is known of a native key: for the correlate stage's store, and as the value of its changelog."""

from __future__ import annotations

import msgspec

from processor.domain.links import KNOWN_LAYOUT, Known
from processor.wire.readback import read_back, refuse_newer

pack_known = msgspec.msgpack.Encoder().encode

_unpack = msgspec.msgpack.Decoder(Known).decode
_unpack_items = msgspec.msgpack.Decoder(list[object]).decode


def unpack_known(packed: bytes) -> Known:
    """Read what `pack_known` wrote.

    Raises:
        UnreadableError: it is none of ours, or a newer version wrote it.
    """
    try:
        return _unpack(packed)
    except msgspec.MsgspecError:
        refuse_newer(read_back(_unpack_items, packed), KNOWN_LAYOUT)
        return read_back(_unpack, packed)
