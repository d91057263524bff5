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


@pytest.mark.parametrize("shadow_of", ["", "live."])
async def test_a_shadow_says_that_it_is_one_takes_no_writes_and_exports_nothing_under_live_names(shadow_of):
    token = "w" * 16
    settings = Settings(http_port=0, brokers="127.0.0.1:1", topic_prefix="new.", shadow_of=shadow_of, write_token=token)
    metrics = Metrics(STAGE_NAMES)
    site = Site(settings, metrics, OwnerInMemory(partition_counts={}), Board(metrics), Deliveries(10, 0))
    server = Server(settings, metrics, OwnerInMemory(partition_counts={}), [site])
    address, headers = await server.start(), {"Authorization": f"Bearer {token}"}
    try:
        async with aiohttp.ClientSession() as session:
            async with session.get(f"{address}/statuses", headers=headers) as response:
                assert ("from what is published to live.*" in await response.text()) is bool(shadow_of)
            async with session.get(f"{address}/metrics") as response:
                page = await response.text()
                assert ("delivery_shadow_messages{" in page) is bool(shadow_of)
                assert ("\ndelivery_messages{" in page) is not bool(shadow_of)
            async with session.post(f"{address}/api/v1/deliveries/DM1/cancel", headers=headers) as response:
                assert ("this is a shadow of live.*" in await response.text()) is bool(shadow_of)
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
