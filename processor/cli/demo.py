"""The command `demo`: broker, worker, page, simulated providers and injected faults."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Iterator, Mapping
from contextlib import AsyncExitStack, contextmanager, suppress
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from heapq import merge
from operator import attrgetter
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import click

from processor import logs
from processor.cli.assembly import Assembly, assemble
from processor.cli.common import Failure, echo, json_option
from processor.cli.connection import run_async
from processor.cli.demo_calls import CALLERS, Calls
from processor.cli.demo_screen import Screen
from processor.cli.publish import outgoing, paced
from processor.demo.alerts import AlertReceiver
from processor.demo.broker import BrokerError, EmbeddedKafka
from processor.demo.simulate import (
    EARLY_SID,
    FAILED_MESSAGE,
    Record,
    Window,
    bounce_storm,
    broken_records,
    early_receipt,
    failed_message,
    long_text,
    silenced,
    stuck_delivery,
    traffic,
    usual_past,
    waiting_deliveries,
)
from processor.domain.moment import Millis
from processor.domain.status import Channel, Status
from processor.domain.traits import MAY_BE_HELD
from processor.domain.transitions import NODE_STATUS, Node
from processor.engine.admin import create_topics
from processor.engine.streams import Writer
from processor.settings import Settings, load

#: Seconds that the worker may take at the end to catch up with what was published.
_CATCH_UP_SECONDS = 20.0

#: Seconds of a message's life in one of the demo: within a minute one sees whole lives, also long ones.
_SPEED = 600.0

#: Seconds after which a message that was not accepted is stuck here: nobody watches a demo for an hour.
_STUCK_SECONDS = 60.0
_NOT_TAKEN = {NODE_STATUS[node] for node in Node if MAY_BE_HELD[node]}

#: Where Alertmanager's web hook is taken: the port that ops/alertmanager names.
_ALERTS_HOST, _ALERTS_PORT = "127.0.0.1", 8090


class _Fault(NamedTuple):
    """One fault: what happens, and its default duration in seconds, long enough for its alert."""

    meaning: str
    lasting: float = 600.0


_FAULTS = {
    "silent-provider": _Fault("mailgun takes messages, and does not tell what becomes of them"),
    "stuck-delivery": _Fault("most messages of delivery DM911 stay pending"),
    "bounce-storm": _Fault("what delivery DM921 sends through sparkpost bounces"),
    "dead-letters": _Fault("payloads of postmark arrive cut off"),
    # Less than five minutes, or what waits meanwhile comes late, and there is an alert for that, too.
    "worker-down": _Fault("the worker is stopped, and with it page and metrics", lasting=240.0),
}


class _Plan(NamedTuple):
    """The options of the command line."""

    seconds: float
    rate: float
    seed: int
    #: Without any, the demo has a story.
    faults: tuple[str, ...]
    after: float
    lasting: float | None

    def windows(self, start: datetime) -> dict[str, Window]:
        """Return when each of the faults begins and ends."""
        begin = start + timedelta(seconds=self.after)
        lasting = {fault: self.lasting or _FAULTS[fault].lasting for fault in self.faults}
        return {fault: Window(begin, begin + timedelta(seconds=seconds)) for fault, seconds in lasting.items()}


@click.command()
@click.option("--seconds", type=click.FloatRange(min=0), default=0.0, help="How long to run; 0: until Ctrl-C.")
@click.option("--rate", type=click.FloatRange(min=0.1), default=150.0, show_default=True, help="Messages a second.")
@click.option("--seed", type=int, default=7, show_default=True, help="The same seed gives the same traffic.")
@click.option("--fault", "faults", type=click.Choice(list(_FAULTS)), multiple=True, help="Inject a fault; repeatable.")
@click.option(
    "--after", type=click.FloatRange(min=0), default=20.0, show_default=True, help="Seconds until the faults begin."
)
@click.option(
    "--lasting", type=click.FloatRange(min=1), help="Seconds that each fault lasts; default: 600, worker-down 240."
)
@json_option
def demo(as_json: bool, **plan: Any) -> None:
    """Run everything: an embedded Kafka, a worker with its page, and simulated traffic of all providers.

    Three things are there to be found on the page: which delivery the concurrency limit holds, which provider went
    silent, and why a certain message failed. With --fault, what you name goes wrong instead, and passes.

    With DELIVERY_BROKERS set, that Kafka is used instead of an embedded one.
    """
    settings = load(os.environ)
    if not os.environ.get("DELIVERY_STUCK_AFTER"):
        settings = replace(settings, stuck_after=_impatient(settings.stuck_after))
    # The table says what there is to say: dead letters are meant to happen here, and Kafka has only just been born.
    logs.configure("CRITICAL", settings.log_format)
    try:
        with _kafka(settings) as settings:
            run_async(settings, lambda: _run(settings, _Plan(**plan), Screen(as_json=as_json)))
    except BrokerError as error:
        raise Failure(str(error)) from None


def _impatient(stuck_after: Mapping[tuple[Channel, Status], float]) -> dict[tuple[Channel, Status], float]:
    return {place: _STUCK_SECONDS if place[1] in _NOT_TAKEN else after for place, after in stuck_after.items()}


@contextmanager
def _kafka(settings: Settings) -> Iterator[Settings]:
    if os.environ.get("DELIVERY_BROKERS"):
        yield settings
        return
    echo("starting Kafka ...", err=True)
    with EmbeddedKafka() as kafka:
        yield replace(settings, brokers=kafka.bootstrap_servers)


async def _run(settings: Settings, plan: _Plan, screen: Screen) -> None:
    await create_topics(settings)
    stop, enough = asyncio.Event(), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, enough.set)
    receiver = AlertReceiver(screen.tell)
    async with AsyncExitStack() as stack:
        calls = Calls(settings, Path(stack.enter_context(TemporaryDirectory(prefix="delivery-status-"))), plan.seed)
        await calls.start()
        stack.push_async_callback(calls.stop)
        settings = replace(settings, gateways=(*settings.gateways, calls.admin))
        start = datetime.now(timezone.utc)
        windows = plan.windows(start)
        workplace = _Workplace(settings, windows.get("worker-down"))
        stack.push_async_callback(receiver.stop)
        alerts = await receiver.start(_ALERTS_HOST, _ALERTS_PORT)
        address = await workplace.open()
        for line in _opening(settings, windows, address, alerts, calls):
            screen.tell(line)
        working = asyncio.ensure_future(workplace.run(stop))
        publishing = asyncio.ensure_future(_publish(settings, _script(plan, start, windows), calls))
        waiting = asyncio.ensure_future(_wait(enough, plan.seconds or None))
        try:
            async with screen.live(lambda: workplace.assembly.metrics):
                await asyncio.wait({working, publishing, waiting}, return_when=asyncio.FIRST_COMPLETED)
                publishing.cancel()
                with suppress(asyncio.CancelledError):
                    await publishing
                await calls.settle()
                if workplace.is_open and not working.done():
                    await _catch_up(workplace.assembly)
            screen.final(workplace.assembly.metrics)
        finally:
            waiting.cancel()
            stop.set()
            await working


async def _wait(event: asyncio.Event, seconds: float | None) -> None:
    with suppress(asyncio.TimeoutError):
        await asyncio.wait_for(event.wait(), seconds)


async def _publish(settings: Settings, script: Iterator[Record], calls: Calls) -> None:
    async with Writer(settings) as writer:
        async for record in paced(script):
            if calls.takes(record):
                calls.call(record)
                continue
            # The past was heard of when it happened, not now.
            written = Millis(round(record.due.timestamp() * 1000))
            await writer.write(outgoing(settings, record)._replace(timestamp=written))


async def _catch_up(assembly: Assembly) -> None:
    worker = assembly.worker
    deadline = time.monotonic() + _CATCH_UP_SECONDS
    # The broker is asked, since it does not tell.
    while time.monotonic() < deadline and not (worker.is_ready and await worker.lag() == 0):  # noqa: ASYNC110
        await asyncio.sleep(0.2)


# What happens


def _script(plan: _Plan, start: datetime, windows: Mapping[str, Window]) -> Iterator[Record]:
    """Merge all records of the demo in the order of their `due`."""
    run = traffic(plan.seed, start, rate=plan.rate, speed=_SPEED, controls=True, links=True)
    parts = [run]
    if not windows:
        parts = [
            waiting_deliveries(start),
            failed_message(start),
            early_receipt(start),
            long_text(start),
            silenced(run, start),
            usual_past(start, speed=_SPEED),
        ]
    if window := windows.get("silent-provider"):
        parts = [silenced(run, *window), usual_past(start, speed=_SPEED)]
    if window := windows.get("stuck-delivery"):
        parts.append(stuck_delivery(window))
    if window := windows.get("bounce-storm"):
        parts.append(bounce_storm(window, speed=_SPEED))
    if window := windows.get("dead-letters"):
        parts.append(broken_records(window, speed=_SPEED))
    return merge(*parts, key=attrgetter("due"))


def _opening(
    settings: Settings, windows: Mapping[str, Window], address: str, alerts: str, calls: Calls
) -> Iterator[str]:
    """Yield the lines that say where everything is and what to look for."""
    yield f"Kafka    {settings.brokers}"
    yield f"page     {address}/   API  {address}/api/openapi.json"
    yield f"metrics  {address}/metrics   health  {address}/readyz"
    yield f"gateway  {calls.address}/hooks/ takes the signed calls of {', '.join(CALLERS)}: {calls.file}"
    yield f"alerts   {alerts}/ takes Alertmanager's web hook; they are shown here"
    yield ""
    if windows:
        for fault, window in windows.items():
            begin, end = (f"{moment.astimezone():%H:%M:%S}" for moment in window)
            yield f"{begin} to {end}  {fault}: {_FAULTS[fault].meaning}"
    else:
        yield "Find on the page:"
        yield f"  which delivery the concurrency limit holds   {address}/deliveries?pending=any"
        yield f"  which provider went silent, after a minute   {address}/"
        yield f"  why message {FAILED_MESSAGE} failed                {address}/messages/{FAILED_MESSAGE}"
        yield f"  what became of providers' calls              {address}/#gateways-title"
        yield f"  whose receipt came before it was told of     {address}/messages/twilio:{EARLY_SID}"
    if settings.stuck_after == _impatient(settings.stuck_after):
        yield f"Here, a pending message is stuck after {_STUCK_SECONDS:g} s (DELIVERY_STUCK_AFTER; default: an hour)."
    yield ""


class _Workplace:
    """Runs the demo's worker; an outage stops it, and another one starts at the same address."""

    def __init__(self, settings: Settings, outage: Window | None) -> None:
        self._settings, self._outage = settings, outage
        self.is_open = False

    async def open(self) -> str:
        """Assemble a worker, start its server and return the address."""
        self.assembly = assemble(self._settings)
        try:
            address = await self.assembly.serve()
        except OSError:
            # The port is taken: a demo should not fail for it.
            self.assembly = assemble(replace(self._settings, http_port=0))
            address = await self.assembly.serve()
        # The worker after an outage gets the same address.
        self._settings = replace(self._settings, http_port=urlsplit(address).port or 0)
        self.is_open = True
        return address

    async def run(self, stop: asyncio.Event) -> None:
        """Run the worker until `stop` is set, except during the outage."""
        if self._outage is not None:
            await self._work(stop, self._outage.begin)
            await _wait(stop, _seconds_until(self._outage.end))
            if stop.is_set():
                return
            await self.open()
        await self._work(stop, None)

    async def _work(self, stop: asyncio.Event, end: datetime | None) -> None:
        over = asyncio.Event()
        ending = asyncio.ensure_future(_wait(stop, None if end is None else _seconds_until(end)))
        ending.add_done_callback(lambda _: over.set())
        try:
            await self.assembly.worker.run(over)
        finally:
            ending.cancel()
            self.is_open = False
            await self.assembly.server.stop()


def _seconds_until(moment: datetime) -> float:
    return max(0.0, (moment - datetime.now(timezone.utc)).total_seconds())
