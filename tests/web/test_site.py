"""What one worker serves, put together."""

from dataclasses import replace

import aiohttp
import pytest

from processor.metrics import Metrics
from processor.settings import Settings
from processor.stages import STAGE_NAMES
from processor.views.deliveries import Deliveries
from processor.watch.board import Board
from processor.web.server import Server, advertised_url
from processor.web.site import Site
from tests.web.workers import OwnerInMemory


async def test_it_is_served_before_any_broker_answers_and_stops_at_once():
    settings = Settings(http_port=0, brokers="127.0.0.1:1")
    metrics = Metrics(STAGE_NAMES)
    owner = OwnerInMemory(partition_counts={})
    site = Site(settings, metrics, owner, Board(metrics), Deliveries(10, 0))
    server = Server(settings, metrics, owner, [site])
    owner.url = await server.start()
    try:
        async with aiohttp.ClientSession() as session:
            for path, status in (
                ("/livez", 200),
                ("/api/openapi.json", 200),
                ("/api/v1/messages/m-1", 503),
                ("/", 503),
            ):
                async with session.get(owner.url + path) as response:
                    assert (path, response.status) == (path, status)
                    assert response.headers["X-Content-Type-Options"] == "nosniff"
            async with session.get(owner.url + "/api/v1/deliveries") as response:
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
