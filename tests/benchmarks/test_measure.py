"""What follows from samples of a process."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from measure import PeerError, Sample, costs, move, on_cores, windows


def sampled(*points):
    """Make samples of moments and events; each event costs the process 10 us and the broker 5 us."""
    return [Sample(moment, events, events * 10e-6, 100.0, events * 5e-6, 0.0) for moment, events in points]


def test_the_cpu_time_of_an_event_is_that_of_contender_and_broker():
    assert costs(sampled((0.0, 0), (2.0, 100_000))) == {
        "events_per_second": 50_000,
        "events_per_cpu_second": 100_000,
        "events_per_system_cpu_second": 66_667,
        "contender_us": 10.0,
        "broker_us": 5.0,
    }


def test_one_commit_tells_nothing():
    with pytest.raises(PeerError):
        costs(sampled((0.0, 100)))


def test_windows_show_a_contender_that_gets_warm():
    samples = sampled((0.0, 0), (2.0, 1_000), (3.0, 2_000), (3.5, 3_000), (4.0, 4_000))
    assert windows(samples, 1_000) == [500, 1_000, 2_000, 2_000]


def test_a_window_may_end_between_two_commits():
    assert windows(sampled((0.0, 0), (4.0, 4_000)), 1_000) == [1_000] * 4
    assert windows(sampled((10.0, 500), (11.0, 2_500)), 1_000) == [2_000, 2_000]


COUNT = "import os; print(len(os.sched_getaffinity(0)))"


def test_what_is_started_has_the_given_cores_and_this_process_keeps_its_own():
    mine = os.sched_getaffinity(0)
    with on_cores({min(mine)}):
        found = subprocess.run([sys.executable, "-c", COUNT], capture_output=True, check=True)
    assert int(found.stdout) == 1
    assert os.sched_getaffinity(0) == mine


def test_a_process_that_runs_is_moved_with_all_its_threads():
    script = "import threading; threading.Thread(target=input).start(); print(flush=True); threading.Event().wait()"
    child = subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        child.stdout.readline()
        core = min(os.sched_getaffinity(0))
        move(child.pid, {core})
        threads = [int(path.name) for path in Path(f"/proc/{child.pid}/task").iterdir()]
        assert len(threads) == 2
        assert [os.sched_getaffinity(thread) for thread in threads] == [{core}] * 2
    finally:
        child.kill()
        child.communicate()
