"""From Kafka to the web hook: a real worker, Prometheus and Alertmanager on the shipped files, and two faults.

Time is lapsed for Prometheus and Alertmanager only, as servers.py says; the worker and its thresholds are real.
"""

import asyncio
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import datetime, timedelta, timezone

import aiohttp
import orjson
import pytest

from processor.cli.publish import outgoing
from processor.demo.simulate import traffic
from processor.demo.simulate.kumomta import KUMOMTA
from processor.demo.simulate.ses import SES
from processor.demo.simulate.smpp import SMPP
from processor.engine.streams import Writer
from tests.engine.harness import Trial, eventually, settings_for_a_trial
from tests.rules.servers import alertmanager, free_address, prometheus, receiving
from tests.tools import require

pytestmark = [pytest.mark.slow, pytest.mark.kafka]

#: The provider that goes silent; the simulated traffic has others.
SILENT = "kannel"
SILENCE = ("warning", "DeliveryProviderSilent", ("provider", SILENT))
STUCK = ("warning", "DeliveryMessagesStuck", ("channel", "email"), ("status", "pending"))


def event(message_id, status, ago=timedelta(), **facts):
    told = {"time": (datetime.now(timezone.utc) - ago).isoformat(), "message_id": message_id, "status": status}
    return orjson.dumps({"channel": "sms", "provider": SILENT, "delivery_id": "DM1", **told, **facts})


def answered_until_two_hours_ago():
    """Give a provider's past: sixty messages, each of which it answered within half a minute."""
    for number in range(60):
        handed_over = timedelta(hours=2, minutes=2 + number % 30, seconds=20 + number % 10)
        yield event(f"old-{number}", "taken_into_account", handed_over)
        yield event(f"old-{number}", "received_on_mobile", handed_over - timedelta(seconds=20 + number % 10))


def handed_over_since():
    for number in range(40):
        yield event(f"silent-{number}", "taken_into_account", timedelta(minutes=70 + number))


def pending_for_two_hours():
    for number in range(25):
        yield event(f"stuck-{number}", "pending", timedelta(hours=2), channel="email", provider=None, delivery_id="DM2")


def mended():
    """Give what ends both faults: answers, and messages that are sent after all."""
    for number in range(40):
        yield event(f"silent-{number}", "received_on_mobile")
    for number in range(25):
        yield event(f"stuck-{number}", "sent", channel="email", provider=None, delivery_id="DM2")


@asynccontextmanager
async def simulated(settings):
    """Publish simulated traffic until the block ends."""

    async def publish():
        run = traffic(7, datetime.now(timezone.utc), rate=25, providers=(KUMOMTA, SES, SMPP))
        async with Writer(settings) as writer:
            for record in run:
                await asyncio.sleep(max(0.0, (record.due - datetime.now(timezone.utc)).total_seconds()))
                await writer.write(outgoing(settings, record))

    publishing = asyncio.ensure_future(publish())
    try:
        yield
    finally:
        publishing.cancel()
        [outcome] = await asyncio.gather(publishing, return_exceptions=True)
        assert isinstance(outcome, asyncio.CancelledError), outcome


async def ask(address, path, **query):
    """Give what Prometheus answers."""
    url = f"http://{address}/api/v1/{path}"
    async with aiohttp.ClientSession() as session, session.get(url, params=query) as response:
        return (await response.json())["data"]


async def is_up(address):
    """Say whether Prometheus had a good look at the worker, and sees no reason to call it down."""
    found = await ask(address, "query", query="up == 1")
    return bool(found["result"]) and "DeliveryProcessorDown" not in await firing(address)


async def firing(address):
    """Give the names of the alerts that Prometheus itself calls firing."""
    alerts = (await ask(address, "alerts"))["alerts"]
    return {alert["labels"]["alertname"] for alert in alerts if alert["state"] == "firing"}


async def test_a_silent_provider_and_a_stuck_delivery_are_told_and_nothing_else_and_that_it_is_over(brokers, tmp_path):
    require("prometheus"), require("prometheus-alertmanager")
    async with AsyncExitStack() as stack:
        trial = await stack.enter_async_context(Trial(settings_for_a_trial(brokers), tmp_path, is_guest=True))
        first = await trial.start_worker()
        await trial.publish_events([*answered_until_two_hours_ago(), *handed_over_since()])
        await trial.settled()
        # A worker remembers when it heard of a provider by its own clock. The next one has only the rows to judge by:
        # so the silence need not be waited for.
        assert await first.stop() == 0
        worker = await trial.start_worker()
        await worker.ready()
        await stack.enter_async_context(simulated(trial.settings))

        hooks, url = await stack.enter_async_context(receiving())
        # Shown where the test fails.
        stack.callback(lambda: print(hooks.told))  # noqa: T201
        target, alerts_to = (await worker.address()).removeprefix("http://"), free_address()
        watching = await stack.enter_async_context(prometheus(tmp_path / "prometheus", target, alerts_to))
        # Until its first look at the worker Prometheus cannot tell it from one that is down, and "for three minutes" is
        # six seconds here.
        await eventually(lambda: is_up(watching), "Prometheus has looked at the worker")
        await stack.enter_async_context(alertmanager(tmp_path / "alertmanager", url, alerts_to))
        await trial.publish_events(pending_for_two_hours())

        async def told(expected):
            return hooks.told == expected

        async def both_fire():
            return await told({SILENCE: "firing", STUCK: "firing"})

        async def both_are_over():
            return await told({SILENCE: "resolved", STUCK: "resolved"})

        await eventually(both_fire, "both alerts arrive, and no other")
        assert await firing(watching) == {"DeliveryProviderSilent", "DeliveryMessagesStuck"}

        await trial.publish_events(mended())
        await eventually(both_are_over, "both are over")
        assert await firing(watching) == set()

        await worker.kill()

        async def down_is_told():
            return hooks.told.get(("critical", "DeliveryProcessorDown")) == "firing"

        await eventually(down_is_told, "that no worker is left is told")
        assert set(hooks.told) == {SILENCE, STUCK, ("critical", "DeliveryProcessorDown")}
