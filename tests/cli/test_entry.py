"""The entry of the command hears signals before the rest has been imported, which takes seconds on a busy machine."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

#: Signals itself where the import of a module begins.
SIGNALLED = """
import os, sys
from processor.__main__ import main

number, module = int(sys.argv.pop()), sys.argv.pop()

class Rest:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name == module:
            os.kill(os.getpid(), number)

sys.meta_path.insert(0, Rest)
main()
"""


def signalled(command: str, number: int, module: str) -> int:
    arguments = [sys.executable, "-c", SIGNALLED, command, module, str(int(number))]
    return subprocess.run(arguments, cwd=ROOT, check=False, capture_output=True).returncode


@pytest.mark.parametrize("module", ["processor.cli", "processor.cli.run", "faust", "processor.web.site"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.slow
def test_a_worker_that_is_told_to_stop_while_it_is_imported_ends_with_0(number, module):
    assert signalled("worker", number, module) == 0


def test_a_command_that_has_something_to_do_does_not_claim_to_have_done_it():
    assert signalled("topics", signal.SIGTERM, "processor.cli") == -signal.SIGTERM


def test_it_is_what_the_installed_command_runs():
    assert 'delivery-status = "processor.__main__:main"' in (ROOT / "pyproject.toml").read_text()
