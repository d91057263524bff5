"""Where rows are kept between chunks."""

from __future__ import annotations

from typing import Protocol


class Store(Protocol):
    """Packed rows by key. Only what has been committed is ever put here."""

    def get(self, key: bytes) -> bytes | None:
        """Give a row, or None when it is not known."""

    def put(self, key: bytes, row: bytes) -> None:
        """Keep a row."""

    def delete(self, key: bytes) -> None:
        """Forget a row; one that is not known is no error."""

    def __len__(self) -> int:
        """Count the rows."""
