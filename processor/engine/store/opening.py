"""Open the store that the settings name, and check early whether that is possible."""

from __future__ import annotations

import errno
import tempfile
from collections.abc import Iterator
from pathlib import Path

from processor.engine.store import Describe, Store, StoreName
from processor.engine.store.memory import MemoryStore
from processor.installed import mend
from processor.settings import Settings, SettingsError

#: What keeps a folder from being written now, and passes: it is waited for where a partition is opened.
_PASSING = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENFILE, errno.EINTR, errno.EAGAIN})


def check_store(settings: Settings) -> None:
    """Check whether the store can be opened, before anything depends on it.

    Raises:
        SettingsError: it needs a package that is not installed, or its folder cannot be written.
    """
    if settings.store == "memory":
        return
    problems = [*_missing_package(), *_unwritable_folders(_folder(settings))]
    if problems:
        raise SettingsError(problems)


def open_store(
    settings: Settings, name: StoreName, indexed: tuple[str, ...] = (), describe: Describe | None = None
) -> Store:
    """Open the store of one partition.

    Args:
        settings: those of the worker.
        name: whose store it is.
        indexed: what its changes say of an index. A folder that was written with another one is built anew.
        describe: says the same of a packed row; None: nothing is indexed.

    Raises:
        OSError: the folder cannot be used, or another process uses it.
    """
    if settings.store == "memory":
        return MemoryStore(describe)
    # rocksdict is an extra, which the memory store does not need.
    from processor.engine.store.rocksdb import RocksStore  # noqa: PLC0415

    folder = _folder(settings) / name.changelog / str(name.partition)
    return RocksStore(folder, name, settings.store_cache_mib, indexed, describe)


def _folder(settings: Settings) -> Path:
    return Path(settings.store_path) / settings.app_id


def _missing_package() -> Iterator[str]:
    try:
        import rocksdict  # noqa: F401, PLC0415 - an extra.
    except ImportError as error:
        yield (f"DELIVERY_STORE is 'rocksdb', but rocksdict cannot be imported ({error}): {mend('rocksdb')}")


def _unwritable_folders(folder: Path) -> Iterator[str]:
    """Return the folders that cannot be written: the folder itself, and those of partitions in it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        folders = [folder, *folder.glob("*/*")]
    except OSError as error:
        yield from _told(folder, error)
        return
    for each in folders:
        try:
            with tempfile.TemporaryFile(dir=each):
                pass
        except OSError as error:
            yield from _told(each, error)


def _told(folder: Path, error: OSError) -> Iterator[str]:
    if error.errno not in _PASSING:
        mend = "give a folder that the user of the worker may write, or set DELIVERY_STORE=memory"
        yield f"DELIVERY_STORE_PATH: {folder} cannot be written: {error.strerror}; {mend}"
