"""Set aside the records of our own topics that cannot be read, by partition: reported, never overwritten, never fatal.

Such a record stays in its topic: no row and no tombstone overwrites it. Reports on its message or delivery become dead
letters, which can be replayed once the record has been repaired (ADR 0018).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NoReturn

import msgspec

from processor.engine.stage import Record
from processor.engine.store import Change, Store
from processor.logs import get_logger
from processor.metrics import Metrics
from processor.metrics.labels import ByTopic
from processor.settings import Settings
from processor.watch.board import Board
from processor.watch.tallies import UnreadableRow
from processor.wire.deadletters import DeadReason, UnusableError
from processor.wire.readback import UnreadableError
from processor.wire.topics import Topic

log = get_logger(__name__)


class Note(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """A note about one record: its offset, and why it cannot be read."""

    offset: int
    problem: str


_pack = msgspec.msgpack.Encoder().encode
_unpack = msgspec.msgpack.Decoder(Note).decode

#: A problem may quote what a stranger wrote: enough to see.
_PROBLEM_MAX = 300


def note_of(offset: int, error: Exception) -> Note:
    """Make the note about a record that cannot be read."""
    return Note(offset, str(error)[:_PROBLEM_MAX])


def pack_note(note: Note) -> bytes:
    """Pack a note for a store."""
    return _pack(note)


def readable_key(key: bytes) -> bytes:
    """Decode a key that can be an id.

    Raises:
        UnreadableError: it is not text.
    """
    try:
        key.decode()
    except UnicodeDecodeError as error:
        raise UnreadableError(f"its key is no text: {error}") from None
    return key


def restore_store(
    store: Store, records: Sequence[Record], position: int, packed_of: Callable[[bytes, bytes], bytes]
) -> None:
    """Take the newest record of each key into a store; what cannot be read is set aside.

    Args:
        store: what is restored.
        records: some of the changelog, in order.
        position: the changelog position that they lead to.
        packed_of: returns what the store keeps of a key and a value; it raises `UnreadableError` where it cannot.
    """
    latest = {record.key: record for record in records if record.key is not None}
    rows: dict[bytes, bytes | None] = {}
    aside: dict[bytes, bytes | None] = {key: None for key in latest if key in store.aside}
    for key, record in latest.items():
        try:
            rows[key] = None if record.value is None else packed_of(key, record.value)
        except UnreadableError as error:
            rows[key], aside[key] = None, pack_note(note_of(record.offset, error))
    known = store.get_many(list(rows))
    growth = sum((row is not None) - (old is not None) for row, old in zip(rows.values(), known, strict=True))
    store.write(Change(rows, growth, max(position, store.position), aside))


class Aside:
    """The records of one partition of a topic that were set aside."""

    def __init__(self, settings: Settings, topic: Topic, partition: int, metrics: Metrics, board: Board) -> None:
        self._topic, self._partition, self._board = settings.topic(topic), partition, board
        self._gauge = metrics.rows_unreadable.labels(ByTopic(topic.name))
        self._shown = 0
        #: By key.
        self.notes: dict[bytes, Note] = {}

    def restore(self, packed: Mapping[bytes, bytes]) -> None:
        """Take over the notes of a store."""
        self.notes = {key: _unpack(note) for key, note in packed.items()}

    def tell(self) -> None:
        """Log all of them, and update gauge and page."""
        for key, note in self.notes.items():
            log.error(
                "row_unreadable",
                topic=self._topic,
                partition=self._partition,
                offset=note.offset,
                key=_shown(key),
                problem=note.problem,
                mend="docs/runbooks/DeliveryRowsUnreadable.md",
            )
        self.show()

    def show(self) -> None:
        """Update gauge and page."""
        self._gauge.inc(len(self.notes) - self._shown)
        self._shown = len(self.notes)
        rows = [
            UnreadableRow(self._topic, self._partition, note.offset, _shown(key), note.problem)
            for key, note in self.notes.items()
        ]
        self._board.put_unreadable(self._topic, self._partition, rows)

    def hide(self) -> None:
        """Remove this partition's from gauge and page: it is no longer ours."""
        self._gauge.dec(self._shown)
        self._shown = 0
        self._board.put_unreadable(self._topic, self._partition, [])

    def refuse(self, key: bytes) -> NoReturn:
        """Refuse a record that would change an unreadable one.

        Raises:
            UnusableError: always; it names the unreadable record.
        """
        raise UnusableError(DeadReason.ROW_UNREADABLE, self.describe(key))

    def describe(self, key: bytes) -> str:
        """Describe the unreadable record of a key."""
        note = self.notes[key]
        place = f"{self._topic}[{self._partition}] at offset {note.offset}"
        return f"the record of key {_shown(key)!r} in {place} cannot be read: {note.problem}"


def _shown(key: bytes) -> str:
    return key.decode(errors="backslashreplace")
