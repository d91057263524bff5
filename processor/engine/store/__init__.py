"""Stores of rows: one interface, in memory or on disk.

Only committed changes are written to a store, with the changelog position that they reflect.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from enum import IntEnum
from types import MappingProxyType
from typing import NamedTuple, Protocol

from processor.domain.standing import Mark, Standing
from processor.domain.transitions import Node


class Name(IntEnum):
    """What rows are found by, beside their keys. The values are stored on disk: never change or reuse one."""

    RECIPIENT = 0
    PROVIDER_MESSAGE_ID = 1


class IndexChange(NamedTuple):
    """The changes of one chunk to the index; each tells what was there, as the store knows it, and what is now."""

    #: By key: the standing before and after; None: the row was, or is, in no list.
    standings: list[tuple[bytes, Standing | None, Standing | None]]
    #: By key and kind: the name before and after, in the form that names are compared in; None: there was, or is, none.
    names: list[tuple[bytes, Name, str | None, str | None]]


#: What a row is listed and found by: where it stands, and its names by kind, as in `IndexChange`.
Description = tuple[Standing | None, tuple[str | None, ...]]

#: Says what a packed row is listed and found by.
Describe = Callable[[bytes], Description]

_NOT_THERE: Description = (None, (None,) * len(Name))


def index_change(rows: Iterable[tuple[bytes, bytes | None, bytes | None]], describe: Describe) -> IndexChange:
    """Return what changes in the index when packed rows change.

    Args:
        rows: each key, its row before and after.
        describe: says what a row is listed and found by.
    """
    change = IndexChange([], [])
    for key, before, after in rows:
        stood, known = _NOT_THERE if before is None else describe(before)
        stands, told = _NOT_THERE if after is None else describe(after)
        if stood != stands:
            change.standings.append((key, stood, stands))
        for kind, former, present in zip(Name, known, told, strict=True):
            if former != present:
                change.names.append((key, kind, former, present))
    return change


class Change(NamedTuple):
    """The changes of one chunk."""

    #: Packed rows by key; None: the row is gone.
    rows: Mapping[bytes, bytes | None]
    #: By how many the number of rows grew.
    growth: int
    #: The changelog position that the store reflects with this change.
    position: int
    #: What is noted, by key, of rows that were set aside because they could not be read; None: nothing any more.
    aside: Mapping[bytes, bytes | None] = MappingProxyType({})
    #: What the rows are listed and found by.
    indexed: IndexChange | None = None


class Store(Protocol):
    """Packed rows by key."""

    #: Whether the rows outlive the process, so that a closed store may be opened again.
    is_durable: bool
    #: The changelog position that the rows reflect; 0: none of it.
    position: int
    #: What is noted of the rows that were set aside: they are no rows of the store.
    aside: dict[bytes, bytes]

    def get_many(self, keys: Sequence[bytes]) -> Sequence[bytes | None]:
        """Return the rows of the keys in their order, None for unknown ones."""

    def write(self, change: Change) -> None:
        """Write one chunk's changes: all of them, or none.

        Raises:
            OSError: the disk is full or broken; the store is as it was.
        """

    def restore(self, rows: Mapping[bytes, bytes | None], position: int, aside: Mapping[bytes, bytes | None]) -> None:
        """Write rows that were read from the changelog: all of them, or none.

        Args:
            rows: as in `Change`. What they are listed and found by, the store works out.
            position: as in `Change`.
            aside: as in `Change`.

        Raises:
            OSError: the disk is full or broken; the store is as it was.
        """

    def index_some(self, rows: int) -> bool:
        """Index some more of the rows that were restored, about so many; return whether all are indexed now.

        A list that is asked for before that is complete, too: it indexes the rest first, in one step.
        """

    def items(self) -> Iterator[tuple[bytes, bytes]]:
        """Return all rows with their keys; those written meanwhile may be among them or not."""

    def standing(self, delivery: str | None, node: Node, below: Mark) -> Iterator[Mark]:
        """Yield the rows of one delivery, or of all (None), that stand at a node, from below a mark down.

        The store must not change meanwhile.
        """

    def named(self, kind: Name, name: str) -> Iterator[bytes]:
        """Yield the keys of the rows with a name, in the form that names are compared in, and perhaps of a few others.

        The store must not change meanwhile.
        """

    def clear(self) -> None:
        """Forget everything."""

    def close(self) -> None:
        """Release files and memory."""

    def __len__(self) -> int:
        """Count the rows."""


def note_aside(notes: dict[bytes, bytes], change: Mapping[bytes, bytes | None]) -> None:
    """Update a store's notes about unreadable rows."""
    for key, note in change.items():
        if note is None:
            notes.pop(key, None)
        else:
            notes[key] = note


class StoreName(NamedTuple):
    """The owner of a store; a folder of another owner is never trusted."""

    cluster: str
    changelog: str
    partition: int
