"""The shipped rules: right by promtool's judgement, each alert tested and explained, and all of metrics that exist."""

import re
import subprocess
from functools import cache

import pytest

from tests.cases import every_case
from tests.metrics.exported import exported_series
from tests.rules.shipped import (
    ALERTS,
    GROUPS,
    METRIC,
    NAMES,
    PROMETHEUS,
    RECORDED,
    ROOT,
    RULE_FILES,
    RULES,
    RUNBOOKS,
    SEVERITIES,
    TEST_FILES,
    load,
)
from tests.tools import require

#: Where the runbooks are to be found; ops/prometheus/README.md says how to put one's own in its place.
RUNBOOK_BASE = "https://example.com/delivery-status/docs/runbooks/"

by_alert = pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: f"{alert['alert']}-{alert['labels']['severity']}")


def promtool(*arguments):
    command = [require("promtool", "prometheus"), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


# What promtool says


def test_promtool_accepts_the_rules():
    checked = promtool("check", "rules", "--lint=all", "--lint-fatal", *RULE_FILES)
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_promtool_accepts_the_configuration_and_finds_the_rules_through_it():
    checked = promtool("check", "config", PROMETHEUS / "prometheus.yml")
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert f"{len(RULE_FILES)} rule files found" in checked.stdout


@pytest.mark.slow
@pytest.mark.parametrize("path", TEST_FILES, ids=lambda path: path.stem)
def test_alerts_fire_when_they_should_and_only_then(path):
    tested = promtool("test", "rules", path)
    assert tested.returncode == 0, tested.stdout + tested.stderr


# Every alert is tested both ways


@cache
def expectations():
    """Give alert name, and whether it is to fire, of everything that the test files expect."""
    return set(cases())


def cases():
    for path in TEST_FILES:
        for test in load(path)["tests"]:
            for case in test.get("alert_rule_test", ()):
                yield case["alertname"], bool(case["exp_alerts"])
            for case in test.get("promql_expr_test", ()):
                found = re.search(r'ALERTS\{alertname=~?"([^"]+)"', case["expr"])
                pattern = found[1] if found else ".*" if "ALERTS" in case["expr"] else ""
                for name in NAMES:
                    if re.fullmatch(pattern, name):
                        yield name, bool(case.get("exp_samples"))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.slow
def test_every_alert_is_tested_to_fire_and_not_to_fire(name):
    assert {fires for alert, fires in expectations() if alert == name} == {True, False}


def test_no_other_alert_is_tested():
    assert {name for name, _ in expectations()} == set(NAMES)


# What every alert says


@by_alert
def test_an_alert_has_a_severity_of_the_two_and_says_what_it_is_about(alert):
    assert alert["labels"].keys() <= {"severity", "job"}
    assert alert["labels"]["severity"] in SEVERITIES
    assert alert["annotations"].keys() == {"summary", "description", "runbook_url"}
    for text in ("summary", "description"):
        assert alert["annotations"][text].rstrip().endswith(".")
    assert len(re.sub(r"\{\{.*?\}\}", "", alert["annotations"]["summary"])) < 80
    assert re.fullmatch(r"Delivery([A-Z][a-z]+)+", alert["alert"])


@by_alert
def test_an_alert_leads_to_its_runbook(alert):
    assert alert["annotations"]["runbook_url"] == f"{RUNBOOK_BASE}{alert['alert']}.md"


def test_every_alert_has_a_runbook_and_every_runbook_an_alert():
    assert sorted(path.stem for path in RUNBOOKS.glob("*")) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_a_runbook_is_short_and_answers_the_three_questions(name):
    text = (RUNBOOKS / f"{name}.md").read_text(encoding="utf-8")
    assert re.findall(r"^#+ .*", text, re.MULTILINE) == [
        f"# {name}",
        "## What it means",
        "## How to see it",
        "## What to do",
    ]
    told = {severity for severity in SEVERITIES if f"**{severity.capitalize()}" in text}
    assert told == {alert["labels"]["severity"] for alert in ALERTS if alert["alert"] == name}
    assert len(text.split()) < 400


def test_thresholds_are_argued_beside_every_alert():
    for path in RULE_FILES:
        lines = path.read_text(encoding="utf-8").splitlines()
        known = set()
        for number, line in enumerate(lines):
            if (found := re.match(r" +- alert: (\w+)", line)) and found[1] not in known:
                known.add(found[1])
                assert lines[number - 1].lstrip().startswith("# "), f"{path.name}: {found[1]}"


# What rules ask for exists


@pytest.fixture(scope="module")
def exported():
    return exported_series()


def texts():
    """Give every file in which somebody may copy a query from, or run one."""
    paths = [*RUNBOOKS.glob("*.md"), *RULE_FILES, PROMETHEUS / "README.md"]
    return {path: path.read_text(encoding="utf-8") for path in paths}


def test_every_metric_that_is_named_is_exported_or_recorded(exported):
    for path, text in texts().items():
        assert set(METRIC.findall(text)) <= {*exported, *RECORDED}, path


def named(rule):
    return rule.get("alert") or rule["record"]


def test_every_selector_finds_something(exported):
    with every_case() as case:
        for rule in RULES:
            for name, matchers in re.findall(r"(\bdelivery_\w+)\{([^}]*)\}", rule["expr"]):
                with case(f"{named(rule)}: {name}{{{matchers}}}"):
                    check_selector(exported[name], matchers)


def check_selector(series, matchers):
    for label, sign, value in re.findall(r'(\w+)(=~|!~|!=|=)"([^"]*)"', matchers):
        assert label in series[0], label
        values = {labels[label] for labels in series}
        # What is left out must exist too, or it is a slip of the pen.
        for each in value.split("|") if sign in {"=~", "!~"} else [value]:
            assert each in values, (label, each)


def test_recorded_series_are_named_by_level_metric_and_operations_and_each_is_used():
    assert len(set(RECORDED)) == len(RECORDED)
    used = "".join(rule["expr"] for rule in RULES) + "".join(path.read_text("utf-8") for path in RUNBOOKS.glob("*.md"))
    for path in (ROOT / "ops" / "grafana").rglob("*.json"):
        used += path.read_text(encoding="utf-8")
    for name in RECORDED:
        assert re.fullmatch(r"job(_[a-z]+)*:delivery_[a-z_]+:(sum|(p99_|ratio_)?(rate\d+[mh]|avg1w))", name)
        assert name in used, name


def test_groups_are_named_once():
    names = [group["name"] for group in GROUPS]
    assert len(set(names)) == len(names)
    assert all(name.startswith("delivery-") for name in names)


# Prometheus 2.42 and 3.x

#: Functions, operators and modifiers that both know and take the same way.
_COMMON = {
    *("sum", "max", "by", "on", "and", "or", "unless", "offset", "bool"),
    *("absent", "avg_over_time", "deriv", "histogram_quantile", "increase", "label_replace", "max_over_time"),
    *("min_over_time", "rate"),
}


def test_rules_use_nothing_that_only_one_of_the_two_generations_knows():
    with every_case() as case:
        for rule in RULES:
            with case(named(rule)):
                check_generations(rule)


def check_generations(rule):
    assert rule.keys() <= {"alert", "record", "expr", "for", "labels", "annotations"}
    bare = re.sub(r'"[^"]*"|\{[^}]*\}|\[[^\]]*\]|\b(by|on) \([^)]*\)', " ", rule["expr"])
    words = set(re.findall(r"\b[a-z_]\w*\b(?!:)", METRIC.sub(" ", bare))) - {"up"}
    assert words <= _COMMON, words - _COMMON
    # A range takes the sample on its left edge in one and not in the other: with a subquery that is every time.
    assert not re.search(r"\[[^\]]*:", rule["expr"])
    # Prometheus 3 writes bounds as floats, whatever the page says.
    assert all("." in bound or bound == "+Inf" for bound in re.findall(r'le="([^"]*)"', rule["expr"]))


def test_groups_use_nothing_that_only_one_of_the_two_generations_knows():
    assert all(group.keys() <= {"name", "interval", "rules"} for group in GROUPS)
