"""docker-compose.yml and Dockerfile say what the code understands."""

import re
import subprocess
from pathlib import Path

import click
import pytest
import yaml

from processor import settings
from processor.broker import KAFKA_VERSION, _java, _kafka_jars
from processor.cli import cli
from processor.settings import Settings
from tests.tools import require

ROOT = Path(__file__).resolve().parent.parent
SERVICES = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))["services"]
OURS = {name: service for name, service in SERVICES.items() if "build" in service}
BROKER = SERVICES["broker"]
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")


def listeners(variable):
    """Give the `host:port` of each listener by name."""
    return dict(entry.split("://") for entry in BROKER["environment"][variable].split(","))


def test_a_compose_validator_accepts_the_file():
    command = [require("docker-compose"), "--file", "docker-compose.yml", "config", "--quiet"]
    outcome = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert outcome.returncode == 0, outcome.stderr


def test_images_of_others_are_pinned():
    images = [service["image"] for service in SERVICES.values() if "build" not in service]
    images += re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE)
    assert images
    for image in images:
        assert re.fullmatch(r"[a-z/]+:\d+\.\d+\.\d+[a-z-]*", image), image


def test_our_image_is_tagged_with_our_version():
    version = re.search(r'^version = "(.+)"$', (ROOT / "pyproject.toml").read_text(encoding="utf-8"), re.MULTILINE)[1]
    assert {service["image"] for service in OURS.values()} == {f"delivery-status:{version}"}


# Our services


@pytest.mark.parametrize("name", OURS)
def test_every_setting_is_known_and_right(name):
    environment = OURS[name]["environment"]
    assert all(variable.startswith(settings.PREFIX) for variable in environment)
    settings.load(environment)


@pytest.mark.parametrize("name", OURS)
def test_every_command_is_understood(name):
    command, arguments = cli, list(OURS[name]["command"])
    while isinstance(command, click.Group):
        command = command.commands[arguments.pop(0)]
    command.make_context(name, arguments)


@pytest.mark.parametrize("name", OURS)
def test_every_service_asks_the_broker_where_its_network_knows_it(name):
    assert OURS[name]["environment"]["DELIVERY_BROKERS"] == listeners("KAFKA_ADVERTISED_LISTENERS")["INSIDE"]


@pytest.mark.parametrize("name", OURS)
def test_no_service_may_do_more_than_it_needs(name):
    service = OURS[name]
    assert service["read_only"]
    assert service["cap_drop"] == ["ALL"]
    assert "privileged" not in service
    assert service["user"] == re.search(r"^USER (\d+)$", DOCKERFILE, re.MULTILINE)[1] != "0"


def test_no_secret_is_written_down():
    secrets = {f"{settings.PREFIX}{name.upper()}" for name, field in settings.FIELDS.items() if field.is_secret}
    assert not any(secrets & service["environment"].keys() for service in OURS.values())


def test_topics_are_created_by_us_only_and_before_anything_needs_them():
    assert BROKER["environment"]["KAFKA_AUTO_CREATE_TOPICS_ENABLE"] == "false"
    assert SERVICES["topics"]["command"] == ["topics", "create"]
    assert SERVICES["topics"]["depends_on"]["broker"]["condition"] == "service_healthy"
    for name in OURS.keys() - {"topics"}:
        assert OURS[name]["depends_on"]["topics"]["condition"] == "service_completed_successfully"


def test_the_worker_is_restarted_and_given_the_time_to_stop_in_good_order():
    worker = SERVICES["worker"]
    assert worker["restart"] == "unless-stopped"
    assert float(worker["stop_grace_period"].removesuffix("s")) > settings.load(worker["environment"]).commit_timeout


# Addresses


def test_what_is_published_is_published_on_this_machine_only():
    published = [port for service in SERVICES.values() for port in service.get("ports", ())]
    assert published
    assert all(port.startswith("127.0.0.1:") for port in published)


def test_metrics_are_published_from_where_the_worker_serves_them():
    worker = settings.load(SERVICES["worker"]["environment"])
    assert worker.http_host == "0.0.0.0"
    assert SERVICES["worker"]["ports"] == [f"127.0.0.1:{worker.http_port}:{worker.http_port}"]
    assert f"http://127.0.0.1:{worker.http_port}/livez" in SERVICES["worker"]["healthcheck"]["test"][-1]


def test_kafka_answers_outside_where_it_says_it_does():
    advertised, bound = listeners("KAFKA_ADVERTISED_LISTENERS"), listeners("KAFKA_LISTENERS")
    host, port = advertised["OUTSIDE"].split(":")
    assert host == "localhost"
    assert BROKER["ports"] == [f"127.0.0.1:{port}:{port}"]
    assert Settings().brokers == advertised["OUTSIDE"], "commands outside find it without any setting"
    for name, address in advertised.items():
        assert bound[name] == f":{address.split(':')[1]}"


def test_kafka_accepts_its_settings(tmp_path):
    # As the image does it: KAFKA_ off, lower case, dots for underscores.
    properties = {
        name.removeprefix("KAFKA_").lower().replace("_", "."): value
        for name, value in BROKER["environment"].items()
        if name.startswith("KAFKA_")
    }
    properties["log.dirs"] = str(tmp_path / "data")
    file = tmp_path / "server.properties"
    file.write_text("".join(f"{key}={value}\n" for key, value in properties.items()), encoding="utf-8")
    java = [str(_java()), "-XX:TieredStopAtLevel=1", "-cp", ":".join(map(str, _kafka_jars()))]
    cluster = BROKER["environment"]["CLUSTER_ID"]
    command = [*java, "kafka.tools.StorageTool", "format", "--cluster-id", cluster, "--config", str(file)]
    outcome = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert outcome.returncode == 0, outcome.stderr
    assert cluster in (tmp_path / "data" / "meta.properties").read_text(encoding="utf-8")


def test_data_lie_on_the_volume():
    assert BROKER["volumes"] == [f"kafka:{BROKER['environment']['KAFKA_LOG_DIRS']}"]


def test_kafka_is_of_the_series_that_the_tests_run_against():
    image = BROKER["image"].rpartition(":")[2]
    assert image.split(".")[:2] == KAFKA_VERSION.split(".")[:2]


# The image


def test_the_image_is_made_from_what_exists_and_is_not_kept_from_it():
    lines = re.findall(r"^COPY (?!--from)(.+) \S+$", DOCKERFILE, re.MULTILINE)
    copied = {path for line in lines for path in line.split()}
    assert all((ROOT / path).exists() for path in copied)
    let_in = re.findall(r"^!(.+)$", (ROOT / ".dockerignore").read_text(encoding="utf-8"), re.MULTILINE)
    assert copied == set(let_in)


def test_the_image_runs_a_worker():
    assert 'ENTRYPOINT ["delivery-status"]' in DOCKERFILE
    assert cli.commands[re.search(r'^CMD \["(\w+)"\]$', DOCKERFILE, re.MULTILINE)[1]].name == "worker"
