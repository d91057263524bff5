"""A command that cannot do what was asked says why in words, and its exit code says which kind of why."""

import json
import socket
from collections.abc import Iterator

import pytest

pytestmark = pytest.mark.slow

WRONG = {
    "DELIVERY_BROKERS": "nowhere",
    "DELIVERY_PARTITIONS": "many",
    "DELIVERY_SESSION_TIMEOUT": "1",
    "DELIVERY_BROKRES": "localhost:9092",
}


@pytest.fixture(scope="module")
def silent_address() -> Iterator[str]:
    """An address where nobody answers, and nobody else can while the tests run."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{bound.getsockname()[1]}"


@pytest.mark.parametrize(
    "arguments", [("worker",), ("topics", "create"), ("message", "m-1"), ("demo", "--seconds", "1")], ids=" ".join
)
def test_wrong_settings_are_all_named_at_once_and_exit_with_2(delivery_status, arguments):
    result = delivery_status(*arguments, **WRONG)
    assert result.returncode == 2
    told = result.stderr.decode().splitlines()
    assert len(told) == len(WRONG)
    assert sorted(line.split()[1] for line in told) == sorted(WRONG)
    assert result.stdout == b""


@pytest.mark.parametrize(("arguments", "prefix"), [((), "delivery."), (("new.",), "new.")], ids=["usual", "named"])
def test_a_shadow_that_would_be_the_live_one_exits_with_2(delivery_status, arguments, prefix):
    result = delivery_status("worker", "--shadow", *arguments, DELIVERY_TOPIC_PREFIX=prefix)
    assert result.returncode == 2
    same, group = result.stderr.decode().splitlines()
    assert f"DELIVERY_SHADOW_OF and DELIVERY_TOPIC_PREFIX are both '{prefix}'" in same
    assert "DELIVERY_APP_ID" in group


def test_topics_are_compared_by_a_shadow_only(delivery_status):
    result = delivery_status("compare")
    assert result.returncode == 2
    assert "give two files, or set DELIVERY_SHADOW_OF" in result.stderr.decode()


def test_check_reports_wrong_settings_as_its_findings(delivery_status):
    result = delivery_status("check", "--json", **WRONG)
    assert result.returncode == 1
    report = json.loads(result.stdout)
    assert report["ok"] is False
    assert len(report["findings"]["settings"]) == len(WRONG)


@pytest.mark.parametrize("arguments", [("no-such-command",), ("message",), ("simulate", "--fast"), ("ingest", "x")])
def test_wrong_usage_exits_with_2_and_shows_how(delivery_status, arguments):
    result = delivery_status(*arguments)
    assert result.returncode == 2
    assert b"Usage: " in result.stderr


@pytest.mark.parametrize(
    "arguments",
    [("topics", "create"), ("topics", "check"), ("message", "m-1"), ("delivery", "DM1"), ("export",)],
    ids=" ".join,
)
def test_brokers_that_do_not_answer_are_named_and_exit_with_3(delivery_status, silent_address, arguments):
    result = delivery_status(*arguments, DELIVERY_BROKERS=silent_address)
    assert result.returncode == 3
    assert silent_address in result.stderr.decode()
    assert "DELIVERY_BROKERS" in result.stderr.decode()
    assert "Traceback" not in result.stderr.decode()


def test_nothing_is_ingested_where_no_broker_answers(delivery_status, silent_address, tmp_path):
    log = tmp_path / "log"
    log.write_text("{}\n")
    result = delivery_status("ingest", "--provider", "kumomta", log, DELIVERY_BROKERS=silent_address)
    assert result.returncode == 3


def test_check_says_that_no_broker_answers(delivery_status, silent_address):
    result = delivery_status("check", "--json", DELIVERY_BROKERS=silent_address)
    assert result.returncode == 1
    [problem] = json.loads(result.stdout)["findings"]["brokers"]
    assert silent_address in problem


def test_help_and_version_need_no_settings(delivery_status):
    assert b"normalize" in delivery_status("--help", **WRONG).stdout
    assert delivery_status("--version", **WRONG).returncode == 0


def test_a_worker_whose_port_is_taken_names_the_settings(delivery_status):
    with socket.create_server(("127.0.0.1", 0)) as other:
        result = delivery_status("worker", DELIVERY_HTTP_PORT=str(other.getsockname()[1]))
    assert result.returncode == 1
    assert b"DELIVERY_HTTP_PORT" in result.stderr
    assert b"Traceback" not in result.stderr


def test_a_worker_whose_store_cannot_be_written_says_so_before_it_looks_for_a_broker(
    delivery_status, silent_address, tmp_path
):
    (tmp_path / "file").touch()
    path = str(tmp_path / "file" / "store")
    result = delivery_status(
        "worker", DELIVERY_BROKERS=silent_address, DELIVERY_STORE="rocksdb", DELIVERY_STORE_PATH=path
    )
    assert result.returncode == 2
    [line] = result.stderr.decode().splitlines()
    assert line.startswith(f"settings: DELIVERY_STORE_PATH: {path}/delivery-status cannot be written: Not a directory")
