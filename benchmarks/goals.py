"""The goals, as data: which figure, of whom, beside whom, and how much it has to be; and whether a run reached them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from intervals import Interval, interval_of, ratio_of
from tables import Row

Tables = Mapping[str, Sequence[Row]]

#: Which rows of a table are meant: those with these values.
Which = Mapping[str, object]


@dataclass(frozen=True)
class Comparison:
    """A figure of one contender, beside the same figure of another one in the same round where `to` names one."""

    text: str
    table: str
    figure: str
    of: Which
    to: Which | None = None

    def values(self, tables: Tables) -> Interval | None:
        """Join what the rounds gave; None where nothing was measured."""
        ours = _by_round(tables, self, self.of)
        if self.to is None:
            return interval_of(list(ours.values())) if ours else None
        theirs = _by_round(tables, self, self.to)
        pairs = [(ours[number], theirs[number]) for number in sorted(ours.keys() & theirs.keys())]
        return ratio_of(pairs) if pairs else None


@dataclass(frozen=True)
class Goal:
    """A comparison, and the bound that it has to keep."""

    comparison: Comparison
    bound: float
    unit: str
    is_least: bool = True

    def allows(self, figure: float) -> bool:
        """Return whether a figure keeps the bound."""
        return figure >= self.bound if self.is_least else figure <= self.bound

    @property
    def shown_bound(self) -> str:
        """The bound as people write it."""
        return f"{'>=' if self.is_least else '<='} {self.bound:,g} {self.unit}"


def _by_round(tables: Tables, comparison: Comparison, which: Which) -> dict[int, float]:
    return {
        row.get("round", 0): float(row[comparison.figure])
        for row in tables.get(comparison.table, ())
        if row.get(comparison.figure) and all(row.get(name) == value for name, value in which.items())
    }


def verdict(goal: Goal, found: Interval | None) -> str:
    """Say whether a goal is reached, by how much, and how sure that is."""
    if found is None:
        return "not measured"
    share = found.middle / goal.bound - 1 if goal.is_least else 1 - found.middle / goal.bound
    margin = f"{abs(share):.0%} {'better' if share >= 0 else 'short'}"
    if found.low is None or found.high is None:
        return f"{'reached' if share >= 0 else 'not reached'} in its one round, {margin}"
    worst, best = (found.low, found.high) if goal.is_least else (found.high, found.low)
    if goal.allows(worst):
        return f"reached, {margin}"
    if not goal.allows(best):
        return f"not reached, {margin}"
    return f"{'reached' if share >= 0 else 'not reached'} in the middle, {margin}; the interval says neither"


# Whom

_OURS, _OURS_ON_DISK = {"contender": "ours"}, {"contender": "ours-rocksdb"}
_STREAMS, _STREAMS_ON_DISK = {"contender": "streams-memory-1"}, {"contender": "streams-rocksdb-1"}
_FEW, _MANY = {"partitions": 8}, {"partitions": 64}

_SPEED, _SYSTEM_CPU = "events_per_second", "events_per_system_cpu_second"


def _throughput(text: str, figure: str, of: Which, to: Which) -> Comparison:
    return Comparison(text, "throughput", figure, {**_FEW, **of}, {**_FEW, **to})


#: What stands beside each other in the report.
COMPARISONS: tuple[Comparison, ...] = (
    *(
        _throughput(f"{title}: {text}", figure, of, to)
        for text, of, to in (
            ("ours with RocksDB, to Kafka Streams with RocksDB", _OURS_ON_DISK, _STREAMS_ON_DISK),
            ("ours in memory, to Kafka Streams in memory", _OURS, _STREAMS),
            (
                "ours with RocksDB, to Kafka Streams with RocksDB, 64 partitions",
                {**_OURS_ON_DISK, **_MANY}, {**_STREAMS_ON_DISK, **_MANY},
            ),
            ("ours in memory, to Kafka Streams with RocksDB, lean", _OURS, {"contender": "streams-rocksdb-1-lean"}),
            ("ours in memory, to Kafka Streams in memory, lean", _OURS, {"contender": "streams-memory-1-lean"}),
            ("ours in memory, to Kafka Streams with RocksDB, 2 threads", _OURS, {"contender": "streams-rocksdb-2"}),
            ("ours in memory, to Quix Streams", _OURS, {"contender": "quix"}),
            ("ours in memory, to Bytewax", _OURS, {"contender": "bytewax"}),
            ("ours in memory, to plain Faust", _OURS, {"contender": "plain-faust"}),
        )
        for title, figure in (
            ("events/s", _SPEED),
            ("events per CPU-second of the contender", "events_per_cpu_second"),
            ("events per CPU-second of contender and broker", _SYSTEM_CPU),
        )
    ),
)  # fmt: skip


def _delay(text: str, table: str, figure: str, bound: float) -> Goal:
    which = {"contender": "ours-rocksdb", "rate": 20_000}
    return Goal(Comparison(text, table, figure, which), bound, "ms", is_least=False)


GOALS: tuple[Goal, ...] = (
    Goal(_throughput("events/s, to Kafka Streams with RocksDB", _SPEED, _OURS_ON_DISK, _STREAMS_ON_DISK), 1.3, "x"),
    Goal(_throughput("events/s, to Kafka Streams in memory", _SPEED, _OURS, _STREAMS), 1.0, "x"),
    Goal(
        _throughput(
            "events per CPU-second of contender and broker, to Kafka Streams with RocksDB",
            _SYSTEM_CPU, _OURS_ON_DISK, _STREAMS_ON_DISK,
        ),
        2.0, "x",
    ),
    Goal(
        _throughput(
            "events per CPU-second of contender and broker, to Kafka Streams in memory", _SYSTEM_CPU, _OURS, _STREAMS
        ),
        2.0, "x",
    ),
    Goal(
        _throughput(
            "flat: events/s with 64 partitions, to 8 partitions, RocksDB",
            _SPEED, {**_OURS_ON_DISK, **_MANY}, _OURS_ON_DISK,
        ),
        0.85, "x",
    ),
    Goal(
        _throughput("flat: events/s with 64 partitions, to 8 partitions, memory", _SPEED, {**_OURS, **_MANY}, _OURS),
        0.85, "x",
    ),
    Goal(
        Comparison(
            "flat: events/s with 10 million rows, to 100 thousand, RocksDB",
            "rows", _SPEED, {"rows": 10_000_000}, {"rows": 100_000},
        ),
        0.85, "x",
    ),
    _delay("produce to committed row at 20,000 events/s: p50", "latency", "p50_ms", 100),
    _delay("produce to committed row at 20,000 events/s: p99", "latency", "p99_ms", 250),
    _delay("raw payload to committed row, two hops, at 20,000 payloads/s: p50", "hops", "p50_ms", 200),
    _delay("raw payload to committed row, two hops, at 20,000 payloads/s: p99", "hops", "p99_ms", 500),
    Goal(_throughput("events/s, to Quix Streams, exactly once", _SPEED, _OURS, {"contender": "quix"}), 3, "x"),
    Goal(_throughput("events/s, to plain Faust", _SPEED, _OURS, {"contender": "plain-faust"}), 20, "x"),
    Goal(_throughput("events/s with RocksDB, to ours in memory", _SPEED, _OURS_ON_DISK, _OURS), 0.6, "x"),
    Goal(
        Comparison(
            "recovery of 500,000 rows from the changelog, memory", "recovery", "rows_per_second",
            {"contender": "ours", "rows": 500_000},
        ),
        300_000, "rows/s",
    ),
    Goal(
        Comparison("restart with RocksDB and 10 million rows", "rows", "seconds_to_first_commit", {"rows": 10_000_000}),
        5, "s", is_least=False,
    ),
    Goal(
        Comparison("RSS with RocksDB and 10 million rows", "rows", "peak_rss_mib", {"rows": 10_000_000}),
        1_024, "MiB", is_least=False,
    ),
    Goal(
        Comparison("memory store", "recovery", "bytes_per_row", {"contender": "ours", "rows": 500_000}),
        280, "bytes a row", is_least=False,
    ),
    Goal(
        Comparison(
            "`/api/v1/messages/{id}` with a million rows and 10,000 events/s, RocksDB: p99", "questions", "p99_ms",
            {"contender": "ours-rocksdb", "question": "/api/v1/messages/{id}", "rows": 1_000_000},
        ),
        50, "ms", is_least=False,
    ),
    Goal(
        Comparison(
            "`/` with a million rows and 10,000 events/s, RocksDB: p99", "questions", "p99_ms",
            {"contender": "ours-rocksdb", "question": "/", "rows": 1_000_000},
        ),
        200, "ms", is_least=False,
    ),
)  # fmt: skip
