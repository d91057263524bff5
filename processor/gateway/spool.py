"""Keep records on disk while Kafka does not take them: SQLite, so that what was appended outlives the process.

A write-ahead log, synchronized with the disk at every commit: whoever has been told that a record was appended finds it
again after a crash or a loss of power. Records come back in the order in which they were appended, until they are
removed; a crash between the two gives some of them twice.
"""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

from processor.logs import get_logger

log = get_logger(__name__)

#: Once, when the file is made; then with every connection. One process has the file for itself.
_PRAGMAS = (
    "PRAGMA auto_vacuum = INCREMENTAL",
    "PRAGMA locking_mode = EXCLUSIVE",
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = FULL",
)
_TABLE = "CREATE TABLE IF NOT EXISTS spooled (place INTEGER PRIMARY KEY AUTOINCREMENT, received INTEGER, record BLOB)"
#: Records that the disk has not kept as they were, for people.
_DAMAGED = "CREATE TABLE IF NOT EXISTS damaged (place INTEGER PRIMARY KEY, received INTEGER, record BLOB)"
_SET_ASIDE = "INSERT OR REPLACE INTO damaged SELECT place, received, record FROM spooled WHERE place = ?"
_AGAIN = "INSERT INTO spooled (received, record) SELECT received, record FROM spooled WHERE place = ?"
_SIZES = "SELECT COUNT(*), COALESCE(SUM(LENGTH(record)), 0) FROM spooled"
_OLDEST = "SELECT place, received, record FROM spooled ORDER BY place LIMIT ?"

#: Octets to read at once: what one read holds in memory.
_MANY = 8 * 2**20

#: Octets of the disk that are left free: removing writes to the log before it frees anything, so a spool that has
#: filled its disk could never be emptied. And pages that are given back at once.
_SPARE = 32 * 2**20
_PAGES = 1000

Work = Callable[[sqlite3.Connection], None]


class SpoolError(Exception):
    """The disk is full, or fails, or another process has the file: nothing was appended, and nothing is lost."""


class Spooled(NamedTuple):
    """A record for Kafka."""

    topic: str
    value: bytes
    key: bytes | None = None
    headers: tuple[tuple[str, bytes], ...] = ()
    #: When it came, in milliseconds since 1970: its timestamp in Kafka.
    received: int = 0


class Spool:
    """Records on disk, in their order.

    It is not for several threads at once, and every method may wait for the disk.

    Raises:
        SpoolError: any method, when the disk does not do what it is asked to; each may be tried again.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._connection: sqlite3.Connection | None = None
        #: What the connection has opened: it goes on writing there when the names are somebody else's.
        self._opened: tuple[tuple[int, int], ...] = ()
        #: How many records there are, how many octets they have, and when the oldest came (milliseconds; 0: none).
        self.records = 0
        self.octets = 0
        self.oldest_received = 0

    def open(self) -> None:
        """Open the file, or make it; what is in it is counted."""
        self._run(self._count)

    def append(self, spooled: Sequence[Spooled]) -> None:
        """Append records, all or none of them; when this returns, they are on disk."""
        self._look_for_file()
        rows = [(each.received, _ENCODER.encode(each)) for each in spooled]
        size = sum(len(record) for _, record in rows)
        self._look_for_room(size)

        def insert(connection: sqlite3.Connection) -> None:
            connection.executemany("INSERT INTO spooled (received, record) VALUES (?, ?)", rows)

        self._run(insert)
        if rows:
            self.oldest_received = self.oldest_received if self.records else rows[0][0]
        self.records += len(rows)
        self.octets += size

    def oldest(self, limit: int, octets: int = _MANY) -> list[tuple[int, Spooled]]:
        """Return the oldest records, each with its place; they stay. Those that are damaged are set aside.

        Args:
            limit: how many.
            octets: how large they may be together; the first one is returned whatever its size.
        """
        found: list[tuple[int, bytes]] = []

        def read(connection: sqlite3.Connection) -> None:
            left = octets
            for place, _, record in connection.execute(_OLDEST, (limit,)):
                left -= len(record)
                if found and left < 0:
                    break
                found.append((place, record))

        self._run(read)
        whole: list[tuple[int, Spooled]] = []
        for place, record in found:
            spooled = _decoded(record)
            if spooled is None:
                log.error("spooled_record_damaged", place=place, octets=len(record))
                self._set_aside(place)
            else:
                whole.append((place, spooled))
        return whole

    def remove(self, last: int) -> None:
        """Remove all records up to a place, and it; when none is left, the file gives its room back."""
        removed = [0, 0]

        def delete(connection: sqlite3.Connection) -> None:
            removed[:] = connection.execute(f"{_SIZES} WHERE place <= ?", (last,)).fetchone()
            connection.execute("DELETE FROM spooled WHERE place <= ?", (last,))

        self._run(delete)
        self.records -= removed[0]
        self.octets -= removed[1]
        self._run(self._look)
        if not self.records:
            self._run(_shrink, in_transaction=False)

    def _set_aside(self, place: int) -> None:
        """Move a record where it holds up no other."""

        def move(connection: sqlite3.Connection) -> None:
            connection.execute(_DAMAGED)
            connection.execute(_SET_ASIDE, (place,))
            connection.execute("DELETE FROM spooled WHERE place = ?", (place,))
            self._count(connection)

        self._run(move)

    def put_last(self, place: int) -> None:
        """Move a record behind all others; a full disk does not keep it from that."""

        def move(connection: sqlite3.Connection) -> None:
            connection.execute(_AGAIN, (place,))
            connection.execute("DELETE FROM spooled WHERE place = ?", (place,))
            self._look(connection)

        self._run(move)

    def close(self) -> None:
        """Close the file; what is in it stays."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _look_for_room(self, octets: int) -> None:
        try:
            free = shutil.disk_usage(self._path.parent).free
        except OSError as error:
            raise SpoolError(f"{self._path}: {error}") from None
        # They are written twice: to the log, and from there to their place.
        if free < _SPARE + 2 * octets:
            raise SpoolError(f"{self._path}: the disk is full but for {free} octets, which removing needs")

    def _look_for_file(self) -> None:
        """Open the file anew when it has been removed: what is appended to the old one, no later process finds.

        What is in the old one is in no other place: it is kept open until that is in Kafka.
        """
        if self._connection is None or self._files() == self._opened:
            return
        if self.records:
            raise SpoolError(f"{self._path}: it has been removed or replaced; it takes no more before it is empty")
        self.close()
        self.open()

    def _files(self) -> tuple[tuple[int, int], ...]:
        found = []
        for path in (self._path, Path(f"{self._path}-wal")):
            try:
                status = path.stat()
            except OSError:
                continue
            found.append((status.st_dev, status.st_ino))
        return tuple(found)

    def _count(self, connection: sqlite3.Connection) -> None:
        self.records, self.octets = connection.execute(_SIZES).fetchone()
        self._look(connection)

    def _look(self, connection: sqlite3.Connection) -> None:
        oldest = connection.execute(_OLDEST, (1,)).fetchone()
        self.oldest_received = 0 if oldest is None else oldest[1]

    def _run(self, work: Work, *, in_transaction: bool = True) -> None:
        """Do work in one transaction, and synchronize it; else undo it, and say so."""
        try:
            connection = self._connected()
            if not in_transaction:
                work(connection)
                return
            connection.execute("BEGIN IMMEDIATE")
            work(connection)
            connection.execute("COMMIT")
        except sqlite3.Error as error:
            self._undo()
            raise SpoolError(f"{self._path}: {error}") from None

    def _connected(self) -> sqlite3.Connection:
        if self._connection is None:
            # Threads take turns: the caller sees to it.
            connection = sqlite3.connect(self._path, timeout=0, isolation_level=None, check_same_thread=False)
            try:
                for statement in (*_PRAGMAS, _TABLE):
                    connection.execute(statement)
                # Only a write makes the log for certain.
                connection.execute("BEGIN IMMEDIATE")
                connection.execute("COMMIT")
            except sqlite3.Error:
                connection.close()
                raise
            self._connection, self._opened = connection, self._files()
        return self._connection

    def _undo(self) -> None:
        """Roll back; a connection that cannot even do that is given up, and the next one recovers the file."""
        try:
            if self._connection is not None and self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
        except sqlite3.Error:
            self.close()


def _shrink(connection: sqlite3.Connection) -> None:
    """Free room step by step: all at once, it needs as much on the disk before as it gives back."""
    pages = connection.execute("PRAGMA freelist_count").fetchone()[0]
    for _ in range(0, pages, _PAGES):
        # `execute` would free one page: the statement goes on for as long as it is asked.
        connection.executescript(f"PRAGMA incremental_vacuum({_PAGES})")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()


_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(Spooled)


def _decoded(record: bytes) -> Spooled | None:
    """Return a record; None where the disk has not kept it as it was."""
    try:
        return _DECODER.decode(record)
    except (msgspec.MsgspecError, TypeError):
        return None
