"""Rows in memory: the default store."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from processor.domain.standing import Mark
from processor.domain.transitions import Node
from processor.engine.store import Change, Name, note_aside
from processor.engine.store.memory_index import MemoryIndex

#: Dictionaries that the rows are spread over, a power of two. One alone stops the worker for half a second where it has
#: ten million rows: when it grows, and when its keys are listed.
_SHARDS = 32


class MemoryStore:
    """Rows in dictionaries of bytes, which the garbage collector does not traverse."""

    is_durable = False

    def __init__(self) -> None:
        self.position = 0
        self.aside: dict[bytes, bytes] = {}
        #: By the hash of the key.
        self._shards: tuple[dict[bytes, bytes], ...] = tuple({} for _ in range(_SHARDS))
        self._index = MemoryIndex()

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
        self._index.write(change.indexed)
        note_aside(self.aside, change)
        self.position = change.position

    def items(self) -> Iterator[tuple[bytes, bytes]]:
        """Yield all rows with their keys, except some of those written meanwhile."""
        for rows in self._shards:
            for key in list(rows):
                row = rows.get(key)
                if row is not None:
                    yield key, row

    def standing(self, delivery: str | None, node: Node, below: Mark) -> Iterator[Mark]:
        """Yield the rows of one delivery, or of all, that stand at a node, from below a mark down."""
        return self._index.standing(delivery, node, below)

    def named(self, kind: Name, name: str) -> Iterator[bytes]:
        """Yield the keys of the rows with a name, and perhaps of a few others."""
        return self._index.named(kind, name)

    def clear(self) -> None:
        """Forget everything."""
        for rows in self._shards:
            rows.clear()
        self._index = MemoryIndex()
        self.aside.clear()
        self.position = 0

    def close(self) -> None:
        """Release the memory."""
        for rows in self._shards:
            rows.clear()
        self._index = MemoryIndex()

    def __len__(self) -> int:
        """Count the rows."""
        return sum(map(len, self._shards))
