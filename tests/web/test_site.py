"""What one worker serves, put together: the page gets its answers in its own terms."""

from dataclasses import replace

import aiohttp
import pytest

from processor.metrics import Metrics
from processor.settings import Settings
from processor.stages import STAGE_NAMES
from processor.views.deliveries import Deliveries
from processor.watch.board import Board
from processor.web.access import Caller
from processor.web.page.routes import NotFoundError
from processor.web.problems import ProblemError
from processor.web.server import Server, advertised_url
from processor.web.site import PageSource, Site
from tests.web.workers import Host, workers

READER, WRITER = Caller(may_read=True, may_write=False), Caller(may_read=True, may_write=True)


@pytest.fixture
async def made():
    async with workers() as [worker]:
        yield worker, PageSource(worker.answers, worker.forwarding)


class TestPageSource:
    async def test_a_message_is_masked_unless_the_caller_may_see_it(self, made):
        _, source = made
        assert (await source.message("m-1", READER)).recipient == "u***@example.com"
        assert (await source.message("m-1", WRITER)).recipient == "ulla.b@example.com"

    async def test_what_is_not_known(self, made):
        _, source = made
        with pytest.raises(NotFoundError):
            await source.message("nobody", READER)
        with pytest.raises(NotFoundError):
            await source.delivery("nothing")
        with pytest.raises(NotFoundError):
            await source.cancel("nothing")

    async def test_what_cannot_be_told_now_stays_a_problem(self, made):
        worker, source = made
        worker.following.is_caught_up = False
        for question in (source.delivery("DM1"), source.deliveries({}), source.overview()):
            with pytest.raises(ProblemError) as problem:
                await question
            assert problem.value.kind.status == 503

    async def test_filters_are_those_of_the_api(self, made):
        _, source = made
        found = await source.deliveries({"pending": "scheduled", "limit": "25"})
        assert [item.delivery_id for item in found.items] == ["DM3"]
        with pytest.raises(ProblemError):
            await source.deliveries({"colour": "red"})

    async def test_a_cancel_is_published(self, made):
        worker, source = made
        await source.cancel("DM1")
        assert [record.key for record in worker.published] == [b"DM1"]


async def test_it_is_served_before_any_broker_answers_and_stops_at_once():
    settings = Settings(http_port=0, brokers="127.0.0.1:1")
    metrics = Metrics(STAGE_NAMES)
    host = Host(partition_counts={})
    site = Site(settings, metrics, host, Board(metrics), Deliveries(10, 0))
    server = Server(settings, metrics, host, [site])
    host.url = await server.start()
    try:
        async with aiohttp.ClientSession() as session:
            for path, status in (
                ("/livez", 200),
                ("/api/openapi.json", 200),
                ("/api/v1/messages/m-1", 503),
                ("/", 503),
            ):
                async with session.get(host.url + path) as response:
                    assert (path, response.status) == (path, status)
                    assert response.headers["X-Content-Type-Options"] == "nosniff"
            async with session.get(host.url + "/api/v1/deliveries") as response:
                assert (await response.json())["type"].endswith(":starting")
    finally:
        await server.stop()


@pytest.mark.parametrize(
    ("settings", "address", "url"),
    [
        ({}, "http://127.0.0.1:8080", "http://127.0.0.1:8080"),
        ({}, "http://[::1]:8080", "http://[::1]:8080"),
        ({}, "http://10.0.0.5:8080", "http://10.0.0.5:8080"),
        ({}, "http://0.0.0.0:8080", "http://worker-0:8080"),
        ({}, "http://[::]:8080", "http://worker-0:8080"),
        ({"advertised_url": "https://w0.example.com"}, "http://0.0.0.0:8080", "https://w0.example.com"),
    ],
)
def test_where_the_others_reach_it(monkeypatch, settings, address, url):
    monkeypatch.setattr("processor.web.server.socket.gethostname", lambda: "worker-0")
    assert advertised_url(replace(Settings(), **settings), address) == url
