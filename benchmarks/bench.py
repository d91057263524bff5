"""What every scenario works with: sizes, the broker, topics, processes, and the time that is left."""

from __future__ import annotations

import asyncio
import json
import socket
import sys
import time
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Callable, Collection, Coroutine, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from aiokafka.admin import NewTopic
from contenders import Contender, command_of, environment_of
from measure import Group, Process
from tables import Row

from processor.engine import clients
from processor.engine.admin import create_topics
from processor.settings import Settings
from processor.wire.topics import EVENTS, MESSAGES, MTA, SMS, TOPICS


@dataclass(frozen=True)
class Size:
    """How large a run is; the standard one where nothing else is said."""

    #: Minutes that the scenarios may take together, and the most rounds of each of them.
    minutes: float = 40
    rounds: int = 6
    #: Events that a contender folds before it is measured: as many as a JVM takes until it is no longer getting faster,
    #: and the report shows whether it was so. And those of the measured window.
    warm_events: int = 700_000
    window_events: int = 300_000
    #: Seconds that a slow contender is watched.
    seconds: float = 15
    #: Partitions of the throughput scenario, few first.
    partitions: tuple[int, ...] = (8, 64)
    rate: int = 20_000
    #: Seconds of load of each round of latency, and those at the start that do not count.
    latency_seconds: float = 22
    settle_seconds: float = 6
    #: Rows that the store on disk holds, least first; and messages that a round brings to each.
    stored: tuple[int, ...] = (100_000, 1_000_000, 10_000_000)
    stored_messages: int = 80_000
    #: Rows to recover, least first; memory is measured between the first and the last.
    rows: tuple[int, ...] = (50_000, 500_000)
    #: Rows of the worker that is asked.
    asked_rows: int = 1_000_000


STANDARD = Size()

#: Shows that all of it works; its figures say nothing.
QUICK = Size(
    minutes=4,
    rounds=2,
    warm_events=40_000,
    window_events=80_000,
    # Quix Streams commits every 5 seconds.
    seconds=11,
    rate=1_000,
    latency_seconds=5,
    settle_seconds=1,
    stored=(2_000, 20_000),
    stored_messages=20_000,
    rows=(5_000, 20_000),
    asked_rows=5_000,
)


@dataclass
class Bench:
    """What every scenario works with."""

    settings: Settings
    data: Path
    size: Size
    contenders: tuple[Contender, ...]
    broker_pid: int
    #: The cores of a contender whose latency is measured; broker and load have the others. None: all share all.
    cores: Collection[int] | None
    #: Takes a row as soon as it is measured.
    keep: Callable[[str, Row], None]
    #: Until when the scenario that runs may begin another round.
    deadline: float = 0.0
    #: Who failed, in which scenario: nobody waits for them a second time.
    failed: set[tuple[object, ...]] = field(default_factory=set)

    @property
    def ours(self) -> tuple[Contender, ...]:
        """The variants of delivery-status among the contenders."""
        return tuple(each for each in self.contenders if each.is_ours)

    def on(self, prefix: str, partitions: int | None = None) -> Settings:
        """Return settings with topics of their own."""
        return replace(
            self.settings, topic_prefix=prefix, partitions=partitions or self.settings.partitions, http_port=0
        )

    def process(
        self,
        contender: Contender,
        settings: Settings,
        http_port: int = 0,
        *,
        payloads: bool = False,
        cores: Collection[int] | None = None,
    ) -> Process:
        """Start a contender; one that reads payloads does so from the topic of SMS."""
        data = self.data / f"{settings.topic_prefix}{contender.name}"
        data.mkdir(parents=True, exist_ok=True)
        environment = environment_of(contender, settings, data, http_port, payloads=payloads)
        return Process(contender.name, command_of(contender), environment, self.broker_pid, cores)

    def group(self, contender: Contender, settings: Settings) -> Group:
        """Return the committed offsets of a contender."""
        return Group(settings, contender.group, settings.topic(EVENTS))

    async def step(self, table: str, name: str, row: Row, measured: Coroutine[Any, Any, Row]) -> Row:
        """Measure one contender once, and keep what comes of it: its figures, or why there are none.

        A contender that failed is told once, and the others go on.
        """
        row = {"contender": name, **row}
        what = table, *((key, value) for key, value in row.items() if key != "round")
        if what in self.failed:
            measured.close()
            return row
        try:
            row |= await measured
        except Exception as error:
            self.failed.add(what)
            row["failure"] = f"{type(error).__name__}: {error}"
        say(f"{table} {json.dumps(row)}")
        self.keep(table, row)
        return row

    def rounds(self) -> Iterator[int]:
        """Count rounds, while there is time for one more as long as the longest so far."""
        longest = 0.0
        for number in range(self.size.rounds):
            begun = time.monotonic()
            if number and begun + longest > self.deadline:
                say(f"no time for round {number + 1}: it would take {longest:.0f} s")
                return
            yield number
            longest = max(longest, time.monotonic() - begun)


def turned(contenders: tuple[Any, ...], number: int) -> tuple[Any, ...]:
    """Return who is measured in this round, in turns from first to last and from last to first.

    A machine that gets slower or faster throughout a run does so for all of them alike then.
    """
    return contenders[::-1] if number % 2 else contenders


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


@asynccontextmanager
async def running(process: Process) -> AsyncIterator[Process]:
    try:
        yield process
    finally:
        await process.stop()


async def prepare(settings: Settings, contender: Contender) -> None:
    """Make the topics that a contender writes; what another one wrote to the same ones is removed first."""
    if contender.is_ours:
        outputs = {settings.topic(topic) for topic in TOPICS if topic not in (EVENTS, MTA, SMS)}
        await _remove(settings, outputs.__contains__)
    elif not contender.feed_topic("").endswith("-changelog"):
        feed = NewTopic(contender.feed_topic(""), settings.partitions, 1, topic_configs=dict(MESSAGES.config))
        await _patiently(settings, lambda admin: admin.create_topics([feed]))
    await create_topics(settings)


async def remove(settings: Settings, beginning: str) -> None:
    """Remove all topics whose names begin so: what is measured next has the disk, and a broker with less to do."""
    await _remove(settings, lambda name: name.startswith(beginning))


async def _remove(settings: Settings, is_meant: Callable[[str], bool]) -> None:
    async def go_on(admin: Any) -> None:
        while names := [name for name in await admin.list_topics() if is_meant(name)]:
            await admin.delete_topics(names)
            await asyncio.sleep(0.2)

    await _patiently(settings, go_on)


#: A broker on a busy machine does not answer for a while.
_TRIES, _BETWEEN_TRIES_SECONDS = 60, 1


async def _patiently(settings: Settings, do: Callable[[Any], Coroutine[Any, Any, Any]]) -> None:
    for number in range(_TRIES):
        admin = clients.admin(settings)
        try:
            await admin.start()
            await do(admin)
            return
        except clients.KafkaError:
            if number == _TRIES - 1:
                raise
            await asyncio.sleep(_BETWEEN_TRIES_SECONDS)
        finally:
            await admin.close()


async def ready(process: Process, port: int) -> tuple[float, float]:
    """Return when the worker had its partitions, and when all of them had recovered."""
    begun = 0.0
    while True:
        process.check()
        body = await asyncio.to_thread(_health, port)
        if body and sum(body["partitions"].values()) and not begun:
            begun = time.monotonic()
        if body and body["status"] == "ready":
            return begun, time.monotonic()
        # Often enough to tell tenths of a second, and seldom enough to cost the worker nothing.
        await asyncio.sleep(0.05)


def _health(port: int) -> Row | None:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=60) as response:
            body: Row = json.load(response)
    except urllib.error.HTTPError as error:
        body = json.load(error)
    except OSError:
        return None
    return body


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port
