"""Measure delivery-status beside its peers: one command, one run, one broker, the same events and the same fold.

    python benchmarks/run.py --docs       measures, and writes the figures and goals of docs/performance.md
    python benchmarks/run.py --again      measures nothing: writes the report of the last run once more

What is measured is written to benchmarks/results/ after each step, as JSON and Markdown, and printed in the end.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import platform
import subprocess
import tempfile
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from datetime import datetime, timezone
from pathlib import Path

import report
from bench import QUICK, STANDARD, Bench, Size, say
from contenders import CONTENDERS, NAMES, Contender
from scenarios import SCENARIOS, deadlines
from tables import Row

from processor.demo.broker import KAFKA_VERSION, EmbeddedKafka
from processor.settings import Settings

RESULTS = Path(__file__).parent / "results"
DOCS = Path(__file__).parent.parent / "docs" / "performance.md"


def main() -> None:
    options = _options()
    # Partitions of a topic that was just made have no leader for a moment; clients try again, and say so each time.
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    if not options.again:
        asyncio.run(_run(_size(options), _chosen(options), options.scenarios))
    results = report.read(RESULTS)
    if options.again:
        report.write(RESULTS, results)
    if options.docs:
        DOCS.write_text(report.renew(DOCS.read_text(encoding="utf-8"), results), encoding="utf-8")
    print(report.markdown(results))
    failed = [row["contender"] for rows in results["tables"].values() for row in rows if _is_failure(row)]
    if failed:
        raise SystemExit(f"failed, or published what the fold does not give: {', '.join(failed)}")


def _is_failure(row: Row) -> bool:
    return "failure" in row or bool(row.get("wrong"))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a small run, to see that all of it works")
    parser.add_argument("--minutes", type=float, help="how long the run may take: it chooses the rounds by it")
    parser.add_argument("--rounds", type=int, help="the most rounds of a scenario")
    parser.add_argument("--rate", type=int, help="events a second of the latency scenarios")
    parser.add_argument("--peers", type=_names(NAMES), help=f"some of {','.join(NAMES)}")
    parser.add_argument(
        "--scenarios", type=_names(tuple(SCENARIOS)), default=list(SCENARIOS), help=f"some of {','.join(SCENARIOS)}"
    )
    parser.add_argument("--docs", action="store_true", help="write the figures and goals of docs/performance.md, too")
    parser.add_argument("--again", action="store_true", help="write the report of the last run, and measure nothing")
    return parser.parse_args()


def _names(known: tuple[str, ...]):
    def parse(text: str) -> list[str]:
        names = [name.strip() for name in text.split(",")]
        unknown = [name for name in names if name not in known]
        if unknown:
            raise argparse.ArgumentTypeError(f"{', '.join(unknown)}: choose from {', '.join(known)}")
        return names

    return parse


def _size(options: argparse.Namespace) -> Size:
    given = {name: getattr(options, name) for name in ("minutes", "rounds", "rate")}
    known = {name: value for name, value in given.items() if value is not None}
    return replace(QUICK if options.quick else STANDARD, **known)


def _chosen(options: argparse.Namespace) -> tuple[Contender, ...]:
    usual = [each.name for each in CONTENDERS if each.is_usual]
    return tuple(each for each in CONTENDERS if each.name in (options.peers or usual))


async def _run(size: Size, contenders: tuple[Contender, ...], names: list[str]) -> None:
    begun = time.monotonic()
    cores = _cores_of_contender(os.sched_getaffinity(0))
    results: report.Results = {"about": _about(size, cores), "tables": {}}

    def keep(table: str, row: Row) -> None:
        results["tables"].setdefault(table, []).append(row)
        write()

    def write(*, is_whole: bool = False) -> None:
        results["about"]["minutes"] = round((time.monotonic() - begun) / 60, 1)
        results["about"]["rounds"] = _rounds(results)
        results["about"]["is_whole"] = is_whole
        report.write(RESULTS, results)

    write()
    ends = deadlines(names, begun, size.minutes * 60)
    with _broker() as kafka, tempfile.TemporaryDirectory(prefix="delivery-status-bench-") as data:
        settings = Settings(brokers=kafka.bootstrap_servers, partitions=size.partitions[0])
        bench = Bench(settings, Path(data), size, contenders, kafka.pid, cores, keep)
        for name in names:
            say(f"== {name}")
            bench.deadline = ends[name]
            try:
                await SCENARIOS[name].run(bench)
            except Exception as error:
                # The other scenarios' figures are worth having.
                keep(name, {"contender": name, "failure": f"{type(error).__name__}: {error}"})
    write(is_whole=True)


def _rounds(results: report.Results) -> dict[str, int]:
    return {name: 1 + max(row.get("round", 0) for row in rows) for name, rows in results["tables"].items()}


def _cores_of_contender(cores: Collection[int]) -> Collection[int] | None:
    """Return half of the cores: in the scenarios of latency, broker, load and reader have the others."""
    return sorted(cores)[: len(cores) // 2] or None


#: So long a broker may take on a busy machine.
_START_SECONDS = 300


@contextmanager
def _broker() -> Iterator[EmbeddedKafka]:
    """Run a broker that compiles as in production: the embedded one does not by itself, to start sooner."""
    name = "_JAVA_OPTIONS"
    before = os.environ.get(name)
    kafka = EmbeddedKafka()
    try:
        os.environ[name] = f"{before or ''} -XX:TieredStopAtLevel=4".strip()
        try:
            kafka.start(_START_SECONDS)
        finally:
            os.environ.pop(name)
            os.environ.update({} if before is None else {name: before})
        yield kafka
    finally:
        kafka.close()


def _about(size: Size, cores: Collection[int] | None) -> dict[str, object]:
    every = len(os.sched_getaffinity(0))
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=DOCS.parent, capture_output=True, check=False)
    return {
        "date": datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        "commit": commit.stdout.decode().strip() or "unknown",
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "cores": every,
        "load": f"{os.getloadavg()[0]:.1f} before it began",
        "split": _split(len(cores or ()), every),
        "kafka": KAFKA_VERSION,
        "size": asdict(size),
    }


def _split(contenders: int, every: int) -> str:
    if not contenders:
        return "all share the one core"
    others = every - contenders
    return (
        f"the contender has {contenders} of the cores to itself, and broker, load and reader share the other {others}"
    )


if __name__ == "__main__":
    main()
