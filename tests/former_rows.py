"""Rows as earlier versions packed them, written out from the descriptions of their layouts."""

import msgspec

from processor.domain.row import Row


def packed_as(layout: int, row: Row) -> bytes:
    """Pack a row in layout 0, which says neither its version nor how many parts there are, or in layout 1."""
    names, times = zip(*row.claims, strict=True)
    items = [
        row.channel,
        row.node,
        row.since,
        row.attempt,
        row.rejected,
        [[at.attempt, at.node, at.first, at.last, *([at.part] if layout else [])] for at in row.observations],
        [*names, *times],
        row.reasons,
    ]
    return msgspec.msgpack.encode([1, *items, row.parts] if layout else items)
