"""Results as Markdown and JSON; and as the two sections of docs/performance.md that a run renews."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any, TypedDict

from goals import COMPARISONS, GOALS, verdict
from intervals import Interval, interval_of
from tables import TABLES, Join, Row, Table


class Results(TypedDict):
    """What a run found: about the machine, and for each scenario a row for each round of each contender."""

    about: dict[str, Any]
    tables: dict[str, list[Row]]


def markdown(results: Results) -> str:
    """Write the whole report."""
    return f"# Benchmark\n\n{figures(results)}\n## Goals\n\n{goals(results)}"


def figures(results: Results) -> str:
    """Write what was measured: the tables, what stands beside what, and whether contenders were warm."""
    lines = [*_about(results["about"])]
    for name, table in TABLES.items():
        rows = results["tables"].get(name, [])
        if rows:
            lines += ["", f"### {table.title}", "", *_table(table, rows)]
            lines += ["", *_failures(table, rows)]
    beside = [(each, found) for each in COMPARISONS if (found := each.values(results["tables"])) is not None]
    if beside:
        lines += ["", "### Ours beside theirs, round by round", ""]
        lines += _lines(("what", "ratio"), ((each.text, f"{shown(found)} x") for each, found in beside))
    if measured := [row for row in results["tables"].get("throughput", []) if row.get("windows")]:
        lines += ["", "### Warm", "", *_warm(measured)]
    return "\n".join(lines) + "\n"


def goals(results: Results) -> str:
    """Write a verdict on each goal."""
    told = []
    for goal in GOALS:
        found = goal.comparison.values(results["tables"])
        measured = "" if found is None else f"{shown(found)} {goal.unit}"
        told.append((goal.comparison.text, goal.shown_bound, measured, verdict(goal, found)))
    return "\n".join(_lines(("what", "goal", "measured", "verdict"), told)) + "\n"


def _about(about: dict[str, Any]) -> list[str]:
    rounds = ", ".join(f"{name} {count}" for name, count in about["rounds"].items())
    machine = f"{about['cores']} cores ({about['system']}), load {about['load']}"
    lines = [
        f"{about['date']}, commit {about['commit']}, {machine}. Python {about['python']}, Kafka {about['kafka']}.",
        f"The run took {about['minutes']} minutes; rounds: {rounds or 'none'}. For latency, {about['split']}.",
        "A figure is the mean of its rounds, with its interval of 95 % confidence in brackets. Broker, contender and",
        "load share the machine: compare figures of one run, and none where others had much of its cores.",
    ]
    if not about["is_whole"]:
        lines.append("**The run was interrupted, or goes on: this is what it has measured so far.**")
    return lines


# Numbers


def shown(value: Interval | float | bool | str | None) -> str:
    """Write a figure as people read it: three digits and no more, thousands apart, its interval in brackets."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, str):
        return value
    if isinstance(value, Interval):
        if value.low is None or value.high is None:
            return shown(value.middle)
        return f"{shown(value.middle)} ({shown(value.low)} - {shown(value.high)})"
    size = abs(value)
    return f"{value:,.0f}" if size >= 100 or value == int(value) else f"{value:.1f}" if size >= 10 else f"{value:.2f}"


def _mean(values: Sequence[float]) -> Interval | float:
    return interval_of(values) if min(values) > 0 else median(values)


_JOINS: dict[Join, Callable[[Sequence[Any]], Interval | float | bool]] = {
    "mean": _mean,
    "most": max,
    "total": sum,
    "all": all,
}


# Tables


def _lines(titles: Sequence[str], rows: Any) -> list[str]:
    lines = ["| " + " | ".join(titles) + " |", "|" + "---|" * len(titles)]
    return lines + ["| " + " | ".join(cells) + " |" for cells in rows]


def _table(table: Table, rows: Sequence[Row]) -> list[str]:
    groups: dict[tuple[object, ...], list[Row]] = {}
    for row in rows:
        if "failure" not in row:
            groups.setdefault(tuple(row.get(name) for name in table.keys), []).append(row)
    titles = [*table.keys.values(), *(title for title, _ in table.figures.values())]
    cells = []
    for key, some in groups.items():
        line = [shown(value) for value in key]
        for name, (_, join) in table.figures.items():
            known = [row[name] for row in some if row.get(name) is not None]
            line.append(shown(_JOINS[join](known)) if known else "")
        cells.append(line)
    return _lines(titles, cells)


def _failures(table: Table, rows: Sequence[Row]) -> list[str]:
    return [
        f"- Failed: {', '.join(f'{title} {row[name]}' for name, title in table.keys.items() if name in row)}: "
        f"{str(row['failure']).splitlines()[0]}"
        for row in rows
        if "failure" in row
    ]


def _warm(rows: Sequence[Row]) -> list[str]:
    """Show that the measured window was past what compilers and caches take: rates on the way, and how they end."""
    groups: dict[tuple[str, int], list[Row]] = {}
    for row in rows:
        groups.setdefault((row["contender"], row["partitions"]), []).append(row)
    step = rows[0]["window_events"]
    cells = []
    for (contender, partitions), some in groups.items():
        rates = [
            median(found)
            for place in range(max(len(row["windows"]) for row in some))
            if (found := [row["windows"][place] for row in some if place < len(row["windows"])])
        ]
        begins = median(row["warm_events"] for row in some) // step
        told = [f"{rate / 1000:.0f}" for rate in rates]
        drift = interval_of([row["drift"] for row in some]) if all(row.get("drift") for row in some) else None
        is_flat = "" if drift is None else "yes" if abs(drift.middle - 1) <= _FLAT else "no"
        path = " ".join(told[: int(begins)]), " ".join(told[int(begins) :])
        cells.append((contender, str(partitions), *path, shown(drift), is_flat))
    return [
        f"Thousand events/s of each {step:,} events, the median of the rounds: before the measured window, and in it.",
        f"Flat is a window whose second half is as fast as its first within {_FLAT:.0%}.",
        "",
        *_lines(("contender", "partitions", "warming up", "measured", "second half to first", "flat"), cells),
    ]


_FLAT = 0.1


# Files


def write(folder: Path, results: Results) -> None:
    """Write the report; called after each step, so that a run that is interrupted keeps what it has."""
    folder.mkdir(exist_ok=True)
    for name, text in (("results.json", json.dumps(results, indent=2) + "\n"), ("results.md", markdown(results))):
        # A run that is killed while it writes leaves the last whole file.
        half = folder / f"{name}.part"
        half.write_text(text)
        half.replace(folder / name)


def read(folder: Path) -> Results:
    """Read what a run left."""
    found: Results = json.loads((folder / "results.json").read_text())
    return found


def renew(page: str, results: Results) -> str:
    """Return the page with the sections between its markers written anew.

    Raises:
        LookupError: the page lacks the markers of a section.
    """
    for section, text in (("figures", figures(results)), ("goals", goals(results))):
        pattern = rf"(^<!-- benchmark {section} -->\n).*?(^<!-- /benchmark {section} -->$)"
        written = partial(_written, text=text)
        page, times = re.subn(pattern, written, page, flags=re.MULTILINE | re.DOTALL)
        if times != 1:
            raise LookupError(f"the page has {times} pairs of markers `benchmark {section}`, not one")
    return page


def _written(found: re.Match[str], text: str) -> str:
    return f"{found[1]}\n{text}\n{found[2]}"
