"""Measure the fold stage without a broker: CPU time of an event, and which part of the work takes it.

What a worker does with a chunk is timed: `process`, filling the batches of its transaction, `committed`. Everything
is on: index, links, history, dates, a cancelled delivery (another one). Reading of batches is not in it. A process for
each checkout takes the same chunks in turn, a few at a time, so that a busy machine changes their ratio little.
"""

from __future__ import annotations

import argparse
import gc
import json
import marshal
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path
from statistics import median, quantiles
from types import FrameType
from typing import Any

from aiokafka.producer.message_accumulator import BatchBuilder
from aiokafka.record.default_records import DefaultRecordBatchBuilder

from benchmarks.index import PARTITIONS, calm_garbage_collector
from benchmarks.load import events_of
from processor.demo.simulate.controls import control_record
from processor.domain.moment import from_seconds, to_millis
from processor.engine.batches import open_batch, places_of_batches, read_batch
from processor.engine.records import fill_batch
from processor.engine.stage import Outbox, Partitioning, Positions
from processor.metrics import Metrics
from processor.settings import Settings
from processor.stages import stages
from processor.watch.board import Board
from processor.wire.events import decode_event
from processor.wire.partitioner import partition_of
from processor.wire.topics import COUNTS, DELIVERIES, EVENTS, MESSAGES, TOPICS

#: Bytes of a batch, as in engine/clients.py.
_BATCH_BYTES = 1024 * 1024
#: Seconds of CPU time between two samples.
_SAMPLE_SECONDS = 0.001

#: A partition, and the key and value of each record.
Chunk = tuple[int, list[tuple[bytes, bytes]]]

STEPS = ("process", "fill", "committed")


def chunks_of(messages: int, size: int) -> Iterator[Chunk]:
    """Yield the events of so many messages by partition, so many at a time."""
    waiting: dict[int, list[tuple[bytes, bytes]]] = defaultdict(list)
    for value in events_of(messages):
        key = decode_event(value, None)[0].message_id.encode()
        partition = partition_of(key, PARTITIONS)
        waiting[partition].append((key, value))
        if len(waiting[partition]) == size:
            yield partition, waiting.pop(partition)
    yield from waiting.items()


class _Producer:
    """Makes batches as the worker's producer does."""

    def create_batch(self) -> BatchBuilder:
        return BatchBuilder(_BATCH_BYTES, 0, is_transactional=1)


class Worker:
    """All partitions of the stage, and what their chunks cost."""

    def __init__(self, settings: Settings) -> None:
        metrics = Metrics(["fold"])
        board = Board(metrics)
        [stage] = [each for each in stages(settings, metrics, board) if each.name == "fold"]
        counts = {settings.topic(topic): PARTITIONS for topic in TOPICS}
        now = datetime.now(timezone.utc)
        cancel = control_record("DM1", now, "cancel", now)
        if stage.follows is not None:
            stage.follows.take(DELIVERIES, _read_back([(cancel.key, cancel.value)]))
        self._changelog, self._ledger = settings.topic(MESSAGES), settings.topic(COUNTS)
        topic = settings.topic(EVENTS)
        self._works: list[Any] = [
            stage.start_work(Partitioning(topic, number, counts, "cluster")) for number in range(PARTITIONS)
        ]
        self._written: Counter[tuple[str, int]] = Counter()
        for work in self._works:
            work.restored()
        self.spent = dict.fromkeys(STEPS, 0.0)
        self.events, self.records, self.bytes = 0, 0, 0

    def take(self, chunk: Chunk) -> None:
        partition, pairs = chunk
        records = _read_back(pairs)
        work = self._works[partition]
        begun = time.process_time()
        outbox = Outbox(to_millis(from_seconds(time.time())))
        work.process(records, outbox)
        folded = time.process_time()
        batches = []
        for (topic, _), written in outbox.records.items():
            done = 0
            while done < len(written):
                batch, done = fill_batch(_Producer(), written, done, outbox.now, outbox.kept)
                batches.append(batch)
            self._written[topic, partition] += len(written)
        filled = time.process_time()
        work.committed(Positions(self._written[self._changelog, partition], self._written[self._ledger, partition]))
        ended = time.process_time()
        for step, seconds in zip(STEPS, (folded - begun, filled - folded, ended - filled), strict=True):
            self.spent[step] += seconds
        self.events += len(records)
        self.records += sum(map(len, outbox.records.values()))
        self.bytes += sum(batch.size() for batch in batches)


def _read_back(pairs: Sequence[tuple[bytes, bytes]]) -> list[Any]:
    """Return records as aiokafka reads them, with bytes of their own."""
    now = time.time_ns() // 1_000_000
    builder = DefaultRecordBatchBuilder(2, 0, 0, -1, -1, 0, 64 * _BATCH_BYTES)
    for number, (key, value) in enumerate(pairs):
        builder.append(number, now, key, value, [])
    data = bytes(builder.build())
    found: list[Any] = []
    for begin, end in places_of_batches(data):
        found += read_batch(open_batch(data, begin, end), data, begin, end)[0]
    return found


# One checkout, in a process of its own


def serve(path: str, store: str, folder: str, *, samples: bool) -> None:
    """Take the chunks that lines of the input name, and say what they cost."""
    chunks: list[Chunk] = marshal.loads(Path(path).read_bytes())
    worker = Worker(Settings(store=store, store_path=folder))
    seen: Counter[str] = Counter()
    calm_garbage_collector()
    empty, collections = _resident(), sum(each["collections"] for each in gc.get_stats())
    for line in sys.stdin:
        first, last = map(int, line.split())
        before, events = dict(worker.spent), worker.events
        with _sampled(seen) if samples else _unseen():
            for number in range(first, last):
                worker.take(chunks[number])
        spent = {step: worker.spent[step] - before[step] for step in STEPS}
        print(json.dumps({"events": worker.events - events, **spent}), flush=True)
    collected = sum(each["collections"] for each in gc.get_stats()) - collections
    told = {
        "records an event": worker.records / worker.events,
        "bytes an event": worker.bytes / worker.events,
        "MiB of RSS more": (_resident() - empty) / 2**20,
        "peak RSS, MiB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10,
        "collections of garbage": collected,
    }
    print(json.dumps({"told": told, "samples": seen.most_common()}), flush=True)


@contextmanager
def _unseen() -> Iterator[None]:
    yield


@contextmanager
def _sampled(seen: Counter[str]) -> Iterator[None]:
    """Count the functions that run, by CPU time; a C function counts for the line that calls it."""

    def sample(_: int, frame: FrameType | None) -> None:
        if frame is not None:
            seen[f"{Path(frame.f_code.co_filename).stem}.{frame.f_code.co_name}:{frame.f_lineno}"] += 1

    signal.signal(signal.SIGPROF, sample)
    signal.setitimer(signal.ITIMER_PROF, _SAMPLE_SECONDS, _SAMPLE_SECONDS)
    yield
    signal.setitimer(signal.ITIMER_PROF, 0)


def _resident() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize()


class Checkout:
    """A process that folds with the code of one checkout."""

    def __init__(self, root: Path, path: str, store: str, folder: str, *, samples: bool) -> None:
        self.root = root
        command = [sys.executable, str(Path(__file__).resolve()), "--chunks", path, "--store", store]
        command += ["--folder", folder, *(["--samples"] if samples else [])]
        environment = {**os.environ, "PYTHONPATH": str(root), "PYTHONHASHSEED": "0"}
        self._process = subprocess.Popen(
            command, cwd=root, env=environment, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )

    def take(self, first: int, last: int) -> dict[str, float]:
        """Fold these chunks; return microseconds of an event, by step."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{first} {last}\n")
        self._process.stdin.flush()
        told = self._hear()
        return {step: told[step] / told["events"] * 1e6 for step in STEPS}

    def end(self) -> dict[str, Any]:
        assert self._process.stdin is not None
        self._process.stdin.close()
        told = self._hear()
        self._process.wait()
        return told

    def _hear(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit(f"{self.root}: ended with {self._process.wait()}")
        told: dict[str, Any] = json.loads(line)
        return told


# Side by side


def compare(options: argparse.Namespace) -> None:
    here = Path(__file__).resolve().parents[1]
    with tempfile.TemporaryDirectory(prefix="delivery-status-fold-") as folder:
        path = Path(folder) / "chunks"
        chunks = list(chunks_of(options.messages, options.chunk_records))
        path.write_bytes(marshal.dumps(chunks))
        roots = {"before": options.before.resolve(), "after": here} if options.before else {"now": here}
        sides = {
            name: Checkout(root, str(path), options.store, f"{folder}/{name}", samples=options.samples)
            for name, root in roots.items()
        }
        costs: dict[str, list[dict[str, float]]] = {name: [] for name in sides}
        number = len(chunks)
        del chunks
        for turn, first in enumerate(range(0, number, options.turn)):
            order = list(sides) if turn % 2 else list(sides)[::-1]
            for name in order:
                costs[name].append(sides[name].take(first, min(number, first + options.turn)))
        told = {name: side.end() for name, side in sides.items()}
    for name, turns in costs.items():
        steps = ", ".join(f"{step} {median(each[step] for each in turns):.2f}" for step in STEPS)
        print(f"{name}: {_spread([sum(each.values()) for each in turns])} us of CPU an event ({steps})")
        print("  " + ", ".join(f"{what}: {figure:,.2f}" for what, figure in told[name]["told"].items()))
        if options.samples:
            _print_samples(told[name]["samples"], median(sum(each.values()) for each in turns))
    if options.before:
        pairs = zip(costs["before"], costs["after"], strict=True)
        ratios = [sum(before.values()) / sum(after.values()) for before, after in pairs]
        print(f"events per CPU-second, after / before: {_spread(ratios)} ({len(ratios)} turns)")


def _spread(figures: Sequence[float]) -> str:
    low, middle, high = quantiles(figures, n=4) if len(figures) > 1 else [figures[0]] * 3
    return f"{middle:.2f} ({low:.2f} to {high:.2f})"


def _print_samples(samples: Sequence[tuple[str, int]], microseconds: float) -> None:
    total = sum(number for _, number in samples)
    by_function: Counter[str] = Counter()
    for place, number in samples:
        by_function[place.rpartition(":")[0]] += number
    for function, number in by_function.most_common(40):
        print(f"  {number / total * microseconds:6.2f} us  {function}")
        for place, each in samples:
            if place.rpartition(":")[0] == function and each / total > 0.01:
                print(f"           {each / total * microseconds:6.2f}  line {place.rpartition(':')[2]}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--before", type=Path, help="another checkout of the project, to compare with")
    parser.add_argument("--messages", type=int, default=80_000, help="messages that live, 3.55 events each")
    parser.add_argument("--chunk-records", type=int, default=Settings().chunk_records, help="events of a chunk")
    parser.add_argument("--turn", type=int, default=4, help="chunks that one process takes before the other does")
    parser.add_argument("--store", default="memory", choices=("memory", "rocksdb"))
    parser.add_argument("--samples", action="store_true", help="also say which functions and lines take the time")
    parser.add_argument("--chunks", help=argparse.SUPPRESS)
    parser.add_argument("--folder", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.chunks:
        serve(options.chunks, options.store, options.folder, samples=options.samples)
    else:
        compare(options)


if __name__ == "__main__":
    main()
