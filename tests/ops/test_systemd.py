"""The unit is one that systemd takes, says what the code understands, and is confined."""

import re
import subprocess
import sys

import pytest

from processor import settings
from processor.cli import EXIT_USAGE
from tests.ops.conftest import OPS
from tests.tools import require

UNIT = OPS / "systemd" / "delivery-status@.service"
TEXT = UNIT.read_text(encoding="utf-8")

#: The most that `systemd-analyze security` may find fault with: 10 is a unit without any confinement.
EXPOSURE = 1.5


def value(name):
    [found] = re.findall(rf"^{name}=(.*)$", TEXT, re.MULTILINE)
    return found


@pytest.fixture
def instance(tmp_path):
    """Give the unit of a port, of a command that is there."""
    path = tmp_path / "delivery-status@8080.service"
    path.write_text(TEXT.replace("/opt/delivery-status/bin/delivery-status", sys.executable), encoding="utf-8")
    return path


def test_systemd_finds_nothing_wrong(instance):
    command = [require("systemd-analyze", "systemd"), "verify", "--man=no", str(instance)]
    outcome = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (outcome.returncode, outcome.stdout, outcome.stderr) == (0, "", "")


def test_systemd_would_find_a_word_that_does_not_exist(instance):
    instance.write_text(instance.read_text(encoding="utf-8").replace("PrivateTmp=", "PrivateTemp="), encoding="utf-8")
    command = [require("systemd-analyze", "systemd"), "verify", "--man=no", str(instance)]
    assert "PrivateTemp" in subprocess.run(command, capture_output=True, text=True, check=False).stderr


def test_it_is_confined(instance):
    threshold = f"--threshold={EXPOSURE * 10:.0f}"
    command = [
        require("systemd-analyze", "systemd"),
        "security",
        "--offline=true",
        "--no-pager",
        threshold,
        str(instance),
    ]
    outcome = subprocess.run(command, capture_output=True, text=True, check=False)
    assert outcome.returncode == 0, outcome.stdout[-500:]


def test_settings_are_known_and_right():
    given = dict(each.split("=", 1) for each in value("Environment").split())
    ours = {name: text.replace("%i", "8080") for name, text in given.items() if name.startswith(settings.PREFIX)}
    chosen = settings.load(ours)
    assert (chosen.http_port, chosen.log_format) == (8080, "json")
    assert chosen.store_path == f"%S/{value('StateDirectory').replace('%i', '8080')}"


def test_it_runs_a_worker():
    assert value("ExecStart").split()[1] == "worker"


def test_a_worker_has_the_time_to_stop_in_good_order():
    assert float(value("TimeoutStopSec")) > settings.Settings().commit_timeout


def test_it_is_started_again_unless_its_settings_are_wrong():
    assert value("Restart") == "always"
    assert int(value("RestartPreventExitStatus")) == EXIT_USAGE
