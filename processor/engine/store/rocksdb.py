"""Rows on disk, for state that is larger than memory.

Each partition has a folder of its own. A chunk's rows, their index and the changelog position are one batch, so after
any crash the folder holds the state at some position, and a restart reads only the tail of the changelog. A folder that
cannot be opened, that belongs to another cluster, topic or partition, that is indexed otherwise, or that is so old that
tombstones may have gone from the changelog, is emptied and rebuilt; it is never trusted or repaired.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import cast

import msgspec
import rocksdict

from processor.domain.standing import Mark
from processor.domain.transitions import Node
from processor.engine.store import Change, Describe, Name, StoreName, disk_index, index_change, note_aside
from processor.logs import get_logger

log = get_logger(__name__)

#: Kafka removes tombstones after `delete.retention.ms`, a day by default: who has been away for longer missed some.
_TRUSTED_SECONDS = 20 * 60 * 60

#: What keeps a folder from being opened and says nothing against what is in it: another worker of this machine has not
#: let go of it yet, or the disk takes no more. Built anew, it would not be better off.
_NOT_THE_FOLDERS = ("lock", "no space left", "quota exceeded", "file too large", "too many open files", "read-only")

#: What the first byte of a key says: a row, a note of one that was set aside, or the one record about the whole. What
#: the index begins with is in disk_index.py.
_ROW, _ASIDE, _ABOUT = b"r", b"x", b"a"

_MIB = 1024 * 1024


class About(msgspec.Struct, array_like=True, frozen=True):
    """The owner of a folder and the position that it reflects."""

    format: int
    cluster: str
    changelog: str
    partition: int
    position: int
    rows: int
    written_at: float
    #: What is indexed, and the key that names are hashed with.
    indexed: tuple[str, ...]
    secret: bytes


#: To be raised with the layout of rows, too: what this version cannot read is not taken from a folder.
_FORMAT = 6

#: Formats that a folder may have: 5 differs by the layout of its rows only, and former ones are read for ever. With the
#: first write it has the present one.
_READABLE = frozenset({5, _FORMAT})
_decode_about = msgspec.msgpack.Decoder(About).decode
_encode_about = msgspec.msgpack.Encoder().encode


@lru_cache(maxsize=1)
def _shared(cache_mib: int) -> tuple[rocksdict.Cache, rocksdict.WriteBufferManager]:
    """Return the block cache and write buffers that all stores of the process share, which bounds their sum."""
    cache = rocksdict.Cache(cache_mib * _MIB)
    # Half of the bound may be rows that are not on disk yet; they count against the cache. Writers must not be stalled
    # at it: they share one thread, and one that waits for another store to be flushed waits for ever, since a store is
    # flushed by its own writes only.
    buffers = rocksdict.WriteBufferManager.new_write_buffer_manager_with_cache(cache_mib * _MIB // 2, False, cache)
    return cache, buffers


def _options(cache_mib: int) -> rocksdict.Options:
    cache, buffers = _shared(cache_mib)
    table = rocksdict.BlockBasedOptions()
    table.set_block_cache(cache)
    table.set_cache_index_and_filter_blocks(True)
    table.set_pin_l0_filter_and_index_blocks_in_cache(True)
    # Most keys that are asked for are those of new messages: a filter answers for the disk.
    table.set_bloom_filter(10, False)
    options = rocksdict.Options(raw_mode=True)
    options.create_if_missing(True)
    options.set_block_based_table_factory(table)
    options.set_write_buffer_manager(buffers)
    # So that eight stores reach the bound together, and none is flushed at each write because others hold it all.
    options.set_write_buffer_size(max(1, cache_mib // 16) * _MIB)
    options.set_max_background_jobs(2)
    options.set_keep_log_file_num(1)
    options.set_max_open_files(256)
    return options


class RocksStore:
    """Rows of one partition in a folder."""

    is_durable = True

    def __init__(  # noqa: PLR0913 - whose store it is, where, and what is in it
        self,
        folder: Path,
        name: StoreName,
        cache_mib: int,
        indexed: tuple[str, ...] = (),
        describe: Describe | None = None,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._folder, self._name, self._cache_mib, self._clock = folder, name, cache_mib, clock
        self._describe = describe
        self._indexed, self._secret = indexed, os.urandom(disk_index.SECRET_BYTES)
        self.position = 0
        self._rows = 0
        self.aside: dict[bytes, bytes] = {}
        self._db = self._open_trusted()
        self._keyed = disk_index.hash_under(self._secret)

    def _open_trusted(self) -> rocksdict.Rdict:
        try:
            db = self._open()
        except Exception as error:
            if any(trouble in str(error).lower() for trouble in _NOT_THE_FOLDERS):
                raise OSError(f"{self._folder} cannot be opened: {error}") from None
            return self._rebuild(f"it cannot be opened: {error}")
        found = db.get(_ABOUT)
        if found is None:
            return db if next(iter(db.keys()), None) is None else self._rebuild("it says nothing of itself", db)
        try:
            about = _decode_about(found)
        except msgspec.MsgspecError as error:
            return self._rebuild(f"what it says of itself cannot be read: {error}", db)
        problem = self._distrust(about)
        if problem:
            return self._rebuild(problem, db)
        self.position, self._rows, self._secret = about.position, about.rows, about.secret
        self.aside = dict(_entries(db, _ASIDE))
        return db

    def _open(self) -> rocksdict.Rdict:
        self._folder.mkdir(parents=True, exist_ok=True)
        return rocksdict.Rdict(str(self._folder), _options(self._cache_mib))

    def _distrust(self, about: About) -> str:
        if about.format not in _READABLE:
            return f"it has format {about.format}, and this is {_FORMAT}"
        if (about.cluster, about.changelog, about.partition) != self._name:
            return f"it belongs to {about.changelog}[{about.partition}] of cluster {about.cluster}"
        if about.indexed != self._indexed:
            return f"{', '.join(about.indexed) or 'nothing'} is indexed, and DELIVERY_INDEX is something else"
        if self._clock() - about.written_at > _TRUSTED_SECONDS:
            return "it has not been written for so long that tombstones may have been missed"
        return ""

    def _rebuild(self, problem: str, db: rocksdict.Rdict | None = None) -> rocksdict.Rdict:
        log.warning("store_rebuilt", folder=str(self._folder), problem=problem)
        if db is not None:
            db.close()
        shutil.rmtree(self._folder, ignore_errors=True)
        self.position = self._rows = 0
        self.aside = {}
        return self._open()

    def get_many(self, keys: Sequence[bytes]) -> Sequence[bytes | None]:
        """Return the rows of the keys in their order, None for unknown ones."""
        return cast("Sequence[bytes | None]", self._db.get([_ROW + key for key in keys]))

    def write(self, change: Change) -> None:
        """Write one chunk's changes: all of them, or none.

        Raises:
            OSError: the disk is full or broken; the store is as it was.
        """
        batch = rocksdict.WriteBatch(raw_mode=True)
        for key, row in change.rows.items():
            if row is None:
                batch.delete(_ROW + key)
            else:
                batch.put(_ROW + key, row)
        for key, note in change.aside.items():
            if note is None:
                batch.delete(_ASIDE + key)
            else:
                batch.put(_ASIDE + key, note)
        if change.indexed is not None:
            disk_index.write_index(batch, change.indexed, self._keyed)
        rows = self._rows + change.growth
        about = About(_FORMAT, *self._name, change.position, rows, self._clock(), self._indexed, self._secret)
        batch.put(_ABOUT, _encode_about(about))
        try:
            self._db.write(batch)
        except Exception as error:
            raise OSError(f"{self._folder} cannot be written: {error}") from error
        self.position, self._rows = change.position, rows
        note_aside(self.aside, change.aside)

    def restore(self, rows: Mapping[bytes, bytes | None], position: int, aside: Mapping[bytes, bytes | None]) -> None:
        """Write rows that were read from the changelog, with their index: all of them, or none.

        Raises:
            OSError: the disk is full or broken; the store is as it was.
        """
        known = self.get_many(list(rows))
        growth = sum((row is not None) - (old is not None) for row, old in zip(rows.values(), known, strict=True))
        changed = ((key, old, row) for (key, row), old in zip(rows.items(), known, strict=True))
        change = None if self._describe is None else index_change(changed, self._describe)
        self.write(Change(rows, growth, position, aside, change))

    def index_some(self, _rows: int) -> bool:
        """Return True: what is on disk is indexed when it is written."""
        return True

    def items(self) -> Iterator[tuple[bytes, bytes]]:
        """Return all rows with their keys, as of the first call of the iterator."""
        return _entries(self._db, _ROW)

    def standing(self, delivery: str | None, node: Node, below: Mark) -> Iterator[Mark]:
        """Yield the rows of one delivery, or of all, that stand at a node, from below a mark down."""
        return disk_index.standing(self._db, delivery, node, below)

    def named(self, kind: Name, name: str) -> Iterator[bytes]:
        """Yield the keys of the rows with a name, and perhaps of a few others."""
        return disk_index.named(self._db, kind, name, self._keyed)

    def clear(self) -> None:
        """Forget everything."""
        self._db = self._rebuild("it reflects more than has been committed", self._db)

    def close(self) -> None:
        """Release files and memory; anything that a full or broken disk lost is read from the changelog again."""
        try:
            self._db.close()
        except Exception as error:
            # It is closed all the same, and its folder may be opened: only its last words were not written.
            log.warning("store_not_flushed", folder=str(self._folder), error=str(error))

    def __len__(self) -> int:
        """Count the rows."""
        return self._rows


def _entries(db: rocksdict.Rdict, kind: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield all entries of one kind, with their keys without the prefix."""
    for key, value in cast("Iterator[tuple[bytes, bytes]]", db.items(from_key=kind)):
        if key[:1] != kind:
            return
        yield key[1:], value
