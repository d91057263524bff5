"""Processes of `delivery-status` that begin with all that it imports.

To import what a worker needs costs a second of a core, more than it does in most tests. One process for each of pytest
imports it once, and every worker is a fork of that. What a start from nothing is, tests/cli and test_stops.py show.
"""

import faulthandler
import multiprocessing
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from processor.__main__ import main

_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(["tests.forks", "processor.cli.run", "processor.cli.gateway_server", "uvloop"])


def _run(arguments: Sequence[str], environment: Mapping[str, str], log: str) -> None:
    os.environ.clear()
    os.environ.update(environment)
    for stream, (path, flags) in enumerate(((os.devnull, os.O_RDONLY), (os.devnull, os.O_WRONLY), (log, os.O_WRONLY))):
        opened = os.open(path, flags)
        os.dup2(opened, stream)
        os.close(opened)
    faulthandler.enable()
    sys.argv[1:] = arguments
    main()


class Fork:
    """`delivery-status` with some arguments as a process, and as much of `Popen` as the harness asks for."""

    def __init__(self, arguments: Sequence[str], environment: Mapping[str, str], log: Path) -> None:
        log.write_bytes(b"")
        # Where a test fails to end it, it ends with pytest.
        self._process = _FORKS.Process(target=_run, args=(arguments, environment, str(log)), daemon=True)
        self._process.start()
        self.pid = int(self._process.pid or 0)

    @property
    def returncode(self) -> int | None:
        return self._process.exitcode

    def poll(self) -> int | None:
        return self.returncode

    def send_signal(self, number: int) -> None:
        if self.returncode is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def wait(self) -> int | None:
        self._process.join()
        return self.returncode
