"""Partitions over a cluster that is a model, in virtual time: thousands of runs a minute, each a number.

What runs is the product: `Partition`, the fold stage, and the transactional producer with all of aiokafka's below it,
down to the bytes of its batches. What does not run is the network, the broker, the consumer and Faust:

    loop.py      time, and processes that are frozen or killed between any two callbacks
    cluster.py   logs, transactions and a group's offsets, as Kafka 4 has them
    network.py   delays, losses, and requests that arrive when nobody waits for them any more
    works.py     what the partitions work at, and what must come of it
    worker.py    what stands around a partition: fetches, deliveries, what it asks its worker for
    run.py       a run: its plan, its faults, the healing, the judgement
    mutants.py   the engine with one of its rules taken out

A seed decides which faults a run has, and when. So a run that fails is repeated by its number:

    SIMULATION_FIRST=277 SIMULATION_SEEDS=1 python -m pytest tests/simulation -k every_record

and its failure prints all that happened, a line each. `SIMULATION_SEEDS=20000` looks longer. A change of what is drawn,
or of the engine, gives the same seeds another meaning: to keep a case, write it as a test of its own.

What is judged: each input record had its effect exactly once, in the changelog as readers of committed records see it;
rows are what the changelog says; the offset is at the end; nothing is open, in outputs neither; nobody waits for ever.
Where a broker forgets markers (ADR 0013), outputs other than the changelog may be there twice.
"""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from processor.engine import inbox, rounds
from tests.examples import examples
from tests.simulation.mutants import MUTANTS
from tests.simulation.run import Plan, simulate

_FIRST = int(os.environ.get("SIMULATION_FIRST", "0"))
_SEEDS = int(os.environ.get("SIMULATION_SEEDS", examples(300)))
_BLOCK = 25

#: Runs within which each mutant must be found; one of them takes about 50 ms.
_MUTANT_RUNS = 80


@pytest.mark.parametrize("first", range(_FIRST, _FIRST + _SEEDS, _BLOCK))
def test_every_record_has_its_effect_once(first):
    for seed in range(first, min(first + _BLOCK, _FIRST + _SEEDS)):
        outcome = simulate(seed)
        assert not outcome.problems, str(outcome)


def _ends_that_are_late(plan: Plan) -> None:
    """One transaction follows the other, and ends that were given up arrive among them."""
    plan.is_full, plan.is_old, plan.forgets = True, False, 0
    plan.work, plan.chunk_records, plan.delivery.records = "tally", 1, 2
    plan.faults.late, plan.faults.late_request, plan.faults.lateness, plan.faults.silent = 0.3, "EndTxn", 0.5, 0
    plan.faults.marker_delay = 0.01


def _markers_that_are_forgotten(plan: Plan) -> None:
    """The broker dies again and again, and workers with it."""
    plan.work, plan.first_epoch = "tally that knows", 0
    plan.forgets, plan.dies_too, plan.restart_every, plan.faults.marker_delay = 0.5, 0.7, 0.5, 0.3


def _owners_that_change(plan: Plan) -> None:
    """Partitions go from hand to hand, in good order or not."""
    plan.forgets, plan.work, plan.seconds = 0, "tally", 8
    plan.hand_over, plan.leave = 0.6, 0.4


def _markers_that_are_late(plan: Plan) -> None:
    """Partitions go from hand to hand while the ends of transactions are on their way."""
    _owners_that_change(plan)
    plan.faults.marker_delay = 0.5


def _anything(_plan: Plan) -> None:
    """The seeds as they are."""


_FOCUS = {
    "aiokafka's own end of transactions": _ends_that_are_late,
    "the proof is not looked at": _markers_that_are_forgotten,
    "what hangs is left": _markers_that_are_forgotten,
    "no pin": _owners_that_change,
    "any offset": _markers_that_are_late,
    "fencing alone": _markers_that_are_forgotten,
    "outputs are left": _markers_that_are_forgotten,
    "a suspended work is believed": _owners_that_change,
    "whoever left a partition goes on": _owners_that_change,
}


@pytest.mark.slow
@pytest.mark.parametrize("name", MUTANTS)
def test_an_engine_with_a_rule_taken_out_is_found(name):
    focus: Callable[[Plan], None] = _FOCUS.get(name, _anything)
    assert any(simulate(seed, MUTANTS[name], focus).problems for seed in range(_MUTANT_RUNS))


@pytest.mark.parametrize("focus", dict.fromkeys(_FOCUS.values()))
def test_with_all_its_rules_it_stands_what_finds_them(focus):
    for seed in range(examples(_MUTANT_RUNS // 2)):
        outcome = simulate(seed, focus=focus)
        assert not outcome.problems, str(outcome)


def test_partitions_that_wait_for_their_turn_all_get_it(monkeypatch):
    """The bounds of a worker with hundreds of partitions, so narrow that a few reach them."""
    monkeypatch.setattr(rounds, "_ROUND_RECORDS", 1)
    monkeypatch.setattr(inbox, "_FULL_INBOXES", 0)
    for seed in range(examples(100)):
        outcome = simulate(seed)
        assert not outcome.problems, str(outcome)


def _ids_that_end(plan: Plan) -> None:
    """Owners are frozen while another one uses up the producer id of their transactional id."""
    plan.work, plan.first_epoch, plan.forgets, plan.is_old, plan.is_full = "tally", 32_764, 0, False, True
    plan.inputs, plan.seconds, plan.chunk_records, plan.delivery.records = 60, 8, 1, 1
    plan.kill_after, plan.freeze_after, plan.frozen_seconds = 0, 300, 5.0
    plan.hand_over, plan.leave, plan.restart_every = 0, 0.9, 0
    plan.faults.late = plan.faults.lost = plan.faults.unanswered = 0


@pytest.mark.slow
def test_rounds_go_on_where_a_producer_id_ends():
    for seed in range(12):
        outcome = simulate(seed, focus=_ids_that_end)
        assert not outcome.problems, str(outcome)


@pytest.mark.slow
def test_a_seed_is_the_same_run_again_in_any_process():
    program = "from tests.simulation.run import simulate; print(*(simulate(seed).digest for seed in range(5)))"
    digests = [
        subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": str(hash_seed), "PYTHONPATH": os.pathsep.join(sys.path)},
            cwd=Path(__file__).parents[2],
            check=True,
            capture_output=True,
        ).stdout.split()
        for hash_seed in (1, 2)
    ]
    assert digests[0] == digests[1] == [simulate(seed).digest.encode() for seed in range(5)]
