"""One output of /metrics serves all who ask close together."""

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from prometheus_client import CollectorRegistry
from prometheus_client.core import GaugeMetricFamily

from processor.serving.scrape import Scrape


class Costly:
    """Metrics that take a second to collect, by a clock that nothing else moves."""

    def __init__(self):
        self.now, self.collected = 100.0, 0

    def collect(self):
        self.now += 1.0
        self.collected += 1
        yield GaugeMetricFamily("delivery_collected", "How often.", self.collected)


@pytest.fixture
def costly():
    return Costly()


@pytest.fixture
async def client(costly):
    registry = CollectorRegistry()
    registry.register(costly)
    costly.now, costly.collected = 100.0, 0
    application = web.Application()
    application.router.add_get("/metrics", Scrape(registry, lambda: costly.now).answer)
    async with TestClient(TestServer(application)) as client:
        yield client


async def scraped(client, **headers):
    async with client.get("/metrics", headers=headers) as response:
        assert response.status == 200
        return response, await response.text()


async def test_many_who_ask_at_once_cost_one_output(client, costly):
    answers = {(await scraped(client))[1] for _ in range(50)}
    assert len(answers) == costly.collected == 1


async def test_an_output_is_used_for_four_times_what_it_cost(client, costly):
    await scraped(client)
    costly.now += 3.9
    await scraped(client)
    assert costly.collected == 1
    costly.now += 0.2
    _, text = await scraped(client)
    assert "delivery_collected 2.0" in text


async def test_each_format_is_what_was_asked_for(client):
    plain, _ = await scraped(client)
    assert plain.headers["Content-Type"].startswith("text/plain")
    openmetrics, text = await scraped(client, Accept="application/openmetrics-text; version=1.0.0")
    assert openmetrics.headers["Content-Type"].startswith("application/openmetrics-text")
    assert text.endswith("# EOF\n")


async def test_a_packed_output_is_packed_once(client, costly):
    for _ in range(2):
        async with client.get("/metrics", headers={"Accept-Encoding": "gzip"}) as response:
            assert response.headers["Content-Encoding"] == "gzip"
            assert "delivery_collected 1.0" in await response.text()
    assert costly.collected == 1
