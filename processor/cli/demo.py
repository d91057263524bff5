"""`demo`: broker, worker and simulated providers in one command."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import replace
from typing import Any

import click

from processor import logs
from processor.broker import BrokerError, EmbeddedKafka
from processor.cli.common import Failure, echo_json, json_option, run_async
from processor.cli.publish import outgoing, paced
from processor.domain.status import DEFINITIONS, Channel, Status
from processor.engine.admin import create_topics
from processor.engine.streams import Writer
from processor.engine.worker import Worker
from processor.metrics import Metrics, known_statuses
from processor.settings import Settings, load
from processor.stages import STAGE_NAMES, stages
from processor.views.board import Board
from processor.views.deliveries import Deliveries
from processor.web.server import Server
from processor.web.site import Site

#: Seconds that the worker may take at the end to catch up with what was published.
_CATCH_UP_SECONDS = 20.0

#: Seconds of a message's life in one of the demo: within a minute one sees whole lives, also long ones.
_SPEED = 600.0


@click.command()
@click.option("--seconds", type=click.FloatRange(min=0), default=0.0, help="How long to run; 0: until Ctrl-C.")
@click.option("--rate", type=click.FloatRange(min=0.1), default=150.0, show_default=True, help="Messages a second.")
@click.option("--seed", type=int, default=7, show_default=True, help="The same seed gives the same traffic.")
@json_option
def demo(seconds: float, rate: float, seed: int, as_json: bool) -> None:
    """Run all of it: an embedded Kafka, a worker, and simulated KumoMTA, SES, Twilio and SMPP traffic.

    With DELIVERY_BROKERS set, that Kafka is used instead of an embedded one.
    """
    settings = load(os.environ)
    # The table says what there is to say: dead letters are meant to happen here, and Kafka has only just been born.
    logs.configure("CRITICAL", settings.log_format)
    try:
        with _kafka(settings) as settings:
            show = _Show(settings, as_json)
            run_async(settings, lambda: _run(settings, show, seconds, rate, seed))
    except BrokerError as error:
        raise Failure(str(error)) from None


@contextmanager
def _kafka(settings: Settings) -> Iterator[Settings]:
    if os.environ.get("DELIVERY_BROKERS"):
        yield settings
        return
    click.echo("starting Kafka ...", err=True)
    with EmbeddedKafka() as kafka:
        yield replace(settings, brokers=kafka.bootstrap_servers)


async def _run(settings: Settings, show: _Show, seconds: float, rate: float, seed: int) -> None:
    await create_topics(settings)
    stop, enough = asyncio.Event(), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, enough.set)
    metrics = Metrics(STAGE_NAMES)
    board, deliveries = Board(metrics), Deliveries(settings.concurrency_limit, time.time_ns() // 1000)
    worker = Worker(settings, stages(settings, metrics, board, deliveries.starts), metrics)

    def server(settings: Settings) -> Server:
        return Server(settings, metrics, worker, [Site(settings, metrics, worker, board, deliveries)])

    async with _served(settings, server) as address:
        worker.url = address
        working = asyncio.ensure_future(worker.run(stop))
        publishing = asyncio.ensure_future(_publish(settings, rate, seed))
        waiting = asyncio.ensure_future(_wait(enough, seconds))
        try:
            async with show.live(address, metrics):
                await asyncio.wait({working, publishing, waiting}, return_when=asyncio.FIRST_COMPLETED)
                publishing.cancel()
                with suppress(asyncio.CancelledError):
                    await publishing
                if not working.done():
                    await _catch_up(worker)
            show.final(metrics)
        finally:
            waiting.cancel()
            stop.set()
            await working


async def _wait(enough: asyncio.Event, seconds: float) -> None:
    with suppress(asyncio.TimeoutError):
        await asyncio.wait_for(enough.wait(), seconds or None)


@asynccontextmanager
async def _served(settings: Settings, make: Callable[[Settings], Server]) -> AsyncIterator[str]:
    """Serve on the port of the settings, or on a free one when that is taken: a demo should not fail for it."""
    server = make(settings)
    try:
        address = await server.start()
    except OSError:
        server = make(replace(settings, http_port=0))
        address = await server.start()
    try:
        yield address
    finally:
        await server.stop()


async def _publish(settings: Settings, rate: float, seed: int) -> None:
    async with Writer(settings) as writer:
        async for record in paced(seed, messages=None, rate=rate, speed=_SPEED):
            await writer.write(outgoing(settings, record))


async def _catch_up(worker: Worker) -> None:
    deadline = time.monotonic() + _CATCH_UP_SECONDS
    # The broker is asked, since it does not tell.
    while time.monotonic() < deadline and not (worker.is_ready and await worker.lag() == 0):  # noqa: ASYNC110
        await asyncio.sleep(0.2)


class _Show:
    """What a person sees of the demo; with --json, only the final figures."""

    def __init__(self, settings: Settings, as_json: bool) -> None:
        self._settings = settings
        self._as_json = as_json

    @asynccontextmanager
    async def live(self, address: str, metrics: Metrics) -> AsyncIterator[None]:
        """Show what happens while the block runs."""
        self._tell(f"Kafka    {self._settings.brokers}")
        self._tell(f"page     {address}/   API  {address}/api/openapi.json")
        self._tell(f"metrics  {address}/metrics   health  {address}/readyz")
        with self._table(metrics) as update:
            drawing = asyncio.ensure_future(_draw(update))
            try:
                yield
            finally:
                drawing.cancel()

    def final(self, metrics: Metrics) -> None:
        """Show the last figures."""
        if self._as_json:
            echo_json(_figures(metrics))
            return
        from rich.console import Console

        Console().print(_render(metrics))

    def _tell(self, line: str) -> None:
        click.echo(line, err=self._as_json)

    @contextmanager
    def _table(self, metrics: Metrics) -> Iterator[Callable[[], None]]:
        from rich.console import Console
        from rich.live import Live

        console = Console()
        if self._as_json or not console.is_terminal:
            yield lambda: None
            return
        with Live(_render(metrics), console=console, auto_refresh=False, transient=True) as live:
            yield lambda: live.update(_render(metrics), refresh=True)


async def _draw(update: Callable[[], None]) -> None:
    while True:
        await asyncio.sleep(0.5)
        update()


def _figures(metrics: Metrics) -> dict[str, Any]:
    def total(name: str, **wanted: str) -> int:
        return int(
            sum(
                sample.value
                for family in metrics.registry.collect()
                for sample in family.samples
                if sample.name == name and all(sample.labels[label] == value for label, value in wanted.items())
            )
        )

    messages = {
        channel.value: {
            status.value: total("delivery_messages", channel=channel.value, status=status.value)
            for known, status in known_statuses()
            if known is channel
        }
        for channel in Channel
    }
    verdicts = ("applied", "corrected", "late", "rejected", "duplicate", "rerouted")
    return {
        "messages": messages,
        "events": {verdict: total("delivery_events_total", verdict=verdict) for verdict in verdicts},
        "dead_letters": total("delivery_dead_letters_total"),
        "conservation_error": total("delivery_conservation_error"),
    }


def _render(metrics: Metrics) -> Any:
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    figures = _figures(metrics)
    table = Table(box=None, pad_edge=False)
    for column in ("status", "e-mail", "SMS"):
        table.add_column(column, justify="left" if column == "status" else "right")
    for status in Status:
        cells = [figures["messages"][channel.value].get(status.value) for channel in Channel]
        table.add_row(DEFINITIONS[status].english, *["" if cell is None else f"{cell:,}" for cell in cells])
    sums = [sum(figures["messages"][channel.value].values()) for channel in Channel]
    table.add_row("all", *[f"{number:,}" for number in sums], style="bold")
    events = "   ".join(f"{verdict} {number:,}" for verdict, number in figures["events"].items() if number)
    facts = Text(
        f"events   {events}\n"
        f"dead letters {figures['dead_letters']:,}   conservation error {figures['conservation_error']}"
    )
    return Group(table, facts)
