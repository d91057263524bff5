"""Rows in memory: the default store."""

from __future__ import annotations


class MemoryStore:
    """Rows in a dictionary of bytes, which the garbage collector need not walk."""

    def __init__(self) -> None:
        self._rows: dict[bytes, bytes] = {}
        self.get = self._rows.get
        self.put = self._rows.__setitem__

    def delete(self, key: bytes) -> None:
        """Forget a row; one that is not known is no error."""
        self._rows.pop(key, None)

    def __len__(self) -> int:
        """Count the rows."""
        return len(self._rows)
