"""A small disk that can be filled, without root: a tmpfs in a mount namespace, which goes away with its processes."""

from __future__ import annotations

import errno
import subprocess
from pathlib import Path

#: Opens the namespace and keeps it.
_HOLD = 'mount -t tmpfs -o size="$1" tmpfs "$2" && echo mounted && exec sleep infinity'


class NoSmallDiskError(Exception):
    """This machine lets nobody mount one: not Linux, no util-linux, or no user namespaces."""


class SmallDisk:
    """A disk of some mebibytes at `folder`, seen only by processes that are started with `prefix`."""

    def __init__(self, folder: Path, mebibytes: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        hold = ["unshare", "--map-root-user", "--mount", "sh", "-c", _HOLD, "sh", f"{mebibytes}m", str(folder)]
        try:
            self._holder = subprocess.Popen(
                hold, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
            )
        except OSError as error:
            raise NoSmallDiskError(str(error)) from error
        answer = self._holder.stdout.readline().strip() if self._holder.stdout else ""
        if answer != "mounted":
            self.close()
            raise NoSmallDiskError(answer or "unshare says nothing")

    @property
    def prefix(self) -> tuple[str, ...]:
        """What to start a command with, so that it sees the disk; the process keeps its id."""
        target = f"--target={self._holder.pid}"
        return "nsenter", target, "--user", "--mount", "--preserve-credentials", f"--wd={Path.cwd()}"

    @property
    def _outside(self) -> Path:
        return Path(f"/proc/{self._holder.pid}/root{self.folder}")

    def fill(self) -> None:
        """Take all room that is left, to the last byte."""
        with (self._outside / "filler").open("ab", buffering=0) as filler:
            for size in (65_536, 1):
                try:
                    while filler.write(bytes(size)):
                        pass
                except OSError as error:
                    if error.errno != errno.ENOSPC:
                        raise

    def make_room(self) -> None:
        """Give back what `fill` took."""
        (self._outside / "filler").unlink()

    def close(self) -> None:
        """End the process that keeps the disk; with the last one that sees it, it is gone."""
        self._holder.kill()
        self._holder.wait()
        if self._holder.stdout:
            self._holder.stdout.close()
