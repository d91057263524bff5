"""Measure what erasing a person costs a worker with many rows, without a broker.

    python -m benchmarks.erasure [--stores memory,rocksdb] [--rows N] [--erasures N]

A partition looks through all its rows, a share in each transaction. What counts is the longest share, for which the
fold of every partition stands still, and the CPU time of all of them together. Each store is measured in a process of
its own.
"""

from __future__ import annotations

import argparse
import multiprocessing
import tempfile
import time
from collections.abc import Iterator
from datetime import datetime, timezone

from benchmarks.index import PARTITIONS, Read, fill
from processor.domain.moment import to_millis
from processor.engine.stage import Outbox, Partitioning, Positions
from processor.metrics import Metrics
from processor.settings import Settings
from processor.stages import stages
from processor.stages.erasures import new_erasure
from processor.stages.fold import Fold
from processor.watch.board import Board
from processor.wire.erasures import encode_erasure
from processor.wire.topics import ERASURES, EVENTS, TOPICS


def measure(store: str, rows: int, erasures: int) -> None:
    """Measure one store with so many rows, of which one message of each of so many people is erased."""
    with tempfile.TemporaryDirectory(prefix="delivery-status-erasure-") as folder:
        settings = Settings(store=store, store_path=folder)
        counts = {settings.topic(topic): PARTITIONS for topic in TOPICS}
        metrics = Metrics(["fold"])
        [declared] = [each for each in stages(settings, metrics, Board(metrics)) if each.name == "fold"]
        assert declared.follows is not None
        started = [
            declared.start_work(Partitioning(settings.topic(EVENTS), number, counts, "cluster"))
            for number in range(PARTITIONS)
        ]
        works = [work for work in started if isinstance(work, Fold)]
        fill(works, rows)
        declared.follows.take(ERASURES, list(_told(rows, erasures)))
        clock, cpu, written = [], [], 0
        for work in works:
            while work.is_due:
                outbox = Outbox(to_millis(_now()))
                begun, used = time.perf_counter(), time.process_time()
                work.process([], outbox)
                work.committed(Positions(1, 1))
                cpu.append(time.process_time() - used)
                clock.append(time.perf_counter() - begun)
                written += sum(len(records) for (topic, _), records in outbox.records.items() if "messages" in topic)
            work.close()
    longest = f"the longest share {max(cpu) * 1_000:.0f} ms, {max(clock) * 1_000:.0f} ms by the clock"
    print(f"{store}: {rows:,} rows, {erasures:,} people: {written:,} rows erased in {len(cpu)} shares")
    print(f"{store}: CPU {sum(cpu):.2f} s in all, {longest}")


def _now() -> int:
    return time.time_ns() // 1_000


def _told(rows: int, erasures: int) -> Iterator[Read]:
    """Yield erasures of people who each have a message, under one key."""
    key = "a1" * 16
    for number in range(erasures):
        told = new_erasure(f"user{number * (rows // erasures)}@example.com", datetime.now(timezone.utc), key)
        yield Read(number, 0, told.erasure_id.encode(), encode_erasure(told))


def main() -> None:
    """Measure each store."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--stores", default="memory,rocksdb", help="separated by commas")
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--erasures", default="1,1000", help="people who are erased, separated by commas")
    options = parser.parse_args()
    for store in options.stores.split(","):
        for erasures in map(int, options.erasures.split(",")):
            with multiprocessing.get_context("spawn").Pool(1) as pool:
                pool.apply(measure, (store, options.rows, erasures))


if __name__ == "__main__":
    main()
