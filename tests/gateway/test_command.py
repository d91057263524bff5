"""`delivery-status gateway` as people start it: what is wrong is told in a line, and by the exit code."""

import socket

from tests.cli.conftest import delivery_status, started
from tests.gateway.fakes import route_of
from tests.gateway.serving import written

__all__ = ["delivery_status", "started"]

NOBODY = {"DELIVERY_BROKERS": "127.0.0.1:1", "DELIVERY_LOG_FORMAT": "json"}


def test_a_file_that_is_not_there(delivery_status, tmp_path):
    run = delivery_status("gateway", "--config", tmp_path / "absent.toml", **NOBODY)
    assert run.returncode == 2
    assert b"absent.toml: it cannot be read: No such file" in run.stderr


def test_settings_that_are_wrong(delivery_status, tmp_path):
    file = written(tmp_path, route_of("twilio"))
    run = delivery_status("gateway", "--config", file, DELIVERY_BROKERS="nowhere")
    assert run.returncode == 2
    assert b"DELIVERY_BROKERS" in run.stderr


def test_an_address_that_is_taken(delivery_status, tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        file = written(tmp_path, route_of("twilio"), listen=f"127.0.0.1:{taken.getsockname()[1]}")
        run = delivery_status("gateway", "--config", file, **NOBODY)
    assert run.returncode == 1
    assert b"cannot serve" in run.stderr
    assert b"Traceback" not in run.stderr


def test_a_spool_that_another_gateway_has_and_an_end_in_good_order(delivery_status, started, tmp_path):
    file = written(tmp_path, route_of("twilio"))
    with started("gateway", "--config", file, **NOBODY) as gateway:
        gateway.until(lambda: "gateway_started" in gateway.stderr(), "it serves, though Kafka is not there")
        run = delivery_status("gateway", "--config", file, **NOBODY)
        assert run.returncode == 1
        assert b"spool" in run.stderr
        gateway.terminate()
        assert gateway.ended() == 0
        assert "gateway_stopped" in gateway.stderr()
