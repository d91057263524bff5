"""A worker may be told to stop at any moment: while it is imported, connects, joins, recovers, folds, or is rebalanced.

`STOPS` says how many stops there are, `DELIVERY_TEST_SEED` at which moments:

    STOPS=200 python -m pytest tests/engine/test_stops.py -s
"""

import asyncio
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from itertools import count, islice
from pathlib import Path
from random import Random

import pytest

from processor.demo.simulate import canonical_events
from tests.engine.harness import WorkerProcess
from tests.engine.watched_worker import TOUCHED

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

STOPS = int(os.environ.get("STOPS", "12"))
SEED = int(os.environ.get("DELIVERY_TEST_SEED", "1"))

WATCHED = (sys.executable, "-m", "tests.engine.watched_worker", "worker")

#: Seconds that no stop may take: a worker's own bound.
COMMIT_TIMEOUT = 60.0

#: Seconds after its start, or after another's that makes the group share out anew, within which a worker is stopped.
MOMENTS = 5.0

SIGTERM_BIT = 1 << 14


def hears_sigterm(pid: int) -> bool:
    """Say whether a process has a handler: before its first line has run, no program can have one."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return True
    [caught] = [line.split()[1] for line in status.splitlines() if line.startswith("SigCgt:")]
    return bool(int(caught, 16) & SIGTERM_BIT)


class Storm:
    """Workers that come and are told to stop, in two rows beside one that stays, so that each meets rebalances."""

    def __init__(self, trial) -> None:
        self.trial = trial
        self.ends: list[tuple[float, float, int]] = []
        self._numbers = count()

    async def row(self, seed: int, stops: int) -> None:
        moments = Random(seed)
        while stops > 0:
            moment = moments.uniform(0, MOMENTS)
            with self._worker() as worker:
                if stops > 1 and moments.random() < 0.5:
                    await worker.ready()
                    with self._worker() as joins:
                        await self._stop_at(worker, moment)
                        await self._stop_at(joins, 0)
                    stops -= 2
                else:
                    await self._stop_at(worker, moment)
                    stops -= 1

    @contextmanager
    def _worker(self) -> Iterator[WorkerProcess]:
        log = self.trial.folder / f"storm-{next(self._numbers)}.log"
        worker = WorkerProcess(self.trial.environment, log, WATCHED)
        try:
            yield worker
        finally:
            worker.clean_up()
        assert worker.log(TOUCHED) == []

    async def _stop_at(self, worker: WorkerProcess, moment: float) -> None:
        """Tell a worker to stop so many seconds from now, but not before any program could hear it."""
        started = time.monotonic()

        async def hears() -> bool:
            return hears_sigterm(worker.pid)

        await self.trial.eventually(hears, "it hears SIGTERM")
        await asyncio.sleep(max(0, moment - (time.monotonic() - started)))
        told = time.monotonic()
        code = await worker.stop()
        took = time.monotonic() - told
        self.ends.append((moment, took, code))
        assert code == 0, f"told to stop after {moment:.3f} s, it ended with {code}:\n{worker.log_text()[-8_000:]}"
        assert took < COMMIT_TIMEOUT, f"told to stop after {moment:.3f} s:\n{worker.log_text()[-8_000:]}"


def endless_events() -> Iterator[bytes]:
    start = datetime.now(timezone.utc) - timedelta(minutes=5)
    return canonical_events(SEED, 400_000, start, out_of_order=0.1, duplicates=0.05)


async def test_told_to_stop_at_any_moment_it_ends_with_0_and_loses_nothing(make_trial):
    trial = await make_trial(commit_timeout=COMMIT_TIMEOUT)
    events, finished = endless_events(), asyncio.Event()

    async def publish() -> None:
        while not finished.is_set():
            await trial.publish_events(list(islice(events, 100)))
            await asyncio.sleep(0.1)  # A rate; nothing waits for it.

    storm = Storm(trial)
    stays = await trial.start_worker()
    publishing = asyncio.ensure_future(publish())
    try:
        await asyncio.gather(storm.row(2 * SEED, STOPS // 2), storm.row(2 * SEED + 1, STOPS - STOPS // 2))
    finally:
        finished.set()
        await publishing
        took = sorted(took for _, took, _ in storm.ends)
        if took:
            sys.stdout.write(f"\n{len(took)} stops: median {took[len(took) // 2]:.2f} s, slowest {took[-1]:.2f} s\n")
    assert len(storm.ends) == STOPS
    await trial.settled()
    await trial.assert_rows_are_those_of_the_offline_fold()
    await trial.assert_every_event_had_its_effect_once()
    assert await stays.stop() == 0
