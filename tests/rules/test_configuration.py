"""prometheus.yml asks where workers answer; alertmanager.yml tells the right people, and not everything twice."""

import re
import subprocess

import pytest

from processor.gateway.config import load as load_gateway
from processor.settings import Settings
from tests.rules.shipped import ALERTMANAGER, ALERTS, NAMES, PROMETHEUS, SEVERITIES, load
from tests.tools import require

FILE = ALERTMANAGER / "alertmanager.yml"
CONFIG = load(FILE)
SCRAPES = load(PROMETHEUS / "prometheus.yml")["scrape_configs"]


def amtool(*arguments):
    command = [require("amtool", "prometheus-alertmanager"), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


# Prometheus


def test_workers_and_gateways_are_asked_at_their_own_ports_and_path(tmp_path):
    file = tmp_path / "gateway.toml"
    file.write_text('public_url = "https://h.example"\n[[routes]]\nprovider = "kannel"\nverify = "none"\n')
    ports = [discovery["port"] for scrape in SCRAPES for discovery in scrape["dns_sd_configs"]]
    assert ports == [Settings().http_port, load_gateway(file, {}).admin_port]
    # /metrics is what Prometheus asks for, and what the servers serve.
    assert not any("metrics_path" in scrape for scrape in SCRAPES)


def test_alerts_about_who_does_not_answer_ask_for_the_name_of_the_job():
    asked = {job for alert in ALERTS for job in re.findall(r'up\{job="([^"]+)"', alert["expr"])}
    given = {alert["labels"]["job"] for alert in ALERTS if "job" in alert["labels"]}
    assert asked == {scrape["job_name"] for scrape in SCRAPES}
    # What is absent has no labels to take a job from.
    assert given == {SCRAPES[0]["job_name"]}


# Alertmanager


def test_amtool_accepts_the_configuration():
    checked = amtool("check-config", FILE)
    assert checked.returncode == 0, checked.stdout + checked.stderr


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: f"{alert['alert']}-{alert['labels']['severity']}")
def test_critical_alerts_call_somebody_and_the_others_do_not(alert):
    labels = [f"{name}={value}" for name, value in {"job": "j", "alertname": alert["alert"], **alert["labels"]}.items()]
    routed = amtool("config", "routes", "test", "--config.file", FILE, *labels)
    expected = {"critical": "on-call", "warning": "team"}[alert["labels"]["severity"]]
    assert (routed.returncode, routed.stdout.split()) == (0, [expected])


def test_what_has_another_severity_or_none_reaches_the_team_all_the_same():
    for labels in (["alertname=Other", "severity=info"], ["alertname=Other"]):
        assert amtool("config", "routes", "test", "--config.file", FILE, *labels).stdout.split() == ["team"]


def test_receivers_are_told_when_it_is_over():
    for receiver in CONFIG["receivers"]:
        assert [hook["send_resolved"] for hook in receiver["webhook_configs"]] == [True]


def test_inhibition_names_alerts_that_exist_and_never_silences_itself_alone():
    for rule in CONFIG["inhibit_rules"]:
        assert rule["equal"][0] == "job", "one installation says nothing of another"
        for matcher in (*rule["source_matchers"], *rule["target_matchers"]):
            name, sign, value = re.fullmatch(r'(\w+)(=~|!=|=)"(.+)"', matcher).groups()
            if name == "severity":
                assert value in SEVERITIES
            elif value != "Delivery.+":
                assert set(value.split("|")) <= set(NAMES), matcher
                assert sign != "=" or value in NAMES
