"""The tables of the report, as data: whose figures stand in one line, which figures, and how rounds are joined."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

#: What was measured of one contender in one round: the values of a table's keys and figures, by their names.
Row = dict[str, Any]

#: How the rounds of one line are joined: their mean with its interval, the highest, the sum, or whether all say yes.
Join = Literal["mean", "most", "total", "all"]


@dataclass(frozen=True)
class Table:
    """One scenario's figures: a line for each set of values of `keys`."""

    title: str
    keys: Mapping[str, str]
    figures: Mapping[str, tuple[str, Join]]


_OTHERS: dict[str, tuple[str, Join]] = {"others_percent": ("others' share of the cores, %", "most")}
_DELAYS: dict[str, tuple[str, Join]] = {
    "p50_ms": ("p50, ms", "mean"),
    "p99_ms": ("p99, ms", "mean"),
    "max_ms": ("most, ms", "most"),
    "records": ("rows seen", "total"),
    "contender_us": ("CPU us an event: contender", "mean"),
    "broker_us": ("broker", "mean"),
    "keeps_up": ("keeps up", "all"),
    "checked": ("checked", "total"),
    "wrong": ("wrong", "total"),
    **_OTHERS,
}

TABLES: dict[str, Table] = {
    "throughput": Table(
        "Throughput: one process each, warm, on the same events",
        {"contender": "contender", "partitions": "partitions"},
        {
            "events_per_second": ("events/s", "mean"),
            "events_per_cpu_second": ("events per CPU-second of the contender", "mean"),
            "events_per_system_cpu_second": ("of contender and broker", "mean"),
            "contender_us": ("CPU us an event: contender", "mean"),
            "broker_us": ("broker", "mean"),
            "peak_rss_mib": ("peak RSS, MiB", "most"),
            "checked": ("rows and counts checked", "total"),
            "wrong": ("wrong", "total"),
            **_OTHERS,
        },
    ),
    "rows": Table(
        "Rows: the same traffic on stores of different sizes, RocksDB",
        {"contender": "contender", "rows": "rows"},
        {
            "events_per_second": ("events/s", "mean"),
            "events_per_cpu_second": ("events per CPU-second of the contender", "mean"),
            "events_per_system_cpu_second": ("of contender and broker", "mean"),
            "seconds_to_recover": ("recovery from the changelog, s", "mean"),
            "seconds_to_first_commit": ("restart to first commit, s", "mean"),
            "peak_rss_mib": ("peak RSS, MiB", "most"),
            **_OTHERS,
        },
    ),
    "latency": Table(
        "Latency: from an event's due moment to its row at a reader of committed records",
        {"contender": "contender", "rate": "events/s"},
        _DELAYS,
    ),
    "hops": Table(
        "Two hops: from a raw payload's due moment to the row, through the topic of events",
        {"contender": "contender", "rate": "payloads/s"},
        _DELAYS,
    ),
    "recovery": Table(
        "Recovery from the changelog, and memory",
        {"contender": "contender", "source": "rows come", "rows": "rows"},
        {
            "seconds_to_recover": ("recovery, s", "mean"),
            "rows_per_second": ("rows/s", "mean"),
            "seconds_to_first_commit": ("start to first commit, s", "mean"),
            "rss_mib": ("RSS, MiB", "mean"),
            "peak_rss_mib": ("peak RSS, MiB", "most"),
            "bytes_per_row": ("bytes a row", "mean"),
            **_OTHERS,
        },
    ),
    "questions": Table(
        "Questions: answers over HTTP while 10,000 events/s flow",
        {"contender": "contender", "rows": "rows", "question": "question"},
        {"asked": ("asked", "total"), "p50_ms": ("p50, ms", "mean"), "p99_ms": ("p99, ms", "mean"), **_OTHERS},
    ),
}
