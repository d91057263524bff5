"""Reports are gathered once for all who ask, and a slow worker does not slow everybody's answers."""

import asyncio

import pytest

from processor.domain.fold import Verdict
from processor.domain.status import Channel
from processor.metrics import REROUTED, Metrics, provider_label
from processor.metrics.labels import ByVerdict
from processor.web import gathering
from processor.web.forwarding import Forwarding
from processor.web.gathering import Meter
from tests.web.workers import TheGroup, unsettled, workers


@pytest.fixture
async def worker():
    async with workers() as [one]:
        yield one


@pytest.fixture
def asked(monkeypatch):
    """Count how often all are asked; `asked.delay` is how long they take."""

    class Asked:
        times = 0
        delay = 0.0

    original = Forwarding.ask_all

    async def count(self, path):
        Asked.times += 1
        await asyncio.sleep(Asked.delay)
        return await original(self, path)

    monkeypatch.setattr(Forwarding, "ask_all", count)
    return Asked


async def test_many_who_ask_at_once_wait_for_one_answer(worker, asked):
    answers = await asyncio.gather(*[worker.ask("/api/v1/overview") for _ in range(10)])
    assert {status for status, _, _ in answers} == {200}
    assert asked.times == 1


async def test_while_a_worker_is_slow_the_last_answer_will_do(worker, asked, monkeypatch):
    monkeypatch.setattr(gathering, "_FRESH_SECONDS", 0.0)
    await worker.ask("/api/v1/overview")
    asked.delay = 3_600.0
    assert (await asyncio.wait_for(worker.ask("/api/v1/overview"), 60))[0] == 200


async def test_an_old_answer_will_not_do(worker, asked, monkeypatch):
    monkeypatch.setattr(gathering, "_FRESH_SECONDS", 0.0)
    monkeypatch.setattr(gathering, "_USABLE_SECONDS", 0.0)
    for _ in range(2):
        await worker.ask("/api/v1/overview")
    assert asked.times == 2


async def test_while_nobody_can_tell_who_there_is_this_worker_tells_of_itself():
    group = TheGroup()
    async with workers(2, group) as [one, _]:
        group.error = unsettled()
        status, overview, _ = await one.ask("/api/v1/overview")
        assert (status, overview["incomplete"]) == (200, [1, 3, 5])
        # And of deliveries what everybody knows; only what is stuck is counted as far as it can be.
        assert (await one.ask("/api/v1/deliveries/DM1"))[1]["messages"] == 2


def test_the_rate_is_over_the_last_moments():
    now = 100.0
    metrics = Metrics(())
    meter = Meter(metrics, lambda: now)
    assert meter.rate == 0.0
    meter.sample()
    assert meter.rate == 0.0
    for _ in range(20):
        now += 2.0
        metrics.events.labels(ByVerdict(Channel.EMAIL, provider_label("ses"), Verdict.APPLIED)).inc(100)
        metrics.events.labels(ByVerdict(Channel.EMAIL, provider_label("ses"), REROUTED)).inc(1_000)
        meter.sample()
    assert meter.rate == 50.0
    for _ in range(11):
        now += 2.0
        meter.sample()
    assert meter.rate == 0.0
