"""What comes from outside: every file by its hash, every image by its digest, and a list of all of it."""

import json
import re
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from tests.ops.conftest import ROOT
from tests.tools import require

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
LOCKS = sorted((ROOT / "locks").glob("*.txt"))


class Locked:
    """A lock: what it names, by name, and what is written of each."""

    def __init__(self, path: Path) -> None:
        self.text = path.read_text(encoding="utf-8")
        entries = self.text.replace("\\\n", " ").splitlines()
        self.entries = [entry for entry in entries if entry and not entry.lstrip().startswith("#")]
        self.requirements = [Requirement(entry.partition(" --hash=")[0]) for entry in self.entries]
        self.versions = {canonicalize_name(each.name): pin_of(each) for each in self.requirements}


def pin_of(requirement: Requirement) -> str:
    [specifier] = requirement.specifier
    assert specifier.operator == "==", requirement
    return specifier.version


def constraints() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    found = [Requirement(line) for line in lines if line and not line.startswith("#")]
    return {canonicalize_name(each.name): pin_of(each) for each in found}


def closure(names: set[str], extras: dict[str, set[str]]) -> set[str]:
    """Give names and all that they need, here and now, as what is installed tells it."""
    known: set[str] = set()
    waiting = {canonicalize_name(name) for name in names}
    while waiting:
        name = waiting.pop()
        known.add(name)
        for text in metadata.requires(name) or ():
            needed = Requirement(text)
            wanted = {"", *extras.get(name, ())}
            if needed.marker is None or any(needed.marker.evaluate({"extra": extra}) for extra in wanted):
                extras.setdefault(canonicalize_name(needed.name), set()).update(needed.extras)
                waiting |= {canonicalize_name(needed.name)} - known
    return known


# Hashes


@pytest.mark.parametrize("path", LOCKS, ids=lambda path: path.name)
class TestLocks:
    def test_every_entry_is_one_version_with_hashes(self, path):
        locked = Locked(path)
        assert locked.entries
        for entry in locked.entries:
            assert re.fullmatch(r"[^#@]+?( +--hash=sha256:[0-9a-f]{64})+", entry.rstrip()), entry

    def test_versions_are_those_of_the_constraints(self, path):
        # What only Windows needs is named by resolvers, and never installed here.
        needed = {
            canonicalize_name(each.name): pin_of(each)
            for each in Locked(path).requirements
            if each.marker is None or 'sys_platform == "win32"' not in str(each.marker)
        }
        known = constraints()
        assert {name: known.get(name) for name in needed} == needed, "make lock"

    def test_names_no_place_where_files_are_fetched(self, path):
        assert not re.search(r"://|--(extra-)?index-url|--find-links|--trusted-host", Locked(path).text)


def test_the_lock_of_the_image_is_all_that_a_worker_needs_and_no_more():
    needed = closure({"delivery-status"}, {"delivery-status": {"rocksdb"}}) - {"delivery-status"}
    here = {
        canonicalize_name(each.name)
        for each in Locked(ROOT / "locks/image.txt").requirements
        if each.marker is None or each.marker.evaluate()
    }
    # What one Python needs and another does not is in it without a marker: it harms nobody.
    assert needed <= here, "make lock"
    assert not here & {"pytest", "hypothesis", "ruff", "pip", "uv"}


def test_the_lock_of_the_environment_holds_those_of_the_image_and_the_build():
    development = Locked(ROOT / "locks/development.txt").versions
    for name in ("image", "build"):
        assert Locked(ROOT / f"locks/{name}.txt").versions.items() <= development.items()


def test_every_requirement_of_the_project_is_met_by_its_lock():
    project, groups = PROJECT["project"], PROJECT["dependency-groups"]
    told = [*project["dependencies"], *(each for extra in project["optional-dependencies"].values() for each in extra)]
    told += [each for group in groups.values() for each in group if isinstance(each, str)]
    versions = Locked(ROOT / "locks/development.txt").versions
    for requirement in map(Requirement, told):
        assert Version(versions[canonicalize_name(requirement.name)]) in requirement.specifier, requirement


@pytest.mark.parametrize("name", ["Dockerfile", "Makefile"])
def test_nothing_is_installed_without_hashes_but_what_is_built_here(name):
    text = (ROOT / name).read_text(encoding="utf-8").replace("\\\n", " ")
    installed = re.findall(r"pip(?: --python \S+)? (?:install|wheel) [^\n&]*", text)
    assert len(installed) >= 3
    for command in installed:
        is_ours = "--no-deps" in command and ("--no-build-isolation" in command or "--no-index" in command)
        assert "--require-hashes" in command or is_ours, command


# The list


@pytest.mark.slow
def test_the_bill_of_materials_names_what_is_installed_and_what_needs_it(tmp_path):
    path = tmp_path / "sbom.json"
    command = [sys.executable, "-m", "cyclonedx_py", "environment", "--pyproject", str(ROOT / "pyproject.toml")]
    command += ["--output-reproducible", "--output-file", str(path), sys.executable]
    outcome = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert outcome.returncode == 0, outcome.stderr
    bill = json.loads(path.read_text(encoding="utf-8"))
    root = bill["metadata"]["component"]
    assert (root["name"], root["version"]) == ("delivery-status", PROJECT["project"]["version"])
    found = {canonicalize_name(each["name"]): each for each in bill["components"]}
    needed = closure({"delivery-status"}, {"delivery-status": {"rocksdb"}}) - {"delivery-status"}
    assert needed <= found.keys()
    assert found["aiokafka"]["purl"].startswith(f"pkg:pypi/aiokafka@{found['aiokafka']['version']}")
    depends = {each["ref"]: each.get("dependsOn", ()) for each in bill["dependencies"]}
    assert found["aiokafka"]["bom-ref"] in depends[root["bom-ref"]]


# Images

DIGEST = "sha256:" + "5e" * 32

#: What stands in for docker, and what it is asked.
DOCKER = """#!/bin/sh
echo "$*" >> asked
case "$*" in *grafana/grafana*) {grafana} ;; esac
echo {digest}
"""


@pytest.fixture
def pinned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Pin a copy of the files, as whoever has docker does."""

    def run(*arguments: str, grafana: str = "") -> subprocess.CompletedProcess[str]:
        (tmp_path / "ops").mkdir(exist_ok=True)
        for name in ("Dockerfile", "docker-compose.yml", "ops/pin_images.py"):
            if not (tmp_path / name).exists():
                shutil.copy(ROOT / name, tmp_path / name)
        docker = tmp_path / "docker"
        docker.write_text(DOCKER.format(digest=DIGEST, grafana=grafana))
        docker.chmod(0o755)
        command = [sys.executable, "ops/pin_images.py", *arguments]
        path = {"PATH": f"{tmp_path}:/usr/bin:/bin"}
        return subprocess.run(command, cwd=tmp_path, env=path, capture_output=True, text=True, check=False)

    return run


def images_in(folder: Path) -> list[str]:
    return re.findall(r"^(?:FROM| +image:) (\S+)", "".join(_texts(folder)), re.MULTILINE)


def _texts(folder: Path) -> list[str]:
    return [(folder / name).read_text(encoding="utf-8") for name in ("Dockerfile", "docker-compose.yml")]


def test_every_image_of_others_gets_the_digest_of_its_tag_and_nothing_else_changes(pinned, tmp_path):
    outcome = pinned()
    assert outcome.returncode == 0, outcome.stderr
    found = [image for image in images_in(tmp_path) if not image.startswith("delivery-status:")]
    assert found
    assert all(re.fullmatch(rf"[a-z./-]+:[\w.-]+@{DIGEST}", image) for image in found)
    bare = [re.sub(r"@sha256:[0-9a-f]{64}", "", text) for text in _texts(tmp_path)]
    assert bare == [re.sub(r"@sha256:[0-9a-f]{64}", "", text) for text in _texts(ROOT)]
    asked = (tmp_path / "asked").read_text().splitlines()
    assert len(asked) == len({image.partition("@")[0] for image in found}), "each is asked for once"


def test_pinning_again_renews(pinned, tmp_path):
    pinned()
    for name in ("Dockerfile", "docker-compose.yml"):
        old = (tmp_path / name).read_text().replace(DIGEST, "sha256:" + "00" * 32)
        (tmp_path / name).write_text(old)
    assert pinned().returncode == 0
    assert "sha256:0000" not in "".join(_texts(tmp_path))


def test_what_cannot_be_looked_up_is_said_and_nothing_is_written(pinned, tmp_path):
    outcome = pinned(grafana="echo 'no such manifest' >&2; exit 1")
    assert outcome.returncode == 1
    assert re.match(r"grafana/grafana:\S+: no such manifest", outcome.stderr)
    assert _texts(tmp_path) == _texts(ROOT)


def test_the_check_names_what_has_no_digest(pinned):
    pinned()
    assert pinned("--check").returncode == 0


def test_the_check_fails_for_a_tag_alone(pinned, tmp_path):
    pinned()
    text = (tmp_path / "Dockerfile").read_text()
    (tmp_path / "Dockerfile").write_text(text.replace(f"@{DIGEST}", "", 1))
    outcome = pinned("--check")
    assert outcome.returncode == 1
    assert re.fullmatch(r"Dockerfile: python:\S+ has no digest: make pin-images\n", outcome.stderr)


def test_a_compose_implementation_takes_a_tag_with_its_digest(pinned, tmp_path):
    compose = require("docker-compose")
    pinned()
    names = ("DELIVERY_READ_TOKEN", "DELIVERY_WRITE_TOKEN", "GATEWAY_SECRET", "GRAFANA_PASSWORD")
    secrets = dict.fromkeys(names, "secret")
    environment = {"PATH": "/usr/bin:/bin", **secrets}
    outcome = subprocess.run(
        [compose, "config"], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert outcome.returncode == 0, outcome.stderr
    assert f"@{DIGEST}" in outcome.stdout
