"""Results as Markdown, JSON and SVG."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypedDict
from xml.sax.saxutils import escape

Row = dict[str, Any]


class Results(TypedDict):
    """What a run found: about the machine, and a table for each scenario."""

    about: dict[str, Any]
    tables: dict[str, list[Row]]


#: Titles of each scenario's columns, by the name of the figure.
COLUMNS: dict[str, dict[str, str]] = {
    "throughput": {
        "contender": "contender",
        "guarantee": "guarantee",
        "events_per_second": "events/s",
        "second_half_per_second": "second half",
        "spread": "in all rounds",
        "ratio": "ours is faster by",
        "events_per_cpu_second": "events per CPU-second",
        "second_half_per_cpu_second": "second half",
        "cpu_ratio": "ours needs less by",
        "peak_rss_mib": "peak RSS, MiB",
        "rows_checked": "rows checked",
        "rows_wrong": "wrong",
        "counts_checked": "counts checked",
        "counts_wrong": "wrong",
        "others_percent": "others' share of the cores, %",
    },
    "latency": {
        "contender": "contender",
        "rate": "events/s",
        "rows": "rows",
        "p50_ms": "p50, ms",
        "p99_ms": "p99, ms",
        "max_ms": "most, ms",
        "keeps_up": "keeps up",
        "others_percent": "others' share of the cores, %",
    },
    "recovery": {
        "contender": "contender",
        "source": "rows come",
        "rows": "rows",
        "seconds_to_recover": "recovery, s",
        "rows_per_second": "rows/s",
        "seconds_to_first_commit": "start to first commit, s",
        "rss_mib": "RSS, MiB",
        "peak_rss_mib": "peak RSS, MiB",
        "bytes_per_row": "bytes a row",
        "others_percent": "others' share of the cores, %",
    },
    "growth": {
        "contender": "contender",
        "partitions": "partitions",
        "rows": "rows",
        "events_per_second": "events/s",
        "events_per_cpu_second": "events per CPU-second",
        "rss_mib": "RSS, MiB",
        "others_percent": "others' share of the cores, %",
    },
    "disk": {
        "contender": "contender",
        "rows": "rows",
        "source": "rows come",
        "seconds_to_recover": "recovery, s",
        "seconds_to_first_commit": "start to first commit, s",
        "events_per_second": "events/s",
        "events_per_cpu_second": "events per CPU-second",
        "rss_mib": "RSS, MiB",
        "peak_rss_mib": "peak RSS, MiB",
        "others_percent": "others' share of the cores, %",
    },
    "questions": {
        "contender": "contender",
        "rows": "rows",
        "question": "question",
        "asked": "asked",
        "p50_ms": "p50, ms",
        "p99_ms": "p99, ms",
        "others_percent": "others' share of the cores, %",
    },
}

TITLES = {
    "throughput": "Throughput: the same topic, one process each, the median of the rounds",
    "latency": "Latency: from an event's due moment to its row at a reader of committed records",
    "recovery": "Recovery from the changelog, and memory",
    "growth": "Growth: speed while the rows grow from half of the number to all of it",
    "disk": "State larger than memory: recovery, restart, and folding with all of it on disk",
    "questions": "Questions: answers over HTTP while 10,000 events/s flow",
}


def markdown(results: Results) -> str:
    """Write the report."""
    about = results["about"]
    lines = [
        "# Benchmark",
        "",
        f"{about['date']}: {about['cores']} cores ({about['system']}), Python {about['python']},",
        f"Kafka {about['kafka']}, {about['partitions']} partitions; the run took {about['minutes']} minutes.",
        "Broker, contender and load share the machine: compare figures of one run, not of two, and none of a run in",
        "which others had much of its cores.",
    ]
    for name, rows in results["tables"].items():
        lines += ["", f"## {TITLES[name]}", "", *_table(COLUMNS[name], _derived(name, rows))]
        if name == "throughput":
            lines += ["", *_left_out(rows)]
        lines += [f"\n{row['contender']} failed: {row['failure']}" for row in rows if "failure" in row]
    return "\n".join(lines) + "\n"


def _derived(name: str, rows: Sequence[Row]) -> list[Row]:
    """Add what follows from the figures of several rows."""
    derived = [dict(row) for row in rows if "failure" not in row]
    if name == "throughput":
        _add_ratios(derived)
    if name == "recovery":
        _add_slopes(derived)
    return derived


def _add_ratios(rows: list[Row]) -> None:
    ours = next((row for row in rows if row["contender"] == "ours"), None)
    for row in rows:
        if ours is not None and row is not ours:
            row["ratio"] = _ratio(ours, row, "per_second")
            row["cpu_ratio"] = _ratio(ours, row, "per_cpu_second")


def _ratio(ours: Row, row: Row, figure: str) -> str | None:
    """Compare by the second half, when compilers are warm; by the whole where a peer committed too seldom for that."""
    steady = f"second_half_{figure}"
    name = steady if ours[steady] and row[steady] else f"events_{figure}"
    return f"{ours[name] / row[name]:.1f} x" if row[name] else None


def _add_slopes(rows: list[Row]) -> None:
    for row in rows:
        if row["source"] == "from the changelog":
            row["rows_per_second"] = round(row["rows"] / max(row["seconds_to_recover"], 0.01))
        like = [other for other in rows if all(other[name] == row[name] for name in ("contender", "source"))]
        least = min(like, key=lambda other: other["rows"])
        if row["rows"] > least["rows"]:
            more = (row["rss_mib"] - least["rss_mib"]) * 1024 * 1024
            row["bytes_per_row"] = round(more / (row["rows"] - least["rows"]))


def _table(columns: dict[str, str], rows: Sequence[Row]) -> list[str]:
    lines = ["| " + " | ".join(columns.values()) + " |", "|" + "---|" * len(columns)]
    lines += ["| " + " | ".join(_shown(row.get(name)) for name in columns) + " |" for row in rows]
    return lines


def _shown(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:,}" if isinstance(value, int | float) else str(value)


def _left_out(rows: Sequence[Row]) -> list[str]:
    return [f"- {row['contender']} leaves out: {row['leaves_out']}." for row in rows if row["leaves_out"]]


def write(folder: Path, results: Results, text: str) -> None:
    """Write the report's three forms."""
    folder.mkdir(exist_ok=True)
    (folder / "results.md").write_text(text)
    (folder / "results.json").write_text(json.dumps(results, indent=2) + "\n")
    rows = [row for row in results["tables"].get("throughput", []) if "failure" not in row]
    if rows:
        (folder / "throughput.svg").write_text(svg(rows))


_BAR, _GAP, _NAMES_WIDTH, _BARS_WIDTH, _FIGURES_WIDTH = 14, 14, 170, 420, 150
_SERIES = (("events_per_second", "events/s", "#2563a8"), ("events_per_cpu_second", "events per CPU-second", "#d98324"))

_FONT = 'font-family="sans-serif" font-size="12"'


def svg(rows: Sequence[Row]) -> str:
    """Draw two bars for each contender."""
    most = max(row[name] for row in rows for name, _, _ in _SERIES)
    step = 2 * _BAR + _GAP
    width, height = _NAMES_WIDTH + _BARS_WIDTH + _FIGURES_WIDTH, 40 + step * len(rows)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" {_FONT}>',
        "<title>Events a second and a CPU-second of each contender</title>",
        f'<rect width="{width}" height="{height}" fill="white"/>',
    ]
    for index, (_, title, color) in enumerate(_SERIES):
        left = _NAMES_WIDTH + 120 * index
        parts.append(f'<rect x="{left}" y="10" width="12" height="12" fill="{color}"/>')
        parts.append(f'<text x="{left + 18}" y="20">{title}</text>')
    for index, row in enumerate(rows):
        parts += _bars(row, 36 + step * index, most)
    return "\n".join([*parts, "</svg>"]) + "\n"


def _bars(row: Row, top: int, most: float) -> list[str]:
    parts = [f'<text x="{_NAMES_WIDTH - 8}" y="{top + _BAR + 4}" text-anchor="end">{escape(row["contender"])}</text>']
    for index, (name, _, color) in enumerate(_SERIES):
        length = _BARS_WIDTH * row[name] / most
        y = top + _BAR * index
        parts.append(f'<rect x="{_NAMES_WIDTH}" y="{y}" width="{length:.1f}" height="{_BAR - 1}" fill="{color}"/>')
        parts.append(f'<text x="{_NAMES_WIDTH + length + 6:.1f}" y="{y + _BAR - 3}">{row[name]:,}</text>')
    return parts
