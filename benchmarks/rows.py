"""Rows: the same traffic on stores of different sizes on disk, side by side in each round."""

from __future__ import annotations

import asyncio
import time

from bench import Bench, free_port, ready, remove, running, turned
from contenders import Contender
from load import fill, fill_rows, keyed_events, message_name, named
from measure import Group, PeerError, Process, between, costs, others_share, watch
from recovery import recover
from tables import Row

from processor.engine.admin import create_topics
from processor.settings import Settings
from processor.wire.topics import EVENTS

#: Every so manieth message is one that the store has had for long, anywhere among its rows; the others are new.
_OLD = 10
#: A prime, so that old messages are apart from each other, and each comes once until all have come.
_STRIDE = 7_919
#: Shares of a round's events before and after which nothing counts: caches fill, and partitions end one by one.
_BEGIN, _END = 0.3, 0.98
_LIMIT_SECONDS = 900


async def rows(bench: Bench) -> None:
    """Recover each store from its changelog; then start a worker on each in turns, and let it fold."""
    stores: list[tuple[Contender, int, Settings]] = []
    for count in bench.size.stored:
        settings = bench.on(f"rows-{count}.")
        await create_topics(settings)
        begun = time.monotonic()
        await fill_rows(settings, count)
        print(f"{count:,} rows in {time.monotonic() - begun:.0f} s", flush=True)
        for contender in (each for each in bench.ours if each.keeps_rows):
            row = await bench.step("rows", contender.name, {"rows": count}, _recover(bench, settings, contender))
            if "failure" not in row:
                stores.append((contender, count, settings))
    for number in bench.rounds():
        for contender, count, settings in turned(tuple(stores), number):
            measured = _fold(bench, settings, contender, count, number)
            await bench.step("rows", contender.name, {"rows": count, "round": number}, measured)
    for count in bench.size.stored:
        await remove(bench.settings, f"rows-{count}.")


async def _recover(bench: Bench, settings: Settings, contender: Contender) -> Row:
    found = await recover(bench, settings, contender)
    return {name: found[name] for name in ("seconds_to_recover", "peak_rss_mib", "others_percent")}


def placed(count: int, messages: int, number: int):
    """Return which message each of a round's messages is, where the store holds `count` rows."""

    def place(message: int) -> str:
        turn = number * messages + message
        return message_name(turn * _STRIDE % count if message % _OLD == 0 else count + turn)

    return place


async def _fold(bench: Bench, settings: Settings, contender: Contender, count: int, number: int) -> Row:
    messages = bench.size.stored_messages
    async with bench.group(contender, settings) as group:
        before = await group.committed()
        records = named(keyed_events(messages, seed=number + 11), placed(count, messages, number))
        events = await fill(settings, EVENTS.name, records)
        port = free_port()
        async with running(bench.process(contender, settings, port)) as process:
            await ready(process, port)
            return await _folded(process, group, before, events)


async def _folded(process: Process, group: Group, before: int, events: int) -> Row:
    while await group.committed() == before:
        process.check()
        await asyncio.sleep(0.05)
    first_commit = time.monotonic() - process.started
    samples = await watch(process, group, before + events, _LIMIT_SECONDS)
    if samples[-1].events < before + events:
        raise PeerError(f"{samples[-1].events - before:,} of {events:,} events in {_LIMIT_SECONDS} s")
    measured = between(samples, before + events * _BEGIN, before + events * _END)
    return {
        **costs(measured),
        "seconds_to_first_commit": round(first_commit, 2),
        "peak_rss_mib": round(process.peak_rss_mib()),
        "others_percent": round(100 * others_share(measured)),
    }
