"""The demo's receiver shows each alert as a line, and refuses what is no notification."""

import json

import aiohttp
import pytest

from processor.demo.alerts import AlertReceiver

NOTIFICATION = {
    "version": "4",
    "status": "firing",
    "alerts": [
        {
            "status": "firing",
            "labels": {"alertname": "DeliveryProviderSilent", "severity": "warning", "provider": "mailgun"},
            "annotations": {"summary": "mailgun is \x1b[31msilent"},
            "startsAt": "2026-11-23T08:00:00Z",
        },
        {"status": "resolved", "labels": {"alertname": "DeliveryProcessorDown"}},
    ],
}


@pytest.fixture
async def told():
    lines = []
    receiver = AlertReceiver(lines.append)
    base = await receiver.start("127.0.0.1", 0)
    yield base, lines
    await receiver.stop()


async def post(url, body):
    async with aiohttp.ClientSession() as session, session.post(url, data=body) as response:
        return response.status


async def test_each_alert_is_a_line_that_a_terminal_only_shows(told):
    base, lines = told
    assert await post(f"{base}/critical", json.dumps(NOTIFICATION)) == 204
    assert lines == [
        "alert FIRING warning DeliveryProviderSilent: mailgun is  [31msilent",
        "alert RESOLVED DeliveryProcessorDown: ",
    ]


@pytest.mark.parametrize("body", ["nonsense", "[]", '{"alerts": [{"labels": {}}]}', b"\xff"])
async def test_what_is_no_notification_is_refused(told, body):
    base, lines = told
    assert await post(base, body) == 400
    assert lines == []


async def test_a_port_that_is_taken_is_no_hindrance(told):
    base, _ = told
    other = AlertReceiver(lambda _: None)
    try:
        assert await other.start("127.0.0.1", int(base.rpartition(":")[2])) != base
    finally:
        await other.stop()
