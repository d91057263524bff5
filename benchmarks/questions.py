"""Questions: how long a worker with many rows takes to answer over HTTP while events flow."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from random import Random

import aiohttp
from bench import Bench, free_port, ready, remove, running
from contenders import Contender
from latency import Load, start_generator
from load import fill_rows, message_name
from measure import PeerError, others_share, percentile
from tables import Row

from processor.engine.admin import create_topics
from processor.settings import Settings

#: Events a second that flow while people ask, and how often they ask for a message and for the page of everything.
_FLOW = 10_000
_MESSAGES_A_SECOND = 40
_PAGES_A_SECOND = 4


async def questions(bench: Bench) -> None:
    """Ask a worker with many rows about messages, and for its first page, while events flow."""
    count = bench.size.asked_rows
    settings = bench.on("questions.")
    await create_topics(settings)
    await fill_rows(settings, count)
    for contender in bench.ours:
        answers: dict[str, Row] = {}
        for path in _PATHS:
            row = {"rows": count, "question": path}
            await bench.step("questions", contender.name, row, _answered(bench, settings, contender, answers, path))
    await remove(settings, settings.topic_prefix)


_PATHS = ("/api/v1/messages/{id}", "/")


async def _answered(bench: Bench, settings: Settings, contender: Contender, answers: dict[str, Row], path: str) -> Row:
    """Return what is known of one question: all of them are asked at once, when the first is wanted."""
    if not answers:
        answers.update(await _measure(bench, settings, contender))
    return answers[path]


async def _measure(bench: Bench, settings: Settings, contender: Contender) -> dict[str, Row]:
    port = free_port()
    seconds = bench.size.latency_seconds
    async with running(bench.process(contender, settings, port)) as process:
        await ready(process, port)
        generator = await start_generator(settings, Load(_FLOW, seconds))
        begin = process.sample(0)
        asked = await _ask(port, bench.size.asked_rows, seconds - 2)
        samples = [begin, process.sample(1)]
        await generator.wait()
    others = round(100 * others_share(samples))
    return {
        path: {
            "asked": len(milliseconds),
            "p50_ms": percentile(sorted(milliseconds), 0.5),
            "p99_ms": percentile(sorted(milliseconds), 0.99),
            "others_percent": others,
        }
        for path, milliseconds in asked.items()
    }


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
        return dict(zip(_PATHS, (messages, pages), strict=True))
