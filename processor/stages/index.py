"""The index of one partition: its rows by delivery and status, by recipient, and by provider's id (ADR 0022).

The fold stage has each row before and after a change. So the index entries of the old row are removed, and those of the
new one are added, in the same batch as the row. Rows that are restored from the changelog are indexed by the store: one
in memory does so after recovery, some at a time, or when a list is asked for.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from processor.domain.row import Names, Row
from processor.domain.standing import Mark, Standing
from processor.domain.transitions import Node
from processor.engine.store import Describe, Description, IndexChange, Name, Store
from processor.providers.addresses import comparable_address
from processor.providers.native_keys import comparable, comparable_ids
from processor.wire.rows import unpack_row

#: A key, and its row as stored and as it is now.
Changed = tuple[bytes, "Row | None", "Row | None"]


#: Restored rows that are indexed at a time: some 20 ms.
_ROWS_AT_A_TIME = 8_000


def describe_by(indexed: Sequence[str]) -> Describe | None:
    """Return what says by which of `INDEXES` a packed row is listed and found; None: by none."""
    if not indexed:
        return None
    lists, recipients, native = (name in indexed for name in ("delivery", "recipient", "provider_message_id"))

    def describe(packed: bytes) -> Description:
        row = unpack_row(packed)
        names = row.names
        return (
            (names.delivery_id or "", row.node, row.since) if lists else None,
            (_address(names) if recipients else None, _native(names) if native else None),
        )

    return describe


class Index:
    """The index of one partition.

    Args:
        indexed: what is indexed: some of `INDEXES` in settings/parsers.py.
        store: keeps it.
    """

    def __init__(self, indexed: Sequence[str], store: Store) -> None:
        self.indexed = frozenset(indexed)
        self._store = store
        self._lists = "delivery" in self.indexed
        self._recipients, self._native = "recipient" in self.indexed, "provider_message_id" in self.indexed

    # Writing

    def change(self, rows: Iterable[Changed]) -> IndexChange:
        """Return what changes in the index when rows change."""
        if not self.indexed:
            return IndexChange([], [])
        lists, recipients, native = self._lists, self._recipients, self._native
        standings: list[tuple[bytes, Standing | None, Standing | None]] = []
        names: list[tuple[bytes, Name, str | None, str | None]] = []
        for key, before, after in rows:
            old = None if before is None else before.names
            new = None if after is None else after.names
            if lists:
                here = None if before is None or old is None else (old.delivery_id or "", before.node, before.since)
                there = None if after is None or new is None else (new.delivery_id or "", after.node, after.since)
                if here != there:
                    standings.append((key, here, there))
            if old is new:
                continue
            if recipients:
                known = None if old is None else _address(old)
                told = None if new is None else _address(new)
                if known != told:
                    names.append((key, Name.RECIPIENT, known, told))
            if native:
                known = None if old is None else _native(old)
                told = None if new is None else _native(new)
                if known != told:
                    names.append((key, Name.PROVIDER_MESSAGE_ID, known, told))
        return IndexChange(standings, names)

    def advance(self) -> bool:
        """Index some more of the rows that were restored; return whether all are indexed now."""
        return self._store.index_some(_ROWS_AT_A_TIME)

    # Reading

    def standing(self, delivery: str | None, node: Node, below: Mark) -> Iterator[Mark]:
        """Yield the rows of one delivery, or of all (None), that stand at a node, from below a mark down."""
        return self._store.standing(delivery, node, below)

    def of_recipient(self, recipient: str) -> Iterator[bytes]:
        """Yield the keys of the rows of a recipient, however it is written, and perhaps of a few others."""
        return self._store.named(Name.RECIPIENT, comparable_address(recipient))

    def of_provider_message(self, provider_message_id: str) -> Iterator[bytes]:
        """Yield the keys of the rows with a provider's id, in any of its forms, and perhaps of a few others."""
        forms = comparable_ids(provider_message_id)
        found = [key for form in forms for key in self._store.named(Name.PROVIDER_MESSAGE_ID, form)]
        # What is found by its bucket may be found by both forms.
        yield from dict.fromkeys(found) if len(forms) > 1 else found

    def rows(self, keys: Sequence[bytes]) -> Sequence[Row | None]:
        """Return the committed rows of the keys, in their order."""
        return [None if packed is None else unpack_row(packed) for packed in self._store.get_many(keys)]


def _address(names: Names) -> str | None:
    """Return the address that a row is found by; None: by none."""
    recipient = names.shown_recipient
    return None if recipient is None else comparable_address(recipient)


def _native(names: Names) -> str | None:
    """Return the provider's id that a row is found by; None: by none."""
    native = names.provider_message_id
    return None if native is None else comparable(names.provider or "", native)
