"""Metrics and health: there from the first moment, honest about readiness, and independent of the broker."""

import asyncio
import socket
from collections.abc import AsyncIterator
from dataclasses import replace

import aiohttp
import pytest
from prometheus_client.parser import text_string_to_metric_families

from processor.engine.worker import Worker
from processor.metrics import Metrics
from processor.settings import Settings
from processor.stages import STAGE_NAMES, stages
from processor.web import server as server_module
from processor.web.server import Server
from tests.engine.harness import settings_for_a_trial

SETTINGS = Settings(http_port=0)


class Health:
    """A worker's answers."""

    def __init__(self) -> None:
        self.is_ready = False
        self.ailment = ""
        self.problems = ()
        self.recovery_progress = 0.0
        self.counts = {"recovering": 3, "running": 1, "closing": 0}

    def states(self) -> dict[str, int]:
        return self.counts


class Page:
    """What one address answers."""

    def __init__(self, session: aiohttp.ClientSession, address: str) -> None:
        self._session, self.address = session, address

    async def get(self, path: str) -> tuple[int, dict]:
        async with self._session.get(self.address + path) as response:
            assert response.content_type == "application/json"
            assert response.headers["Cache-Control"] == "no-store"
            return response.status, await response.json()

    async def samples(self) -> dict[tuple, float]:
        async with self._session.get(self.address + "/metrics") as response:
            assert response.status == 200
            text = await response.text()
        return {
            (sample.name, *sorted(sample.labels.items())): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }


@pytest.fixture
def health() -> Health:
    return Health()


@pytest.fixture
async def page(health) -> AsyncIterator[Page]:
    server = Server(SETTINGS, Metrics(STAGE_NAMES), health)
    address = await server.start()
    async with aiohttp.ClientSession() as session:
        yield Page(session, address)
    await server.stop()


async def test_it_binds_to_this_machine_only_unless_told(page):
    assert page.address.startswith("http://127.0.0.1:")


async def test_a_taken_port_is_an_error(page, health):
    taken = int(page.address.rpartition(":")[2])
    with pytest.raises(OSError, match="address already in use"):
        await Server(replace(SETTINGS, http_port=taken), Metrics(STAGE_NAMES), health).start()


async def test_not_ready_tells_how_far_recovery_is_and_ready_is_200(page, health):
    health.recovery_progress = 0.123456
    assert await page.get("/readyz") == (
        503,
        {"status": "recovering", "problems": [], "recovery_progress": 0.1235, "partitions": health.counts},
    )
    health.is_ready, health.recovery_progress = True, 1.0
    status, body = await page.get("/readyz")
    assert (status, body["status"], body["recovery_progress"]) == (200, "ready", 1.0)


async def test_not_ready_tells_what_is_wrong(page, health):
    health.problems = ("topic delivery.messages.v1 has gone",)
    status, body = await page.get("/readyz")
    assert (status, body["status"], body["problems"]) == (503, "wrong", ["topic delivery.messages.v1 has gone"])


async def test_it_is_alive_while_it_is_not_ready(page):
    assert await page.get("/livez") == (200, {"status": "alive"})


async def test_a_process_that_does_not_turn_is_not_alive(page, monkeypatch):
    monkeypatch.setattr(server_module, "_HUNG_SECONDS", -1.0)
    status, body = await page.get("/livez")
    assert (status, body["status"]) == (503, "hung")
    assert body["reason"].startswith("the event loop was held up for ")


async def test_neither_is_a_worker_that_only_a_restart_helps(page, health):
    health.ailment = "the fetch of records stands still"
    assert await page.get("/livez") == (503, {"status": "hung", "reason": "the fetch of records stands still"})


async def test_every_known_label_set_is_there_at_zero_from_the_start(page):
    samples = await page.samples()
    known = [
        ("delivery_messages", ("channel", "email"), ("status", "taken_into_account")),
        ("delivery_messages", ("channel", "sms"), ("status", "received_on_mobile")),
        ("delivery_events_total", ("channel", "sms"), ("provider", "twilio"), ("verdict", "rerouted")),
        ("delivery_status_changes_total", ("channel", "email"), ("from", "new"), ("to", "failed_gave_up")),
        ("delivery_status_changes_total", ("channel", "email"), ("from", "sent"), ("to", "failed")),
        ("delivery_failures_total", ("category", "mailbox_full"), ("channel", "email"), ("permanence", "gave_up")),
        ("delivery_ignored_total", ("category", "denylisted"), ("channel", "sms")),
        ("delivery_dead_letters_total", ("provider", "none"), ("reason", "time_ahead")),
        ("delivery_dead_letters_total", ("provider", "other"), ("reason", "unknown_provider")),
        ("delivery_unknown_native_status_total", ("provider", "ses")),
        ("delivery_last_event_timestamp_seconds", ("provider", "kumomta")),
        ("delivery_event_age_seconds_count", ("channel", "email")),
        ("delivery_commit_seconds_count", ("stage", "fold")),
        ("delivery_chunk_records_count", ("stage", "normalize")),
        ("delivery_partition_state", ("stage", "fold"), ("state", "recovering")),
        ("delivery_conservation_error",),
        ("delivery_rebalances_total",),
        ("delivery_late_corrections_total",),
    ]
    assert [samples.get(each) for each in known] == [0.0] * len(known)
    assert ("delivery_messages", ("channel", "email"), ("status", "received_on_mobile")) not in samples
    told = {name for (name, *_), value in samples.items() if value != 0 and not name.startswith("process_")}
    assert told == {"delivery_recovery_progress_ratio", "delivery_build_info"}


async def test_it_serves_before_any_broker_answers():
    """The orchestrator must see that the process lives, and why it is not ready, while Kafka is away."""
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        settings = settings_for_a_trial(f"127.0.0.1:{silent.getsockname()[1]}")
        metrics, stop = Metrics(STAGE_NAMES), asyncio.Event()
        worker = Worker(settings, stages(settings, metrics), metrics)
        server = Server(settings, metrics, worker)
        address = await server.start()
        working = asyncio.ensure_future(worker.run(stop))
        try:
            async with aiohttp.ClientSession() as session:
                page = Page(session, address)
                assert (await page.get("/livez"))[0] == 200
                assert (await page.get("/readyz"))[0] == 503
                assert await page.samples()
            assert not working.done()
        finally:
            stop.set()
            await working
            await server.stop()
