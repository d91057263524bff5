"""Counts in the ledger of a durable store: kept beside the rows, so that opening it need not read them all."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from processor.domain.counts import Counts
from processor.domain.status import Channel

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[int]).decode

#: What the first byte of an entry's key says: a delivery's counts, or a channel's.
_DELIVERY, _CHANNEL = b"d", b"c"


def ledger_of(counts: Counts, deliveries: Iterable[str]) -> dict[bytes, bytes]:
    """Give the entries of these deliveries, and those of all channels."""
    entries = {_DELIVERY + delivery.encode(): _encode(counts.deliveries[delivery]) for delivery in deliveries}
    for channel, numbers in counts.channels.items():
        entries[_CHANNEL + channel.value.encode()] = _encode(numbers)
    return entries


def load_counts(ledger: Mapping[bytes, bytes]) -> Counts:
    """Rebuild the counts that a ledger holds; an empty one gives counts of nothing."""
    counts = Counts()
    for key, entry in ledger.items():
        if key[:1] == _DELIVERY:
            counts.deliveries[key[1:].decode()] = _decode(entry)
        else:
            counts.channels[Channel(key[1:].decode())] = _decode(entry)
    return counts
