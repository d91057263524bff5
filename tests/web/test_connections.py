"""Whoever connects and says nothing shuts nobody out: connections have an end, and there is always room for a probe."""

import asyncio
import json
import os
import resource
import sys
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from types import SimpleNamespace

import aiohttp
import pytest
from aiohttp import web

from processor.metrics import Metrics
from processor.serving import connections as module
from processor.serving.connections import connection_limit
from processor.settings import Settings
from processor.stages import STAGE_NAMES
from processor.web import live
from processor.web import server as server_module
from processor.web.server import Server
from tests.web.workers import OwnerInMemory

PATIENCE = 180
HALF_HEADS = [b"", b"G", b"GET /livez HTTP/1.1\r\nHost: localhost\r\nX: ", b"POST /x HTTP/1.1\r\nHost: localhost\r\n"]
HALF_BODY = b"POST /x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\nhalf"
HALVES = [*HALF_HEADS, HALF_BODY]


class Hanging:
    """A route that answers when it is told to."""

    def __init__(self) -> None:
        self.is_told = asyncio.Event()
        self.asked = 0

    def add_to(self, application: web.Application) -> None:
        async def hang(_: web.Request) -> web.Response:
            self.asked += 1
            await self.is_told.wait()
            return web.Response()

        async def large(_: web.Request) -> web.Response:
            return web.Response(body=b"x" * 50_000_000)

        application.router.add_get("/hang", hang)
        application.router.add_get("/large", large)
        application.router.add_post("/x", hang)


@asynccontextmanager
async def served(monkeypatch, limit=20):
    monkeypatch.setattr(server_module, "connection_limit", lambda: limit)
    hanging = Hanging()
    server = Server(Settings(http_port=0), Metrics(STAGE_NAMES), OwnerInMemory(), [hanging])
    url = await server.start()
    async with AsyncExitStack() as stack:
        stack.push_async_callback(server.stop)
        opened = []

        async def connect(said: bytes = b""):
            host, port = url.removeprefix("http://").split(":")
            reader, writer = await asyncio.open_connection(host, int(port))
            stack.callback(writer.close)
            writer.write(said)
            opened.append(reader)
            return reader

        yield SimpleNamespace(url=url, connect=connect, hanging=hanging, opened=opened, server=server)
        hanging.is_told.set()


async def get(url: str, path: str) -> int:
    timeout = aiohttp.ClientTimeout(total=PATIENCE)
    async with aiohttp.ClientSession(timeout=timeout) as session, session.get(url + path) as response:
        return response.status


async def ended(reader: asyncio.StreamReader) -> bool:
    """Wait until the server closes a connection."""
    with suppress(ConnectionError):
        await asyncio.wait_for(reader.read(), PATIENCE)
    return True


async def until(happens) -> None:
    ending = asyncio.get_running_loop().time() + PATIENCE
    while not happens():
        assert asyncio.get_running_loop().time() < ending
        await asyncio.sleep(0.01)


# After half a body aiohttp waits ten seconds for the rest.
@pytest.mark.parametrize("half", [*HALF_HEADS, pytest.param(HALF_BODY, marks=pytest.mark.slow)])
async def test_what_does_not_ask_is_closed(monkeypatch, half):
    monkeypatch.setattr(module, "REQUEST_SECONDS", 0.2)
    async with served(monkeypatch) as at:
        assert await ended(await at.connect(half))


async def test_a_request_that_drips_has_no_longer(monkeypatch):
    monkeypatch.setattr(module, "REQUEST_SECONDS", 0.5)
    async with served(monkeypatch) as at:
        host, port = at.url.removeprefix("http://").split(":")
        reader, writer = await asyncio.open_connection(host, int(port))

        async def drip() -> None:
            writer.write(b"GET /livez HTTP/1.1\r\nHost: localhost\r\nX: ")
            while not writer.is_closing():
                writer.write(b"x")
                await asyncio.sleep(0.05)

        dripping = asyncio.ensure_future(drip())
        assert await ended(reader)
        dripping.cancel()
        writer.close()


async def test_headers_take_no_more_than_so_much(monkeypatch):
    async with served(monkeypatch) as at:
        headers = b"".join(b"X-%d: %s\r\n" % (number, b"x" * 8_000) for number in range(100))
        assert await ended(await at.connect(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n" + headers))
        line = b"GET /livez?" + b"x" * 1_000_000
        assert await ended(await at.connect(line))


async def test_a_body_that_is_too_large_is_told_so(monkeypatch):
    async with served(monkeypatch) as at, aiohttp.ClientSession() as session:
        for size in (64 * 1024 + 1, 500_000):
            async with session.post(at.url + "/x", data=b"x" * size) as response:
                assert response.status == 413


async def test_what_was_answered_and_asks_no_more_is_closed(monkeypatch):
    monkeypatch.setattr(module, "IDLE_SECONDS", 0.2)
    async with served(monkeypatch) as at:
        reader = await at.connect(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert (await asyncio.wait_for(reader.readline(), PATIENCE)).startswith(b"HTTP/1.1 200")
        assert await ended(reader)


async def test_one_who_asks_again_is_answered_again(monkeypatch):
    async with served(monkeypatch) as at, aiohttp.ClientSession() as session:
        for _ in range(5):
            async with session.get(at.url + "/livez") as response:
                assert response.status == 200
        assert len(at.server._connections._all) == 1


async def test_one_that_does_not_read_its_answer_is_closed(monkeypatch):
    monkeypatch.setattr(module, "IDLE_SECONDS", 0.2)
    async with served(monkeypatch) as at:
        await at.connect(b"GET /large HTTP/1.1\r\nHost: localhost\r\n\r\n")
        await until(lambda: at.server._connections._all)
        await until(lambda: not at.server._connections._all)


@pytest.mark.parametrize("half", [HALVES[0], HALVES[2], HALVES[4]])
async def test_as_many_as_there_may_be_and_the_longest_that_waits_makes_room(monkeypatch, half):
    async with served(monkeypatch, limit=20) as at:
        for _ in range(100):
            await at.connect(half)
        for path in ("/livez", "/readyz", "/metrics"):
            assert await get(at.url, path) == 200
        assert len(at.server._connections._all) <= 20
        assert all([await ended(reader) for reader in at.opened[:75]])


async def test_when_all_are_busy_probes_are_answered_and_nothing_else(monkeypatch):
    async with served(monkeypatch, limit=20) as at:
        for number in range(20):
            await at.connect(b"GET /hang HTTP/1.1\r\nHost: localhost\r\n\r\n")
            await until(lambda number=number: at.hanging.asked > number)
        for _ in range(10):
            assert await get(at.url, "/livez") == 200
            assert await get(at.url, "/readyz") == 200
            assert await get(at.url, "/metrics") == 503
        # The reserve cannot be used up, either.
        for _ in range(50):
            await at.connect()
        assert await get(at.url, "/livez") == 200
        at.hanging.is_told.set()
        assert at.hanging.asked == 20


async def test_nothing_is_left_of_those_that_have_gone(monkeypatch):
    async with served(monkeypatch, limit=20) as at:
        for number in range(200):
            await at.connect(HALVES[number % len(HALVES)])
        for _ in range(50):
            assert await get(at.url, "/livez") == 200
        connections = at.server._connections
        await until(lambda: len(connections._all) <= 20)
        assert set(connections._waiting) == {
            each for each in connections._all.values() if each.state is not module._State.SERVED
        }


@pytest.mark.parametrize(
    ("files", "connections", "streams"),
    [(160, 40, 20), (1024, 256, 100), (65_536, 500, 100), (resource.RLIM_INFINITY, 500, 100), (16, 8, 4)],
)
def test_most_of_the_files_that_may_be_open_are_for_kafka_and_the_store(monkeypatch, files, connections, streams):
    monkeypatch.setattr(resource, "getrlimit", lambda _: (files, files))
    assert (connection_limit(), live.stream_limit()) == (connections, streams)


@pytest.mark.slow
async def test_a_worker_with_160_files_is_alive_under_400_connections_that_say_nothing(tmp_path):
    command = [sys.executable, "-m", "processor", "worker"]
    environment = {**os.environ, "DELIVERY_HTTP_PORT": "0", "DELIVERY_BROKERS": "127.0.0.1:1"}
    worker = await asyncio.create_subprocess_exec(
        *command,
        env={**environment, "DELIVERY_LOG_FORMAT": "json"},
        stderr=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.DEVNULL,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (160, 160)),
    )
    writers = []
    try:
        url = await _address(worker)
        host, port = url.removeprefix("http://").split(":")
        for number in range(400):
            _, writer = await asyncio.open_connection(host, int(port))
            writer.write(HALVES[number % len(HALVES)])
            writers.append(writer)
            if number % 20 == 0:
                assert await get(url, "/livez") == 200
        for _ in range(20):
            assert await get(url, "/livez") == 200
        assert await asyncio.to_thread(lambda: len(os.listdir(f"/proc/{worker.pid}/fd"))) < 120  # noqa: PTH208 - names will do
    finally:
        for writer in writers:
            writer.close()
        worker.terminate()
        await worker.wait()


async def _address(worker: asyncio.subprocess.Process) -> str:
    assert worker.stderr is not None
    while True:
        line = await asyncio.wait_for(worker.stderr.readline(), PATIENCE)
        assert line, "the worker has ended"
        try:
            told = json.loads(line)
        except ValueError:
            continue
        if "http://" in str(told):
            return next(value for value in told.values() if str(value).startswith("http://"))
