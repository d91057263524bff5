"""The receiver to try alerts with writes what Alertmanager sends."""

import json
import re
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import contextmanager

import pytest

from tests.ops.conftest import OPS, read_yaml
from tests.rules.servers import free_address

SCRIPT = OPS / "alertmanager" / "webhook.py"

#: As Alertmanager 0.25 to 0.34 send it.
MESSAGE = {
    "version": "4",
    "status": "firing",
    "receiver": "on-call",
    "groupLabels": {"alertname": "DeliveryProviderSilent"},
    "alerts": [
        {
            "status": "firing",
            "labels": {"alertname": "DeliveryProviderSilent", "provider": "ses", "severity": "warning"},
            "annotations": {"summary": "ses hörs inte", "runbook_url": "https://example.com/x.md"},
            "startsAt": "2026-11-23T12:00:00Z",
            "endsAt": "0001-01-01T00:00:00Z",
        },
        {
            "status": "resolved",
            "labels": {"alertname": "DeliveryProviderSilent", "provider": "twilio", "severity": "warning"},
            "annotations": {},
            "startsAt": "2026-11-23T11:00:00Z",
        },
    ],
}


@contextmanager
def webhook():
    """Run it; give its address and its output, once it has ended."""
    address, output = free_address(), []
    process = subprocess.Popen([sys.executable, SCRIPT, address.rpartition(":")[2]], stdout=subprocess.PIPE, text=True)
    try:
        yield f"http://{address}", output
    finally:
        process.terminate()
        output += process.communicate(timeout=60)[0].splitlines()


def ask(url, body=None):
    for _ in range(1_800):
        try:
            with urllib.request.urlopen(url, body, timeout=60) as response:
                return response.status
        except urllib.error.HTTPError as error:
            return error.code
        except (urllib.error.URLError, ConnectionError):
            time.sleep(0.1)
    pytest.fail("it does not answer")


def test_each_alert_is_a_line():
    with webhook() as (url, output):
        assert ask(f"{url}/") == 200
        assert ask(f"{url}/warning", json.dumps(MESSAGE).encode()) == 200
    lines = [json.loads(line) for line in output]
    assert lines[0] == {
        "receiver": "warning",
        "status": "firing",
        "alert": "DeliveryProviderSilent",
        "summary": "ses hörs inte",
        "runbook": "https://example.com/x.md",
        "since": "2026-11-23T12:00:00Z",
        "labels": {"provider": "ses", "severity": "warning"},
    }
    assert [(line["status"], line["labels"]["provider"]) for line in lines] == [
        ("firing", "ses"),
        ("resolved", "twilio"),
    ]


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"alerts": [1]}', b'{"alerts": [{"status": "firing"}]}'])
def test_what_is_no_message_is_refused_and_does_not_end_it(body):
    with webhook() as (url, output):
        assert ask(f"{url}/critical", body) == 400
        assert ask(f"{url}/critical", json.dumps(MESSAGE).encode()) == 200
    assert len(output) == 2


def test_it_listens_where_alertmanager_sends():
    receivers = read_yaml("ops/alertmanager/alertmanager.yml")["receivers"]
    ports = {int(re.search(r":(\d+)/", hook["url"])[1]) for each in receivers for hook in each["webhook_configs"]}
    assert f"PORT = {ports.pop()}\n" in SCRIPT.read_text(encoding="utf-8")
    assert not ports
