"""Hold the rows that one transaction touches, read and changed: in hand, until it is committed to the store."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from processor.domain.row import Row
from processor.engine.store import Store
from processor.wire.rows import unpack_row

#: Rows by their messages' ids; None: there is no such row.
Rows = dict[bytes, "Row | None"]


class Hand:
    """The rows that one transaction touches: as stored, as changed, and the changes to write."""

    __slots__ = ("_moved", "_store", "before", "changed", "now")

    def __init__(self, store: Store, keys: Collection[bytes]) -> None:
        self._store = store
        found = zip(keys, store.get_many(list(keys)), strict=True)
        self.before: Rows = {key: None if row is None else unpack_row(row) for key, row in found}
        self.now: Rows = self.before.copy()
        #: Packed rows; None: removed.
        self.changed: dict[bytes, bytes | None] = {}
        #: The stored rows of those that were moved away.
        self._moved: Rows = {}

    def row(self, key: bytes) -> Row | None:
        """Return the present row, read from the store the first time."""
        if key not in self.now:
            packed = self._store.get_many([key])[0]
            self.before[key] = self.now[key] = None if packed is None else unpack_row(packed)
        return self.now[key]

    def put(self, key: bytes, row: Row, packed: bytes) -> None:
        """Change a row that is in hand."""
        self.now[key], self.changed[key] = row, packed

    def move_away(self, key: bytes) -> None:
        """Remove a row that is in hand, as one that counts no more: an event that comes after makes a new one."""
        self._moved.setdefault(key, self.before[key])
        self.before[key] = None
        self.remove(key)

    def changes(self) -> Iterator[tuple[bytes, Row | None, Row | None]]:
        """Yield each changed key with its row as stored and as it is now."""
        before, now, moved = self.before, self.now, self._moved
        for key in self.changed:
            yield key, (moved[key] if key in moved else before[key]), now[key]

    def remove(self, key: bytes) -> None:
        """Remove a row that is in hand."""
        self.now[key] = self.changed[key] = None
