"""Measure two versions of delivery-status beside each other: a steady load, in turns, on one broker.

    git worktree add /tmp/before COMMIT
    python benchmarks/versions.py --before /tmp/before --partitions 8,64

Of each it tells the delay from an event to its row, what a transaction takes, and the CPU time of worker and broker for
an event. Both have the same load; what others on the machine do changes from minute to minute, so look at the ratios.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import urllib.request
from dataclasses import replace
from pathlib import Path

from bench import free_port, prepare, ready, running, say
from contenders import CONTENDERS, Contender, environment_of
from intervals import interval_of, ratio_of
from latency import Load, delays_of
from load import fill_events
from measure import Group, Process, costs, percentile
from report import shown
from tables import Row

from processor.demo.broker import EmbeddedKafka
from processor.settings import Settings
from processor.wire.topics import EVENTS

HERE = Path(__file__).parent

#: Seconds of load that do not count.
_WARM_UP_SECONDS = 5

#: What is told of each version, the less the better.
_FIGURES = ("p50_ms", "p99_ms", "commit_ms", "worker_us", "broker_us", "both_us")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--before", type=Path, required=True, help="a checkout of the version to compare with")
    parser.add_argument("--partitions", default="8,64", help="numbers of partitions, each measured by itself")
    parser.add_argument("--rate", type=int, default=2_000, help="events a second")
    parser.add_argument("--seconds", type=float, default=25, help="of load, each time")
    parser.add_argument("--rounds", type=int, default=2, help="how often each version is measured")
    options = parser.parse_args()
    versions = {"before": options.before, "now": HERE.parent}
    numbers = [int(number) for number in options.partitions.split(",")]
    load = Load(options.rate, options.seconds, _WARM_UP_SECONDS)
    for partitions in numbers:
        found = asyncio.run(_measure(versions, partitions, load, options.rounds))
        print(_table(partitions, found))


async def _measure(versions: dict[str, Path], partitions: int, load: Load, rounds: int) -> dict[str, list[Row]]:
    [ours] = [each for each in CONTENDERS if each.name == "ours"]
    found: dict[str, list[Row]] = {name: [] for name in versions}
    with EmbeddedKafka() as kafka, tempfile.TemporaryDirectory(prefix="delivery-status-bench-") as data:
        settings = Settings(brokers=kafka.bootstrap_servers, partitions=partitions)
        for number in range(rounds):
            for name, root in versions.items():
                contender = replace(ours, name=f"{name}-{number}")
                command = [sys.executable, "-m", "processor", "worker"]
                its = replace(settings, topic_prefix=f"{contender.name}.")
                port = free_port()
                environment = environment_of(contender, its, Path(data), port) | {"PYTHONPATH": str(root)}
                await prepare(its, contender)
                await fill_events(its, 1_000)
                async with running(Process(contender.name, command, environment, kafka.pid)) as process:
                    row = await _run(process, port, its, contender, load)
                say(f"{partitions} partitions, {name}: {row}")
                found[name].append(row)
    return found


async def _run(process: Process, port: int, settings: Settings, contender: Contender, load: Load) -> Row:
    await ready(process, port)
    await asyncio.sleep(_WARM_UP_SECONDS)
    before = _commits(port)
    feed = contender.feed_topic(settings.topic_prefix)
    async with Group(settings, contender.group, settings.topic(EVENTS)) as group:
        delays, samples = await delays_of(process, group, settings, feed, load)
    after = _commits(port)
    figures = costs(samples)
    delays.sort()
    return {
        "p50_ms": percentile(delays, 0.5),
        "p99_ms": percentile(delays, 0.99),
        "commit_ms": round((after[0] - before[0]) / (after[1] - before[1]) * 1000, 1),
        "worker_us": figures["contender_us"],
        "broker_us": figures["broker_us"],
        "both_us": figures["contender_us"] + figures["broker_us"],
    }


def _commits(port: int) -> tuple[float, float]:
    """Return the seconds that the fold's chunks took until they were committed, and their number."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
        lines = answer.read().decode().splitlines()
    return tuple(
        sum(
            float(line.rsplit(" ", 1)[1])
            for line in lines
            if line.startswith(f'delivery_commit_seconds_{part}{{stage="fold"')
        )
        for part in ("sum", "count")
    )


def _table(partitions: int, found: dict[str, list[Row]]) -> str:
    before, now = found.values()
    lines = [f"| {partitions} partitions | {' | '.join(found)} | ratio, with 95 % confidence |", "|---|---|---|---|"]
    for figure in _FIGURES:
        middles = [shown(interval_of([row[figure] for row in rows]).middle) for rows in found.values()]
        ratio = ratio_of([(new[figure], old[figure]) for old, new in zip(before, now, strict=True)])
        lines.append(f"| {figure} | {' | '.join(middles)} | {shown(ratio)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
