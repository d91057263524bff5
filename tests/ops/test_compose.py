"""docker-compose.yml and Dockerfile say what the code, and the files beside it in ops/, understand."""

import copy
import hashlib
import json
import os
import re
import subprocess
from pathlib import Path
from urllib.parse import urlsplit

import click
import jsonschema_rs
import pytest
import yaml

from processor import settings
from processor.cli import cli
from processor.demo.broker import KAFKA_VERSION, _java, _kafka_jars
from processor.gateway.config import load as load_gateway
from processor.settings import Settings
from processor.wire.topics import TOPICS
from tests.ops.conftest import OPS, ROOT, read_yaml
from tests.tools import require

TEXT = (ROOT / "docker-compose.yml").read_text(encoding="utf-8")
COMPOSE = yaml.safe_load(TEXT)
SERVICES = COMPOSE["services"]
OURS = {name: service for name, service in SERVICES.items() if service["image"].startswith("delivery-status:")}
OTHERS = {name: service for name, service in SERVICES.items() if name not in OURS}
BROKER = SERVICES["broker"]
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")

#: What the file asks whoever starts it for.
SECRETS = {
    "DELIVERY_READ_TOKEN": "a-token-for-reading",
    "DELIVERY_WRITE_TOKEN": "a-token-for-writing",
    "GATEWAY_SECRET": "a-secret-for-calls",
    "GRAFANA_PASSWORD": "a-password",
}

#: Images that are not root's by themselves, and so need no `user` here: their Dockerfiles end with USER.
NOT_ROOT = {"apache/kafka": "appuser", "ghcr.io/kafbat/kafka-ui": "kafkaui"}

#: What the gateway's file asks the environment for, and what is no setting.
GATEWAYS_OWN = {"GATEWAY_SECRET"}

#: Services whose containers may write outside of volumes, and why.
WRITES = {"broker": "the image makes its settings of KAFKA_* when it starts"}


def environment_of(name):
    """Give a service's environment, as compose resolves it."""
    given = SERVICES[name].get("environment", {})
    return {
        key: re.sub(r"\$\{(\w+):\?[^}]+\}", lambda found: SECRETS[found[1]], str(value)) for key, value in given.items()
    }


def memory_of(service):
    """Give a service's limit in MiB."""
    number, unit = re.fullmatch(r"(\d+)([MG])", service["deploy"]["resources"]["limits"]["memory"]).groups()
    return int(number) * {"M": 1, "G": 1024}[unit]


def config(environment):
    command = [require("docker-compose"), "--file", "docker-compose.yml", "config"]
    surroundings = {"PATH": os.environ["PATH"], **environment}
    return subprocess.run(command, cwd=ROOT, env=surroundings, capture_output=True, text=True, check=False)


def listeners(variable):
    """Give the `host:port` of each listener by name."""
    return dict(entry.split("://") for entry in BROKER["environment"][variable].split(","))


# The file


def test_a_compose_implementation_accepts_the_file():
    outcome = config(SECRETS)
    assert outcome.returncode == 0, outcome.stderr
    assert set(yaml.safe_load(outcome.stdout)["services"]) == set(SERVICES)


@pytest.mark.parametrize("missing", SECRETS)
@pytest.mark.slow
def test_a_secret_that_is_not_set_is_named_with_its_mend(missing):
    outcome = config({name: value for name, value in SECRETS.items() if name != missing})
    assert outcome.returncode != 0
    assert "copy .env.example to .env and give it values" in outcome.stderr


def test_the_example_names_every_secret_and_holds_none():
    lines = [
        line for line in (ROOT / ".env.example").read_text(encoding="utf-8").splitlines() if not line.startswith("#")
    ]
    assert [line for line in lines if line] == [f"{name}=" for name in SECRETS]
    assert set(re.findall(r"\$\{(\w+):\?", TEXT)) == set(SECRETS)


def test_what_is_set_is_neither_committed_nor_part_of_the_image():
    assert "/.env" in (ROOT / ".gitignore").read_text(encoding="utf-8").splitlines()
    assert (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()[1] == "*"


class TestSpecification:
    """The JSON Schema of the compose specification."""

    FILE = Path(__file__).parent / "vendored" / "compose-spec.json"

    @pytest.fixture
    def validator(self):
        return jsonschema_rs.Draft7Validator(json.loads(self.FILE.read_text(encoding="utf-8")))

    def test_is_the_one_that_is_written_down(self):
        digest = hashlib.sha256(self.FILE.read_bytes()).hexdigest()
        assert f'sha256 = "{digest}"' in self.FILE.with_name("VENDORED.toml").read_text(encoding="utf-8")

    def test_holds(self, validator):
        assert [f"{list(error.instance_path)}: {error.message}" for error in validator.iter_errors(COMPOSE)] == []

    @pytest.mark.parametrize(
        ("service", "key"), [("worker", "stop_grace"), ("broker", "port"), ("grafana", "readonly")]
    )
    def test_would_find_a_word_that_does_not_exist(self, validator, service, key):
        wrong = copy.deepcopy(COMPOSE)
        wrong["services"][service][key] = "x"
        assert not validator.is_valid(wrong)


# Images


def test_images_of_others_are_pinned():
    images = [service["image"] for service in OTHERS.values()]
    images += re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE)
    assert images
    for image in images:
        assert re.fullmatch(r"[a-z./-]+:v?\d+\.\d+\.\d+[a-z-]*(@sha256:[0-9a-f]{64})?", image), image


def test_our_image_is_tagged_with_our_version():
    version = re.search(r'^version = "(.+)"$', (ROOT / "pyproject.toml").read_text(encoding="utf-8"), re.MULTILINE)[1]
    assert {service["image"] for service in OURS.values()} == {f"delivery-status:{version}"}


def test_one_service_builds_the_image_with_its_commit_and_the_others_wait_for_it():
    [builder] = [name for name, service in OURS.items() if "build" in service]
    assert OURS[builder]["build"]["args"] == {"COMMIT": "${COMMIT:-unknown}"}
    assert re.search(r"^ARG COMMIT=unknown\nENV DELIVERY_COMMIT=\$COMMIT$", DOCKERFILE, re.MULTILINE)
    for name in OURS.keys() - {builder}:
        assert builder in OURS[name]["depends_on"]
        assert OURS[name]["pull_policy"] == "never", "no registry has it"


# Our services


@pytest.mark.parametrize("name", OURS)
def test_every_setting_is_known_and_right(name):
    environment = environment_of(name)
    assert {each for each in environment if not each.startswith(settings.PREFIX)} <= GATEWAYS_OWN
    settings.load(environment)


@pytest.mark.parametrize("name", OURS)
def test_every_command_is_understood(name):
    command, arguments = cli, list(OURS[name]["command"])
    # A group with options only is a command itself.
    while isinstance(command, click.Group) and not arguments[0].startswith("-"):
        command = command.get_command(click.Context(command), arguments.pop(0))
    command.make_context(name, arguments)


@pytest.mark.parametrize("name", OURS)
def test_every_service_asks_the_broker_where_its_network_knows_it(name):
    assert OURS[name]["environment"]["DELIVERY_BROKERS"] == listeners("KAFKA_ADVERTISED_LISTENERS")["INSIDE"]


def test_workers_that_are_reached_from_beyond_their_container_know_whom_to_answer():
    worker = settings.load(environment_of("worker"))
    assert worker.read_token
    assert worker.write_token, "workers know each other by it, too"


# What a service may


@pytest.mark.parametrize("name", SERVICES)
class TestConfinement:
    def test_is_nobody_in_particular(self, name):
        service = SERVICES[name]
        if "user" in service:
            assert service["user"].partition(":")[0] != "0"
        else:
            assert service["image"].partition(":")[0] in NOT_ROOT

    def test_writes_nowhere_but_to_its_volumes(self, name):
        assert SERVICES[name].get("read_only", False) == (name not in WRITES)

    def test_has_no_privileges_and_gets_none(self, name):
        service = SERVICES[name]
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]
        assert not {"privileged", "cap_add", "network_mode", "pid", "devices"} & service.keys()

    def test_has_its_limits(self, name):
        limits = SERVICES[name]["deploy"]["resources"]["limits"]
        assert set(limits) == {"cpus", "memory"}
        assert SERVICES[name]["logging"]["options"]["max-size"]

    def test_tells_whether_it_is_well(self, name):
        check = SERVICES[name]["healthcheck"]
        assert check.get("disable") or {"test", "interval", "timeout", "start_period", "retries"} <= check.keys()

    def test_mounts_only_what_there_is_and_writes_none_of_it(self, name):
        for volume in SERVICES[name].get("volumes", ()):
            source, _, mode = volume.split(":") if volume.count(":") == 2 else (*volume.split(":"), "")
            if source.startswith("./"):
                assert (ROOT / source).exists()
                assert mode == "ro"
            else:
                assert source in COMPOSE["volumes"]


def test_all_of_it_fits_on_a_small_machine():
    memory = sum(
        memory_of(each) * each["deploy"].get("replicas", 1) for each in SERVICES.values() if "profiles" not in each
    )
    assert memory <= 8 * 1024


def test_every_named_volume_is_used():
    used = {volume.split(":")[0] for service in SERVICES.values() for volume in service.get("volumes", ())}
    assert set(COMPOSE["volumes"]) == {name for name in used if not name.startswith("./")}


def test_our_services_run_as_the_user_of_the_image():
    assert {each["user"].partition(":")[0] for each in OURS.values()} == {
        re.search(r"^USER (\d+)$", DOCKERFILE, re.MULTILINE)[1]
    }


def test_no_secret_is_written_down():
    secrets = {f"{settings.PREFIX}{name.upper()}" for name, field in settings.FIELDS.items() if field.is_secret}
    for service in SERVICES.values():
        for name, value in service.get("environment", {}).items():
            if name in secrets or re.search(r"PASSWORD|TOKEN|SECRET", name):
                assert re.fullmatch(r"\$\{\w+:\?[^}]+\}", value), name


# What depends on what


def test_topics_are_created_by_us_only_and_before_anything_needs_them():
    assert BROKER["environment"]["KAFKA_AUTO_CREATE_TOPICS_ENABLE"] == "false"
    assert SERVICES["topics"]["command"] == ["topics", "create"]
    assert SERVICES["topics"]["depends_on"]["broker"]["condition"] == "service_healthy"
    for name in ("worker", "gateway", "traffic"):
        assert OURS[name]["depends_on"]["topics"]["condition"] == "service_completed_successfully"


def test_the_worker_is_restarted_and_given_the_time_to_stop_in_good_order():
    worker = SERVICES["worker"]
    assert worker["restart"] == "unless-stopped"
    drain = settings.load(environment_of("worker")).commit_timeout
    assert float(worker["stop_grace_period"].removesuffix("s")) > drain


# Addresses


def test_what_is_published_is_published_on_this_machine_only():
    published = [port for service in SERVICES.values() for port in service.get("ports", ())]
    assert published
    assert all(port.startswith("127.0.0.1:") for port in published)


def test_no_port_is_published_twice():
    published = [
        number
        for service in SERVICES.values()
        for port in service.get("ports", ())
        for first, last in [(*port.split(":")[1].split("-"), port.split(":")[1])[:2]]
        for number in range(int(first), int(last.rpartition("-")[2]) + 1)
    ]
    assert len(published) == len(set(published))


def test_each_worker_is_published_from_where_it_serves():
    worker = settings.load(environment_of("worker"))
    assert worker.http_host == "0.0.0.0"
    [port] = SERVICES["worker"]["ports"]
    first, last, inside = re.fullmatch(r"127\.0\.0\.1:(\d+)-(\d+):(\d+)", port).groups()
    assert int(inside) == worker.http_port
    assert int(last) - int(first) + 1 == SERVICES["worker"]["deploy"]["replicas"] == 2
    assert f"http://127.0.0.1:{worker.http_port}/livez" in SERVICES["worker"]["healthcheck"]["test"][-1]


def test_the_gateway_is_published_from_where_it_serves_and_its_admin_server_is_not():
    gateway = load_gateway(ROOT / "ops/gateway/gateway.toml", SECRETS)
    assert (gateway.host, gateway.admin_host) == ("0.0.0.0", "0.0.0.0")
    [port] = SERVICES["gateway"]["ports"]
    assert port == f"127.0.0.1:{urlsplit(gateway.public_url).port}:{gateway.port}"
    assert f"http://127.0.0.1:{gateway.admin_port}/livez" in SERVICES["gateway"]["healthcheck"]["test"][-1]
    assert settings.load(environment_of("worker")).gateways == (f"http://gateway:{gateway.admin_port}",)


def test_the_gateways_file_is_where_its_command_looks_and_its_spool_on_its_volume():
    mounted, spooled = (volume.split(":") for volume in SERVICES["gateway"]["volumes"])
    folder, name = SERVICES["gateway"]["command"][-1].rsplit("/", 1)
    assert mounted[:2] == ["./ops/gateway", folder]
    assert (ROOT / mounted[0] / name).is_file()
    spool = load_gateway(ROOT / "ops/gateway/gateway.toml", SECRETS).spool
    assert spooled == ["gateway", str(spool.parent)]
    assert f"--owner 10001 --group 10001 {spool.parent}" in DOCKERFILE, "else the volume is root's"


def test_kafka_answers_outside_where_it_says_it_does():
    advertised, bound = listeners("KAFKA_ADVERTISED_LISTENERS"), listeners("KAFKA_LISTENERS")
    host, port = advertised["OUTSIDE"].split(":")
    assert host == "localhost"
    assert BROKER["ports"] == [f"127.0.0.1:{port}:{port}"]
    assert Settings().brokers == advertised["OUTSIDE"], "commands outside find it without any setting"
    for name, address in advertised.items():
        assert bound[name] == f":{address.split(':')[1]}"


@pytest.mark.slow
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


# Beside us


def test_prometheus_scrapes_workers_and_gateways_where_they_serve():
    jobs = read_yaml("ops/prometheus/prometheus.yml")["scrape_configs"]
    worker = settings.load(environment_of("worker"))
    gateway = load_gateway(ROOT / "ops/gateway/gateway.toml", SECRETS)
    found = [(each["names"], each["type"], each["port"]) for job in jobs for each in job["dns_sd_configs"]]
    assert found == [(["worker"], "A", worker.http_port), (["gateway"], "A", gateway.admin_port)]
    assert not any("metrics_path" in job for job in jobs)


def test_prometheus_tells_alertmanager_and_alertmanager_the_webhook():
    [manager] = read_yaml("ops/prometheus/prometheus.yml")["alerting"]["alertmanagers"]
    assert manager["static_configs"][0]["targets"] == ["alertmanager:9093"]
    assert SERVICES["alertmanager"]["ports"] == ["127.0.0.1:9093:9093"]
    receivers = read_yaml("ops/alertmanager/alertmanager.yml")["receivers"]
    hooks = {
        re.match(r"http://([a-z]+):(\d+)/", hook["url"]).groups()
        for each in receivers
        for hook in each["webhook_configs"]
    }
    assert hooks == {("webhook", "8090")}
    assert "http://127.0.0.1:8090/" in SERVICES["webhook"]["healthcheck"]["test"][-1]


def test_prometheus_keeps_what_alerts_look_back_at():
    [kept] = [
        int(found[1])
        for option in SERVICES["prometheus"]["command"]
        if (found := re.search(r"retention\.time=(\d+)d", option))
    ]
    rules = "".join(path.read_text(encoding="utf-8") for path in (OPS / "prometheus/rules").iterdir())
    assert kept > 7 * max(map(int, re.findall(r"offset (\d+)w", rules))) + 7


def test_grafana_finds_prometheus_and_the_dashboards():
    for source in read_yaml("ops/grafana/provisioning/datasources/prometheus.yml")["datasources"]:
        host, port = re.fullmatch(r"http://([a-z]+):(\d+)", source["url"]).groups()
        assert f"127.0.0.1:{port}:{port}" in SERVICES[host]["ports"]
    [provider] = read_yaml("ops/grafana/provisioning/dashboards/delivery.yml")["providers"]
    mounts = dict(volume.split(":")[1::-1] for volume in SERVICES["grafana"]["volumes"])
    assert mounts[provider["options"]["path"]] == "./ops/grafana/dashboards"
    home = SERVICES["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    assert (OPS / "grafana/dashboards" / Path(home).name).is_file()


def test_kafkas_ui_is_there_only_when_asked_for_and_changes_nothing():
    ui = SERVICES["kafka-ui"]
    assert ui["profiles"] == ["tools"]
    assert ui["environment"]["KAFKA_CLUSTERS_0_READONLY"] == "true"
    assert ui["environment"]["KAFKA_CLUSTERS_0_BOOTSTRAPSERVERS"] == listeners("KAFKA_ADVERTISED_LISTENERS")["INSIDE"]


def test_whatever_else_names_a_topic_names_one_of_ours():
    known = {Settings().topic_prefix + topic.name for topic in TOPICS}
    texts = [TEXT, *(path.read_text(encoding="utf-8") for path in OPS.rglob("*.y*ml"))]
    assert {name for text in texts for name in re.findall(r"\bdelivery\.[a-z]+\.v\d+\b", text)} <= known


# The image


def test_the_image_is_made_from_what_exists_and_is_not_kept_from_it():
    lines = re.findall(r"^COPY (?!--from)(.+) \S+$", DOCKERFILE, re.MULTILINE)
    copied = {path for line in lines for path in line.split()}
    assert all((ROOT / path).exists() for path in copied)
    let_in = re.findall(r"^!(.+)$", (ROOT / ".dockerignore").read_text(encoding="utf-8"), re.MULTILINE)
    assert copied == set(let_in)


def test_the_image_runs_a_worker():
    assert 'ENTRYPOINT ["delivery-status"]' in DOCKERFILE
    assert re.search(r'^CMD \["(\w+)"\]$', DOCKERFILE, re.MULTILINE)[1] == "worker"
