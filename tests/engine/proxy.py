"""A TCP proxy before a broker that knows where a request begins and ends, and does to each what a test says."""

import asyncio
import random
import struct
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from enum import IntEnum


class Api(IntEnum):
    """The requests that tests speak of, by their keys in Kafka's protocol."""

    PRODUCE = 0
    METADATA = 3
    FIND_COORDINATOR = 10
    JOIN_GROUP = 11
    HEARTBEAT = 12
    SYNC_GROUP = 14
    API_VERSIONS = 18
    INIT_PRODUCER_ID = 22
    ADD_PARTITIONS_TO_TXN = 24
    ADD_OFFSETS_TO_TXN = 25
    END_TXN = 26
    TXN_OFFSET_COMMIT = 28


@dataclass(frozen=True)
class Request:
    """One request as a client sent it, without its length."""

    api: int
    version: int
    correlation: int
    frame: bytes


class Fate:
    """What becomes of a request; this one: it passes, and so does its answer."""


@dataclass
class Delayed(Fate):
    """It and what its connection sends after it reach the broker later."""

    seconds: float


class CutBefore(Fate):
    """Its connection ends, and the broker never sees it."""


class CutAfter(Fate):
    """The broker does what it asks for; then its connection ends, and the answer is lost."""


@dataclass
class Repeated(Fate):
    """It passes; the broker sees it once more, later, on another connection."""

    seconds: float


@dataclass
class Late(Fate):
    """Its connection ends; the broker sees it when the test, or the time, has come."""

    seconds: float | None = None
    _arrived: "asyncio.Future[bytes]" = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    _due: asyncio.Event = field(default_factory=asyncio.Event)

    async def arrives(self) -> bytes:
        """Let the broker see it now; give its answer, without its length."""
        self._due.set()
        return await self._arrived


@dataclass
class Answered(Fate):
    """The broker never sees it, and this is the answer, without its header."""

    body: bytes


PASSES = Fate()


class Proxy:
    """Give clients an address of the broker at which each request meets its fate.

    Args:
        broker: `host:port` of the only broker; all its clients come through the proxy, whatever it tells of itself.
        newest: the highest version of a request that clients are told of: the broker looks older than it is.
    """

    def __init__(self, broker: str, newest: Mapping[int, int] | None = None) -> None:
        host, port = broker.rsplit(":", 1)
        self._broker = host, int(port)
        self._newest = newest or {}
        #: Judges each request.
        self.fate_of: Callable[[Request], Fate] = lambda _request: PASSES
        self.seen: list[Request] = []
        self._tasks: set[asyncio.Future[None]] = set()
        self._writers: list[asyncio.StreamWriter] = []

    async def __aenter__(self) -> "Proxy":  # noqa: PYI034 - Self is not in Python 3.10
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self._own = self._server.sockets[0].getsockname()[:2]
        self.address = f"{self._own[0]}:{self._own[1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        for writer in self._writers:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()

    def count(self, api: Api) -> int:
        """Say how many requests of a kind have come."""
        return sum(request.api == api for request in self.seen)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.append(writer)
        connection = _Connection(self, reader, writer)
        self._keep(asyncio.ensure_future(connection.run(*await self._connect())))

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection(*self._broker)
        self._writers.append(writer)
        return reader, writer

    def _keep(self, task: "asyncio.Future[None]") -> None:
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def send_later(self, request: Request, fate: Late) -> None:
        """Give the broker a request whose connection is gone, when its time has come."""
        self._keep(asyncio.ensure_future(self._send_later(request, fate)))

    async def _send_later(self, request: Request, fate: Late) -> None:
        with suppress(asyncio.TimeoutError):
            await asyncio.wait_for(fate._due.wait(), fate.seconds)
        reader, writer = await self._connect()
        try:
            _write(writer, request.frame)
            fate._arrived.set_result(await _read(reader))
        finally:
            writer.close()

    def rewritten(self, request: Request, answer: bytes) -> bytes:
        """Give an answer in which the broker has our address, and is as old as it shall look."""
        if request.api in {Api.METADATA, Api.FIND_COORDINATOR}:
            (host, port), (own_host, own_port) = self._broker, self._own
            assert len(host) == len(own_host)
            return answer.replace(_address(host, port), _address(own_host, own_port))
        if request.api == Api.API_VERSIONS and request.version == 0:
            versions = bytearray(answer)
            for at in range(10, len(versions), 6):
                api, _, newest = struct.unpack_from(">hhh", versions, at)
                struct.pack_into(">h", versions, at + 4, min(newest, self._newest.get(api, newest)))
            return bytes(versions)
        return answer


class _Connection:
    """One client's connection, and the one to the broker that it has for itself."""

    def __init__(self, proxy: Proxy, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._proxy = proxy
        self._reader, self._writer = reader, writer
        #: Requests that the broker has not answered, each with whether its answer is to be lost.
        self._open: deque[tuple[Request, bool]] = deque()

    async def run(self, broker_reader: asyncio.StreamReader, broker_writer: asyncio.StreamWriter) -> None:
        ways = {
            asyncio.ensure_future(self._requests(broker_writer)),
            asyncio.ensure_future(self._answers(broker_reader)),
        }
        try:
            # Either way's end is the connection's.
            done, _ = await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            for way in done:
                with suppress(OSError, EOFError):
                    way.result()
        finally:
            for way in ways:
                way.cancel()
            await asyncio.wait(ways)
            self._writer.close()
            broker_writer.close()

    async def _requests(self, broker: asyncio.StreamWriter) -> None:
        while True:
            frame = await _read(self._reader)
            request = Request(*struct.unpack_from(">hhi", frame), frame)
            self._proxy.seen.append(request)
            fate = self._proxy.fate_of(request)
            if isinstance(fate, CutBefore):
                return
            if isinstance(fate, Late):
                self._proxy.send_later(request, fate)
                return
            if isinstance(fate, Answered):
                await self._all_answered()
                _write(self._writer, struct.pack(">i", request.correlation) + fate.body)
                continue
            if isinstance(fate, Delayed):
                await asyncio.sleep(fate.seconds)
            if isinstance(fate, Repeated):
                self._proxy.send_later(request, Late(fate.seconds))
            self._open.append((request, isinstance(fate, CutAfter)))
            _write(broker, frame)

    async def _all_answered(self) -> None:
        while self._open:  # noqa: ASYNC110 - a look now and then is enough for a test
            await asyncio.sleep(0.001)

    async def _answers(self, broker: asyncio.StreamReader) -> None:
        while True:
            answer = await _read(broker)
            request, is_lost = self._open.popleft()
            if is_lost:
                return
            _write(self._writer, self._proxy.rewritten(request, answer))


def at_random(seed: int, apis: set[Api], share: float, *, repeats: bool = True) -> Callable[[Request], Fate]:
    """Give a judge that mistreats a share of the requests of some kinds, the same way for the same seed.

    Without `repeats`, the broker sees a request twice only when the client knows that it got no answer.
    """
    chance = random.Random(seed)
    lost: list[Callable[[], Fate]] = [CutBefore, CutAfter]
    late: list[Callable[[], Fate]] = [lambda: Late(chance.uniform(0, 1)), lambda: Delayed(chance.uniform(0, 0.3))]
    twice: list[Callable[[], Fate]] = [lambda: Repeated(chance.uniform(0, 1))] if repeats else []

    def fate_of(request: Request) -> Fate:
        if request.api not in apis or chance.random() > share:
            return PASSES
        # The producer that asks late for an epoch fences the one that has it: whose worker ends, as it should.
        fates = lost if request.api == Api.INIT_PRODUCER_ID else lost + late + twice
        return chance.choice(fates)()

    return fate_of


def _address(host: str, port: int) -> bytes:
    return host.encode() + struct.pack(">i", port)


async def _read(reader: asyncio.StreamReader) -> bytes:
    (length,) = struct.unpack(">i", await reader.readexactly(4))
    return await reader.readexactly(length)


def _write(writer: asyncio.StreamWriter, frame: bytes) -> None:
    writer.write(struct.pack(">i", len(frame)) + frame)
