"""`delivery-status`, started with a wall clock that is off: python -m tests.chaos.skewed SECONDS worker.

Python code that asks `time` is told a shifted time; so are the timestamps of records that aiokafka makes up. What asks
the kernel by itself is not: `datetime.now` (with which our log lines are stamped: a trial can still put them in order)
and RocksDB. Durations are measured with the monotonic clock, which no wrong date moves.
"""

import runpy
import sys
import time


def shift(seconds: float) -> None:
    """Shift the wall clock of this process. Whoever has imported `time.time` by name before keeps the true one."""
    true_time, true_time_ns = time.time, time.time_ns
    time.time = lambda: true_time() + seconds
    time.time_ns = lambda: true_time_ns() + int(seconds * 1_000_000_000)


if __name__ == "__main__":
    shift(float(sys.argv.pop(1)))
    runpy.run_module("processor", run_name="__main__", alter_sys=True)
