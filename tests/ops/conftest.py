"""What the tests of ops/ share: the shipped files, read."""

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

from tests.engine.conftest import make_trial

#: Fixtures of a corner of the broker are those of the engine's tests.
__all__ = ["make_trial"]

ROOT = Path(__file__).resolve().parent.parent.parent
OPS = ROOT / "ops"


def read_yaml(path: str) -> Any:
    """Read a file of the project."""
    return yaml.safe_load((ROOT / path).read_text(encoding="utf-8"))


def read_dashboards() -> dict[str, dict[str, Any]]:
    """Read the dashboards, by uid."""
    found = [
        json.loads(path.read_text(encoding="utf-8")) for path in sorted((OPS / "grafana/dashboards").glob("*.json"))
    ]
    return {dashboard["uid"]: dashboard for dashboard in found}


def panels_of(dashboard: dict[str, Any]) -> list[dict[str, Any]]:
    """Give the panels of a dashboard that show something: rows are only headings."""
    return [panel for panel in dashboard["panels"] if panel["type"] != "row"]


def read_alerts() -> list[dict[str, Any]]:
    """Read the alerts."""
    files = sorted((OPS / "prometheus/rules").glob("*.yml"))
    groups = [group for path in files for group in yaml.safe_load(path.read_text(encoding="utf-8"))["groups"]]
    return [rule for group in groups for rule in group["rules"] if "alert" in rule]


@pytest.fixture(scope="session")
def build() -> ModuleType:
    """Load ops/grafana/build.py, which is a script."""
    spec = importlib.util.spec_from_file_location("grafana_build", OPS / "grafana/build.py")
    module = importlib.util.module_from_spec(spec)
    before = sys.path[:]
    spec.loader.exec_module(module)
    sys.path[:] = before
    return module
