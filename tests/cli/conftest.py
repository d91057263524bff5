"""Run the command as people do: in a process of its own, with an environment that says nothing by chance."""

import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import pytest

Found = TypeVar("Found")


def environment(**settings: str) -> dict[str, str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("DELIVERY_")}
    return {**inherited, **settings}


def command(*arguments: Any) -> list[str]:
    return [sys.executable, "-m", "processor", *map(str, arguments)]


@pytest.fixture(scope="session")
def delivery_status() -> Callable[..., "subprocess.CompletedProcess[bytes]"]:
    """Run a command to its end. Settings are given by name: DELIVERY_BROKERS="…"."""

    def run(*arguments: Any, stdin: bytes = b"", **settings: str) -> "subprocess.CompletedProcess[bytes]":
        return subprocess.run(
            command(*arguments),
            input=stdin,
            env=environment(**settings),
            capture_output=True,
            timeout=300,
            check=False,
        )

    return run


def _hear_ctrl_c() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)


class Running:
    """A command in the foreground of a terminal of its own, so to speak, and everything that it starts."""

    def __init__(self, folder: Path, arguments: tuple[Any, ...], settings: dict[str, str]) -> None:
        self._mark = uuid.uuid4().hex
        self._out, self._err = folder / "stdout", folder / "stderr"
        with self._out.open("wb") as out, self._err.open("wb") as err:
            self._process = subprocess.Popen(
                command(*arguments),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                env=environment(MARK_OF_A_TEST=self._mark, **settings),
                start_new_session=True,
                # Tests that run in the background of a shell ignore Ctrl-C, and so would all that they start.
                preexec_fn=_hear_ctrl_c,  # noqa: PLW1509 - it takes no lock
            )

    def stdout(self) -> str:
        return self._out.read_text()

    def stderr(self) -> str:
        return self._err.read_text()

    def until(self, condition: Callable[[], Found], what: str, seconds: float = 180) -> Found:
        """Wait for something true while the command runs, and give that."""
        deadline = time.monotonic() + seconds
        while not (found := condition()):
            assert self._process.poll() is None, self.stderr()
            assert time.monotonic() < deadline, f"not within {seconds:g} s: {what}\n{self.stderr()}"
            time.sleep(0.05)
        return found

    def terminate(self) -> None:
        self._process.terminate()

    def press_ctrl_c(self) -> None:
        """Signal all of the foreground, as a terminal does."""
        os.killpg(self._process.pid, signal.SIGINT)

    def ended(self) -> int:
        """Wait for the end; give the exit code."""
        return self._process.wait(timeout=180)

    def processes(self) -> list[str]:
        """Give what still runs of all that the command started, where the system can tell."""
        mark = f"MARK_OF_A_TEST={self._mark}".encode()
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                if mark in (folder / "environ").read_bytes():
                    found.append((folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()[:200])
            except OSError:  # It ended, or is not ours.
                continue
        return found

    def clean_up(self) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()


@pytest.fixture
def started(tmp_path: Path) -> Callable[..., Any]:
    """Start a command that runs until it is stopped; it ends with the block at the latest."""

    @contextmanager
    def start(*arguments: Any, **settings: str) -> Iterator[Running]:
        running = Running(tmp_path, arguments, settings)
        try:
            yield running
        finally:
            running.clean_up()

    return start
