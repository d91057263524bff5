"""Decide which chunks a partition takes and how many at once: by offsets alone, without waiting (ADR 0003).

Faust drops fetched records around a rebalance, and may hand the same ones over twice. So a chunk is taken only where
the last one ended: what leaves a hole is fetched again from there, what overlaps is cut.
"""

from __future__ import annotations

from collections import deque
from enum import Enum

from processor.engine.chunks import Chunk
from processor.engine.stage import Record

#: An inbox that holds the records of this many transactions, or so many fetches, has no room until some are taken out.
#: The second bounds memory where records are large: a fetch is about a megabyte, or one record.
_TRANSACTIONS = 2
_FETCHES = 8

#: When the inboxes of a worker hold as much together as so many full ones, only those have room that hold nothing: with
#: hundreds of partitions to catch up on, what waits for its turn would take more memory than all rows.
_FULL_INBOXES = 8


class Decision(Enum):
    """What follows from a chunk, or from where the fetch stands."""

    #: The chunk was put in, without what had arrived before.
    TAKE = "take"
    #: Records are missing before it. The fetch is to go back to `arrived`; until `resume`, nothing is put in.
    REREAD = "reread"
    #: It holds nothing that is wanted.
    NOTHING = "nothing"


class InputBuffer:
    """What all inboxes of a worker hold together.

    Args:
        transaction_records: how many records of one partition a transaction has.
    """

    def __init__(self, transaction_records: int) -> None:
        self.transaction_records = transaction_records
        self.records = self.fetches = 0

    @property
    def has_room(self) -> bool:
        """Whether an inbox that holds something may hold more. Any thread may ask."""
        most = _FULL_INBOXES * _TRANSACTIONS * self.transaction_records
        return self.records < most and self.fetches < _FULL_INBOXES * _FETCHES


class Inbox:
    """Chunks of one partition that wait for their transaction, without holes and overlaps.

    Args:
        buffer: what the inboxes of its worker hold. `take` gives the records of one transaction at once; a chunk is
            never divided.
    """

    def __init__(self, buffer: InputBuffer) -> None:
        #: The offset that the next chunk must start at, and the one up to which records were taken out.
        self.arrived = 0
        self.taken = 0
        self._buffer = buffer
        self._chunks: deque[Chunk] = deque()
        self._records = 0
        self._rereads = False
        #: Where the last chunk ended when more had been fetched than had arrived.
        self._suspected: int | None = None

    def start_at(self, offset: int) -> None:
        """Begin at an offset, with nothing in."""
        self.arrived = self.taken = offset
        self.clear()

    def clear(self) -> None:
        """Forget what is in."""
        self._buffer.fetches -= len(self._chunks)
        self._buffer.records -= self._records
        self._chunks.clear()
        self._records = 0

    @property
    def is_empty(self) -> bool:
        """Whether nothing waits to be taken out."""
        return not self._chunks

    @property
    def has_room(self) -> bool:
        """Whether more may be fetched. Any thread may ask."""
        if self._rereads or not self._chunks:
            return not self._rereads
        most = _TRANSACTIONS * self._buffer.transaction_records
        return self._records < most and len(self._chunks) < _FETCHES and self._buffer.has_room

    def offer(self, chunk: Chunk) -> Decision:
        """Put a chunk in, if it fits."""
        if self._rereads:
            return Decision.NOTHING
        if chunk.start > self.arrived:
            self._rereads = True
            return Decision.REREAD
        if chunk.end <= self.arrived:
            return Decision.NOTHING
        if chunk.start < self.arrived:
            chunk = chunk._replace(records=[record for record in chunk.records if record.offset >= self.arrived])
        self.arrived = chunk.end
        self._chunks.append(chunk)
        self._records += len(chunk.records)
        self._buffer.fetches += 1
        self._buffer.records += len(chunk.records)
        return Decision.TAKE

    def look_for_loss(self, fetched: int | None) -> Decision:
        """Judge, while nothing comes, whether what was fetched last has been dropped on its way.

        A hole shows when the next chunk comes; without this, what was dropped last would wait for that. What is still
        on its way looks the same, so a suspicion must outlast one look; reading twice does no harm.

        Args:
            fetched: the offset that the fetch hands out next; None: the partition is not assigned.
        """
        if self._chunks or self._rereads or fetched is None or fetched <= self.arrived:
            self._suspected = None
        elif self._suspected != self.arrived:
            self._suspected = self.arrived
        else:
            self._suspected = None
            self._rereads = True
            return Decision.REREAD
        return Decision.NOTHING

    def pass_over(self, oldest: int) -> int:
        """Step over records that retention has removed; return how many offsets that were."""
        missing = max(0, oldest - self.arrived)
        self.arrived += missing
        return missing

    def resume(self) -> None:
        """Take chunks again: the fetch has gone back to `arrived`, or could not."""
        self._rereads = False

    def take(self) -> tuple[list[Record], int]:
        """Take out what is in, up to one transaction's worth; return the records, and the offset after them."""
        records: list[Record] = []
        while self._chunks and len(records) < self._buffer.transaction_records:
            chunk = self._chunks.popleft()
            records.extend(chunk.records)
            self.taken = chunk.end
            self._buffer.fetches -= 1
        self._records -= len(records)
        self._buffer.records -= len(records)
        return records, self.taken
