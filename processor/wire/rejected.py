"""Rejected events on the wire: the event, the status that it contradicts, and the rule."""

from __future__ import annotations

from typing import Any

import msgspec

from processor.domain.fold import contradicts
from processor.domain.row import Row
from processor.domain.transitions import NODE_NAMES, Node
from processor.wire.rows import previous_of

_encode = msgspec.json.Encoder().encode


def encode_rejected(event: bytes, row: Row, node: Node) -> bytes:
    """Write a rejected event, its message's status, and the rule that it breaks."""
    standing = NODE_NAMES[row.node]
    foreign = "" if contradicts(row.channel, row.node, node) else " at its place in time"
    record: dict[str, Any] = {
        "event": msgspec.Raw(event),
        "row": previous_of(row),
        "from": standing,
        "to": NODE_NAMES[node],
        "rule": f"on {row.channel.value}, {NODE_NAMES[node]} may neither follow nor precede {standing}{foreign}",
    }
    return _encode(record)
