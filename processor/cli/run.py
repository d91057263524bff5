"""Commands that run until stopped: `worker`, `broker`."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
from pathlib import Path

import click

from processor import logs
from processor.cli import garbage
from processor.cli.assembly import assemble
from processor.cli.common import EXIT_USAGE, Failure, echo, echo_json, json_option
from processor.cli.connection import run_async
from processor.demo.broker import BrokerError, EmbeddedKafka
from processor.engine.admin import TopicsError
from processor.engine.assignment import HungError
from processor.engine.bounds import closed
from processor.engine.membership.agreement import DisagreementError
from processor.engine.watchdog import StalledError
from processor.logs import get_logger
from processor.settings import Settings, SettingsError, load

log = get_logger(__name__)


@click.command()
@click.option(
    "--shadow",
    "shadow_of",
    is_flag=False,
    flag_value=Settings.topic_prefix,
    metavar="[PREFIX]",
    help="Be a shadow of the live topics with this prefix, as DELIVERY_SHADOW_OF does; by default of `delivery.`.",
)
def worker(shadow_of: str | None) -> None:
    """Run one worker until SIGTERM or SIGINT; start one for each core to use.

    A shadow reads what others publish to the live topics, and works it off into topics and under a group of its own
    (DELIVERY_TOPIC_PREFIX, DELIVERY_APP_ID). It writes nothing to the live ones.
    """
    settings = load(os.environ if shadow_of is None else {**os.environ, "DELIVERY_SHADOW_OF": shadow_of})
    logs.configure(settings.log_level, settings.log_format)
    try:
        run_async(settings, lambda: run_worker(settings))
    except TopicsError as error:
        raise Failure(str(error)) from None
    except StalledError as error:
        raise Failure(f"stalled: {error}") from None
    except DisagreementError as error:
        raise Failure(_told_disagreement(settings, error), EXIT_USAGE) from None
    except HungError as error:
        raise Failure(f"hung: {error}") from None


def _told_disagreement(settings: Settings, error: DisagreementError) -> str:
    told = "\n".join(f"  - {problem}" for problem in error.problems)
    return (
        f"other workers of group {settings.app_id} (DELIVERY_APP_ID) work by other settings:\n{told}\ngive this one "
        "theirs, or stop all workers before you start any with new ones: docs/runbooks/DeliverySettingsDiffer.md"
    )


#: Seconds that are left for the server to stop and the process to end by itself, once the worker has.
_SERVER_SECONDS = 7.0
_END_SECONDS = 10.0

#: Errors that are explained in words: a stack trace would add nothing.
_TOLD = (TopicsError, SettingsError, DisagreementError, StalledError, HungError)


async def run_worker(settings: Settings) -> None:
    """Run worker and server until a signal."""
    stop = asyncio.Event()

    def ask_to_stop() -> None:
        stop.set()
        # A worker ends within the commit timeout, unless a library of ours holds up the whole loop.
        _end_soon(1, settings.commit_timeout + _END_SECONDS)

    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, ask_to_stop)
    assembly = assemble(settings)
    logs.count_warnings(assembly.metrics.see_warning)
    try:
        address = await assembly.serve()
    except OSError as error:
        raise Failure(f"DELIVERY_HTTP_HOST, DELIVERY_HTTP_PORT: cannot serve: {error.strerror}") from None
    url = assembly.worker.url
    told = {"shadow_of": settings.shadow_of} if settings.shadow_of else {}
    log.info("worker_started", http=address, url=url, brokers=settings.brokers, app_id=settings.app_id, **told)
    garbage.make_rare()
    collecting = asyncio.ensure_future(garbage.collect_by_time())
    try:
        await assembly.worker.run(stop)
    except Exception as error:
        # Readers of the JSON log do not see the text for people.
        log.error("worker_failed", error=repr(error), exc_info=not isinstance(error, _TOLD))  # noqa: TRY400
        raise
    finally:
        collecting.cancel()
        _end_soon(1 if sys.exc_info()[0] else 0, _END_SECONDS)
        await closed("server", assembly.server.stop(), _SERVER_SECONDS)
        log.info("worker_stopped")


def _end_soon(code: int, seconds: float) -> None:
    """End the process even if a client's thread still waits for a broker."""
    timer = threading.Timer(seconds, os._exit, [code])
    timer.daemon = True
    timer.start()


@click.command()
@click.option("--port", type=click.IntRange(1, 65_535), default=9092, show_default=True, help="Port for clients.")
@click.option(
    "--data",
    type=click.Path(file_okay=False, path_type=Path),
    default=None,
    help="Folder to keep the data in; default: a temporary one.",
)
@json_option
def broker(port: int, data: Path | None, as_json: bool) -> None:
    """Run the embedded Kafka until SIGTERM or SIGINT: to try things out, not for production."""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    try:
        with EmbeddedKafka(data, port=port) as kafka:
            if as_json:
                echo_json({"brokers": kafka.bootstrap_servers, "pid": kafka.pid})
            else:
                echo(f"Kafka listens on {kafka.bootstrap_servers}; Ctrl-C ends it")
            while kafka.running and not stop.wait(0.5):
                pass
            if not stop.is_set():
                raise Failure("Kafka ended by itself")
    except BrokerError as error:
        raise Failure(str(error)) from None
