"""The session of the README, from nothing to a status that came through the gateway, run as it is written."""

import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from tests.engine.harness import WorkerProcess
from tests.rules.servers import free_address
from tests.tools import require

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")

#: The line that runs until Ctrl-C; what follows is for another terminal.
SERVES = re.compile(r"^delivery-status gateway +#.*$", re.MULTILINE)


def session() -> tuple[str, str, str]:
    """Give what is typed before the gateway runs, its line, and what is typed in the other terminal."""
    section = README.partition("### Take providers' calls\n")[2].partition("\n### ")[0]
    [first, second] = re.findall(r"(?:^    .*\n)+", section, re.MULTILINE)
    before, rest = textwrap.dedent(first), textwrap.dedent(second)
    serving = SERVES.search(before)
    assert serving is not None
    assert before[serving.end() :].strip() == ""
    return before[: serving.start()], serving[0], rest


def test_the_session_serves_where_it_calls():
    before, _, rest = session()
    [public] = re.findall(r'public_url = "(.*)"', before)
    assert f"url='{public}/hooks/twilio?message_id=m-000003'" in rest


@pytest.mark.kafka
@pytest.mark.slow
async def test_the_session_leads_to_what_it_says(trial, tmp_path):
    require("curl")
    require("openssl")
    before, serving, rest = session()
    address = free_address()
    # Where others may listen at the same time.
    before = before.replace(
        'public_url = "http://127.0.0.1:8081"',
        f'listen = "{address}"\nadmin = "127.0.0.1:0"\npublic_url = "http://{address}"',
    )
    rest = rest.replace("127.0.0.1:8081", address)
    environment = {**os.environ, **trial.environment, "PATH": f"{tmp_path}/bin:{os.environ['PATH']}"}
    command = tmp_path / "bin" / "delivery-status"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nPYTHONPATH={ROOT} exec {sys.executable} -m processor "$@"\n', encoding="utf-8")
    command.chmod(0o755)

    def typed(text: str) -> str:
        run = subprocess.run(
            ["sh", "-e", "-c", text], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )
        assert run.returncode == 0, run.stdout + run.stderr
        return run.stdout

    assert f"1. Enter http://{address}/hooks/twilio#rc=5&rp=all" in typed(before)
    words = serving.partition("#")[0].split()
    gateway = WorkerProcess(
        environment, tmp_path / "gateway.log", ["sh", "-c", f"cd {tmp_path} && exec {command} {' '.join(words[1:])}"]
    )
    trial.workers.append(gateway)

    async def serves():
        assert gateway.exit_code is None, gateway.log_text()
        return gateway.log("gateway_started")

    await trial.eventually(serves, "the gateway serves")
    calls, first, questions = rest.partition("delivery-status message")
    told = typed(calls)
    assert "taken" in told
    assert "204 No Content" in told
    await trial.start_worker()
    await trial.settled()
    for question in (first + questions).splitlines():
        line, _, status = question.partition("#")
        assert status.strip() in typed(line).splitlines()[0]
    assert await gateway.stop() == 0
