"""The file of users, read again when it changes."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from processor.logs import get_logger
from processor.users import Credential, UsersError, read_users

log = get_logger(__name__)

#: Seconds between two looks at the file.
_LOOK_SECONDS = 1.0

#: What tells that a file is another: when it was written, its size, and its number on the disk.
_Stamp = tuple[int, int, int]


class UserFile:
    """The users of a file, as it is now. While it cannot be read, or is wrong, those that were read last count.

    Args:
        path: of the file; None: there is none, and so no users.
        monotonic: seconds.

    Raises:
        UsersError: the file is wrong.
        OSError: it cannot be read.
    """

    def __init__(self, path: Path | None, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._path, self._monotonic = path, monotonic
        self._looked_at = monotonic()
        self._stamp: _Stamp | None = None if path is None else _stamp(path)
        self._credentials = () if path is None else read_users(path.read_bytes())

    @property
    def credentials(self) -> tuple[Credential, ...]:
        """The users and the hashes of their tokens."""
        now = self._monotonic()
        if self._path is not None and now - self._looked_at >= _LOOK_SECONDS:
            self._looked_at = now
            self._look(self._path)
        return self._credentials

    def _look(self, path: Path) -> None:
        try:
            stamp = _stamp(path)
            if stamp == self._stamp:
                return
            # A file that is wrong is told of once.
            self._stamp = stamp
            self._credentials = read_users(path.read_bytes())
        except UsersError as error:
            log.warning("users_unreadable", faults=error.faults)
        except OSError as error:
            if self._stamp is not None:
                log.warning("users_unreadable", faults=(f"it cannot be read: {error.strerror}",))
            self._stamp = None
        else:
            log.info("users_read", users=len(self._credentials))


def _stamp(path: Path) -> _Stamp:
    found = path.stat()
    return found.st_mtime_ns, found.st_size, found.st_ino
