"""Read JSON Lines, as the commands without Kafka do."""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO


def lines_of(file: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """Yield the lines that are not blank, with their numbers from 1."""
    for number, line in enumerate(file, start=1):
        stripped = line.strip()
        if stripped:
            yield number, stripped
