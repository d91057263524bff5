"""Chunks: consecutive records of one partition with their start and end."""

from __future__ import annotations

from typing import NamedTuple

from processor.engine.stage import Record


class Chunk(NamedTuple):
    """Consecutive records of one partition, from one fetch.

    Positions step over what a reader never sees (markers and records of aborted transactions), so a chunk without
    records can still move the position.
    """

    #: Every record from this offset on, and before `end`, is in this chunk.
    start: int
    #: The offset that comes after this chunk.
    end: int
    records: list[Record]
