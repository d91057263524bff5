"""Rows in memory: the default store."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from processor.engine.store import Change, note_aside


class MemoryStore:
    """Rows in a dictionary of bytes, which the garbage collector does not traverse."""

    is_durable = False

    def __init__(self) -> None:
        self.position = 0
        self.aside: dict[bytes, bytes] = {}
        self._rows: dict[bytes, bytes] = {}

    def get_many(self, keys: Sequence[bytes]) -> Sequence[bytes | None]:
        """Return the rows of the keys in their order, None for unknown ones."""
        get = self._rows.get
        return [get(key) for key in keys]

    def write(self, change: Change) -> None:
        """Write one chunk's changes."""
        rows = self._rows
        for key, row in change.rows.items():
            if row is None:
                rows.pop(key, None)
            else:
                rows[key] = row
        note_aside(self.aside, change)
        self.position = change.position

    def items(self) -> Iterator[tuple[bytes, bytes]]:
        """Yield all rows with their keys, except those written meanwhile."""
        rows = self._rows
        for key in list(rows):
            row = rows.get(key)
            if row is not None:
                yield key, row

    def clear(self) -> None:
        """Forget everything."""
        self._rows.clear()
        self.aside.clear()
        self.position = 0

    def close(self) -> None:
        """Release the memory."""
        self._rows.clear()

    def __len__(self) -> int:
        """Count the rows."""
        return len(self._rows)
