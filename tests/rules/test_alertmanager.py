"""The shipped alertmanager.yml in a real Alertmanager: what follows from another alert is not sent."""

import asyncio
from datetime import datetime, timedelta, timezone

import aiohttp
import pytest

from tests.engine.harness import eventually
from tests.rules.servers import alertmanager, free_address, receiving

pytestmark = pytest.mark.slow


def alert(name, severity="warning", job="delivery-status", **labels):
    ends = datetime.now(timezone.utc) + timedelta(minutes=5)
    return {
        "labels": {"alertname": name, "severity": severity, "job": job, **labels},
        "annotations": {"runbook_url": f"https://example.com/{name}.md"},
        "endsAt": ends.isoformat(),
    }


async def assert_sent(tmp_path, alerts, expected):
    """Fire some alerts together: all that is expected is sent, and nothing else."""
    address = free_address()
    async with receiving() as (hooks, url), alertmanager(tmp_path / "alertmanager", url, address):
        async with (
            aiohttp.ClientSession() as session,
            session.post(f"http://{address}/api/v2/alerts", json=list(alerts)) as response,
        ):
            assert response.status == 200, await response.text()

        async def are_told():
            return expected <= set(hooks.told)

        await eventually(are_told, "what is expected is sent")
        # Longer than the longest group_wait, which is 1.5 s here: the others would be sent by then.
        await asyncio.sleep(3)
        assert set(hooks.told) == expected


async def test_when_the_processor_is_down_nothing_else_of_it_is_sent(tmp_path):
    alerts = [
        alert("DeliveryProcessorDown", "critical"),
        alert("DeliveryWorkerDown", instance="a:8080"),
        alert("DeliveryEventsLate", "critical", channel="email"),
        alert("DeliveryProviderSilent", provider="ses"),
        alert("DeliveryBounceStorm", "critical", channel="email", provider="ses"),
        alert("DeliveryProviderSilent", job="another", provider="ses"),
    ]
    expected = {
        ("critical", "DeliveryProcessorDown"),
        ("warning", "DeliveryProviderSilent", ("provider", "ses")),  # That of the other installation.
    }
    await assert_sent(tmp_path, alerts, expected)


async def test_when_events_stall_what_is_late_or_waits_is_not_sent(tmp_path):
    alerts = [
        alert("DeliveryEventsStalled", "critical"),
        alert("DeliveryEventsLate", "critical", channel="email"),
        alert("DeliveryLagRising"),
        alert("DeliveryMessagesStuck", channel="sms", status="pending"),
        alert("DeliveryRecoveryTooLong", instance="a:8080"),
    ]
    expected = {("critical", "DeliveryEventsStalled"), ("warning", "DeliveryRecoveryTooLong")}
    await assert_sent(tmp_path, alerts, expected)


async def test_a_storm_explains_its_channel_and_being_late_its_backlog(tmp_path):
    alerts = [
        alert("DeliveryBounceStorm", "critical", channel="email", provider="ses"),
        alert("DeliveryFailureRatioHigh", "critical", channel="email"),
        alert("DeliveryFailureRatioHigh", "critical", channel="sms"),
        alert("DeliveryEventsLate", "critical", channel="sms"),
        alert("DeliveryEventsLate", "warning", channel="sms"),
        alert("DeliveryEventsLate", "warning", channel="email"),
        alert("DeliveryLagRising"),
    ]
    expected = {
        ("critical", "DeliveryBounceStorm", ("channel", "email"), ("provider", "ses")),
        ("critical", "DeliveryFailureRatioHigh", ("channel", "sms")),
        ("critical", "DeliveryEventsLate", ("channel", "sms")),
        ("warning", "DeliveryEventsLate", ("channel", "email")),
    }
    await assert_sent(tmp_path, alerts, expected)
