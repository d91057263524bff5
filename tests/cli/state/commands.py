"""Run commands as an operator does."""

import asyncio
import os
import sys
from typing import Any, NamedTuple


class Outcome(NamedTuple):
    exit_code: int
    written: str
    told: str


async def run(trial: Any, *arguments: object, **settings: str) -> Outcome:
    """Run a command with the settings of a trial, and others, to its end."""
    command = [sys.executable, "-m", "processor", *map(str, arguments)]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("DELIVERY_")}
    process = await asyncio.create_subprocess_exec(
        *command,
        env=environment | trial.environment | settings,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    written, told = await process.communicate()
    return Outcome(process.returncode or 0, written.decode(), told.decode())
