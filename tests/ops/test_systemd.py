"""The units are ones that systemd takes, say what the code understands, and are confined."""

import re
import subprocess
import sys

import pytest

from processor import settings
from processor.cli import EXIT_USAGE
from tests.ops.conftest import OPS
from tests.tools import require

#: By the name of an instance.
UNITS = {
    "delivery-status@8080.service": OPS / "systemd" / "delivery-status@.service",
    "delivery-status-gateway.service": OPS / "systemd" / "delivery-status-gateway.service",
}
WORKER, GATEWAY = (path.read_text(encoding="utf-8") for path in UNITS.values())

#: The most that `systemd-analyze security` may find fault with: 10 is a unit without any confinement.
EXPOSURE = 1.5


def value(text, name):
    [found] = re.findall(rf"^{name}=(.*)$", text, re.MULTILINE)
    return found


def given(text):
    """Give the settings of a unit."""
    pairs = dict(each.split("=", 1) for each in value(text, "Environment").split())
    return {name: text.replace("%i", "8080") for name, text in pairs.items() if name.startswith(settings.PREFIX)}


@pytest.fixture(params=UNITS)
def instance(request, tmp_path):
    """Give a unit, of a command that is there."""
    text = UNITS[request.param].read_text(encoding="utf-8")
    path = tmp_path / request.param
    path.write_text(text.replace("/opt/delivery-status/bin/delivery-status", sys.executable), encoding="utf-8")
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


@pytest.mark.parametrize("text", [WORKER, GATEWAY])
def test_it_is_started_again_unless_its_settings_are_wrong(text):
    assert value(text, "Restart") == "always"
    assert int(value(text, "RestartPreventExitStatus")) == EXIT_USAGE


def test_settings_are_known_and_right():
    chosen = settings.load(given(WORKER))
    assert (chosen.http_port, chosen.log_format) == (8080, "json")
    assert chosen.store_path == f"%S/{value(WORKER, 'StateDirectory').replace('%i', '8080')}"
    assert settings.load(given(GATEWAY)).log_format == "json"


def test_they_run_a_worker_and_a_gateway():
    assert value(WORKER, "ExecStart").split()[1] == "worker"
    assert value(GATEWAY, "ExecStart").split()[1:3] == ["gateway", "--config"]


def test_a_worker_has_the_time_to_stop_in_good_order():
    assert float(value(WORKER, "TimeoutStopSec")) > settings.Settings().commit_timeout


def test_the_gateways_file_and_secrets_are_credentials_and_its_spool_is_in_its_folder():
    credential, folder = value(GATEWAY, "LoadCredential").split(":")
    assert value(GATEWAY, "ExecStart").endswith(f" %d/{credential}_gateway.toml")
    assert f"file:{credential}_twilio-token" in GATEWAY
    assert f"{folder}/twilio-token" in GATEWAY
    assert f'spool = "/var/lib/{value(GATEWAY, "StateDirectory")}/' in GATEWAY
