"""The scenarios: what is run, on which topics, and which figures come of it."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from typing import Any

import aiohttp
from aiokafka import TopicPartition
from aiokafka.admin import NewTopic
from check import check
from contenders import HERE, Contender, UnavailableError, command_of, environment_of
from load import fill_events, fill_rows, message_name
from measure import Group, PeerError, Process, Sample, between, others_share, percentile, rates, watch

from processor.engine import clients
from processor.engine.admin import create_topics
from processor.settings import Settings
from processor.wire.topics import MESSAGES, TOPICS

#: One line of a table of results.
Row = dict[str, Any]


@dataclass(frozen=True)
class Size:
    """How large a run is."""

    #: Messages of the throughput scenario; each makes 3.5 events.
    messages: int
    #: How often each contender folds them: the machine's speed changes from minute to minute.
    rounds: int
    #: Seconds that a slow contender is watched.
    seconds: float
    rate: int
    latency_seconds: float
    #: Seconds at the start that do not count: compilers and caches warm up.
    warm_up_seconds: float
    #: Rows to recover, least first; memory is measured between the first and the last.
    rows: tuple[int, ...]
    #: Rows that the store grows to.
    growth: tuple[int, ...]
    #: Rows of the worker that is asked.
    asked_rows: int
    #: Rows that are kept on disk.
    rows_on_disk: int


@dataclass(frozen=True)
class Bench:
    """What every scenario works with."""

    settings: Settings
    data: Path
    size: Size
    contenders: tuple[Contender, ...]
    broker_pid: int

    @property
    def ours(self) -> tuple[Contender, ...]:
        """The variants of delivery-status among the contenders."""
        return tuple(each for each in self.contenders if each.is_ours)

    def on(self, prefix: str, partitions: int | None = None) -> Settings:
        """Return settings with topics of their own."""
        return replace(
            self.settings, topic_prefix=prefix, partitions=partitions or self.settings.partitions, http_port=0
        )

    def process(self, contender: Contender, settings: Settings, http_port: int = 0) -> Process:
        """Start a contender."""
        data = self.data / f"{settings.topic_prefix}{contender.name}"
        data.mkdir(parents=True, exist_ok=True)
        environment = environment_of(contender, settings, data, http_port)
        return Process(contender.name, command_of(contender), environment, self.broker_pid)

    def group(self, contender: Contender, settings: Settings) -> Group:
        """Return the committed offsets of a contender."""
        return Group(settings, contender.group, settings.topic_prefix + "events.v1")


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


@asynccontextmanager
async def _running(process: Process) -> AsyncIterator[Process]:
    try:
        yield process
    finally:
        await process.stop()


async def _prepare(settings: Settings, contender: Contender) -> None:
    """Make the topics that a contender writes; what another one wrote to the same ones is removed first."""
    admin = clients.admin(settings)
    await admin.start()
    try:
        if contender.is_ours:
            outputs = [topic.name for topic in TOPICS if topic.name not in {"events.v1", "mta.v1", "sms.v1"}]
            existing = set(await admin.list_topics())
            await admin.delete_topics([name for each in outputs if (name := settings.topic_prefix + each) in existing])
            while not existing.isdisjoint(settings.topic_prefix + each for each in outputs):
                await asyncio.sleep(0.2)
                existing = set(await admin.list_topics())
        elif contender.feed_topic("").endswith(".messages.v1"):
            feed = NewTopic(contender.feed_topic(""), settings.partitions, 1, topic_configs=dict(MESSAGES.config))
            await admin.create_topics([feed])
    finally:
        await admin.close()
    await create_topics(settings)


# Throughput


async def throughput(bench: Bench) -> list[Row]:
    """Let each contender fold the same topic, one after the other, round by round; the middle of its rounds counts."""
    settings = bench.on("bench.")
    await create_topics(settings)
    events = await fill_events(settings, bench.size.messages)
    say(f"{events:,} events of {bench.size.messages:,} messages in {settings.partitions} partitions")
    rounds: dict[str, list[Row]] = {contender.name: [] for contender in bench.contenders}
    failures: dict[str, str] = {}
    for number in range(bench.size.rounds):
        for contender in bench.contenders:
            if contender.name in failures:
                continue
            try:
                row = await _fold_all(bench, settings, replace(contender, name=f"{contender.name}-{number}"), events)
            except (PeerError, UnavailableError) as error:
                failures[contender.name] = str(error)
            else:
                rounds[contender.name].append(row)
                say(json.dumps({"contender": contender.name, "round": number} | row))
    return [_summary(contender, rounds[contender.name], failures) for contender in bench.contenders]


#: Of several rounds, not the middle one but the worst.
_WORST = frozenset({"peak_rss_mib", "rows_wrong", "counts_wrong", "others_percent"})


def _summary(contender: Contender, rounds: Sequence[Row], failures: dict[str, str]) -> Row:
    """Return each figure's median, and the lowest and the highest of what ratios are made of."""
    row: Row = {"contender": contender.name, "guarantee": contender.guarantee, "leaves_out": contender.leaves_out}
    if contender.name in failures:
        return row | {"failure": failures[contender.name]}
    for name in rounds[0]:
        known = sorted(each[name] for each in rounds if each[name] is not None)
        row[name] = None if not known else known[-1] if name in _WORST else known[len(known) // 2]
    steady = sorted(each["second_half_per_second"] or each["events_per_second"] for each in rounds)
    return row | {"spread": f"{steady[0]:,} - {steady[-1]:,}"}


async def _fold_all(bench: Bench, settings: Settings, contender: Contender, events: int) -> Row:
    await _prepare(settings, contender)
    async with bench.group(contender, settings) as group, _running(bench.process(contender, settings)) as process:
        samples = await watch(process, group, events, bench.size.seconds)
        peak = process.peak_rss_mib()
    checked = await check(settings, contender)
    per_second, per_cpu_second = rates(samples)
    if per_second is None:
        raise PeerError(f"{contender.name} committed once only in {bench.size.seconds:g} s")
    middle = (samples[0].events + samples[-1].events) / 2
    late_per_second, late_per_cpu_second = rates(between(samples, middle, samples[-1].events))
    return {
        "events": samples[-1].events - samples[0].events,
        "events_per_second": per_second,
        "second_half_per_second": late_per_second,
        "events_per_cpu_second": per_cpu_second,
        "second_half_per_cpu_second": late_per_cpu_second,
        "peak_rss_mib": round(peak),
        "rows_checked": checked.rows,
        "rows_wrong": checked.wrong,
        "counts_checked": checked.counts,
        "counts_wrong": checked.counts_wrong,
        "others_percent": round(100 * others_share(samples)),
    }


# Latency

#: A median above this means that the load was more than the contender can take.
_BEHIND_MS = 1_000


async def latency(bench: Bench) -> list[Row]:
    """Publish events at a fixed rate, and see when their rows can be read; at half the rate where it is too much."""
    rows = []
    for contender in bench.contenders:
        for rate in (bench.size.rate, bench.size.rate // 2) if contender.is_timed else ():
            row: Row = {"contender": contender.name, "rate": rate}
            try:
                row |= await _delay(bench, contender, rate)
            except (PeerError, UnavailableError) as error:
                row["failure"] = str(error)
            say(json.dumps(row))
            rows.append(row)
            if row.get("keeps_up", True):
                break
    return rows


async def _delay(bench: Bench, contender: Contender, rate: int) -> Row:
    settings = bench.on(f"latency-{contender.name}-{rate}.")
    contender = replace(contender, name=f"latency-{contender.name}-{rate}")
    await _prepare(settings, contender)
    events = await fill_events(settings, 1_000)
    async with bench.group(contender, settings) as group, _running(bench.process(contender, settings)) as process:
        await watch(process, group, events, bench.size.seconds)
        begin = process.sample(0)
        delays = await _delays(bench.size, rate, settings, contender.feed_topic(settings.topic_prefix))
        process.check()
        samples = [begin, process.sample(len(delays))]
    delays.sort()
    if not delays:
        raise PeerError(f"{contender.name} published no row")
    return {
        "rows": len(delays),
        "p50_ms": percentile(delays, 0.5),
        "p99_ms": percentile(delays, 0.99),
        "max_ms": delays[-1],
        # Who does not falls behind for as long as the load lasts.
        "keeps_up": percentile(delays, 0.5) < _BEHIND_MS,
        "others_percent": round(100 * others_share(samples)),
    }


async def _delays(size: Size, rate: int, settings: Settings, feed: str) -> list[int]:
    """Return the milliseconds from each event's due moment to its row at a reader of committed records."""
    tps = [TopicPartition(feed, number) for number in range(settings.partitions)]
    reader = clients.reader(settings, fetch_max_wait_ms=50)
    await reader.start()
    try:
        reader.assign(tps)
        await reader.seek_to_end(*tps)
        generator = await _start_generator(settings, rate, size.latency_seconds)
        begin = int((time.time() + size.warm_up_seconds) * 1000)
        end = time.monotonic() + size.latency_seconds + 10
        delays: list[int] = []
        quiet = 0
        while time.monotonic() < end and not (generator.returncode is not None and quiet > 10):
            fetched = await reader.getmany(timeout_ms=100)
            now = int(time.time() * 1000)
            quiet = 0 if fetched else quiet + 1
            for records in fetched.values():
                delays.extend(now - record.timestamp for record in records if record.timestamp >= begin)
        await generator.wait()
        return delays
    finally:
        await reader.stop()


async def _start_generator(settings: Settings, rate: int, seconds: float) -> asyncio.subprocess.Process:
    """Start the load in a process of its own, and wait until it flows."""
    options = {
        "--brokers": settings.brokers,
        "--prefix": settings.topic_prefix,
        "--partitions": str(settings.partitions),
        "--rate": str(rate),
        "--seconds": str(seconds),
    }
    arguments = [part for option in options.items() for part in option]
    generator = await asyncio.create_subprocess_exec(
        sys.executable,
        str(HERE / "load.py"),
        *arguments,
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(HERE.parent)},
    )
    assert generator.stdout is not None
    if await generator.stdout.readline() != b"begun\n":
        raise PeerError(f"the load ended with {await generator.wait()} before it began")
    return generator


# Recovery and memory


async def recovery(bench: Bench) -> list[Row]:
    """Start a worker on changelogs of different sizes; where it keeps its rows on disk, start it once more."""
    rows = []
    for count in bench.size.rows:
        settings = bench.on(f"recovery-{count}.")
        await create_topics(settings)
        await fill_rows(settings, count)
        for contender in bench.ours:
            for names in ("from the changelog", "from its folder") if contender.keeps_rows else ("from the changelog",):
                row: Row = {"contender": contender.name, "rows": count, "source": names}
                rows.append(row | await _recover(bench, settings, contender))
                say(json.dumps(rows[-1]))
    return sorted(rows, key=lambda row: (row["contender"], row["source"], row["rows"]))


async def _recover(bench: Bench, settings: Settings, contender: Contender) -> Row:
    """Start a worker that has events to fold; time it until it is ready and until its first commit."""
    port = _free_port()
    async with bench.group(contender, settings) as group:
        before = await group.committed()
        await fill_events(settings, 1_000)
        async with _running(bench.process(contender, settings, port)) as process:
            begin = process.sample(0)
            begun, ready = await _ready(process, port)
            while await group.committed() == before:
                process.check()
                await asyncio.sleep(0.02)
            first_commit = time.monotonic() - process.started
            samples = [begin, process.sample(0)]
            # What recovery took on its way is given back by now.
            await asyncio.sleep(3)
            return {
                "seconds_to_recover": round(ready - begun, 2),
                "seconds_to_first_commit": round(first_commit, 2),
                "rss_mib": round(process.rss_mib(), 1),
                "peak_rss_mib": round(process.peak_rss_mib(), 1),
                "others_percent": round(100 * others_share(samples)),
            }


async def _ready(process: Process, port: int) -> tuple[float, float]:
    """Return when the worker had its partitions, and when all of them had recovered."""
    begun = 0.0
    while True:
        process.check()
        body = await asyncio.to_thread(_health, port)
        if body and sum(body["partitions"].values()) and not begun:
            begun = time.monotonic()
        if body and body["status"] == "ready":
            return begun, time.monotonic()
        await asyncio.sleep(0.01)


def _health(port: int) -> Row | None:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=60) as response:
            body: Row = json.load(response)
    except urllib.error.HTTPError as error:
        body = json.load(error)
    except OSError:
        return None
    return body


def _free_port() -> int:
    import socket  # noqa: PLC0415

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


# Growth

_MANY_PARTITIONS = 64


async def growth(bench: Bench) -> list[Row]:
    """Let the rows grow, and look at the speed on the way; then the same with more partitions."""
    rows = []
    most = bench.size.growth[-1]
    for partitions, messages in ((bench.settings.partitions, most), (_MANY_PARTITIONS, bench.size.messages)):
        settings = bench.on(f"growth-{partitions}.", partitions)
        await create_topics(settings)
        events = await fill_events(settings, messages)
        for contender in bench.ours:
            samples = await _grow(bench, settings, contender, events)
            for count in bench.size.growth if messages == most else (messages,):
                reached = between(samples, events * count / messages / 2, events * count / messages)
                rows.append(_growth_row(contender, partitions, count, reached))
                say(json.dumps(rows[-1]))
    return sorted(rows, key=lambda row: (row["contender"], row["partitions"], row["rows"]))


def _growth_row(contender: Contender, partitions: int, count: int, samples: Sequence[Sample]) -> Row:
    per_second, per_cpu_second = rates(samples)
    return {
        "contender": contender.name,
        "partitions": partitions,
        "rows": count,
        "events_per_second": per_second,
        "events_per_cpu_second": per_cpu_second,
        "rss_mib": round(samples[-1].rss_mib) if samples else None,
        "others_percent": round(100 * others_share(samples)) if samples else None,
    }


async def _grow(bench: Bench, settings: Settings, contender: Contender, events: int) -> list[Sample]:
    await _prepare(settings, contender)
    async with bench.group(contender, settings) as group, _running(bench.process(contender, settings)) as process:
        # No limit: a run that stops half-way has no figure for its last size.
        return await watch(process, group, events, limit=3_600)


# State larger than memory


async def disk(bench: Bench) -> list[Row]:
    """Recover many rows to disk, start once more on them, and fold events of messages that are there."""
    rows = []
    count = bench.size.rows_on_disk
    settings = bench.on("disk.")
    await create_topics(settings)
    await fill_rows(settings, count)
    for contender in (each for each in bench.ours if each.keeps_rows):
        for source in ("from the changelog", "from its folder"):
            row: Row = {"contender": contender.name, "rows": count, "source": source}
            row |= await _recover(bench, settings, contender)
            say(json.dumps(row))
            rows.append(row)
        async with bench.group(contender, settings) as group:
            events = await group.committed() + await fill_events(settings, bench.size.messages, seed=3)
            async with _running(bench.process(contender, settings)) as process:
                samples = await watch(process, group, events, limit=600)
                half = between(samples, (samples[0].events + events) / 2, events)
                per_second, per_cpu_second = rates(half)
                row = {"contender": contender.name, "rows": count, "source": "folding"}
                row |= {"events_per_second": per_second, "events_per_cpu_second": per_cpu_second}
                row |= {"rss_mib": round(process.rss_mib(), 1), "peak_rss_mib": round(process.peak_rss_mib(), 1)}
                rows.append(row | {"others_percent": round(100 * others_share(samples))})
                say(json.dumps(rows[-1]))
    return rows


# Questions

#: Events a second that flow while people ask, and how often they ask for a message and for the page of everything.
_FLOW = 10_000
_MESSAGES_A_SECOND = 40
_PAGES_A_SECOND = 4


async def questions(bench: Bench) -> list[Row]:
    """Ask a worker with many rows about messages, and for its first page, while events flow."""
    rows = []
    count = bench.size.asked_rows
    settings = bench.on("questions.")
    await create_topics(settings)
    await fill_rows(settings, count)
    for contender in bench.ours:
        port = _free_port()
        async with _running(bench.process(contender, settings, port)) as process:
            await _ready(process, port)
            generator = await _start_generator(settings, _FLOW, bench.size.latency_seconds)
            begin = process.sample(0)
            asked = await _ask(port, count, bench.size.latency_seconds - 2)
            samples = [begin, process.sample(1)]
            await generator.wait()
        for path, milliseconds in asked.items():
            row: Row = {"contender": contender.name, "rows": count, "question": path, "asked": len(milliseconds)}
            row |= {f"p{share:g}_ms": percentile(sorted(milliseconds), share / 100) for share in (50, 99)}
            rows.append(row | {"others_percent": round(100 * others_share(samples))})
            say(json.dumps(rows[-1]))
    return rows


async def _ask(port: int, count: int, seconds: float) -> dict[str, list[float]]:
    """Ask at a steady rate, whether the last answer has come or not; return the milliseconds of each answer."""
    random = Random(1)
    base = f"http://127.0.0.1:{port}"
    async with aiohttp.ClientSession() as session:

        async def ask(path: str, times: list[float]) -> None:
            begun = time.perf_counter()
            async with session.get(base + path) as response:
                await response.read()
                if response.status != 200:
                    raise PeerError(f"{path} answered {response.status}")
            times.append((time.perf_counter() - begun) * 1000)

        async def keep_asking(rate: int, path: Callable[[], str], times: list[float]) -> None:
            ends = time.monotonic() + seconds
            asked = []
            while time.monotonic() < ends:
                asked.append(asyncio.ensure_future(ask(path(), times)))
                await asyncio.sleep(1 / rate)
            await asyncio.gather(*asked)

        messages: list[float] = []
        pages: list[float] = []
        await asyncio.gather(
            keep_asking(
                _MESSAGES_A_SECOND, lambda: f"/api/v1/messages/{message_name(random.randrange(count))}", messages
            ),
            keep_asking(_PAGES_A_SECOND, lambda: "/", pages),
        )
        return {"/api/v1/messages/{id}": messages, "/": pages}


SCENARIOS = {
    "throughput": throughput,
    "latency": latency,
    "recovery": recovery,
    "growth": growth,
    "disk": disk,
    "questions": questions,
}
