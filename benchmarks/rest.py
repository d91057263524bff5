"""Measure rows at rest in memory, without a broker: bytes of RSS a row, and CPU time of restoring one.

    python -m benchmarks.rest [--rows 400000,1000000] [--rounds 3] [--against ANOTHER_CHECKOUT]

Each figure is of a fresh process that restores rows as a worker does, some thousand of a partition at a time, and then
asks for a row by its status, for which all are indexed; another process makes the records and sends them through a
pipe, so that nothing of that is in the figures. With another checkout both are measured in turn. The rows are those of
`benchmarks/index.py`.
"""

from __future__ import annotations

import argparse
import gc
import json
import marshal
import os
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from statistics import median

#: Rows of a partition that are restored at a time.
_AT_A_TIME = 2_000


def make(rows: int) -> None:
    """Write the records of so many rows, each time those of one partition, and its number."""
    from benchmarks import index  # noqa: PLC0415 - of the checkout that is measured.
    from processor.wire.partitioner import partition_of  # noqa: PLC0415

    lives = index._lives()
    waiting: list[list[tuple[bytes, bytes]]] = [[] for _ in range(index.PARTITIONS)]
    for number in range(rows):
        key, value = index._record(number, rows, lives)
        partition = partition_of(key, len(waiting))
        waiting[partition].append((key, value))
        if len(waiting[partition]) == _AT_A_TIME:
            marshal.dump((partition, waiting[partition]), sys.stdout.buffer)
            waiting[partition] = []
    for partition, records in enumerate(waiting):
        marshal.dump((partition, records), sys.stdout.buffer)
    marshal.dump(None, sys.stdout.buffer)


def chunks() -> Iterator[tuple[int, list[tuple[bytes, bytes]]]]:
    """Yield what `make` writes."""
    while (chunk := marshal.load(sys.stdin.buffer)) is not None:
        yield chunk


def take(indexed: tuple[str, ...]) -> None:
    """Restore what is read, and print the figures."""
    from benchmarks.index import Read, calm_garbage_collector, folds, rss_mib  # noqa: PLC0415 - as above.
    from processor.domain.standing import HIGHEST  # noqa: PLC0415
    from processor.domain.transitions import Node  # noqa: PLC0415
    from processor.settings import Settings  # noqa: PLC0415

    works = folds(Settings(index=indexed))
    calm_garbage_collector()
    empty, spent, rows, packed = rss_mib(), 0.0, 0, 0
    for partition, records in chunks():
        read = [Read(rows + number, 0, key, value) for number, (key, value) in enumerate(records)]
        rows += len(read)
        started = time.process_time()
        works[partition].restore(read, rows)
        spent += time.process_time() - started
    started = time.process_time()
    for work in works:
        next(work.index.standing(None, Node.SENT, HIGHEST), None)
    whole = spent + time.process_time() - started
    gc.collect()
    figures = {"rows": rows, "rss": (rss_mib() - empty) * 2**20, "cpu": spent, "whole": whole}
    for work in works:
        packed += sum(len(row) for _, row in work._store.items())
    print(json.dumps({**figures, "packed": packed}))


def measure(checkout: str, rows: int, *, indexed: bool) -> dict[str, float]:
    """Return the figures of one checkout."""
    environment = {**os.environ, "PYTHONPATH": checkout, "PYTHONHASHSEED": "0"}
    python = [sys.executable, str(Path(__file__).resolve())]
    maker = subprocess.Popen([*python, "--make", str(rows)], stdout=subprocess.PIPE, env=environment)
    command = [*python, "--take", "with" if indexed else "without"]
    told = subprocess.check_output(command, stdin=maker.stdout, env=environment, cwd=checkout)
    maker.wait()
    figures: dict[str, float] = json.loads(told)
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", default="400000,1000000", help="how many, separated by commas")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--against", help="another checkout, which is measured in turn with this one")
    parser.add_argument("--make", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--take", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.make:
        make(options.make)
        return
    if options.take:
        from processor.settings.parsers import INDEXES  # noqa: PLC0415 - as above.

        take(INDEXES if options.take == "with" else ())
        return
    here = str(Path(__file__).resolve().parents[1])
    found: dict[tuple[str, int, bool], list[dict[str, float]]] = {}
    for _ in range(options.rounds):
        for rows in map(int, options.rows.split(",")):
            for indexed in (False, True):
                for checkout in (*((options.against,) if options.against else ()), here):
                    told = measure(checkout, rows, indexed=indexed)
                    found.setdefault((checkout, rows, indexed), []).append(told)
    for (checkout, rows, indexed), told in found.items():
        rss = spread(each["rss"] / rows for each in told)
        cpu, whole = (spread(rows / each[name] for each in told) for name in ("cpu", "whole"))
        print(f"{checkout}: {rows:,} rows of {told[0]['packed'] / rows:.0f} packed bytes, indexed: {indexed}")
        print(f"  bytes of RSS a row: {rss}; restored rows/CPU-s: {cpu}; with all of the index: {whole}")


def spread(figures: Iterable[float]) -> str:
    """Return median, smallest and largest."""
    ordered = sorted(figures)
    return f"{median(ordered):,.0f} ({ordered[0]:,.0f} to {ordered[-1]:,.0f})"


if __name__ == "__main__":
    main()
