"""Measure the gateway: calls a second on one core, CPU time of a call, and how long calls wait, beside a bare handler.

    python benchmarks/gateway.py                        # everything, some minutes
    python benchmarks/gateway.py --quick                # a small run, to see that all of it works
    python benchmarks/gateway.py --provider telnyx      # another way to sign

Each server has one core for itself; this script, which calls, and Kafka have the others. CPU time of a call hardly
depends on what else the machine does, other than calls a second and waits.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import socket
import sys
import tempfile
import time
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import NamedTuple

import uvloop
from measure import Process

from processor.demo.broker import EmbeddedKafka
from processor.demo.simulate import single_report
from processor.engine.admin import create_topics
from processor.gateway import private_keys
from processor.gateway.signing import KEY_PAIRS, Once, call_with, sign
from processor.gateway.verifiers import SIGNATURES
from processor.settings import Settings
from processor.wire.topics import SMS

PUBLIC_URL = "https://hooks.example.com"
#: Calls that are signed beforehand, and sent again and again.
SIGNED = 2_000
#: Connections at the same time, when as many calls are made as are answered.
CONNECTIONS = 64


class Size(NamedTuple):
    """How long each part takes, in seconds."""

    warm: float
    run: float


FULL, QUICK = Size(3, 15), Size(1, 3)


# Calls


def signed_calls(provider: str) -> tuple[str, list[bytes]]:
    """Give what a route is to have as its secret, and calls as they go over the wire."""
    known, secret = "s3cret", "s3cret"
    if provider in KEY_PAIRS:
        secret, known = private_keys.new_elliptic() if provider == "sendgrid" else private_keys.new_ed25519()
    if provider == "resend":
        known = secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    now = datetime.now(timezone.utc)
    made = []
    for number in range(SIGNED):
        payload = single_report(provider, None, f"m-{number}", now).payload
        call = call_with(provider, f"{PUBLIC_URL}/hooks/{provider}?n={number}", payload)
        call = sign(provider, "signature", secret, call, Once(int(time.time()), f"n{number}"))
        head = [f"{call.method} {call.url.removeprefix(PUBLIC_URL)} HTTP/1.1", "Host: hooks.example.com"]
        # What most providers send besides.
        head += ["Accept: */*", "User-Agent: provider/1.0", "Accept-Encoding: gzip", "X-Request-Id: 0123456789abcdef"]
        head += [f"{name}: {value}" for name, values in call.headers.items() for value in values]
        head += [f"Content-Length: {len(call.body)}", "", ""]
        made.append("\r\n".join(head).encode() + call.body)
    return known, made


class Connection(asyncio.Protocol):
    """Calls, and tells how it was answered; the next call goes out when its owner says so."""

    def __init__(self, answered: Callable[[Connection, int], None]) -> None:
        self._answered = answered
        self._buffer = b""
        self.asked_at = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def ask(self, call: bytes, asked_at: float) -> None:
        self.asked_at = asked_at
        self._transport.write(call)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, end, rest = self._buffer.partition(b"\r\n\r\n")
        if not end:
            return
        found = head.lower().partition(b"content-length:")[2]
        length = int(found.partition(b"\r\n")[0]) if found else 0
        if len(rest) < length:
            return
        self._buffer = rest[length:]
        self._answered(self, int(head[9:12]))


@dataclass
class Load:
    """What was called, and how it was answered."""

    port: int
    calls: Sequence[bytes]
    seconds: float
    #: Calls a second; 0: as many as are answered.
    rate: float = 0
    waits: list[float] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        self._number = 0
        self._idle: deque[Connection] = deque()
        self._due: list[float] = []
        self._done = loop.create_future()
        number = CONNECTIONS if not self.rate else 4 * CONNECTIONS
        made = [
            await loop.create_connection(lambda: Connection(self._answered), "127.0.0.1", self.port)
            for _ in range(number)
        ]
        begun = time.perf_counter()
        self._end = begun + self.seconds
        if self.rate:
            # In turn, so that none is idle for so long that the server closes it.
            self._idle.extend(connection for _, connection in made)
            while time.perf_counter() < self._end:
                await asyncio.sleep(0.001)
                now = time.perf_counter()
                while self._number + len(self._due) < (now - begun) * self.rate:
                    self._due.append(begun + (self._number + len(self._due)) / self.rate)
                while self._due and self._idle:
                    self._ask(self._idle.popleft(), self._due.pop(0))
            await asyncio.sleep(1)
        else:
            for _, connection in made:
                self._ask(connection, begun)
            await self._done
        for transport, _ in made:
            transport.close()

    def _ask(self, connection: Connection, due: float) -> None:
        connection.ask(self.calls[self._number % len(self.calls)], due)
        self._number += 1

    def _answered(self, connection: Connection, status: int) -> None:
        now = time.perf_counter()
        self.waits.append(now - connection.asked_at)
        self.statuses[status] += 1
        if self.rate:
            self._idle.append(connection)
        elif now < self._end:
            self._ask(connection, now)
        elif not self._done.done():
            self._done.set_result(None)

    def wait(self, share: float) -> float:
        """Give how long calls waited at most, of a share of them, in milliseconds."""
        ordered = sorted(self.waits)
        return 1000 * ordered[min(len(ordered) - 1, int(share * len(ordered)))]


# Servers


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@asynccontextmanager
async def running(
    name: str, command: Sequence[str], environment: dict[str, str], broker_pid: int
) -> AsyncIterator[Process]:
    """Run a server on the first core; this script has the others."""
    process = Process(name, command, environment, broker_pid)
    cores = os.sched_getaffinity(0)
    if len(cores) > 1:
        os.sched_setaffinity(process.pid, {min(cores)})
        os.sched_setaffinity(0, cores - {min(cores)})
    try:
        yield process
    finally:
        os.sched_setaffinity(0, cores)
        await process.stop()


async def until_it_serves(process: Process, port: int) -> None:
    while True:
        process.check()
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            await asyncio.sleep(0.1)
        else:
            writer.close()
            return


class Result(NamedTuple):
    name: str
    load: Load
    cpu_seconds: float

    def row(self) -> str:
        number = len(self.load.waits)
        told = ", ".join(f"{status}: {count}" for status, count in sorted(self.load.statuses.items()))
        return (
            f"| {self.name} | {number / self.load.seconds:,.0f} | {1e6 * self.cpu_seconds / number:.0f} "
            f"| {number / self.cpu_seconds:,.0f} | {self.load.wait(0.5):.1f} | {self.load.wait(0.99):.1f} | {told} |"
        )


HEAD = """\
| server, and what is asked of it | calls/s | CPU µs a call | calls a CPU second | p50 ms | p99 ms | answers |
| --- | --- | --- | --- | --- | --- | --- |"""


class Bench:
    """One Kafka, the gateway, and the bare handler."""

    def __init__(self, kafka: EmbeddedKafka, provider: str, size: Size, folder: Path) -> None:
        self.kafka, self.provider, self.size, self.folder = kafka, provider, size, folder
        self.secret, self.calls = signed_calls(provider)
        self.settings = Settings(brokers=kafka.bootstrap_servers, topic_prefix="benchmark.")
        self.port = free_port()
        self.gateway_file = folder / "gateway.toml"

    def write_file(self, spool: str) -> None:
        self.gateway_file.write_text(
            f'listen = "127.0.0.1:{self.port}"\nadmin = "127.0.0.1:0"\npublic_url = "{PUBLIC_URL}"\n'
            f'spool = "{spool}"\n[[routes]]\nprovider = "{self.provider}"\nsecrets = ["value:{self.secret}"]\n',
            encoding="utf-8",
        )

    def gateway(self) -> tuple[list[str], dict[str, str]]:
        command = [sys.executable, "-m", "processor", "gateway", "--config", str(self.gateway_file)]
        environment = {"DELIVERY_BROKERS": self.settings.brokers, "DELIVERY_TOPIC_PREFIX": self.settings.topic_prefix}
        return command, environment

    def bare(self) -> tuple[list[str], dict[str, str]]:
        script = Path(__file__).with_name("peers") / "bare_webhooks.py"
        topic = self.settings.topic(SMS)
        return [sys.executable, str(script), str(self.port), self.settings.brokers, topic], {}

    async def side_by_side(self) -> None:
        for name, (command, environment) in {"bare handler": self.bare(), "gateway": self.gateway()}.items():
            self.write_file("spool.sqlite")
            async with running(name, command, environment, self.kafka.pid) as process:
                await until_it_serves(process, self.port)
                # Both connect to Kafka first.
                await asyncio.sleep(2)
                await self.report(f"{name}, as many as it answers", process, 0)
                await self.report(f"{name}, 1000 a second", process, 1_000)

    async def to_disk(self) -> None:
        command, environment = self.gateway()
        self.write_file("away.sqlite")
        self.kafka.kill()
        async with running("gateway", command, environment, os.getpid()) as process:
            await until_it_serves(process, self.port)
            await self.report("gateway without Kafka, 1000 a second", process, 1_000)
            await self.report("gateway without Kafka, as many as it answers", process, 0)

    async def report(self, name: str, process: Process, rate: float) -> None:
        await Load(self.port, self.calls, self.size.warm, rate).run()
        before = process.cpu_seconds()
        load = Load(self.port, self.calls, self.size.run, rate)
        await load.run()
        process.check()
        print(Result(name, load, process.cpu_seconds() - before).row(), flush=True)


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--provider", choices=sorted(SIGNATURES), default="twilio")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, EmbeddedKafka() as kafka:
        bench = Bench(kafka, options.provider, QUICK if options.quick else FULL, Path(folder))
        await create_topics(bench.settings)
        print(f"{options.provider}, bodies and heads of {sum(map(len, bench.calls)) // SIGNED} bytes\n\n{HEAD}")
        await bench.side_by_side()
        await bench.to_disk()


if __name__ == "__main__":
    uvloop.run(main())
