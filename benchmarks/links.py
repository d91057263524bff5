"""Measure the correlate stage with many links and many waiting receipts, one partition, without a broker.

Each store is measured in a process of its own. Costs are CPU seconds of that process, so that a busy machine changes
them little. What a run finds is printed as a Markdown table.
"""

from __future__ import annotations

import argparse
import gc
import multiprocessing
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from pathlib import Path
from statistics import median
from typing import NamedTuple

from processor.domain.event import Event
from processor.domain.moment import from_seconds, to_millis
from processor.domain.status import Channel, Status
from processor.engine.stage import Outbox, Partitioning, Positions, Work, Written
from processor.engine.store import StoreName
from processor.engine.store.opening import open_store
from processor.metrics import Metrics
from processor.settings import Settings
from processor.stages import correlate, stages
from processor.stages.erasures import Erasures
from processor.watch.board import Board
from processor.watch.key_sweep import KeySweep
from processor.watch.sweeper import Pace
from processor.watch.waiting import WaitingBoard
from processor.wire.events import encode_event
from processor.wire.links import LINK_HEADERS, LinkRecord, encode_link
from processor.wire.topics import CORRELATIONS, EVENTS, RECEIPTS, SMS, TOPICS

START = datetime(2026, 11, 23, 8, tzinfo=timezone.utc)
#: Stands for the number of a message in what is made once and copied for each.
_NUMBER = "000000000"


class Read(NamedTuple):
    """A record as the engine hands it over."""

    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...] = ()


class Load:
    """Links and receipts by number: those of one number belong together."""

    def __init__(self) -> None:
        native_id = f"SM{'0' * 23}{_NUMBER}"
        self._key = f"twilio:{native_id}"
        link = LinkRecord(START, "twilio", native_id, f"m-{_NUMBER}", delivery_id="DM1042")
        receipt = Event(
            START + timedelta(minutes=1),
            self._key,
            Channel.SMS,
            Status.RECEIVED_ON_MOBILE,
            provider="twilio",
            provider_message_id=native_id,
            recipient="+46701234567",
            from_payload=True,
        )
        self._link, self._receipt = encode_link(link).decode(), encode_event(receipt).decode()
        self._timestamp = int(START.timestamp() * 1000)

    def links(self, numbers: Sequence[int]) -> list[Read]:
        return [self._record(self._link, number, LINK_HEADERS) for number in numbers]

    def receipts(self, numbers: Sequence[int]) -> list[Read]:
        return [self._record(self._receipt, number) for number in numbers]

    def _record(self, text: str, number: int, headers: tuple[tuple[str, bytes], ...] = ()) -> Read:
        told = f"{number:09}"
        key, value = self._key.replace(_NUMBER, told), text.replace(_NUMBER, told)
        return Read(0, self._timestamp, key.encode(), value.encode(), headers)


@dataclass
class Largest:
    """The most that one transaction took and wrote."""

    cpu_seconds: float = 0.0
    records: int = 0
    mib: float = 0.0

    def see(self, cpu_seconds: float, outbox: Outbox) -> None:
        written = [each for records in outbox.records.values() for each in records]
        self.cpu_seconds = max(self.cpu_seconds, cpu_seconds)
        self.records = max(self.records, len(written))
        self.mib = max(self.mib, sum(len(key or b"") + len(value or b"") for _, key, value, _ in written) / 2**20)


@dataclass
class Bench:
    """One partition of the stage, and the clocks that it goes by."""

    settings: Settings
    now: float = (START + timedelta(hours=1)).timestamp()
    #: By how much the clock of sweeps is put forward, so that their rests take no time.
    _rested: float = 0.0
    _positions: int = 0
    largest: Largest = field(default_factory=Largest)

    def __post_init__(self) -> None:
        names = {self.settings.topic(topic): 1 for topic in TOPICS}
        metrics = Metrics(["correlate"])
        partitioning = Partitioning(self.settings.topic(CORRELATIONS), 0, names, "cluster")
        store = open_store(self.settings, StoreName("cluster", self.settings.topic(CORRELATIONS), 0))
        pace = Pace(lambda: time.process_time() + self._rested)
        sweep = KeySweep(self.settings, store, 0, pace, WaitingBoard(metrics), self.clock)
        self.store, self.sweep = store, sweep
        self.work = correlate.Correlate(
            self.settings, metrics, partitioning, sweep, Board(metrics), self.clock, Erasures()
        )

    def clock(self) -> float:
        return self.now

    def transact(self, records: Sequence[Read]) -> float:
        """Process and commit one chunk; return its CPU seconds."""
        outbox = Outbox(to_millis(from_seconds(self.now)))
        started = time.process_time()
        self.work.process(records, outbox)
        self._positions += len(records)
        self.work.committed(Positions(self._positions))
        spent = time.process_time() - started
        self.largest.see(spent, outbox)
        return spent

    def feed(self, make: Callable[[Sequence[int]], list[Read]], numbers: Sequence[int]) -> float:
        """Take records in chunks; return CPU seconds."""
        step = self.settings.chunk_records
        return sum(self.transact(make(numbers[at : at + step])) for at in range(0, len(numbers), step))

    def sweep_all(self) -> tuple[float, float]:
        """Sweep through all keys; return CPU seconds, of all shares and of the longest."""
        spent = longest = 0.0
        is_done = False
        while not is_done:
            self._rested += 1_000.0
            started = time.process_time()
            self.work.punctuate(is_behind=False)
            share = time.process_time() - started
            spent, longest = spent + share, max(longest, share)
            is_done = not self.sweep.is_under_way
        return spent, longest

    def expire(self) -> float:
        """Do what is due, as one transaction after the other; return CPU seconds."""
        self.largest = Largest()
        spent = 0.0
        while self.work.is_due:
            spent += self.transact(())
        return spent

    def rss_mib(self) -> float:
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1024

    def disk_mib(self) -> float:
        if self.settings.store == "memory":
            return 0.0
        return sum(each.stat().st_size for each in Path(self.settings.store_path).rglob("*") if each.is_file()) / 2**20


def measure(store: str, folder: str, links: int, waiting: int, unlinked: str) -> Iterator[tuple[str, str]]:
    """Yield names and figures of one store, in the order in which they are measured.

    Args:
        store: "memory" or "rocksdb".
        folder: where the second keeps its files.
        links: how many there are in the end.
        waiting: how many receipts wait for theirs in the end.
        unlinked: what becomes of those until then, as the setting.
    """
    bench, load = Bench(Settings(store=store, store_path=folder, unlinked=unlinked)), Load()
    sample = min(100_000, links // 5)
    empty = bench.rss_mib()

    first = bench.feed(load.links, range(sample))
    yield "links/CPU-s, the first", _rate(sample, first)
    yield "matched receipts/CPU-s, few links", _rate(sample, bench.feed(load.receipts, range(sample)))
    bench.feed(load.links, range(sample, links - sample))
    yield "links/CPU-s, the last", _rate(sample, bench.feed(load.links, range(links - sample, links)))
    spread = [number * 7_919 % links for number in range(sample)]
    yield "matched receipts/CPU-s, all links", _rate(sample, bench.feed(load.receipts, spread))
    yield "RSS, MiB, all links", f"{bench.rss_mib():,.0f}"
    yield "bytes of RSS a link", f"{(bench.rss_mib() - empty) * 2**20 / links:,.0f}"
    yield "bytes on disk a link", f"{bench.disk_mib() * 2**20 / links:,.0f}"

    before, on_disk = bench.rss_mib(), bench.disk_mib()
    lonely = range(links, links + waiting)
    yield "waiting receipts/CPU-s, the first", _rate(sample, bench.feed(load.receipts, lonely[:sample]))
    bench.feed(load.receipts, lonely[sample:-sample])
    yield "waiting receipts/CPU-s, the last", _rate(sample, bench.feed(load.receipts, lonely[-sample:]))
    yield "RSS, MiB, with those", f"{bench.rss_mib():,.0f}"
    yield "bytes of RSS a receipt", f"{(bench.rss_mib() - before) * 2**20 / waiting:,.0f}"
    yield "bytes on disk a receipt", f"{(bench.disk_mib() - on_disk) * 2**20 / waiting:,.0f}"
    yield "late links/CPU-s, each moves a row", _rate(sample // 2, bench.feed(load.links, lonely[: sample // 2]))

    spent, longest = bench.sweep_all()
    yield "a sweep through all keys, CPU s", f"{spent:,.1f}"
    yield "its longest share, CPU ms", f"{longest * 1000:,.1f}"
    bench.now += bench.settings.link_wait
    spent, longest = bench.sweep_all()
    expired = len(lonely) - sample // 2
    yield "a sweep that finds all receipts expired, CPU s", f"{spent:,.1f}"
    yield "expired receipts/CPU-s", _rate(expired, bench.expire())
    yield "largest transaction of it, CPU ms", f"{bench.largest.cpu_seconds * 1000:,.0f}"
    yield "the same, records", f"{bench.largest.records:,}"
    yield "the same, MiB", f"{bench.largest.mib:,.2f}"
    yield "audit", str(bench.work.audit())
    yield "keys left", f"{len(bench.store):,}"
    bench.work.close()


class Line:
    """The stages normalize, correlate and fold, one partition each, in memory."""

    def __init__(self, settings: Settings) -> None:
        names = {settings.topic(topic): 1 for topic in TOPICS}
        declared = {each.name: each for each in stages(settings, Metrics(["normalize", "correlate", "fold"]))}
        self._receipts, self._events = settings.topic(RECEIPTS), settings.topic(EVENTS)
        self._normalize, self._correlate, self._fold = (
            declared[name].start(Partitioning(settings.topic(topic), 0, names, "cluster"))
            for name, topic in (("normalize", SMS), ("correlate", RECEIPTS), ("fold", EVENTS))
        )

    def link(self, records: Sequence[Read]) -> None:
        """Take links."""
        self._step(self._correlate, records)

    def take(self, records: Sequence[Read]) -> float:
        """Take raw records through all stages that they concern; return CPU seconds."""
        started = time.process_time()
        written = self._step(self._normalize, records)
        if receipts := written[self._receipts, 0]:
            written = self._step(self._correlate, [Read(0, *each) for each in receipts])
        self._step(self._fold, [Read(0, *each) for each in written[self._events, 0]])
        return time.process_time() - started

    def _step(self, work: Work, records: Sequence[Read]) -> Mapping[tuple[str, int], list[Written]]:
        outbox = Outbox(to_millis(from_seconds(time.time())))
        work.process(records, outbox)
        work.committed(Positions())
        return outbox.records


def callbacks(numbers: Sequence[int], *, with_ours: bool) -> list[Read]:
    """Return Twilio's callbacks, with or without our id in the callback's address."""
    now = int(time.time() * 1000)
    headers = (("provider", b"twilio"),)
    return [
        Read(
            0,
            now,
            None,
            (f"message_id=m-{number:09}&" if with_ours else "").encode()
            + f"MessageSid=SM{number:032}&MessageStatus={status}&To=%2B46701234567".encode(),
            headers,
        )
        for number in numbers
        for status in ("sent", "delivered")
    ]


def links_of(numbers: Sequence[int]) -> list[Read]:
    """Return the links of these messages, of a minute ago, as they lie among the receipts."""
    at = datetime.now(timezone.utc) - timedelta(minutes=1)
    links = [LinkRecord(at, "twilio", f"SM{number:032}", f"m-{number:09}") for number in numbers]
    stamp = int(at.timestamp() * 1000)
    keys = [f"twilio:{link.provider_message_id}".encode() for link in links]
    return [Read(0, stamp, key, encode_link(link), LINK_HEADERS) for key, link in zip(keys, links, strict=True)]


def compare(rounds: int, *, with_ours: bool, size: int = 1_000) -> tuple[float, float, float]:
    """Measure receipts with links and with `DELIVERY_LINK_WAIT=0`, in turns.

    Args:
        rounds: how often each is measured.
        with_ours: whether our ids travel with the receipts; else their links are known.
        size: messages of a round, each with two receipts.

    Returns:
        CPU microseconds of a receipt without links, and with; and the median of their ratios.
    """
    heard, unheard = Line(Settings()), Line(Settings(link_wait=0.0))
    found: list[tuple[float, float]] = []
    gc.disable()
    for number in range(rounds):
        numbers = range(number * size, (number + 1) * size)
        if not with_ours:
            heard.link(links_of(numbers))
        records = callbacks(numbers, with_ours=with_ours)
        # What grows or disturbs hits both.
        first, second = (heard, unheard) if number % 2 else (unheard, heard)
        spent = {id(first): first.take(records), id(second): second.take(records)}
        found.append((spent[id(unheard)] / len(records) * 1e6, spent[id(heard)] / len(records) * 1e6))
        gc.collect()
    gc.enable()
    steady = found[rounds // 10 :]
    without, with_links = (median(each) for each in zip(*steady, strict=True))
    return without, with_links, median(more / less for less, more in steady)


def _rate(number: int, seconds: float) -> str:
    return f"{number / seconds:,.0f}"


def _figures(name: str, *sizes: object) -> dict[str, str]:
    """Measure one store; what is found is printed as it is found, too."""
    found: dict[str, str] = {}
    with tempfile.TemporaryDirectory(prefix="delivery-status-links-") as folder:
        for what, figure in measure(name, folder, *sizes):  # type: ignore[arg-type]
            print(f"{name}: {what}: {figure}", flush=True)
            found[what] = figure
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--stores", default="memory,rocksdb", help="separated by commas")
    parser.add_argument("--links", type=int, default=10_000_000)
    parser.add_argument("--waiting", type=int, default=1_000_000, help="receipts without a link")
    parser.add_argument("--unlinked", choices=("show", "hold"), default="show")
    parser.add_argument("--overhead", type=int, metavar="ROUNDS", help="only what links cost a receipt")
    options = parser.parse_args()
    if options.overhead:
        print("| receipts | CPU us without links | with links | |\n| --- | ---: | ---: | ---: |")
        for what, with_ours in (("with our ids", True), ("without, their links known", False)):
            without, with_links, ratio = compare(options.overhead, with_ours=with_ours)
            print(f"| {what} | {without:.1f} | {with_links:.1f} | {ratio - 1:+.1%} |", flush=True)
        return
    stores = options.stores.split(",")
    found: list[dict[str, str]] = []
    # A process of its own for each: what one has used is not given back for the next.
    for name in stores:
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            found.append(pool.apply(_figures, (name, options.links, options.waiting, options.unlinked)))
    print(f"\n| | {' | '.join(stores)} |\n| --- |{' ---: |' * len(stores)}")
    for what in found[0]:
        print(f"| {what} | {' | '.join(each[what] for each in found)} |")


if __name__ == "__main__":
    main()
