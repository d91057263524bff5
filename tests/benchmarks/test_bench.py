"""How a run goes on: rounds, turns, and what happens to one that fails."""

import time
from pathlib import Path

import pytest
from bench import QUICK, STANDARD, Bench, turned
from scenarios import SCENARIOS, deadlines
from tables import TABLES

from processor.settings import Settings


@pytest.fixture
def kept():
    return []


@pytest.fixture
def bench(kept):
    return Bench(Settings(), Path(), QUICK, (), 0, None, lambda table, row: kept.append((table, row)))


def test_a_round_goes_from_last_to_first_after_one_from_first_to_last():
    assert [turned(("ours", "streams", "quix"), number) for number in range(2)] == [
        ("ours", "streams", "quix"),
        ("quix", "streams", "ours"),
    ]


def test_there_is_one_round_however_late_it_is(bench):
    bench.deadline = time.monotonic() - 1
    assert list(bench.rounds()) == [0]


def test_rounds_go_on_while_there_is_time(bench):
    bench.deadline = time.monotonic() + 10_000
    assert list(bench.rounds()) == list(range(QUICK.rounds))


async def test_a_figure_is_kept_as_soon_as_it_is_measured(bench, kept):
    async def measured():
        return {"p50_ms": 7}

    await bench.step("latency", "ours", {"round": 1}, measured())
    assert kept == [("latency", {"contender": "ours", "round": 1, "p50_ms": 7})]


async def test_one_that_fails_is_told_once_and_not_tried_again(bench, kept):
    async def failing():
        raise ValueError("no such thing")

    async def measured():
        return {"p50_ms": 7}

    for number in range(2):
        await bench.step("latency", "quix", {"rate": 1, "round": number}, failing())
        await bench.step("latency", "ours", {"rate": 1, "round": number}, measured())
    assert [(row["contender"], row["round"], row.get("failure")) for _, row in kept] == [
        ("quix", 0, "ValueError: no such thing"),
        ("ours", 0, None),
        ("ours", 1, None),
    ]


def test_every_scenario_has_its_table_and_its_share():
    assert SCENARIOS.keys() == TABLES.keys()
    assert sum(scenario.share for scenario in SCENARIOS.values()) == pytest.approx(1)


def test_the_minutes_of_a_run_are_shared_by_the_chosen_scenarios():
    ends = deadlines(["latency", "rows"], 1_000.0, 600.0)
    assert list(ends) == ["latency", "rows"]
    assert 1_000 < ends["latency"] < ends["rows"] == pytest.approx(1_600)


def test_a_jvm_is_warm_before_it_is_measured():
    assert STANDARD.warm_events >= 700_000
