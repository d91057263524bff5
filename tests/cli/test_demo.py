"""What a person finds while `demo` runs, and what goes wrong when that is asked for."""

import json
import re
import urllib.error
import urllib.request
from http.client import HTTPException

import pytest

from processor.demo.simulate import FAILED_MESSAGE
from tests.demo.test_alerts import NOTIFICATION
from tests.engine.harness import environment_of, settings_for_a_trial

pytestmark = pytest.mark.slow


def get(url, body=None):
    """Give status and body; status 0 when nobody answers."""
    data = None if body is None else body.encode()
    try:
        with urllib.request.urlopen(urllib.request.Request(url, data), timeout=30) as response:
            return response.status, response.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()
    except (OSError, HTTPException):
        return 0, ""


def get_json(url):
    status, body = get(url)
    return json.loads(body) if status == 200 else {}


def address(running, name):
    """Give the address that a line of the demo's output begins with."""

    def found():
        return re.search(rf"^{name} +(http://[\w.:]+)", running.stderr(), re.MULTILINE)

    return running.until(found, f"it says where {name} is")[1]


@pytest.mark.kafka
class TestDemo:
    @pytest.fixture
    def settings(self, brokers):
        return {**environment_of(settings_for_a_trial(brokers, partitions=2)), "DELIVERY_HTTP_PORT": "0"}

    def test_what_it_says_is_there_is_found(self, started, delivery_status, settings):
        with started("demo", "--json", "--rate", "60", **settings) as running:
            page, alerts = address(running, "page"), address(running, "alerts")
            told = running.stderr()
            assert f"{page}/messages/{FAILED_MESSAGE}" in told
            assert "60 s" in told

            file = re.search(r"^gateway .* (/\S+/gateway.toml)$", told, re.MULTILINE)[1]
            trial = delivery_status("gateway", "send", "--config", file, "--provider", "twilio", "--message-id", "mine")
            assert trial.returncode == 0, trial.stderr
            mine = running.until(lambda: get_json(f"{page}/api/v1/messages/mine"), "the trial has become a status")
            assert mine["status"] == "received_on_mobile"

            def calling():
                routes = get_json(f"{page}/api/v1/gateways")["routes"]
                return routes and all(route["taken"] for route in routes)

            running.until(calling, "every simulated provider that signs has called")

            def held():
                found = get_json(f"{page}/api/v1/deliveries?pending=concurrency_limit").get("items", ())
                return [each for each in found if each["label"] == "Flash sale, tonight only"]

            [delivery] = running.until(held, "a delivery is held by the limit")
            assert delivery["pending"]["running"] >= delivery["pending"]["limit"]
            assert "Flash sale, tonight only" in get(f"{page}/deliveries?pending=any")[1]

            url = f"{page}/api/v1/messages/{FAILED_MESSAGE}"
            message = running.until(lambda: get_json(url), "the named message is there")
            assert (message["status"], message["reason"]["category"]) == ("failed", "user_unknown")
            assert "User unknown in virtual mailbox table" in get(f"{page}/messages/{FAILED_MESSAGE}")[1]

            def providers():
                items = get_json(f"{page}/api/v1/providers").get("items", ())
                return [each for each in items if each["provider"] == "mailgun" and each["waiting"] > 20]

            [mailgun] = running.until(providers, "a provider takes messages and does not answer")
            assert mailgun["usual"] is not None

            assert get(f"{alerts}/warning", json.dumps(NOTIFICATION))[0] == 204
            running.until(lambda: "\nalert FIRING warning DeliveryProviderSilent" in running.stderr(), "it is shown")
            running.press_ctrl_c()
            assert running.ended() == 0, running.stderr()
            assert running.processes() == []

    def test_a_worker_that_goes_down_comes_back_at_the_same_address(self, started, settings):
        fault = ("--fault", "worker-down", "--after", "12", "--lasting", "3")
        with started("demo", "--json", "--rate", "20", *fault, **settings) as running:
            page = address(running, "page")
            assert re.search(r"^[\d:]{8} to [\d:]{8}  worker-down: ", running.stderr(), re.MULTILINE)
            assert "Find on the page" not in running.stderr()
            running.until(lambda: get(f"{page}/livez")[0] == 0, "the worker is away")
            running.until(lambda: get(f"{page}/readyz")[0] == 200, "it is back")

            def counted():
                messages = get_json(f"{page}/api/v1/overview").get("messages", {})
                return sum(sum(statuses.values()) for statuses in messages.values())

            running.until(lambda: counted() > 100, "what was published meanwhile is counted")
            running.press_ctrl_c()
            assert running.ended() == 0, running.stderr()
            figures = json.loads(running.stdout())
            assert figures["conservation_error"] == 0
            assert running.processes() == []


def test_a_fault_that_there_is_not_is_named_with_those_that_there_are(delivery_status):
    result = delivery_status("demo", "--fault", "flood")
    assert result.returncode == 2
    told = result.stderr.decode()
    assert all(name in told for name in ("silent-provider", "stuck-delivery", "bounce-storm", "dead-letters"))
