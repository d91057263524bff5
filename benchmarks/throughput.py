"""Throughput: each contender folds the same topic, one after the other, round by round, and is measured once warm."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import replace

from bench import Bench, prepare, remove, running, say, turned
from check import check
from contenders import Contender
from load import fill, keyed_events
from measure import PeerError, Sample, between, costs, others_share, watch, windows
from tables import Row

from processor.engine.admin import create_topics
from processor.settings import Settings
from processor.wire.topics import EVENTS

#: Events of a message, a little less than there are.
_EVENTS_A_MESSAGE = 3.5
#: Nobody that is not slow needs as many seconds as this.
_LIMIT_SECONDS = 900
_SLOW_ROUNDS = 3
#: Into so many windows is a run divided to see whether it is warm.
_WINDOWS = 12


async def throughput(bench: Bench) -> None:
    """Measure all with few partitions, and some with many, so that each stands beside the others in every round."""
    # As many again come after the window: whoever has folded ahead of its commits when the window begins has so when it
    # ends. Without them a contender with hundreds of thousands of events in hand would get those for nothing.
    events = bench.size.warm_events + bench.size.window_events
    wanted = events + bench.size.window_events
    records = list(keyed_events(int(wanted / _EVENTS_A_MESSAGE)))
    topics = {partitions: bench.on(f"bench{partitions}.", partitions) for partitions in bench.size.partitions}
    for settings in topics.values():
        await create_topics(settings)
        await fill(settings, EVENTS.name, records)
        say(f"{len(records):,} events in {settings.partitions} partitions")
    del records
    few = bench.size.partitions[0]
    # What is compared is measured one soon after the other.
    entries = [
        (contender, partitions)
        for contender in bench.contenders
        for partitions in bench.size.partitions
        if contender.is_scaled or partitions == few
    ]
    for number in bench.rounds():
        for contender, partitions in turned(tuple(entries), number):
            if not contender.is_slow or number < _SLOW_ROUNDS:
                measured = _fold_all(bench, topics[partitions], contender, number, events)
                await bench.step("throughput", contender.name, {"partitions": partitions, "round": number}, measured)
    for settings in topics.values():
        await remove(settings, settings.topic_prefix)


async def _fold_all(bench: Bench, settings: Settings, base: Contender, number: int, events: int) -> Row:
    contender = replace(base, name=f"{base.name}-{settings.partitions}-{number}")
    await prepare(settings, contender)
    process = bench.process(contender, settings)
    async with running(process), bench.group(contender, settings) as group:
        samples = await watch(process, group, events, bench.size.seconds if base.is_slow else _LIMIT_SECONDS)
        peak = process.peak_rss_mib()
    row = {**figures(base, samples, bench.size.warm_events, events), "peak_rss_mib": round(peak)}
    if number == 0:
        found = await check(settings, contender)
        if not found.compared and not base.is_slow:
            raise PeerError("published nothing of what is compared with the fold")
        row |= {"checked": found.compared, "wrong": found.wrong}
    await remove(settings, contender.group)
    shutil.rmtree(bench.data / f"{settings.topic_prefix}{contender.name}")
    return row


def figures(contender: Contender, samples: Sequence[Sample], warm_events: int, events: int) -> Row:
    """Return speed and CPU time from `warm_events` to at least so many events, and how it got there.

    Raises:
        PeerError: it did not get so far.
    """
    if not contender.is_slow and samples[-1].events < events:
        raise PeerError(f"{samples[-1].events:,} of {events:,} events in {_LIMIT_SECONDS} s")
    # Of one that is slow, the second half of what it did.
    warm = (samples[0].events + samples[-1].events) // 2 if contender.is_slow else warm_events
    measured = between(samples, warm, samples[-1].events)
    if contender.is_slow and len(measured) < 2:
        # It commits so seldom that it has no other half.
        measured = samples
    row: Row = {**costs(measured), "warm_events": warm, "events": measured[-1].events - measured[0].events}
    middle = (measured[0].events + measured[-1].events) / 2
    halves = between(measured, 0, middle), between(measured, middle, measured[-1].events)
    if all(len(half) > 1 for half in halves):
        first, second = (costs(half)["events_per_second"] for half in halves)
        row["drift"] = round(second / first, 3)
    step = events // _WINDOWS
    row |= {"windows": windows(samples, step), "window_events": step}
    return row | {"others_percent": round(100 * others_share(measured))}
