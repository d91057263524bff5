"""The command `gateway`: the server that receives providers' webhooks."""

from __future__ import annotations

import asyncio
import gc
import os
import resource
import signal
from pathlib import Path

import uvloop

from processor import logs
from processor.cli.common import Failure
from processor.gateway.config import Config
from processor.gateway.running import Gateway
from processor.gateway.spool import SpoolError
from processor.logs import get_logger
from processor.settings import load

log = get_logger(__name__)


def serve(path: Path, config: Config) -> None:
    """Run the gateway of a file until a signal.

    Raises:
        Failure: it cannot serve.
        SettingsError: the settings are wrong.
    """
    settings = load(os.environ)
    logs.configure(settings.log_level, settings.log_format)

    _allow_many_files()

    async def main() -> None:
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        gateway = Gateway(config, settings, os.environ)
        logs.count_warnings(gateway.metrics.see_warning)
        try:
            await gateway.start()
        except SpoolError as error:
            raise Failure(f"{path}: spool: {error}") from None
        except OSError as error:
            raise Failure(f"{path}: listen, admin: cannot serve: {error.strerror}") from None
        # Reference counts free what a call allocates: the collector would walk calls that wait, for nothing.
        gc.freeze()
        gc.set_threshold(100_000, 10, 10)
        try:
            await gateway.run(stop)
        except Exception as error:
            log.exception("gateway_failed", error=repr(error))
            raise

    uvloop.run(main())


def _allow_many_files() -> None:
    """Open as many files as the system lets this process: each connection is one."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
