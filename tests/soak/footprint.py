"""What a process takes of its machine, read from /proc, and whether that stays as it was."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import linear_regression, median
from typing import NamedTuple

#: What is judged, by name, and by which share of its least the most may exceed it.
FLAT = {"rss_mib": 0.03, "private_mib": 0.03}

#: What must not grow, and by how much the most of the second half may exceed that of the first: a connection may be
#: made anew. Between, it goes up and down: connections that have been idle for nine minutes, as those of partitions
#: without records, are closed, and made again when one is due.
CONSTANT = {"files": 2.0, "threads": 0.0, "tasks": 2.0}


class Footprint(NamedTuple):
    """What a process took at one moment."""

    #: Since the soak began.
    seconds: float
    #: Resident memory, its share of what several processes have in common, and what it has written, its own alone.
    #: Pages of libraries are not written: they count as shared as soon as any other Python runs.
    rss_mib: float
    pss_mib: float
    private_mib: float
    #: Open files, sockets among them; threads; asyncio's tasks.
    files: float
    threads: float
    tasks: float
    #: Events that it has folded.
    events: float


def footprint_of(pid: int, seconds: float, tasks: float, events: float) -> Footprint:
    """Read what a process takes now; what it tells of itself is given."""
    folder = Path(f"/proc/{pid}")
    memory = _memory(folder)
    resident, shared_out, private = (memory[name] for name in ("Rss", "Pss", "Private_Dirty"))
    files, threads = (sum(1 for _ in (folder / name).iterdir()) for name in ("fd", "task"))
    return Footprint(seconds, resident, shared_out, private, files, threads, tasks, events)


def _memory(folder: Path) -> dict[str, float]:
    lines = (line.split() for line in (folder / "smaps_rollup").read_text().splitlines()[1:])
    return {name.rstrip(":"): int(kibibytes) / 1024 for name, kibibytes, *_ in lines}


def spans_of(samples: Iterable[Footprint], length: float) -> list[Footprint]:
    """Join the samples of every `length` seconds; a last span that was cut short does not count.

    Of memory the middle tells most. Of files, threads and tasks the least does: what is held for good, beside those
    that come and go with a request.
    """
    spans: dict[int, list[Footprint]] = {}
    for sample in samples:
        spans.setdefault(int(sample.seconds // length), []).append(sample)
    if spans:
        del spans[max(spans)]
    return [_joined(found) for found in spans.values()]


def _joined(samples: Sequence[Footprint]) -> Footprint:
    seconds, rss, pss, private, files, threads, tasks, events = zip(*samples, strict=True)
    held = min(files), min(threads), min(tasks)
    return Footprint(seconds[0], median(rss), median(pss), median(private), *held, events[-1])


def complaints(spans: Sequence[Footprint]) -> list[str]:
    """Say what did not stay as it was, in words; nothing when all did."""
    if len(spans) < 2:
        raise ValueError("there is no telling what stays from fewer than two spans")
    return [*filter(None, (*(_swing(name, spans) for name in FLAT), *(_rise(name, spans) for name in CONSTANT)))]


def _swing(name: str, spans: Sequence[Footprint]) -> str:
    values = [getattr(span, name) for span in spans]
    least, most, allowed = min(values), max(values), FLAT[name]
    return f"{name} from {least:.1f} to {most:.1f}: more than {allowed:.0%}" if most > least * (1 + allowed) else ""


def _rise(name: str, spans: Sequence[Footprint]) -> str:
    values = [getattr(span, name) for span in spans]
    before, after = (max(half) for half in (values[: len(values) // 2], values[len(values) // 2 :]))
    rise = after - before
    return f"{name} rose by {rise:.0f} to {after:.0f}: more than {CONSTANT[name]:.0f}" if rise > CONSTANT[name] else ""


def table(spans: Iterable[Footprint]) -> str:
    """Draw a table with a line for each span."""
    lines = ["  seconds  RSS MiB  PSS MiB  private MiB  files  threads  tasks       events"]
    lines += [
        f"{at.seconds:9.0f}{at.rss_mib:9.1f}{at.pss_mib:9.1f}{at.private_mib:13.1f}{at.files:7.0f}{at.threads:9.0f}"
        f"{at.tasks:7.0f}{at.events:13.0f}"
        for at in spans
    ]
    return "\n".join(lines)


def growth(spans: Sequence[Footprint]) -> float:
    """Give by how many MiB an hour the resident memory grew, by the straight line that fits best."""
    return linear_regression([at.seconds for at in spans], [at.rss_mib for at in spans]).slope * 3_600
