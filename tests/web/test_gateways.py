"""Asking the gateways: what they report, and that no answer of theirs, or none, costs more than a moment."""

import asyncio
import itertools
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import msgspec
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from processor.views.gateways import GatewayReport, RouteReport
from processor.web import gateways as module
from processor.web.gateways import REPORT_PATH, Gateways

REPORT = GatewayReport((RouteReport("/hooks/twilio", "twilio", "", taken=3),), waiting=1, oldest=1)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


async def well(_: web.Request) -> web.Response:
    return web.Response(body=msgspec.json.encode(REPORT), content_type="application/json")


@asynccontextmanager
async def serving(handler: Handler) -> AsyncIterator[str]:
    application = web.Application()
    application.router.add_get(REPORT_PATH, handler)
    server = TestServer(application)
    # Some handlers never answer.
    await server.start_server(shutdown_timeout=0.1)
    try:
        yield f"http://127.0.0.1:{server.port}"
    finally:
        await server.close()


@asynccontextmanager
async def asking(*urls: str) -> AsyncIterator[Gateways]:
    # What was told is never fresh, nor usable while another answer is waited for.
    gateways = Gateways(urls, clock=itertools.count(0, 100).__next__)
    yield gateways
    await gateways.close()


async def test_every_gateway_is_asked():
    async with serving(well) as one, serving(well) as other, asking(one, other) as gateways:
        assert await gateways.reports() == {one: REPORT, other: REPORT}


async def test_without_gateways_nobody_is_asked():
    async with asking() as gateways:
        assert await gateways.reports() == {}


async def test_a_gateway_that_is_not_there_does_not_answer():
    async with serving(well) as one, asking(one, "http://127.0.0.1:1", "http://gateway.invalid:8082") as gateways:
        assert await gateways.reports() == {
            one: REPORT,
            "http://127.0.0.1:1": None,
            "http://gateway.invalid:8082": None,
        }


async def wrong(_: web.Request) -> web.Response:
    return web.Response(body=b'{"routes": 1}')


async def nested(_: web.Request) -> web.Response:
    return web.Response(body=b"[" * 100_000)


async def failing(_: web.Request) -> web.Response:
    return web.Response(status=500, body=msgspec.json.encode(REPORT))


async def elsewhere(_: web.Request) -> web.Response:
    raise web.HTTPFound("/somewhere")


async def endless(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    try:
        while True:
            await response.write(b" " * 100_000)
    except ConnectionError:
        return response


async def compressed(_: web.Request) -> web.Response:
    return web.Response(body=b"\x1f\x8b", headers={"Content-Encoding": "gzip"})


async def hanging(_: web.Request) -> web.Response:
    await asyncio.Event().wait()
    raise AssertionError


@pytest.mark.parametrize("handler", [wrong, nested, failing, elsewhere, endless, compressed])
async def test_an_answer_that_is_none_is_none(handler):
    async with serving(handler) as url, asking(url) as gateways:
        assert await gateways.reports() == {url: None}


async def test_one_that_does_not_answer_in_time_is_none(monkeypatch):
    monkeypatch.setattr(module, "_PATIENCE_SECONDS", 0.2)
    async with serving(hanging) as url, asking(url) as gateways:
        assert await gateways.reports() == {url: None}


async def test_a_gateway_that_comes_back_is_heard():
    told = [failing, well]

    async def handler(request: web.Request) -> web.Response:
        return await told.pop(0)(request)

    async with serving(handler) as url, asking(url) as gateways:
        assert await gateways.reports() == {url: None}
        assert await gateways.reports() == {url: REPORT}


async def test_those_who_ask_at_once_share_an_answer():
    asked = 0

    async def counting(request: web.Request) -> web.Response:
        nonlocal asked
        asked += 1
        return await well(request)

    async with serving(counting) as url, asking(url) as gateways:
        told = await asyncio.gather(*(gateways.reports() for _ in range(10)))
        assert told == [{url: REPORT}] * 10
        assert asked == 1


async def test_one_who_leaves_does_not_end_the_question_for_the_others():
    async with serving(well) as url, asking(url) as gateways:
        leaving = asyncio.ensure_future(gateways.reports())
        staying = asyncio.ensure_future(gateways.reports())
        await asyncio.sleep(0)
        leaving.cancel()
        assert await staying == {url: REPORT}


async def test_while_a_gateway_is_slow_what_it_said_last_is_given():
    answers: list[Handler] = [well, hanging]

    async def handler(request: web.Request) -> web.StreamResponse:
        return await answers.pop(0)(request)

    seconds = iter([0.0, 0.0, 5.0, 5.0])
    async with serving(handler) as url:
        gateways = Gateways((url,), clock=lambda: next(seconds, 5.0))
        assert await gateways.reports() == {url: REPORT}
        assert await gateways.reports() == {url: REPORT}
        await gateways.close()


async def test_a_name_with_several_addresses_is_several_gateways(monkeypatch):
    async with serving(well) as url:
        port = int(url.rpartition(":")[2])
        found = [
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port)),
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.2", port)),
            (socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("::1", port, 0, 0)),
        ]

        async def resolve(*_, **__):
            return found

        monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", resolve, raising=False)
        async with asking(f"http://gateway:{port}") as gateways:
            reports = await gateways.reports()
        assert reports == {f"http://127.0.0.1:{port}": REPORT, f"http://127.0.0.2:{port}": None}
