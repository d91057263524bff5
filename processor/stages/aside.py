"""What cannot be read in one partition of a topic of ours: set aside and named, never overwritten, and none dies of it.

A record of such a key stays in its topic as it is: no row and no tombstone is written over it, and what is reported of
its message or delivery is a dead letter, which can be replayed once the record has been mended (ADR 0018).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NoReturn

import msgspec

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
    """What is noted of one record: its offset, and why it cannot be read."""

    offset: int
    problem: str


_pack = msgspec.msgpack.Encoder().encode
_unpack = msgspec.msgpack.Decoder(Note).decode

#: A problem may quote what a stranger wrote: enough to see.
_PROBLEM_MAX = 300


def note_of(offset: int, error: Exception) -> Note:
    """Give what is noted of a record that cannot be read."""
    return Note(offset, str(error)[:_PROBLEM_MAX])


def pack_note(note: Note) -> bytes:
    """Write a note as a store keeps it."""
    return _pack(note)


def readable_key(key: bytes) -> bytes:
    """Give a key, if it can be an id.

    Raises:
        UnreadableError: it is no text.
    """
    try:
        key.decode()
    except UnicodeDecodeError as error:
        raise UnreadableError(f"its key is no text: {error}") from None
    return key


class Aside:
    """The records of one partition of a topic that were set aside."""

    def __init__(self, settings: Settings, topic: Topic, partition: int, metrics: Metrics, board: Board) -> None:
        self._topic, self._partition, self._board = settings.topic(topic), partition, board
        self._gauge = metrics.rows_unreadable.labels(ByTopic(topic.name))
        self._shown = 0
        #: By key.
        self.notes: dict[bytes, Note] = {}

    def restore(self, packed: Mapping[bytes, bytes]) -> None:
        """Take over what a store has noted."""
        self.notes = {key: _unpack(note) for key, note in packed.items()}

    def tell(self) -> None:
        """Name all of them in the log, and show them."""
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
        """Bring gauge and page up to date."""
        self._gauge.inc(len(self.notes) - self._shown)
        self._shown = len(self.notes)
        rows = [
            UnreadableRow(self._topic, self._partition, note.offset, _shown(key), note.problem)
            for key, note in self.notes.items()
        ]
        self._board.put_unreadable(self._topic, self._partition, rows)

    def hide(self) -> None:
        """Take this partition's out of gauge and page: it is no longer ours."""
        self._gauge.dec(self._shown)
        self._shown = 0
        self._board.put_unreadable(self._topic, self._partition, [])

    def refuse(self, key: bytes) -> NoReturn:
        """Refuse a record that would change what cannot be read.

        Raises:
            UnusableError: always; it names the record that cannot be read.
        """
        raise UnusableError(DeadReason.ROW_UNREADABLE, self.describe(key))

    def describe(self, key: bytes) -> str:
        """Say which record cannot be read, and why."""
        note = self.notes[key]
        place = f"{self._topic}[{self._partition}] at offset {note.offset}"
        return f"the record of key {_shown(key)!r} in {place} cannot be read: {note.problem}"


def _shown(key: bytes) -> str:
    return key.decode(errors="backslashreplace")
