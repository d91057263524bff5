"""The shipped files of Prometheus and Alertmanager, as data."""

import re
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
PROMETHEUS = ROOT / "ops" / "prometheus"
ALERTMANAGER = ROOT / "ops" / "alertmanager"
RUNBOOKS = ROOT / "docs" / "runbooks"

RULE_FILES = sorted((PROMETHEUS / "rules").glob("*.yml"))
TEST_FILES = sorted((PROMETHEUS / "tests").glob("*.yml"))


def load(path):
    return yaml.safe_load(path.read_text(encoding="utf-8"))


GROUPS = [group for path in RULE_FILES for group in load(path)["groups"]]
RULES = [rule for group in GROUPS for rule in group["rules"]]
ALERTS = [rule for rule in RULES if "alert" in rule]
NAMES = sorted({alert["alert"] for alert in ALERTS})
RECORDED = [rule["record"] for rule in RULES if "record" in rule]
SEVERITIES = {"critical", "warning"}

#: A metric or a recorded series in a text; `delivery-status` and `delivery.dead.v1` are neither.
METRIC = re.compile(r"\b(?:[a-z_]+:)?delivery_[a-z0-9_]+(?::[a-z0-9_]+)?(?![\w.-])")
