"""`broker` and `demo` run until they are told to stop, and leave nothing behind, however they are told."""

import json
import re
import socket
import urllib.error
import urllib.request

import pytest

pytestmark = [pytest.mark.kafka, pytest.mark.slow]


def is_listening(address: str) -> bool:
    host, port = address.removeprefix("http://").split(":")
    with socket.socket() as probe:
        return probe.connect_ex((host, int(port))) == 0


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def addresses(told: str) -> tuple[str, str] | None:
    """Give where Kafka and the health server of a demo listen, once it has said so."""
    match = re.search(r"^Kafka +(\S+)$.*?^metrics +(http://\S+)/metrics", told, re.MULTILINE | re.DOTALL)
    return None if match is None else (match[1], match[2])


def number_of_messages(address: str) -> float:
    try:
        with urllib.request.urlopen(f"{address}/metrics", timeout=30) as response:
            page = response.read().decode()
    except (urllib.error.URLError, OSError):
        return 0.0
    return sum(float(line.split()[-1]) for line in page.splitlines() if line.startswith("delivery_messages{"))


def assert_figures_are_sane(figures) -> None:
    assert set(figures["messages"]) == {"email", "sms"}
    assert all(sum(statuses.values()) > 0 for statuses in figures["messages"].values())
    assert figures["events"]["applied"] >= sum(sum(statuses.values()) for statuses in figures["messages"].values())
    assert figures["conservation_error"] == 0


class TestBroker:
    @pytest.mark.parametrize("stop", ["terminate", "press_ctrl_c"])
    def test_it_serves_until_it_is_stopped_and_leaves_nothing(self, started, stop):
        with started("broker", "--port", free_port(), "--json") as running:
            told = json.loads(running.until(running.stdout, "it says where it listens"))
            assert is_listening(told["brokers"])
            assert running.processes()
            getattr(running, stop)()
            assert running.ended() == 0
            assert running.processes() == []
            assert not is_listening(told["brokers"])

    def test_a_port_that_is_taken_is_named(self, delivery_status):
        with socket.create_server(("127.0.0.1", 0)) as other:
            port = other.getsockname()[1]
            result = delivery_status("broker", "--port", port)
        assert result.returncode == 1
        assert f"port {port}" in result.stderr.decode()
        assert b"Traceback" not in result.stderr


class TestDemo:
    def test_for_some_seconds_it_runs_everything_and_leaves_nothing(self, started):
        with started("demo", "--seconds", "8", "--json", DELIVERY_HTTP_PORT="0") as running:
            kafka, server = running.until(lambda: addresses(running.stderr()), "it says where it listens")
            assert is_listening(kafka)
            assert running.ended() == 0, running.stderr()
            assert_figures_are_sane(json.loads(running.stdout()))
            assert running.processes() == []
            assert not is_listening(kafka)
            assert not is_listening(server)

    def test_ctrl_c_ends_it_in_good_order_and_leaves_nothing(self, started):
        with started("demo", "--json", DELIVERY_HTTP_PORT="0") as running:
            kafka, server = running.until(lambda: addresses(running.stderr()), "it says where it listens")
            running.until(lambda: number_of_messages(server) > 100, "messages are counted")
            running.press_ctrl_c()
            assert running.ended() == 0, running.stderr()
            assert_figures_are_sane(json.loads(running.stdout()))
            assert running.processes() == []
            assert not is_listening(kafka)
            assert not is_listening(server)

    def test_ctrl_c_while_kafka_starts_leaves_nothing(self, started):
        with started("demo", DELIVERY_HTTP_PORT="0") as running:
            running.until(lambda: len(running.processes()) > 2, "the JVM has been started")
            running.press_ctrl_c()
            assert running.ended() == 130, running.stderr()
            assert "Traceback" not in running.stderr()
            assert running.processes() == []

    def test_without_json_it_prints_a_table(self, started, brokers):
        with started(
            "demo",
            "--seconds",
            "3",
            DELIVERY_HTTP_PORT="0",
            DELIVERY_BROKERS=brokers,
            DELIVERY_APP_ID="demo-table",
            DELIVERY_TOPIC_PREFIX="demo-table.",
            DELIVERY_PARTITIONS="2",
        ) as running:
            assert running.ended() == 0, running.stderr()
            told = running.stdout()
            assert "Taken into account by the service provider" in told
            assert re.search(r"^all +[\d,]+ +[\d,]+$", told, re.MULTILINE)
            assert running.processes() == []
