"""docs/tutorial.md, run as it is written: its commands in one shell, its text in their output."""

import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.engine.harness import PATIENCE
from tests.rules.servers import free_address
from tests.tools import require

ROOT = Path(__file__).resolve().parent.parent
TUTORIAL = (ROOT / "docs" / "tutorial.md").read_text(encoding="utf-8")
#: The first block makes the environment, in which this test already runs.
INSTALL, *COMMANDS = re.findall(r"^```sh\n(.*?)^```", TUTORIAL, re.DOTALL | re.MULTILINE)
SHOWN = [
    line
    for block in re.findall(r"^```text\n(.*?)^```", TUTORIAL, re.DOTALL | re.MULTILINE)
    for line in block.splitlines()
]


def test_it_installs_by_a_target_of_the_makefile():
    make, activate = [line.partition("#")[0].strip() for line in INSTALL.splitlines()]
    assert re.search(rf"^{make.removeprefix('make ')}:", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    assert activate == ". .venv/bin/activate"


@pytest.mark.kafka
@pytest.mark.slow
def test_it_leads_to_what_it_says(tmp_path):
    bash = require("bash")
    require("curl")
    command = tmp_path / "bin" / "delivery-status"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nPYTHONPATH={ROOT} exec {sys.executable} -m processor "$@"\n', encoding="utf-8")
    command.chmod(0o755)
    # Where others may listen at the same time.
    broker, page = (free_address().rpartition(":")[2] for _ in range(2))
    script = "\n".join(COMMANDS).replace("9092", broker).replace("8080", page)
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("DELIVERY_")}
    environment = {**inherited, "PATH": f"{command.parent}:{os.environ['PATH']}", "DELIVERY_HTTP_PORT": page}
    typed = subprocess.Popen(
        [bash, "-e", "-o", "pipefail", "-c", script],
        cwd=tmp_path,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        output, _ = typed.communicate(timeout=PATIENCE)
    finally:
        if typed.poll() is None:
            os.killpg(typed.pid, signal.SIGKILL)
    assert typed.returncode == 0, output
    lines = [line.rstrip() for line in output.splitlines()]
    assert [line for line in SHOWN if line not in lines] == []
    # Asked before and after the calls that came late.
    assert lines.count("A-1001: Failed (permanent)") == 2
    shutil.rmtree(tmp_path / ".kafka")
