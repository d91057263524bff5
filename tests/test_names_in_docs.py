"""What documents, texts and operations name is there: commands, routes, metrics, settings, topics, files, packages."""

import re
import shlex
from pathlib import Path
from typing import NamedTuple

import click
import pytest
import yaml

from processor import settings
from processor.cli import COMMANDS, cli
from processor.web.routes import ROUTES
from processor.wire import topics
from tests.test_docs import generate

ROOT = Path(__file__).resolve().parent.parent
#: Folders and files in which people read what there is. CHANGELOG.md is left out: it may name what was.
READ = ("README.md", "CONTRIBUTING.md", "SECURITY.md", "Makefile", "Dockerfile", "docker-compose.yml", ".env.example")
FOLDERS = ("docs", "ops", "schemas", "processor", "benchmarks")
KINDS = {".md", ".py", ".yml", ".yaml", ".json", ".html", ".service", ".example"}


class Mention(NamedTuple):
    """A name, and where it stands."""

    place: str
    name: str


def texts() -> dict[str, str]:
    paths = [ROOT / name for name in READ]
    for folder in FOLDERS:
        paths += sorted(path for path in (ROOT / folder).rglob("*") if path.is_file() and path.suffix in KINDS)
    found = {path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8") for path in paths}
    # A string of the code may go on in the next line.
    return {
        name: re.sub(r'"\n\s+f?"', "", text) if name.endswith(".py") else text
        for name, text in found.items()
        if not name.startswith(("benchmarks/results/", "benchmarks/."))
    }


TEXTS = texts()
PAGES = {name: text for name, text in TEXTS.items() if name.endswith(".md")}
#: What people read, as opposed to what runs.
PROSE = {
    name: text
    for name, text in TEXTS.items()
    if not name.startswith("processor/") or name.startswith(("processor/cli/", "processor/web/page/"))
}


#: Our code, whose docstrings and comments point to other files.
CODE = {name: text for name, text in TEXTS.items() if name.startswith("processor/") and name.endswith(".py")}


def mentions(pattern: str, where: dict[str, str]) -> list[Mention]:
    expression = re.compile(pattern, re.MULTILINE)
    return sorted({Mention(place, found) for place, text in where.items() for found in expression.findall(text)})


def unknown(found: list[Mention], known) -> list[Mention]:
    assert found, "the pattern finds nothing any more"
    return [mention for mention in found if mention.name not in known]


# Commands

#: In backticks or quotation marks, where it may go on in the next line.
QUOTED = r"[`“”]delivery-status\s([a-z-][^`”]*)[`”]"
#: On a line of its own, or as a program with its path; up to what the shell takes next.
ALONE = r"(?:^ {4,}(?:\$ )?|bin/|BIN\)/)delivery-status ([a-z-].*?)\s*(?:[#|>&]|$)"


def problem_of(line: str) -> str | None:
    """Say what a command line asks for that is not there."""
    words = shlex.split(line)
    command = cli
    while isinstance(command, click.Group) and words and not words[0].startswith("-"):
        name = words.pop(0)
        command = command.get_command(click.Context(command), name)
        if command is None:
            return f"no command {name}"
    options = {name: option for option in command.get_params(click.Context(command)) for name in option.opts}
    while words:
        name, _, value = words.pop(0).partition("=")
        if not name.startswith("-"):
            continue
        if name not in options:
            return f"no option {name}"
        if not options[name].is_flag and not value and words:
            words.pop(0)
    return None


def command_lines(where: dict[str, str]) -> list[Mention]:
    return [*mentions(QUOTED, where), *mentions(ALONE, where)]


def test_every_command_line_is_one_of_ours():
    lines = command_lines(TEXTS)
    assert len(lines) > 40
    assert [(line, problem) for line in lines if (problem := problem_of(" ".join(line.name.split())))] == []


def test_the_readme_names_every_command():
    assert [name for name in COMMANDS if not re.search(rf"`{name}\b", TEXTS["README.md"])] == []


@pytest.mark.parametrize("line", ["dead bury", "topics drop", "export --everything", "--verbose", "message -x ID"])
def test_a_command_line_that_is_none_is_found(line):
    assert problem_of(line)


@pytest.mark.parametrize(
    "text",
    ["run `delivery-status dead list`, then", "    delivery-status dead list   # why", "“delivery-status dead list”",
     "`delivery-status dead\nlist`", "ExecStart=/opt/bin/delivery-status dead list\n"],
)  # fmt: skip
def test_a_command_line_is_found_wherever_it_stands(text):
    assert [mention.name.split() for mention in command_lines({"a.md": text})] == [["dead", "list"]]


# Routes


def served() -> set[str]:
    """Give every route that the server has, as it is declared."""
    source = "\n".join(
        text for name, text in TEXTS.items() if name.startswith("processor/web/") and "alerts" not in name
    )
    literal = re.findall(r'\.add_(?:get|post)\(\s*"(/[^"]*)"', source)
    plain = [re.sub(r"\{(\w+):[^}]*\}", r"{\1}", path) for path in literal]
    return {route.path for route in ROUTES} | {path for path in plain if not path.startswith("/{")}


def is_served(path: str) -> bool:
    """Say whether a path, or one that begins with it if it ends in a slash, is served."""
    if path.endswith("/") and any(route.startswith(path) for route in (*served(), "/internal/")):
        return True
    patterns = (re.sub(r"\\\{\w+\\\}", "[^/]+", re.escape(route)) for route in served())
    return any(re.fullmatch(pattern, path) for pattern in patterns)


BEGINNINGS = "api|metrics|livez|readyz|deliveries|messages|statuses|find|login|logout|internal"
ROUTE = rf"(?:(?<=[`\s(])|(?<=:\d{{4}}))(/(?:{BEGINNINGS})(?:[\w/{{}}.-]*[\w/}}])?)(?![\w-])"


#: A route of Grafana's.
THEIRS = [Mention("docker-compose.yml", "/api/health")]


def test_every_route_that_is_named_is_served():
    assert [
        mention for mention in mentions(ROUTE, PROSE) if not is_served(mention.name) and mention not in THEIRS
    ] == []


@pytest.mark.parametrize("path", ["/api/v1/dead", "/api/v2/", "/messages/a/b", "/healthz"])
def test_a_route_that_is_not_served_is_found(path):
    assert not is_served(path)


def test_every_route_is_in_the_page_of_the_api():
    page = TEXTS["docs/api.md"]
    assert [route for route in sorted(served()) if f"{route}`" not in page] == []


# Metrics, settings, topics


def test_every_metric_that_is_named_is_exported():
    exported = {metric.name for metric in generate.exported()}
    parts = {f"{name}{suffix}" for name in exported for suffix in ("_bucket", "_sum", "_count")}
    fields = {"delivery_id", "delivery_id_names"}
    shadow = {name.replace("delivery_", "delivery_shadow_", 1) for name in ("delivery_", *exported)}
    where = {
        name: text
        for name, text in TEXTS.items()
        # Those of providers have native statuses that look like ours.
        if re.match(r"README|CONTRIBUTING|docs/(?!providers/)|ops/(grafana|prometheus|alertmanager)/", name)
    }
    found = mentions(r"(?<![\w:-])(delivery_[a-z_]+)(?![\w:{]*:)\b", where)
    rules = {
        rule.get("record", rule.get("alert", "")).lower()
        for name, text in TEXTS.items()
        if name.startswith("ops/prometheus/rules/")
        for group in yaml.safe_load(text)["groups"]
        for rule in group["rules"]
    }
    assert unknown(found, exported | parts | fields | rules | shadow) == []


def test_every_setting_that_is_named_is_one():
    names = {settings.PREFIX + name.upper() for name in settings.FIELDS}
    files = {f"{settings.PREFIX}{name.upper()}_FILE" for name, field in settings.FIELDS.items() if field.is_secret}
    groups = {f"{settings.PREFIX}{group}_" for group in ("SASL", "TLS")}
    # Kubernetes sets it, and it is told not to.
    foreign = settings.FOREIGN_NAMES | {"DELIVERY_STATUS_SERVICE_HOST"}
    # Those of providers have native statuses that look like ours.
    where = {name: text for name, text in PROSE.items() if not re.match(r"docs/providers/[a-z]", name)}
    assert unknown(mentions(r"\b(DELIVERY_[A-Z_]+)", where), names | files | groups | foreign) == []


def test_every_topic_that_is_named_is_declared():
    declared = {topic.name for topic in topics.TOPICS}
    assert unknown(mentions(r"\b(?:delivery\.)?([a-z_]+\.v\d)\b(?!\.)", PROSE), declared) == []


# Files and packages

#: What is made here and not kept, and examples of names.
MADE = {"benchmarks/results", "processor/providers/NAME.py", "tests/providers/samples/NAME.jsonl"}


def test_every_file_that_is_named_exists():
    named = mentions(
        r"(?<![\w/.-])((?:processor|tests|docs|ops|schemas|benchmarks|locks)/[\w./-]*\w)(?![\w*{<])", TEXTS
    )
    assert [each for each in named if each.name not in MADE and not (ROOT / each.name).exists()] == []


def test_every_module_that_is_named_exists():
    named = mentions(r"(?<![\w/.-])((?:domain|engine|stages|views|web|cli|simulate)/[\w/]+\.py)\b", TEXTS)
    assert [each for each in named if not (ROOT / "processor" / each.name).exists()] == []


#: Files of the programs whose formats adapters read.
FOREIGN_FILES = re.compile(r"(app|gw|jasmin)/")


def file_of(name: str, place: str) -> Path | None:
    """Give the file that a docstring or comment names: beside it, in a package that it is in, or from the root."""
    folders = [*(ROOT / place).parents][: place.count("/") + 1]
    return next((each / name for each in [*folders, ROOT / "processor"] if (each / name).is_file()), None)


def test_every_file_that_code_points_to_is_there():
    named = mentions(r"(?<![\w./*-])([a-z_][\w/]*\.py)\b", CODE)
    assert len(named) > 100
    wrong = [each for each in named if not FOREIGN_FILES.match(each.name) and file_of(each.name, each.place) is None]
    assert wrong == []


def test_what_code_points_to_is_in_the_file_that_it_names():
    pointed = [
        (place, *found)
        for place, text in CODE.items()
        for found in re.findall(r"`([\w.]+)`,? (?:in|of|\()\s*(?:\#:? )?`?([a-z_][\w/]*\.py)\b", text)
    ]
    assert len(pointed) > 5
    assert [
        (place, name, path)
        for place, name, path in pointed
        if (file := file_of(path, place)) is None
        or not re.search(rf"\b{name.rpartition('.')[2]}\b", file.read_text(encoding="utf-8"))
    ] == []


def test_every_function_that_contributing_names_is_in_its_file():
    places = re.findall(r"((?:`\w+`(?: and |, | of )?)+) in `(processor/[\w/]+\.py)`", TEXTS["CONTRIBUTING.md"])
    assert len(places) > 5
    assert [
        (name, path)
        for names, path in places
        for name in re.findall(r"`(\w+)`", names)
        if not re.search(rf"\b{name}\b", TEXTS.get(path, ""))
    ] == []


def test_every_part_of_the_engine_that_its_docstring_names_is_there():
    engine = ROOT / "processor" / "engine"
    named = set(re.findall(r"\b(\w+)\.py\b", TEXTS["processor/engine/__init__.py"].partition('"""\n')[0]))
    there = {path.stem for path in engine.glob("*.py") if path.stem != "__init__"}
    assert named == there


def test_contributing_names_every_package_and_module():
    parts = [path for path in (ROOT / "processor").iterdir() if not path.name.startswith(("_", "."))]
    there = [path.name if path.suffix == ".py" else f"{path.name}/" for path in parts if path.suffix in {"", ".py"}]
    assert [name for name in sorted(there) if f"`{name}`" not in TEXTS["CONTRIBUTING.md"]] == []


def test_every_link_leads_to_a_file():
    broken = [
        (name, target)
        for name, text in PAGES.items()
        for target in re.findall(r"\]\(([^)#\s]+)", text)
        if not re.match(r"\w+:", target) and not (ROOT / name).parent.joinpath(target).exists()
    ]
    assert broken == []
