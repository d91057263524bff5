"""What is measured of a process from outside: CPU seconds, resident memory, the offsets that its group committed."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
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


class PeerError(Exception):
    """A process ended, or did nothing, while it was measured."""


class Sample(NamedTuple):
    """Where a process was at one moment."""

    seconds: float
    events: int
    cpu_seconds: float
    rss_mib: float
    #: CPU seconds of all that is neither the process, nor its broker, nor this script.
    others_cpu_seconds: float


class Process:
    """A process that is measured; what it says goes to a file, whose end is shown when it fails."""

    def __init__(self, name: str, command: Sequence[str], environment: Mapping[str, str], broker_pid: int) -> None:
        self.name = name
        self._broker_pid = broker_pid
        self.started = time.monotonic()
        self._output = tempfile.TemporaryFile()  # noqa: SIM115 - closed by `stop`
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

    def sample(self, events: int) -> Sample:
        """Return where the process is now."""
        cpu = self.cpu_seconds()
        others = _machine_cpu_seconds() - cpu - _cpu_seconds(self._broker_pid) - time.process_time()
        return Sample(time.monotonic(), events, cpu, self.rss_mib(), others)

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
            # The group's coordinator is not there yet.
            return 0
        return sum(max(0, found.offset) for found in offsets.values())


async def watch(process: Process, group: Group, events: int, limit: float, patience: float = 60.0) -> list[Sample]:
    """Sample a process from its first commit until it has committed all events, or for `limit` seconds."""
    samples: list[Sample] = []
    while True:
        process.check()
        done = await group.committed()
        now = time.monotonic()
        if done and (not samples or done > samples[-1].events):
            samples.append(process.sample(done))
        if not samples and now - process.started > patience:
            raise PeerError(f"{process.name} committed nothing in {patience:.0f} s:\n{process.tail()}")
        if samples and (done >= events or now - samples[0].seconds > limit):
            return samples
        await asyncio.sleep(_SAMPLE_SECONDS)


def rates(samples: Sequence[Sample]) -> tuple[int | None, int | None]:
    """Return events a second and events a CPU-second between the first and the last sample, where there are two."""
    if len(samples) < 2:
        return None, None
    first, last = samples[0], samples[-1]
    events = last.events - first.events
    seconds, cpu = last.seconds - first.seconds, last.cpu_seconds - first.cpu_seconds
    return round(events / seconds), round(events / cpu) if cpu else None


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
