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
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median

from contenders import CONTENDERS, Contender, environment_of
from load import fill_events
from measure import Process, _cpu_seconds, percentile
from scenarios import Bench, Row, Size, _delays, _free_port, _prepare, _ready, say

from processor.demo.broker import EmbeddedKafka
from processor.settings import Settings

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
    for partitions in numbers:
        found = asyncio.run(_measure(versions, partitions, options.rate, options.seconds, options.rounds))
        print(_table(partitions, found))


async def _measure(
    versions: dict[str, Path], partitions: int, rate: int, seconds: float, rounds: int
) -> dict[str, list[Row]]:
    [ours] = [each for each in CONTENDERS if each.name == "ours"]
    size = replace(_SIZE, rate=rate, latency_seconds=seconds)
    found: dict[str, list[Row]] = {name: [] for name in versions}
    with EmbeddedKafka() as kafka, tempfile.TemporaryDirectory(prefix="delivery-status-bench-") as data:
        settings = Settings(brokers=kafka.bootstrap_servers, partitions=partitions)
        bench = Bench(settings, Path(data), size, (ours,), kafka.pid)
        for number in range(rounds):
            for name, root in versions.items():
                row = await _run(bench, replace(ours, name=f"{name}-{number}"), root)
                say(f"{partitions} partitions, {name}: {row}")
                found[name].append(row)
    return found


async def _run(bench: Bench, contender: Contender, root: Path) -> Row:
    settings = bench.on(f"{contender.name}.")
    await _prepare(settings, contender)
    await fill_events(settings, 1_000)
    port = _free_port()
    environment = environment_of(contender, settings, bench.data, port) | {"PYTHONPATH": str(root)}
    process = Process(contender.name, [sys.executable, "-m", "processor", "worker"], environment, bench.broker_pid)
    try:
        await _ready(process, port)
        await asyncio.sleep(_WARM_UP_SECONDS)
        before = _commits(port), process.cpu_seconds(), _cpu_seconds(bench.broker_pid)
        delays = sorted(
            await _delays(bench.size, bench.size.rate, settings, contender.feed_topic(settings.topic_prefix))
        )
        after = _commits(port), process.cpu_seconds(), _cpu_seconds(bench.broker_pid)
    finally:
        await process.stop()
    events = bench.size.rate * bench.size.latency_seconds
    commits = after[0][1] - before[0][1]
    worker, broker = ((after[which] - before[which]) / events * 1e6 for which in (1, 2))
    return {
        "p50_ms": percentile(delays, 0.5),
        "p99_ms": percentile(delays, 0.99),
        "commit_ms": round((after[0][0] - before[0][0]) / commits * 1000, 1),
        "worker_us": round(worker),
        "broker_us": round(broker),
        "both_us": round(worker + broker),
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
    lines = [f"| {partitions} partitions | {' | '.join(found)} | ratio |", "|---|---|---|---|"]
    for figure in _FIGURES:
        middles = [median(row[figure] for row in rows) for rows in found.values()]
        lines.append(f"| {figure} | {' | '.join(f'{each:,.0f}' for each in middles)} | {_ratio(middles)} |")
    return "\n".join(lines)


def _ratio(middles: Sequence[float]) -> str:
    before, now = middles
    return f"{now / before:.2f}" if before else ""


#: Of the sizes of a run only the load's are looked at here.
_SIZE = Size(
    messages=0,
    rounds=1,
    seconds=60,
    rate=0,
    latency_seconds=0,
    warm_up_seconds=_WARM_UP_SECONDS,
    rows=(),
    growth=(),
    asked_rows=0,
    rows_on_disk=0,
)

if __name__ == "__main__":
    main()
