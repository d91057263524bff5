"""What ops/kubernetes holds is what Kubernetes takes, and says what the code understands."""

import copy
import importlib
import re
import shutil
import subprocess
from pathlib import Path
from types import ModuleType

import pytest
import yaml

from processor import settings
from processor.web.hosts import Hosts
from tests.ops.conftest import OPS, ROOT, read_yaml

FOLDER = OPS / "kubernetes"

#: Releases whose schemas the files are held against: about as old as clusters are, and the newest there is.
RELEASES = ("1.29.0", "1.33.0", "1.37.0")


def documents(folder: Path):
    """Read every object of a folder, by kind and name."""
    found = {}
    for name in yaml.safe_load((folder / "kustomization.yaml").read_text(encoding="utf-8")).get("resources", ()):
        for each in yaml.safe_load_all((folder / name).read_text(encoding="utf-8")):
            found[each["kind"], each["metadata"]["name"]] = each
    return found


BASE = documents(FOLDER / "base")
WORKERS = BASE["StatefulSet", "delivery-status"]
POD = WORKERS["spec"]["template"]["spec"]
[WORKER] = POD["containers"]
PODS = {
    kind: each["spec"]["template"]["spec"] for (kind, _), each in BASE.items() if "template" in each.get("spec", {})
}
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")


def environment(folder: Path) -> dict[str, str]:
    """Give the environment of a worker, with files in place of secrets."""
    given = dict(BASE["ConfigMap", "delivery-status-settings"]["data"])
    for each in WORKER["env"]:
        if each["name"].startswith(settings.PREFIX):
            value = each["value"].replace("$(POD_NAME)", "delivery-status-0")
            given[each["name"]] = value.replace("$(POD_NAMESPACE)", "delivery")
    for name in ("read", "write"):
        (folder / name).write_text(f"a-token-to-{name}-with", encoding="utf-8")
        variable = f"DELIVERY_{name.upper()}_TOKEN_FILE"
        assert given[variable] == f"/run/delivery-status/tokens/{name}"
        given[variable] = str(folder / name)
    return given


# What Kubernetes takes


@pytest.fixture(scope="module")
def kubernetes() -> ModuleType:
    """Give the schemas' validator, whose import compiles grammars for seconds: not while tests are collected."""
    return importlib.import_module("kubernetes_validate")


@pytest.mark.parametrize("release", RELEASES)
@pytest.mark.parametrize(("kind", "name"), BASE)
@pytest.mark.slow
def test_the_schemas_of_kubernetes_hold(kubernetes, kind, name, release):
    kubernetes.validate(BASE[kind, name], release, strict=True)


@pytest.mark.parametrize("release", RELEASES)
@pytest.mark.slow
def test_the_schemas_would_find_a_word_that_does_not_exist(kubernetes, release):
    wrong = copy.deepcopy(WORKERS)
    wrong["spec"]["template"]["spec"]["terminationGracePeriod"] = 45
    with pytest.raises(kubernetes.ValidationError):
        kubernetes.validate(wrong, release, strict=True)


@pytest.mark.parametrize("path", sorted(FOLDER.rglob("kustomization.yaml")), ids=lambda path: path.parent.name)
def test_every_file_is_named_by_its_kustomization_and_every_name_is_a_file(path):
    known = yaml.safe_load(path.read_text(encoding="utf-8"))
    patches = [patch["path"] for patch in known.get("patches", ()) if "path" in patch]
    named = [*known.get("resources", ()), *known.get("components", ()), *patches]
    assert all((path.parent / name).exists() for name in named)
    assert {each.name for each in path.parent.iterdir() if each != path and each.is_file()} <= set(named)


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="needs kubectl, which Debian 12 has too old")
def test_kubectl_makes_the_example_of_it(kubernetes):
    command = ["kubectl", "kustomize", str(FOLDER / "example")]
    outcome = subprocess.run(command, capture_output=True, text=True, check=False)
    assert outcome.returncode == 0, outcome.stderr
    made = {each["kind"]: each for each in yaml.safe_load_all(outcome.stdout)}
    assert set(made) == {kind for kind, _ in BASE} | {"ServiceMonitor"}
    for kind in set(made) - {"ServiceMonitor"}:
        kubernetes.validate(made[kind], RELEASES[-1], strict=True)
    workers = made["StatefulSet"]["spec"]
    [worker] = workers["template"]["spec"]["containers"]
    names = {each["name"]: each.get("value") for each in worker["env"]}
    assert workers["replicas"] == 4
    assert worker["image"] == "registry.example.com/delivery-status:0.1.0"
    assert names["DELIVERY_STORE"] == "rocksdb"
    assert {each["name"] for each in WORKER["env"]} < set(names)
    assert {each["mountPath"] for each in worker["volumeMounts"]} > {names["DELIVERY_STORE_PATH"]}


# What the code understands


def test_every_setting_is_known_and_right(tmp_path):
    worker = settings.load(environment(tmp_path))
    assert worker.http_host == "0.0.0.0"
    assert worker.advertised_url == "http://delivery-status-0.delivery-status-workers:8080"
    assert worker.read_token
    assert worker.write_token


@pytest.mark.parametrize(
    "host",
    [
        *["10.1.2.3", "delivery-status", "delivery-status.delivery", "delivery-status.delivery.svc"],
        *["delivery-status.delivery.svc.cluster.local", "delivery-status-0.delivery-status-workers", "localhost"],
        "delivery-status-0.delivery-status-workers.delivery.svc.cluster.local",
    ],
)
def test_a_worker_answers_by_every_name_that_the_cluster_has_for_it(tmp_path, host):
    assert Hosts(settings.load(environment(tmp_path))).has(host)
    assert not Hosts(settings.load(environment(tmp_path))).has("evil.example.com")


def test_the_store_on_disk_is_a_setting_that_the_image_can_do(tmp_path):
    patch = read_yaml("ops/kubernetes/components/store-on-disk/workers.yaml")
    [container] = patch["spec"]["template"]["spec"]["containers"]
    given = {each["name"]: each["value"] for each in container["env"]}
    chosen = settings.load({**environment(tmp_path), **given})
    assert chosen.store == "rocksdb"
    assert [mount["mountPath"] for mount in container["volumeMounts"]] == [chosen.store_path]
    assert re.search(r"^rocksdict==", (ROOT / "locks/image.txt").read_text(encoding="utf-8"), re.MULTILINE)


@pytest.mark.parametrize("pod", PODS.values(), ids=PODS)
def test_names_that_kubernetes_adds_do_not_stop_a_worker(pod):
    with pytest.raises(settings.SettingsError):
        settings.load({"DELIVERY_STATUS_SERVICE_HOST": "10.0.0.1"})
    assert pod["enableServiceLinks"] is False


def test_a_worker_has_the_time_to_stop_in_good_order(tmp_path):
    assert POD["terminationGracePeriodSeconds"] > settings.load(environment(tmp_path)).commit_timeout


def test_probes_ask_what_they_are_about():
    assert WORKER["livenessProbe"]["httpGet"]["path"] == WORKER["startupProbe"]["httpGet"]["path"] == "/livez"
    assert WORKER["readinessProbe"]["httpGet"]["path"] == "/readyz"
    [port] = WORKER["ports"]
    assert port["containerPort"] == settings.Settings().http_port
    assert {WORKER[probe]["httpGet"]["port"] for probe in ("livenessProbe", "readinessProbe", "startupProbe")} == {
        port["name"]
    }


def test_a_worker_that_hangs_is_given_as_long_as_livez_gives_it():
    # /livez calls a worker hung after 30 s without a turn; a probe must not be more impatient.
    probe = WORKER["livenessProbe"]
    assert probe["periodSeconds"] * probe["failureThreshold"] >= 30


# What a pod may


@pytest.mark.parametrize("pod", PODS.values(), ids=PODS)
class TestConfinement:
    def test_is_the_user_of_the_image_and_not_root(self, pod):
        assert pod["securityContext"]["runAsNonRoot"]
        assert f"\nUSER {pod['securityContext']['runAsUser']}\n" in DOCKERFILE
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}

    def test_writes_nowhere_and_gains_nothing(self, pod):
        [container] = pod["containers"]
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert pod["automountServiceAccountToken"] is False

    def test_has_its_share(self, pod):
        [container] = pod["containers"]
        assert {"cpu", "memory"} == container["resources"]["requests"].keys()
        assert "memory" in container["resources"]["limits"]


def test_only_one_worker_at_a_time_is_taken_away():
    budget = BASE["PodDisruptionBudget", "delivery-status"]["spec"]
    assert budget["maxUnavailable"] == 1
    assert budget["selector"]["matchLabels"] == WORKERS["spec"]["template"]["metadata"]["labels"]


# Addresses


def test_services_lead_to_workers():
    labels = WORKERS["spec"]["template"]["metadata"]["labels"]
    for name in ("delivery-status", "delivery-status-workers"):
        service = BASE["Service", name]["spec"]
        assert service["selector"] == labels
        assert {port["targetPort"] for port in service["ports"]} == {"http"}
    headless = BASE["Service", "delivery-status-workers"]
    assert WORKERS["spec"]["serviceName"] == headless["metadata"]["name"]
    assert headless["spec"]["clusterIP"] == "None"
    assert headless["spec"]["publishNotReadyAddresses"], "a worker that recovers is asked, and scraped, too"


def test_prometheus_finds_every_worker_under_the_name_that_alerts_ask_for():
    monitor = read_yaml("ops/kubernetes/components/service-monitor/servicemonitor.yaml")["spec"]
    headless = BASE["Service", "delivery-status-workers"]
    assert monitor["selector"]["matchLabels"] == headless["metadata"]["labels"]
    assert "app.kubernetes.io/component" not in BASE["Service", "delivery-status"]["metadata"]["labels"]
    [scrape] = read_yaml("ops/prometheus/prometheus.yml")["scrape_configs"]
    assert headless["metadata"]["labels"][monitor["jobLabel"]] == scrape["job_name"]
    [endpoint] = monitor["endpoints"]
    assert endpoint["port"] in {port["name"] for port in headless["spec"]["ports"]}
    assert endpoint["interval"] == read_yaml("ops/prometheus/prometheus.yml")["global"]["scrape_interval"]


class TestNetworkPolicies:
    """Policies add up: what one of them lets pass, passes."""

    POLICIES = tuple(each["spec"] for (kind, _), each in BASE.items() if kind == "NetworkPolicy")
    EVERYBODY = BASE["NetworkPolicy", "delivery-status"]["spec"]
    WORKERS = BASE["NetworkPolicy", "delivery-status-workers"]["spec"]

    @staticmethod
    def matches(selector, labels):
        return selector["matchLabels"].items() <= labels.items()

    @pytest.mark.parametrize("pod", [each for each in BASE.values() if "template" in each.get("spec", {})])
    def test_every_pod_is_closed_both_ways_but_for_what_is_named(self, pod):
        labels = pod["spec"]["template"]["metadata"]["labels"]
        [policy] = [each for each in self.POLICIES if each is self.EVERYBODY]
        assert self.matches(policy["podSelector"], labels)
        assert policy["policyTypes"] == ["Ingress", "Egress"]
        assert "ingress" not in policy

    def test_workers_ask_each_other_on_the_port_that_they_tell(self):
        labels = WORKERS["spec"]["template"]["metadata"]["labels"]
        assert self.matches(self.WORKERS["podSelector"], labels)
        for direction, peers in (("ingress", "from"), ("egress", "to")):
            [rule] = self.WORKERS[direction]
            assert {"podSelector": {"matchLabels": labels}} in rule[peers]
            [port] = rule["ports"]
            assert port["port"] in {each["name"] for each in WORKER["ports"]}

    def test_nobody_else_asks_but_those_that_are_named_by_namespace_and_label(self):
        [rule] = self.WORKERS["ingress"]
        names = {
            (peer.get("namespaceSelector") or {}).get("matchLabels", {}).get("kubernetes.io/metadata.name"): peer
            for peer in rule["from"]
            if "namespaceSelector" in peer
        }
        assert set(names) == {"monitoring", "ingress-nginx", None}
        assert all(peer["podSelector"]["matchLabels"] for peer in rule["from"])

    def test_jobs_and_workers_reach_names_and_brokers_and_no_more(self):
        by_name, to_brokers = self.EVERYBODY["egress"]
        assert {(each["protocol"], each["port"]) for each in by_name["ports"]} == {("UDP", 53), ("TCP", 53)}
        assert by_name["to"]
        allowed = {each["port"] for each in to_brokers["ports"]}
        example = read_yaml("ops/kubernetes/example/kustomization.yaml")["patches"]
        told = [BASE["ConfigMap", "delivery-status-settings"], *(yaml.safe_load(each["patch"]) for each in example)]
        brokers = ",".join(each["data"]["DELIVERY_BROKERS"] for each in told)
        assert {int(broker.rpartition(":")[2]) for broker in brokers.split(",")} == allowed


def test_images_are_those_that_the_project_makes():
    compose = read_yaml("docker-compose.yml")["services"]["worker"]["image"]
    assert {container["image"] for pod in PODS.values() for container in pod["containers"]} == {compose}
