"""What ops/kubernetes holds is what Kubernetes takes, and says what the code understands."""

import copy
import importlib
import re
import shutil
import subprocess
from pathlib import Path
from types import ModuleType
from typing import ClassVar

import pytest
import yaml

from processor import settings
from processor.gateway.config import load as load_gateway
from processor.web.hosts import Hosts
from tests.ops.conftest import OPS, ROOT, read_yaml
from tests.test_names_in_docs import served

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
GATEWAY = documents(FOLDER / "components" / "gateway")
INGRESS = documents(FOLDER / "components" / "ingress")
MONITORS = documents(FOLDER / "components" / "service-monitor")
ALL = {**BASE, **GATEWAY}
WORKERS = BASE["StatefulSet", "delivery-status"]
GATEWAYS = GATEWAY["StatefulSet", "delivery-status-gateway"]
POD = WORKERS["spec"]["template"]["spec"]
[WORKER] = POD["containers"]
PODS = {name: each["spec"]["template"]["spec"] for (_, name), each in ALL.items() if "template" in each.get("spec", {})}
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
@pytest.mark.parametrize(("kind", "name"), [*ALL, *INGRESS])
@pytest.mark.slow
def test_the_schemas_of_kubernetes_hold(kubernetes, kind, name, release):
    kubernetes.validate({**ALL, **INGRESS}[kind, name], release, strict=True)


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
    made = {(each["kind"], each["metadata"]["name"]): each for each in yaml.safe_load_all(outcome.stdout)}
    assert set(made) - set(MONITORS) == set(ALL)
    for key in ALL:
        kubernetes.validate(made[key], RELEASES[-1], strict=True)
    workers = made["StatefulSet", "delivery-status"]["spec"]
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
    scrape, _ = read_yaml("ops/prometheus/prometheus.yml")["scrape_configs"]
    assert headless["metadata"]["labels"][monitor["jobLabel"]] == scrape["job_name"]
    [endpoint] = monitor["endpoints"]
    assert endpoint["port"] in {port["name"] for port in headless["spec"]["ports"]}
    assert endpoint["interval"] == read_yaml("ops/prometheus/prometheus.yml")["global"]["scrape_interval"]


def test_the_prometheus_operator_gets_all_rules_and_no_others():
    wrapped = [each["spec"] for (kind, _), each in MONITORS.items() if kind == "PrometheusRule"]
    assert wrapped == [
        yaml.safe_load(path.read_text(encoding="utf-8"))
        for path in sorted((OPS / "prometheus" / "rules").glob("*.yml"))
    ]


@pytest.mark.parametrize("key", MONITORS, ids="-".join)
def test_kube_prometheus_selects_what_is_for_the_operator(key):
    labels = MONITORS[key]["metadata"]["labels"]
    assert labels["release"] == "kube-prometheus-stack"
    if key[0] == "PrometheusRule":
        assert (labels["prometheus"], labels["role"]) == ("k8s", "alert-rules")


class TestIngress:
    PAGE = INGRESS["Ingress", "delivery-status"]["spec"]
    HOOKS = INGRESS["Ingress", "delivery-status-gateway"]["spec"]

    @pytest.mark.parametrize("spec", [PAGE, HOOKS], ids=["page", "hooks"])
    def test_has_a_certificate_for_each_of_its_names(self, spec):
        [tls], [rule] = spec["tls"], spec["rules"]
        assert tls["hosts"] == [rule["host"]]
        assert tls["secretName"]

    @pytest.mark.parametrize("spec", [PAGE, HOOKS], ids=["page", "hooks"])
    def test_leads_to_a_port_of_a_service(self, spec):
        for path in spec["rules"][0]["http"]["paths"]:
            told = path["backend"]["service"]
            service = ALL["Service", told["name"]]["spec"]
            assert told["port"]["name"] in {port["name"] for port in service["ports"]}

    def test_passes_on_every_route_but_those_for_the_inside(self):
        paths = self.PAGE["rules"][0]["http"]["paths"]
        exact = {path["path"] for path in paths if path["pathType"] == "Exact"}
        prefixes = tuple(f"{path['path'].rstrip('/')}/" for path in paths if path["pathType"] == "Prefix")
        routes = {*served(), "/static/page.css"}
        passed = {each for each in routes if each in exact or f"{each}/".startswith(prefixes)}
        assert routes - passed == {"/metrics", "/livez", "/readyz"}
        # A route of each is there: none is left from what was.
        assert [prefix for prefix in prefixes if not any(f"{each}/".startswith(prefix) for each in passed)] == []

    def test_workers_answer_by_its_name(self):
        patch = read_yaml("ops/kubernetes/components/ingress/workers.yaml")
        [worker] = patch["spec"]["template"]["spec"]["containers"]
        told = {each["name"]: each["value"] for each in worker["env"]}
        [before] = [each["value"] for each in WORKER["env"] if each["name"] == "DELIVERY_HTTP_ALLOWED_HOSTS"]
        assert told["DELIVERY_HTTP_ALLOWED_HOSTS"] == f"{before},{self.PAGE['rules'][0]['host']}"
        assert settings.load({"DELIVERY_TRUSTED_PROXIES": told["DELIVERY_TRUSTED_PROXIES"]}).trusted_proxies


class TestGateways:
    [CONTAINER] = GATEWAYS["spec"]["template"]["spec"]["containers"]
    LABELS = GATEWAYS["spec"]["template"]["metadata"]["labels"]
    PORTS: ClassVar[dict[str, int]] = {each["name"]: each["containerPort"] for each in CONTAINER["ports"]}

    @pytest.fixture(params=["the component's", "the example's"])
    def file(self, request, tmp_path):
        """Give what a gateway reads of its file, with its secrets where the pod has them."""
        told = GATEWAY["ConfigMap", "delivery-status-gateway"]
        if request.param == "the example's":
            patches = read_yaml("ops/kubernetes/example/kustomization.yaml")["patches"]
            [told] = [
                patch
                for each in patches
                if (patch := yaml.safe_load(each["patch"]))["metadata"]["name"] == "delivery-status-gateway"
            ]
        (tmp_path / "twilio").write_text("a-secret", encoding="utf-8")
        text = told["data"]["gateway.toml"].replace("/run/delivery-status/secrets", str(tmp_path))
        (tmp_path / "gateway.toml").write_text(text, encoding="utf-8")
        return load_gateway(tmp_path / "gateway.toml", {})

    def test_serve_where_their_ports_are_named(self, file):
        assert (file.host, file.admin_host) == ("0.0.0.0", "0.0.0.0")
        assert {"hooks": file.port, "admin": file.admin_port} == self.PORTS

    def test_keep_calls_on_a_volume_of_their_own(self, file):
        mounts = {each["name"]: each["mountPath"] for each in self.CONTAINER["volumeMounts"]}
        [claim] = GATEWAYS["spec"]["volumeClaimTemplates"]
        assert mounts[claim["metadata"]["name"]] == str(file.spool.parent)
        assert self.CONTAINER["args"] == ["gateway", "--config", f"{mounts['file']}/gateway.toml"]
        assert f"file:{mounts['secrets']}/" in GATEWAY["ConfigMap", "delivery-status-gateway"]["data"]["gateway.toml"]

    def test_are_probed_where_providers_never_call(self):
        probes = [self.CONTAINER[name]["httpGet"] for name in ("startupProbe", "livenessProbe", "readinessProbe")]
        assert {probe["port"] for probe in probes} == {"admin"}
        assert [probe["path"] for probe in probes] == ["/livez", "/livez", "/readyz"]

    def test_are_reached_by_services_each_at_its_own_port(self):
        for name, port in (("delivery-status-gateway", "hooks"), ("delivery-status-gateways", "admin")):
            service = GATEWAY["Service", name]["spec"]
            assert service["selector"] == self.LABELS
            assert [each["targetPort"] for each in service["ports"]] == [port]
        assert GATEWAYS["spec"]["serviceName"] == "delivery-status-gateways"
        assert GATEWAY["Service", "delivery-status-gateways"]["spec"]["clusterIP"] == "None"

    def test_are_asked_by_workers_at_the_name_that_stands_for_all_of_them(self):
        patch = read_yaml("ops/kubernetes/components/gateway/settings.yaml")
        assert patch["metadata"]["name"] == BASE["ConfigMap", "delivery-status-settings"]["metadata"]["name"]
        chosen = settings.load(patch["data"])
        assert chosen.gateways == (f"http://delivery-status-gateways:{self.PORTS['admin']}",)

    def test_are_scraped_under_the_name_that_the_alert_asks_for(self):
        monitor = read_yaml("ops/kubernetes/components/service-monitor/gateways.yaml")["spec"]
        labels = GATEWAY["Service", "delivery-status-gateways"]["metadata"]["labels"]
        assert monitor["selector"]["matchLabels"] == labels
        _, scrape = read_yaml("ops/prometheus/prometheus.yml")["scrape_configs"]
        assert labels[monitor["jobLabel"]] == scrape["job_name"]
        assert [each["port"] for each in monitor["endpoints"]] == ["admin"]

    def test_are_taken_away_one_at_a_time(self):
        budget = GATEWAY["PodDisruptionBudget", "delivery-status-gateway"]["spec"]
        assert (budget["maxUnavailable"], budget["selector"]["matchLabels"]) == (1, self.LABELS)

    def test_let_providers_to_their_hooks_and_only_workers_and_prometheus_to_the_rest(self):
        policy = GATEWAY["NetworkPolicy", "delivery-status-gateways"]["spec"]
        assert policy["podSelector"]["matchLabels"] == self.LABELS
        to_hooks, to_admin = policy["ingress"]
        assert [each["port"] for each in to_hooks["ports"]] == ["hooks"]
        assert [each["port"] for each in to_admin["ports"]] == ["admin"]
        workers = {"podSelector": {"matchLabels": WORKERS["spec"]["template"]["metadata"]["labels"]}}
        assert workers in to_admin["from"]
        assert workers not in to_hooks["from"]
        assert all(peer["podSelector"]["matchLabels"] for rule in policy["ingress"] for peer in rule["from"])

    def test_reach_no_private_network_by_what_sns_needs(self):
        [rule] = GATEWAY["NetworkPolicy", "delivery-status-gateways"]["spec"]["egress"]
        [peer] = rule["to"]
        assert "10.0.0.0/8" in peer["ipBlock"]["except"]
        assert "169.254.0.0/16" in peer["ipBlock"]["except"], "where clouds tell credentials"
        assert [each["port"] for each in rule["ports"]] == [443]

    def test_are_reached_by_workers(self):
        policy = GATEWAY["NetworkPolicy", "delivery-status-workers-to-gateways"]["spec"]
        assert policy["podSelector"]["matchLabels"] == WORKERS["spec"]["template"]["metadata"]["labels"]
        [rule] = policy["egress"]
        assert rule["to"] == [{"podSelector": {"matchLabels": self.LABELS}}]
        assert [each["port"] for each in rule["ports"]] == ["admin"]


class TestNetworkPolicies:
    """Policies add up: what one of them lets pass, passes."""

    POLICIES = tuple(each["spec"] for (kind, _), each in ALL.items() if kind == "NetworkPolicy")
    EVERYBODY = BASE["NetworkPolicy", "delivery-status"]["spec"]
    WORKERS = BASE["NetworkPolicy", "delivery-status-workers"]["spec"]

    @staticmethod
    def matches(selector, labels):
        return selector["matchLabels"].items() <= labels.items()

    @pytest.mark.parametrize("pod", [each for each in ALL.values() if "template" in each.get("spec", {})])
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
        brokers = ",".join(each["data"]["DELIVERY_BROKERS"] for each in told if "DELIVERY_BROKERS" in each["data"])
        assert {int(broker.rpartition(":")[2]) for broker in brokers.split(",")} == allowed


def test_images_are_those_that_the_project_makes():
    compose = read_yaml("docker-compose.yml")["services"]["worker"]["image"]
    assert {container["image"] for pod in PODS.values() for container in pod["containers"]} == {compose}
