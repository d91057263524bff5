"""The supervisor between a process and its JVM: a script that ends the JVM when the process is gone, however it went.

It runs without site packages, and so imports only what comes with Python.
"""

import ctypes
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Final

_POLL_SECONDS: Final = 0.5
_PR_SET_PDEATHSIG: Final = 1


@dataclass(frozen=True)
class Orders:
    """The orders to the supervisor: run the commands one after the other while the parent lives."""

    parent: int
    commands: Sequence[Sequence[str]]
    pid_file: str
    remove_with_parent: str | None


def _supervise(orders: Orders) -> int:
    """Run the commands, the JVM last, until one fails, the parent is gone or a signal asks for the end.

    It may not have a second thread: the kernel's signal upon a parent's death in truth follows the death of the thread
    that started the child.
    """
    child: subprocess.Popen[bytes] | None = None
    ending = False

    def end(request: int, _frame: FrameType | None) -> None:
        nonlocal ending
        ending = True
        if child is not None:
            child.send_signal(signal.SIGKILL if request == signal.SIGUSR1 else signal.SIGTERM)

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGUSR1, end)
    status = 0
    for command in orders.commands:
        child = subprocess.Popen(command, preexec_fn=_die_with_supervisor)  # noqa: S603, PLW1509 - java; one thread
        Path(orders.pid_file).write_text(str(child.pid))
        if ending:
            child.kill()
        status = _wait_while_parent_lives(child, orders)
        if status != 0:
            break
    return status


def _die_with_supervisor() -> None:
    # Linux only; elsewhere a supervisor that is killed itself leaves the JVM behind.
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _wait_while_parent_lives(child: "subprocess.Popen[bytes]", orders: Orders) -> int:
    while os.getppid() == orders.parent:
        try:
            return child.wait(_POLL_SECONDS)
        except subprocess.TimeoutExpired:
            continue
    child.kill()
    status = child.wait()
    if orders.remove_with_parent is not None:
        shutil.rmtree(orders.remove_with_parent, ignore_errors=True)
    return status


if __name__ == "__main__":
    sys.exit(_supervise(Orders(**json.loads(sys.argv[1]))))
