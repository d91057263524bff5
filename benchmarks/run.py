"""Measure delivery-status beside its peers: one command, one run, one broker, the same events and the same fold.

Results are printed as Markdown and written to benchmarks/results/ as Markdown, JSON and SVG.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import platform
import tempfile
import time
from dataclasses import asdict, replace
from datetime import datetime, timezone
from pathlib import Path

import report
from contenders import CONTENDERS, NAMES
from measure import PeerError
from scenarios import SCENARIOS, Bench, Size, say

from processor.demo.broker import KAFKA_VERSION, EmbeddedKafka
from processor.settings import Settings

RESULTS = Path(__file__).parent / "results"
PARTITIONS = 8

SIZES = {
    "quick": Size(
        messages=40_000,
        rounds=1,
        seconds=6,
        rate=20_000,
        latency_seconds=10,
        warm_up_seconds=4,
        rows=(10_000, 100_000),
        growth=(20_000, 100_000),
        asked_rows=50_000,
        rows_on_disk=100_000,
    ),
    "standard": Size(
        messages=150_000,
        rounds=3,
        seconds=20,
        rate=20_000,
        latency_seconds=30,
        warm_up_seconds=10,
        rows=(50_000, 500_000),
        growth=(100_000, 1_000_000),
        asked_rows=1_000_000,
        rows_on_disk=5_000_000,
    ),
    "full": Size(
        messages=1_000_000,
        rounds=3,
        seconds=60,
        rate=20_000,
        latency_seconds=60,
        warm_up_seconds=15,
        rows=(100_000, 1_000_000, 5_000_000),
        growth=(100_000, 1_000_000, 10_000_000),
        asked_rows=1_000_000,
        rows_on_disk=10_000_000,
    ),
}


def main() -> None:
    options = _options()
    size = SIZES["quick" if options.quick else "full" if options.full else "standard"]
    given = {"seconds": options.seconds, "messages": options.messages, "rounds": options.rounds, "rate": options.rate}
    size = replace(size, **{name: value for name, value in given.items() if value is not None})
    contenders = tuple(each for each in CONTENDERS if each.name in (options.peers or _usual()))
    results = asyncio.run(_run(size, contenders, options.scenarios))
    markdown = report.markdown(results)
    report.write(RESULTS, results, markdown)
    print(markdown)
    failed = [row["contender"] for rows in results["tables"].values() for row in rows if _is_failure(row)]
    if failed:
        raise SystemExit(f"failed, or published what the fold does not give: {', '.join(failed)}")


def _is_failure(row: report.Row) -> bool:
    return "failure" in row or row.get("rows_checked") == 0 or bool(row.get("rows_wrong") or row.get("counts_wrong"))


def _usual() -> list[str]:
    return [each.name for each in CONTENDERS if each.is_usual]


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    sizes = parser.add_mutually_exclusive_group()
    sizes.add_argument("--quick", action="store_true", help="a small run, to see that all of it works")
    sizes.add_argument("--full", action="store_true", help="up to 10 million rows: half an hour and 40 GB of disk")
    parser.add_argument("--peers", type=_names(NAMES), help=f"some of {','.join(NAMES)}")
    parser.add_argument(
        "--scenarios", type=_names(tuple(SCENARIOS)), default=list(SCENARIOS), help=f"some of {','.join(SCENARIOS)}"
    )
    parser.add_argument("--seconds", type=float, help="how long a slow peer is watched")
    parser.add_argument("--messages", type=int, help="messages of the throughput scenario")
    parser.add_argument("--rounds", type=int, help="how often each contender is measured in the throughput scenario")
    parser.add_argument("--rate", type=int, help="events a second of the latency scenario")
    return parser.parse_args()


def _names(known: tuple[str, ...]):
    def parse(text: str) -> list[str]:
        names = [name.strip() for name in text.split(",")]
        unknown = [name for name in names if name not in known]
        if unknown:
            raise argparse.ArgumentTypeError(f"{', '.join(unknown)}: choose from {', '.join(known)}")
        return names

    return parse


async def _run(size: Size, contenders, scenarios: list[str]) -> report.Results:
    started = time.monotonic()
    tables = {}
    with EmbeddedKafka() as kafka, tempfile.TemporaryDirectory(prefix="delivery-status-bench-") as data:
        settings = Settings(brokers=kafka.bootstrap_servers, partitions=PARTITIONS)
        bench = Bench(settings, Path(data), size, contenders, kafka.pid)
        for name in scenarios:
            say(f"== {name}")
            try:
                tables[name] = await SCENARIOS[name](bench)
            except PeerError as error:
                # The other scenarios' figures are worth having.
                tables[name] = [{"contender": name, "failure": str(error)}]
    about = {
        "date": datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "cores": os.cpu_count(),
        "kafka": KAFKA_VERSION,
        "partitions": PARTITIONS,
        "minutes": round((time.monotonic() - started) / 60, 1),
        "size": asdict(size),
    }
    return {"about": about, "tables": tables}


if __name__ == "__main__":
    main()
