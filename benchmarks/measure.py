"""What is measured of a process from outside: CPU seconds, resident memory, the offsets that its group committed."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import tempfile
import time
from bisect import bisect_left
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from aiokafka import TopicPartition

from processor.engine import clients
from processor.settings import Settings

_SAMPLE_SECONDS = 0.05
_STOP_SECONDS = 20


def _cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _machine_cpu_seconds() -> float:
    """Return the seconds that all cores were busy, or taken by other guests of the same host."""
    user, nice, system, _idle, _waiting, *interrupts_and_steal = map(int, _first_line("/proc/stat").split()[1:9])
    return (user + nice + system + sum(interrupts_and_steal)) / os.sysconf("SC_CLK_TCK")


def _first_line(path: str) -> str:
    with Path(path).open(encoding="ascii") as lines:
        return lines.readline()


@contextmanager
def on_cores(cores: Collection[int] | None) -> Iterator[None]:
    """Let what is started meanwhile have these cores only; None: what this script has."""
    mine = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores or mine)
    try:
        yield
    finally:
        os.sched_setaffinity(0, mine)


def move(pid: int, cores: Collection[int]) -> None:
    """Let a process that runs have these cores only: all its threads, and those that they will start."""
    for thread in Path(f"/proc/{pid}/task").iterdir():
        # It may have ended meanwhile.
        with suppress(ProcessLookupError):
            os.sched_setaffinity(int(thread.name), cores)


class PeerError(Exception):
    """A process ended, or did nothing, while it was measured."""


class Sample(NamedTuple):
    """Where a process was at one moment."""

    seconds: float
    events: int
    cpu_seconds: float
    rss_mib: float
    broker_cpu_seconds: float
    #: CPU seconds of all that is neither the process, nor its broker, nor this script and its load.
    others_cpu_seconds: float


class Process:
    """A process that is measured; what it says goes to a file, whose end is shown when it fails."""

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        environment: Mapping[str, str],
        broker_pid: int,
        cores: Collection[int] | None = None,
    ) -> None:
        self.name = name
        self._broker_pid = broker_pid
        self.started = time.monotonic()
        self._output = tempfile.TemporaryFile()  # noqa: SIM115 - closed by `stop`
        with on_cores(cores):
            self._process = subprocess.Popen(
                command, env={**os.environ, **environment}, stdout=self._output, stderr=subprocess.STDOUT
            )
        self.pid = self._process.pid

    def check(self) -> None:
        """Raise when the process has ended."""
        if self._process.poll() is not None:
            raise PeerError(f"{self.name} ended with {self._process.returncode}:\n{self.tail()}")

    def tail(self) -> str:
        """Return the end of what the process said."""
        self._output.seek(0)
        return self._output.read().decode(errors="replace")[-2_000:]

    def cpu_seconds(self) -> float:
        """Return the CPU time of all threads so far."""
        return _cpu_seconds(self.pid)

    def sample(self, events: int, load_cpu_seconds: float = 0.0) -> Sample:
        """Return where the process is now."""
        cpu, broker = self.cpu_seconds(), _cpu_seconds(self._broker_pid)
        others = _machine_cpu_seconds() - cpu - broker - time.process_time() - load_cpu_seconds
        return Sample(time.monotonic(), events, cpu, self.rss_mib(), broker, others)

    def rss_mib(self) -> float:
        """Return the resident memory of now."""
        return self._status("VmRSS")

    def peak_rss_mib(self) -> float:
        """Return the most resident memory so far."""
        return self._status("VmHWM")

    def _status(self, field: str) -> float:
        lines = Path(f"/proc/{self.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith(field)) / 1024

    async def stop(self) -> None:
        """Ask the process to end; end it when it does not."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
        try:
            await asyncio.to_thread(self._process.wait, _STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._output.close()


class Group:
    """The committed offsets of a consumer group on one topic."""

    def __init__(self, settings: Settings, group: str, topic: str) -> None:
        self._admin = clients.admin(settings)
        self._group = group
        self._known = 0
        self._tps = [TopicPartition(topic, number) for number in range(settings.partitions)]

    async def __aenter__(self) -> Group:  # noqa: PYI034 - Self is not in Python 3.10
        await self._admin.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._admin.close()

    async def committed(self) -> int:
        """Return how many records the group has committed."""
        try:
            offsets = await self._admin.list_consumer_group_offsets(self._group, partitions=self._tps)
        except clients.KafkaError:
            # The group's coordinator is not there yet, or does not answer.
            return self._known
        self._known = sum(max(0, found.offset) for found in offsets.values())
        return self._known


#: A contender that commits nothing for so long is given up; on a busy machine it may take minutes to start.
_PATIENCE_SECONDS = 300


async def watch(process: Process, group: Group, events: int, limit: float) -> list[Sample]:
    """Sample a process from its first commit until it has committed all events, or for `limit` seconds."""
    samples: list[Sample] = []
    while True:
        process.check()
        done = await group.committed()
        now = time.monotonic()
        if done and (not samples or done > samples[-1].events):
            samples.append(process.sample(done))
        if samples and (done >= events or now - samples[0].seconds > limit):
            return samples
        if now - (samples[-1].seconds if samples else process.started) > _PATIENCE_SECONDS:
            raise PeerError(f"{process.name} committed nothing in {_PATIENCE_SECONDS} s:\n{process.tail()}")
        await asyncio.sleep(_SAMPLE_SECONDS)


def costs(samples: Sequence[Sample]) -> dict[str, float]:
    """Return speed and CPU time of an event between the first and the last sample, the broker's beside the process's.

    Raises:
        PeerError: there are no two samples apart from each other.
    """
    if len(samples) < 2 or samples[-1].events == samples[0].events:
        raise PeerError("committed once only: nothing can be told of its speed")
    first, last = samples[0], samples[-1]
    events = last.events - first.events
    # Clocks of CPU time tick every 10 ms.
    own = max(last.cpu_seconds - first.cpu_seconds, 0.01)
    broker = last.broker_cpu_seconds - first.broker_cpu_seconds
    return {
        "events_per_second": round(events / (last.seconds - first.seconds)),
        "events_per_cpu_second": round(events / own),
        "events_per_system_cpu_second": round(events / (own + broker)),
        "contender_us": round(own / events * 1e6, 1),
        "broker_us": round(broker / events * 1e6, 1),
    }


def windows(samples: Sequence[Sample], step: int) -> list[int]:
    """Return the events a second of each `step` events, from the first sample on."""
    rates, begun = [], samples[0].seconds
    for events in range(samples[0].events + step, samples[-1].events + 1, step):
        ended = _moment_of(samples, events)
        rates.append(round(step / max(ended - begun, 0.001)))
        begun = ended
    return rates


def _moment_of(samples: Sequence[Sample], events: int) -> float:
    """Return when so many events were committed, at an even pace between two commits."""
    after = bisect_left(samples, events, key=lambda sample: sample.events)
    if after == 0:
        return samples[0].seconds
    one, other = samples[after - 1], samples[after]
    return one.seconds + (other.seconds - one.seconds) * (events - one.events) / (other.events - one.events)


def others_share(samples: Sequence[Sample]) -> float:
    """Return which share of the machine's cores others had between the first and the last sample."""
    first, last = samples[0], samples[-1]
    seconds = (last.seconds - first.seconds) * (os.cpu_count() or 1)
    return (last.others_cpu_seconds - first.others_cpu_seconds) / seconds if seconds else 0.0


def between(samples: Sequence[Sample], low: float, high: float) -> list[Sample]:
    """Return the samples with that many events committed."""
    return [sample for sample in samples if low <= sample.events <= high]


def percentile(ordered: Sequence[float], share: float) -> float:
    """Return the value below which that share of the ordered values lies."""
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]
