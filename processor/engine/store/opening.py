"""Which store the settings ask for."""

from __future__ import annotations

from pathlib import Path

from processor.engine.store import Store, StoreName
from processor.engine.store.memory import MemoryStore
from processor.settings import Settings, SettingsError


def open_store(settings: Settings, name: StoreName) -> Store:
    """Open the store of one partition.

    Raises:
        SettingsError: the store needs a package that is not installed.
        OSError: the folder cannot be used, or another process uses it.
    """
    if settings.store == "memory":
        return MemoryStore()
    try:
        # rocksdict is an extra: who keeps rows in memory need not have it.
        from processor.engine.store.rocksdb import RocksStore  # noqa: PLC0415
    except ImportError:
        problem = "DELIVERY_STORE is 'rocksdb', but rocksdict is missing: pip install 'delivery-status[rocksdb]'"
        raise SettingsError([problem]) from None
    folder = Path(settings.store_path) / settings.app_id / name.changelog / str(name.partition)
    return RocksStore(folder, name, settings.store_cache_mib)
