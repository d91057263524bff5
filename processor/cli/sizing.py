"""The command `size`: what so many messages a day need, computed from what was measured (docs/performance.md)."""

from __future__ import annotations

from collections.abc import Callable
from math import ceil
from typing import NamedTuple

import click

from processor.cli.common import echo, echo_json, json_option
from processor.wire.topics import EVENTS, MESSAGES, RECEIPTS

_DAY_SECONDS = 86_400
_DAY_MS = _DAY_SECONDS * 1000
_MIB = 2**20

# Measured

#: Events of a message in the canonical traffic that all figures are of.
EVENTS_A_MESSAGE = 3.55


class Store(NamedTuple):
    """What one store costs."""

    #: Events that one core folds in a second, index included, as docs/performance.md has it.
    events_a_second: float
    #: Bytes of a worker's memory, or of its disk, that a row takes, index included.
    row_memory: int
    row_disk: int
    #: MiB of a worker that has few rows, or any number of them on disk, while it folds as fast as it can: 8 partitions.
    worker_mib: int
    #: Rows that a core restores from the changelog in a second, index included.
    restored_a_second: int


STORES = {
    "memory": Store(36_401, 306, 0, 419, 125_000),
    "rocksdb": Store(30_932, 0, 177, 519, 42_000),
}

#: Bytes of a message on a broker's disk, of one replica and uncompressed, by topic (`benchmarks/size.py`).
#: Those of `messages` are less by what the present layout of rows is shorter.
ON_BROKER = ((EVENTS, 1_096), (RECEIPTS, 271), (MESSAGES, 1_956))
#: What compaction leaves of `messages` for as long as the row is kept, and of `correlations`, a little less long.
KEPT_ON_BROKER = 518 + 100

#: As many partitions as this for each worker: one that ends hands its work to all others.
_PARTITIONS_A_WORKER = 4
#: Fewer than these cannot take each other's place.
_FEWEST_WORKERS = 2


class Load(NamedTuple):
    """What is to be carried."""

    #: A day.
    messages: int
    store: str = "rocksdb"
    events_a_message: float = EVENTS_A_MESSAGE
    #: The traffic of the busiest time over the mean.
    peak: float = 3.0
    #: The share of a core that a worker is to use at the peak.
    use: float = 0.6
    #: DELIVERY_RETENTION.
    retention_days: float = 30.0
    replicas: int = 3


class Size(NamedTuple):
    """What it needs. All of bytes are MiB."""

    events_a_second: int
    events_a_second_at_peak: int
    workers: int
    partitions: int
    rows: int
    worker_memory_mib: int
    worker_disk_mib: int
    brokers_disk_mib: int
    #: Of a worker that has lost its disk or its memory, and takes its share of the rows.
    rebuild_seconds: int


def size_of(load: Load) -> Size:
    """Return what a load needs: of the workers, each with a core, and on the disks of all brokers together."""
    store = STORES[load.store]
    mean = load.messages * load.events_a_message / _DAY_SECONDS
    workers = max(_FEWEST_WORKERS, ceil(mean * load.peak / (store.events_a_second * load.use)))
    rows = ceil(load.messages * load.retention_days)
    # After a worker has ended, the others hold its rows.
    rows_a_worker = rows / (workers - 1)
    return Size(
        round(mean),
        round(mean * load.peak),
        workers,
        # A multiple of eight, so that two, four or eight brokers have equal shares.
        8 * ceil(workers * _PARTITIONS_A_WORKER / 8),
        rows,
        store.worker_mib + ceil(rows_a_worker * store.row_memory / _MIB),
        ceil(rows_a_worker * store.row_disk / _MIB),
        ceil(load.replicas * _broker_bytes(load, rows) / _MIB),
        ceil(rows / workers / store.restored_a_second),
    )


def _broker_bytes(load: Load, rows: int) -> float:
    """Return the bytes of one replica: each topic for as long as it keeps a record, and the rows."""
    share = load.events_a_message / EVENTS_A_MESSAGE
    total = float(rows * KEPT_ON_BROKER)
    for topic, weight in ON_BROKER:
        days = int(topic.config.get("retention.ms") or topic.config["min.compaction.lag.ms"]) / _DAY_MS
        total += load.messages * share * weight * days
    return total


#: What is told of a size, in order.
LINES: tuple[tuple[str, Callable[[Size], str]], ...] = (
    (
        "events a second, mean and at the peak",
        lambda size: f"{size.events_a_second:,} and {size.events_a_second_at_peak:,}",
    ),
    ("workers, one core each", lambda size: f"{size.workers:,}"),
    ("partitions, at least", lambda size: f"{size.partitions:,}"),
    ("rows kept", lambda size: f"{size.rows:,}"),
    ("memory of each worker", lambda size: in_bytes(size.worker_memory_mib)),
    ("disk of each worker", lambda size: in_bytes(size.worker_disk_mib)),
    ("disk of all brokers", lambda size: in_bytes(size.brokers_disk_mib)),
    ("to rebuild a worker's rows", lambda size: in_time(size.rebuild_seconds)),
)


def in_time(seconds: float) -> str:
    """Write seconds in the unit that reads best."""
    for unit, length in (("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:,.0f} {unit}"
    return f"{seconds:.0f} s"


def in_bytes(mib: float) -> str:
    """Write MiB in the unit that reads best."""
    for unit in ("MiB", "GiB"):
        if mib < 1024:
            return f"{mib:.0f} {unit}" if mib >= 10 or not mib else f"{mib:.1f} {unit}"
        mib /= 1024
    return f"{mib:,.1f} TiB"


@click.command()
@click.option("--messages", type=click.IntRange(1), required=True, help="Messages a day.")
@click.option("--store", type=click.Choice(sorted(STORES)), default=Load(0).store, show_default=True)
@click.option(
    "--events", type=click.FloatRange(0.1), default=EVENTS_A_MESSAGE, show_default=True, help="Events of a message."
)
@click.option(
    "--peak",
    type=click.FloatRange(1),
    default=Load(0).peak,
    show_default=True,
    help="Traffic at the peak over its mean.",
)
@click.option(
    "--use",
    type=click.FloatRange(0.05, 1),
    default=Load(0).use,
    show_default=True,
    help="Share of a core that a worker is to use at the peak.",
)
@click.option(
    "--retention",
    type=click.FloatRange(0.1),
    default=Load(0).retention_days,
    show_default=True,
    help="Days for which messages are kept (DELIVERY_RETENTION).",
)
@click.option("--replicas", type=click.IntRange(1), default=Load(0).replicas, show_default=True)
@json_option
def size(**options: object) -> None:
    """Tell what so many messages a day need: workers, partitions, memory and disks, from measured figures."""
    as_json = options.pop("as_json")
    names = {"events": "events_a_message", "retention": "retention_days"}
    needed = size_of(Load(**{names.get(name, name): value for name, value in options.items()}))  # type: ignore[arg-type]
    if as_json:
        echo_json(needed._asdict())
        return
    for name, told in LINES:
        echo(f"{name:38} {told(needed)}")
