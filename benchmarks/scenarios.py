"""The scenarios, as data: what is run, in which order, and which share of a run's minutes each may take."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import NamedTuple

from bench import Bench
from latency import hops, latency
from questions import questions
from recovery import recovery
from rows import rows
from throughput import throughput


class Scenario(NamedTuple):
    """One scenario; its rounds end when its share is used up. There is always one."""

    run: Callable[[Bench], Awaitable[None]]
    share: float


SCENARIOS: dict[str, Scenario] = {
    "throughput": Scenario(throughput, 0.37),
    "latency": Scenario(latency, 0.15),
    "hops": Scenario(hops, 0.14),
    "rows": Scenario(rows, 0.26),
    "recovery": Scenario(recovery, 0.04),
    "questions": Scenario(questions, 0.04),
}


def deadlines(names: list[str], begun: float, seconds: float) -> dict[str, float]:
    """Return when each scenario is to end: what one leaves over is for those after it."""
    whole = sum(SCENARIOS[name].share for name in names)
    ends: dict[str, float] = {}
    for name in names:
        begun += seconds * SCENARIOS[name].share / whole
        ends[name] = begun
    return ends
