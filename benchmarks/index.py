"""Measure the index of messages without a broker: what it costs the fold, its bytes a row, and how long pages take.

Each store is measured in processes of their own. What the fold pays is CPU time, of chunks that are folded in turn with
and without the index, so that a busy machine changes it little. Pages are those of one worker that owns all partitions;
their times are by the clock, and by CPU time.
"""

from __future__ import annotations

import argparse
import gc
import multiprocessing
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from random import Random
from statistics import median
from typing import NamedTuple

import msgspec

from benchmarks.load import events_of
from processor.domain.fold import fold
from processor.domain.moment import Micros, from_seconds, to_millis
from processor.domain.row import Row
from processor.domain.status import Status
from processor.domain.waiting import stuck_before
from processor.engine.stage import Outbox, Partitioning, Positions
from processor.metrics import Metrics
from processor.settings import Settings
from processor.settings.parsers import INDEXES
from processor.stages import stages
from processor.stages.fold import Fold
from processor.views.message_list import IndexedRows, list_share
from processor.views.message_query import Judge, MessageQuery
from processor.watch.board import Board
from processor.wire.events import decode_event
from processor.wire.partitioner import partition_of
from processor.wire.rows import encode_row
from processor.wire.topics import EVENTS, TOPICS

PARTITIONS = 8
#: Messages of one delivery, and rows that are restored at a time.
_OF_A_DELIVERY = 50_000
_AT_A_TIME = 20_000
#: Messages whose lives are told apart.
_LIVES = 20_000


class Read(NamedTuple):
    """A record as the engine hands it over."""

    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...] = ()


def calm_garbage_collector() -> None:
    """Make garbage collection as rare as it is in a worker (processor/cli/run.py)."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(500_000, 5, 20)


def folds(settings: Settings) -> list[Fold]:
    """Return the works of all partitions of the fold stage."""
    counts = {settings.topic(topic): PARTITIONS for topic in TOPICS}
    metrics = Metrics(["fold"])
    [declared] = [each for each in stages(settings, metrics, Board(metrics)) if each.name == "fold"]
    topic = settings.topic(EVENTS)
    works = [declared.start_work(Partitioning(topic, number, counts, "cluster")) for number in range(PARTITIONS)]
    return [work for work in works if isinstance(work, Fold)]


# What the fold pays


def overhead(store: str, messages: int) -> tuple[float, float]:
    """Return the CPU microseconds of an event without the index, and the share of it that the index adds."""
    chunks = list(chunks_of(messages))
    calm_garbage_collector()
    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as other:
        without = folds(Settings(store=store, store_path=one, index=()))[0]
        with_index = folds(Settings(store=store, store_path=other))[0]
        plain, ratios = [], []
        for number, chunk in enumerate(chunks):
            # In turn, and in turns: what grows or disturbs hits both.
            pair = (without, with_index) if number % 2 else (with_index, without)
            spent = {id(work): _take(work, chunk, number) for work in pair}
            plain.append(spent[id(without)] / len(chunk))
            ratios.append(spent[id(with_index)] / spent[id(without)])
        without.close()
        with_index.close()
    return median(plain) * 1e6, median(ratios) - 1


def chunks_of(messages: int) -> Iterator[list[Read]]:
    """Yield the events of the first partition, as many at a time as one transaction takes."""
    size, now = Settings().chunk_records, int(time.time() * 1000)
    chunk: list[Read] = []
    for value in events_of(messages):
        key = decode_event(value, None)[0].message_id.encode()
        if partition_of(key, PARTITIONS) == 0:
            chunk.append(Read(0, now, key, value))
        if len(chunk) == size:
            yield chunk
            chunk = []


def _take(work: Fold, chunk: Sequence[Read], number: int) -> float:
    started = time.process_time()
    outbox = Outbox(to_millis(from_seconds(time.time())))
    work.process(chunk, outbox)
    work.committed(Positions(number + 1, number + 1))
    return time.process_time() - started


# Many rows


def fill(works: Sequence[Fold], rows: int) -> float:
    """Restore so many rows; return CPU seconds of it."""
    spent, done = 0.0, 0
    lives = _lives()
    calm_garbage_collector()
    while done < rows:
        records: list[list[Read]] = [[] for _ in works]
        for number in range(done, min(rows, done + _AT_A_TIME)):
            key, value = _record(number, rows, lives)
            records[partition_of(key, len(works))].append(Read(number, 0, key, value))
        done += _AT_A_TIME
        started = time.process_time()
        for work, its in zip(works, records, strict=True):
            work.restore(its, done)
        spent += time.process_time() - started
    return spent


def _lives() -> list[Row]:
    lives: dict[str, Row] = {}
    for value in events_of(_LIVES):
        event, node, moment = decode_event(value, None)
        lives[event.message_id], _ = fold(lives.get(event.message_id), event, node, moment)
    return list(lives.values())


def _record(number: int, rows: int, lives: Sequence[Row]) -> tuple[bytes, bytes]:
    """Return key and value of one message's record: one of some lives, with names and a time of its own."""
    life = lives[number % len(lives)]
    names = msgspec.structs.replace(
        life.names,
        delivery_id=f"DM{number // _OF_A_DELIVERY}",
        recipient=f"user{number}@example.com",
        provider_message_id=f"{number:032x}",
    )
    row = msgspec.structs.replace(life, names=names, since=Micros(life.since + (number - rows) * 1_000))
    message_id = f"m-{number:09d}"
    return message_id.encode(), encode_row(message_id, row, row)


def rss_mib() -> float:
    """Return the resident memory of this process."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1024


def queries(rows: int) -> dict[str, Callable[[Random], MessageQuery]]:
    """Return what is asked for, by name."""

    def delivery(random: Random) -> str:
        return f"DM{random.randrange(max(1, rows // _OF_A_DELIVERY))}"

    return {
        "all": lambda _: MessageQuery(),
        "status": lambda _: MessageQuery(status=Status.FAILED),
        "delivery, status": lambda random: MessageQuery(delivery=delivery(random), status=Status.FAILED),
        "delivery, provider": lambda random: MessageQuery(delivery=delivery(random), provider="kumomta"),
        "status, page of 500": lambda _: MessageQuery(status=Status.SENT, limit=500),
        "recipient": lambda random: MessageQuery(recipient=f"USER{random.randrange(rows)}@Example.com"),
        "provider's id": lambda random: MessageQuery(provider_message_id=f"{random.randrange(rows):032x}"),
        "provider that nobody has": lambda _: MessageQuery(provider="none"),
        "stuck": lambda _: MessageQuery(stuck=True),
        "status, deep": lambda random: MessageQuery(
            status=Status.SENT, until=Micros(time.time_ns() // 1000 - random.randrange(rows) * 1_000)
        ),
    }


def pages(works: Sequence[Fold], rows: int, times: int) -> Iterator[tuple[str, str]]:
    """Yield what is asked for and how long its pages take, in milliseconds."""
    random = Random(1)
    indexes: dict[int, IndexedRows] = {number: work.index for number, work in enumerate(works)}
    judge = Judge(stuck_before(Settings().stuck_after, Micros(time.time_ns() // 1000)))
    for name, query in queries(rows).items():
        clock, cpu, items = [], [], 0
        for _ in range(times):
            asked = query(random)
            started, used = time.perf_counter(), time.process_time()
            share = list_share(indexes, asked, judge)
            msgspec.json.encode(share)
            cpu.append(time.process_time() - used)
            clock.append(time.perf_counter() - started)
            items += len(share.found)
        told = f"{_share(clock, 50)} / {_share(clock, 99)} (CPU {_share(cpu, 50)} / {_share(cpu, 99)})"
        yield f"{name}, p50 / p99 ms ({items / times:.0f} items)", told


def _share(seconds: Sequence[float], percent: int) -> str:
    ordered = sorted(seconds)
    return f"{ordered[min(len(ordered) - 1, len(ordered) * percent // 100)] * 1000:.1f}"


def measure(store: str, rows: int, times: int, indexed: tuple[str, ...]) -> dict[str, str]:
    """Measure one store with so many rows; what is found is printed as it is found, too."""
    found: dict[str, str] = {}

    def tell(what: str, figure: str) -> None:
        print(f"{store}: {what}: {figure}", flush=True)
        found[what] = figure

    with tempfile.TemporaryDirectory(prefix="delivery-status-index-") as folder:
        empty = rss_mib()
        works = folds(Settings(store=store, store_path=folder, index=indexed))
        spent = fill(works, rows)
        gc.collect()
        tell("restored rows/CPU-s", f"{rows / spent:,.0f}")
        tell("bytes of RSS a row", f"{(rss_mib() - empty) * 2**20 / rows:,.0f}")
        if store == "rocksdb":
            for work in works:
                work.close()
            on_disk = sum(each.stat().st_size for each in Path(folder).rglob("*") if each.is_file())
            tell("bytes on disk a row", f"{on_disk / rows:,.0f}")
            works = folds(Settings(store=store, store_path=folder, index=indexed))
        if indexed:
            for what, told in pages(works, rows, times):
                tell(what, told)
        for work in works:
            work.close()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--stores", default="memory,rocksdb", help="separated by commas")
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--times", type=int, default=300, help="how often each page is asked for")
    parser.add_argument("--messages", type=int, default=400_000, help="messages that the fold's cost is measured with")
    parser.add_argument("--only", choices=("cost", "rows"), help="one half of it")
    options = parser.parse_args()
    context = multiprocessing.get_context("spawn")
    for store in options.stores.split(","):
        if options.only != "rows":
            with context.Pool(1) as pool:
                plain, more = pool.apply(overhead, (store, options.messages))
            print(f"{store}: an event of the fold stage takes {plain:.1f} us of CPU, with the index {more:+.1%}")
        if options.only == "cost":
            continue
        # A process of its own for each: what one has used is not given back for the next.
        for name, indexed in (("not indexed", ()), ("indexed", INDEXES)):
            print(f"{store}, {options.rows:,} rows, {name}")
            with context.Pool(1) as pool:
                pool.apply(measure, (store, options.rows, options.times, indexed))


if __name__ == "__main__":
    main()
