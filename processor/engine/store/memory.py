"""Rows in memory: the default store."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from processor.domain.standing import Mark
from processor.domain.transitions import Node
from processor.engine.store import Change, Describe, IndexChange, Name, index_change, note_aside
from processor.engine.store.memory_index import MemoryIndex

#: Dictionaries that the rows are spread over, a power of two. One alone stops the worker for half a second where it has
#: ten million rows: when it grows, and when its keys are listed. What is restored is indexed one after the other.
_SHARDS = 256


class MemoryStore:
    """Rows in dictionaries of bytes, which the garbage collector does not traverse.

    Rows that are restored are not indexed at once, so that recovery is short: `index_some` does that later, shard by
    shard, and whoever asks the index waits until it is done. What changes meanwhile is indexed at the end if its shard
    was looked at before; the others will be indexed as they are then.

    Args:
        describe: says what a packed row is listed and found by; None: there is no index.
    """

    is_durable = False

    def __init__(self, describe: Describe | None = None) -> None:
        self.position = 0
        self.aside: dict[bytes, bytes] = {}
        #: By the hash of the key.
        self._shards: tuple[dict[bytes, bytes], ...] = tuple({} for _ in range(_SHARDS))
        self._describe = describe
        self._index = MemoryIndex()
        #: So many shards are indexed.
        self._indexed = _SHARDS
        #: What has changed in them since, until all are.
        self._later: list[IndexChange] = []

    def get_many(self, keys: Sequence[bytes]) -> Sequence[bytes | None]:
        """Return the rows of the keys in their order, None for unknown ones."""
        shards, place, last = self._shards, hash, _SHARDS - 1
        return [shards[place(key) & last].get(key) for key in keys]

    def write(self, change: Change) -> None:
        """Write one chunk's changes."""
        shards, place, last = self._shards, hash, _SHARDS - 1
        for key, row in change.rows.items():
            rows = shards[place(key) & last]
            if row is None:
                rows.pop(key, None)
            else:
                rows[key] = row
        if change.indexed is not None:
            self._write_index(change.indexed)
        note_aside(self.aside, change.aside)
        self.position = change.position

    def restore(self, rows: Mapping[bytes, bytes | None], position: int, aside: Mapping[bytes, bytes | None]) -> None:
        """Write rows that were read from the changelog."""
        if self._describe is not None:
            if not len(self):
                self._indexed = 0
            if self._indexed:
                self._index_restored(rows, self._describe)
        self.write(Change(rows, 0, position, aside))

    def _index_restored(self, rows: Mapping[bytes, bytes | None], describe: Describe) -> None:
        """Index rows of shards that are indexed already, before they are written."""
        known = zip(rows.items(), self.get_many(list(rows)), strict=True)
        here = ((key, before, row) for (key, row), before in known if self._is_indexed(key))
        self._write_index(index_change(here, describe))

    def _is_indexed(self, key: bytes) -> bool:
        return hash(key) & (_SHARDS - 1) < self._indexed

    def _write_index(self, change: IndexChange) -> None:
        if self._indexed == _SHARDS:
            self._index.write(change)
        elif self._indexed:
            standings = [each for each in change.standings if self._is_indexed(each[0])]
            self._later.append(IndexChange(standings, [each for each in change.names if self._is_indexed(each[0])]))

    def index_some(self, rows: int) -> bool:
        """Index shards until they have about so many rows; return whether all are indexed now."""
        describe = self._describe
        while rows > 0 and self._indexed < _SHARDS and describe is not None:
            shard = self._shards[self._indexed]
            self._index.gather((key, describe(row)) for key, row in shard.items())
            rows -= len(shard)
            self._indexed += 1
            if self._indexed == _SHARDS:
                self._index.sort()
                for change in self._later:
                    self._index.write(change)
                self._later.clear()
        return self._indexed == _SHARDS or describe is None

    def _index_all(self) -> None:
        # One more than there are, so that empty shards at the end count as indexed.
        self.index_some(len(self) + 1)

    def items(self) -> Iterator[tuple[bytes, bytes]]:
        """Yield all rows with their keys, except some of those written meanwhile."""
        for rows in self._shards:
            for key in list(rows):
                row = rows.get(key)
                if row is not None:
                    yield key, row

    def standing(self, delivery: str | None, node: Node, below: Mark) -> Iterator[Mark]:
        """Yield the rows of one delivery, or of all, that stand at a node, from below a mark down."""
        self._index_all()
        return self._index.standing(delivery, node, below)

    def named(self, kind: Name, name: str) -> Iterator[bytes]:
        """Yield the keys of the rows with a name, and perhaps of a few others."""
        self._index_all()
        return self._index.named(kind, name)

    def clear(self) -> None:
        """Forget everything."""
        self.close()
        self.aside.clear()
        self.position = 0

    def close(self) -> None:
        """Release the memory."""
        for rows in self._shards:
            rows.clear()
        self._index, self._indexed = MemoryIndex(), _SHARDS
        self._later.clear()

    def __len__(self) -> int:
        """Count the rows."""
        return sum(map(len, self._shards))
