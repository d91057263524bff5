"""The pages of the providers: each adapter's docstring and tables, and what its samples show that it can do."""  # noqa: INP001 - a script's, in no package

from __future__ import annotations

import ast
import inspect
import io
import json
import re
import tokenize
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timezone
from functools import cache
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

from processor.domain.event import Event
from processor.domain.reason import Category
from processor.domain.status import Channel, Permanence, Status
from processor.gateway.consoles import SETUPS, WAYS, steps_of
from processor.gateway.dialects import DIALECTS
from processor.gateway.verifiers import IN_ADDRESS, SIGNATURES
from processor.providers import ADAPTERS, read, reasons
from processor.providers.adapter import Adapter, Context, Means, elements_of

CHANNEL_NAMES = {Channel.EMAIL: "E-mail", Channel.SMS: "SMS"}

SAMPLES = Path(__file__).resolve().parent.parent / "tests" / "providers" / "samples"

#: Paragraphs of an adapter's docstring that begin with one of these are sections of its page.
SECTIONS = {
    "Source": "Source",
    "In the console": "What is needed",
    "In its configuration": "What is needed",
    "Signature": "Signature",
    "Traps": "Traps",
}
_LABEL = re.compile(r"(Source|In the console|In its configuration|At [A-Z]\w+|Signature|Traps):\s+")


class Description(NamedTuple):
    """What an adapter's docstring says."""

    summary: str
    text: tuple[str, ...]
    #: By the title of the section.
    sections: Mapping[str, str]


def description_of(module: ModuleType) -> Description:
    """Divide an adapter's docstring into its first sentence, its text and its sections."""
    summary, *paragraphs = re.split(r"\n\n+", inspect.getdoc(module) or "")
    text: list[str] = []
    sections: dict[str, str] = {}
    for paragraph in paragraphs:
        label = _LABEL.match(paragraph)
        if label is None:
            text.append(paragraph)
        else:
            said = paragraph[label.end() :]
            sections[SECTIONS.get(label[1], "What is needed")] = said[:1].upper() + said[1:]
    return Description(summary, tuple(text), sections)


# Tables with their comments


def comments_of(module: ModuleType) -> dict[str, dict[str, str]]:
    """Return the comment of every row of every table of a module, by the table's name and the row's key.

    It stands above the row, or beside it; one above several rows is told at the first.
    """
    source = inspect.getsource(module)
    lines = source.splitlines()
    comments = {
        token.start[0]: token.string.lstrip("#: ")
        for token in tokenize.generate_tokens(io.StringIO(source).readline)
        if token.type == tokenize.COMMENT and not token.string.startswith("# noqa")
    }
    found: dict[str, dict[str, str]] = {}
    for statement in ast.parse(source).body:
        for name, table in _tables(statement):
            rows = found.setdefault(name, {})
            for key, value in zip(table.keys, table.values, strict=True):
                if isinstance(key, ast.Constant):
                    above = _above(lines, key.lineno, comments)
                    beside = [comments[at] for at in _lines(key.lineno, value) if at in comments]
                    rows[str(key.value)] = " ".join([*above, *beside])
    return found


def _tables(statement: ast.stmt) -> Iterator[tuple[str, ast.Dict]]:
    if isinstance(statement, ast.AnnAssign):
        target: ast.expr = statement.target
    elif isinstance(statement, ast.Assign) and len(statement.targets) == 1:
        target = statement.targets[0]
    else:
        return
    if isinstance(target, ast.Name) and statement.value is not None:
        for node in ast.walk(statement.value):
            if isinstance(node, ast.Dict):
                yield target.id, node


def _above(lines: list[str], line: int, comments: Mapping[int, str]) -> list[str]:
    found: list[str] = []
    at = line - 1
    while at in comments and lines[at - 1].lstrip().startswith("#"):
        found.insert(0, comments[at])
        at -= 1
    return found


def _lines(first: int, value: ast.expr) -> range:
    return range(first, (value.end_lineno or first) + 1)


# What a provider can do, by what its samples show


class Feature(NamedTuple):
    """A column of the matrix."""

    name: str
    meaning: str


FEATURES = (
    Feature("batches", "One payload may hold several events of several messages."),
    Feature("recipients", "One id may cover several recipients: the recipient is part of a message's name."),
    Feature("own ids", "Our `message_id` and `delivery_id` can travel along."),
    Feature("event time", "It tells when something happened, with a zone; else the Kafka record's time counts."),
    Feature("still trying", "It tells of failed attempts while it goes on trying (`transient`)."),
    Feature("gave up", "It tells what was given up on from what failed for good."),
    Feature("suppression", "It tells of messages that it never sent (`ignored`)."),
    Feature("engagement", "It also sends opens, clicks, complaints or answers, which are no statuses."),
)


@cache
def shown_by_samples(name: str) -> frozenset[str]:
    """Return the features that an adapter's samples show."""
    adapter = ADAPTERS[name]
    context = Context(datetime(2001, 1, 1, tzinfo=timezone.utc))
    shown: set[str] = set()
    for line in (SAMPLES / f"{name}.jsonl").read_text(encoding="utf-8").splitlines():
        raw = json.loads(line)["raw"]
        events = [found for found in read(name, raw, context) if isinstance(found, Event)]
        shown.update(*(_shown_by(event, context) for event in events))
        if len({event.provider_message_id for event in events}) > 1 or isinstance(raw, list):
            shown.add("batches")
    if adapter.split is not elements_of:
        shown.add("batches")
    if None in adapter.table.values():
        shown.add("engagement")
    return frozenset(shown)


def _shown_by(event: Event, context: Context) -> Iterator[str]:
    reason = event.reason
    if event.recipient is not None and event.message_id.endswith(f":{event.recipient.lower()}"):
        yield "recipients"
    if event.delivery_id is not None:
        yield "own ids"
    if event.time != context.received:
        yield "event time"
    if event.status is Status.IGNORED:
        yield "suppression"
    if reason is not None and reason.permanence is Permanence.TRANSIENT:
        yield "still trying"
    if reason is not None and reason.permanence is Permanence.GAVE_UP:
        yield "gave up"


# Pages


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Return a table in Markdown."""
    names = tuple(head)
    lines = [names, ("---",) * len(names), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', '&#124;') for cell in line)} |" for line in lines) + "\n"


def page(name: str, made_by: str) -> str:
    """Describe one provider."""
    adapter, module = ADAPTERS[name], _module(name)
    described = description_of(module)
    comments = comments_of(module)
    parts = [f"# {name}", made_by, described.summary, f"Channel: {CHANNEL_NAMES[adapter.channel]}."]
    parts += described.text
    for title in dict.fromkeys(SECTIONS.values()):
        if title in described.sections and title != "Source":
            parts += [f"## {title}", described.sections[title]]
        if title == "What is needed" and name in DIALECTS:
            parts += ["## Webhook", *webhook(name)]
    parts += ["## Statuses", "A native status that is in no row is `unknown`: counted, and put aside."]
    said = {**_standard_comments(), **comments.get("TABLE", {})}
    rows = (
        (f"`{native}`", *_meaning(means), _sentence(said.get(native, ""))) for native, means in adapter.table.items()
    )
    parts.append(table(("native", "status", "permanence", "category", "meaning"), rows).rstrip())
    for title, codes in _codes(module):
        told = comments.get(title, {})
        rows_of_codes = (
            (f"`{code}`", *(f"`{kind.value}`" if kind is not None else "" for kind in kinds), told.get(str(code), ""))
            for code, kinds in codes.items()
        )
        parts.append(f"## {title.strip('_').replace('_', ' ').capitalize()}")
        parts.append(table(("code", "permanence", "category", "meaning"), rows_of_codes).rstrip())
    if "Source" in described.sections:
        parts += ["## Source", described.sections["Source"]]
    return "\n\n".join(parts) + "\n"


def webhook(name: str) -> Iterator[str]:
    """Describe, step by step, how the provider is told to call the gateway."""
    schemes = SIGNATURES.get(name, ())
    address = f"https://hooks.example.com/hooks/{name}" + ("?token=SECRET" if IN_ADDRESS in schemes else "")
    way = "signature" if schemes else WAYS[name][0]
    yield (
        f"The [gateway](../gateway.md) takes its calls at the address of a route of `{name}`, as `{address}`."
        " `delivery-status gateway check` writes these steps with the addresses of your routes."
    )
    if not schemes:
        ways = " or ".join(f'`verify = "{one}"`' for one in WAYS[name])
        yield f"It signs nothing: the route has {ways}."
    for setup in SETUPS[name]:
        if setup.product and len(SETUPS[name]) > 1:
            yield f"{setup.product}:"
        steps = steps_of(setup, name, way, address)
        # An address in a text would be a link, and it is an example.
        marked = (re.sub(r"https://\S*[^\s,;:.]", lambda found: f"`{found[0]}`", step) for step in steps)
        yield "\n".join(f"{number}. {step}" for number, step in enumerate(marked, start=1))
    yield f"Then try it: `delivery-status gateway send --provider {name}`."


def _standard_comments() -> dict[str, str]:
    """Return what the standards' tables say of the rows that adapters take from them."""
    said = comments_of(reasons)["COMMAND_STATUS"]
    return {row[0]: said[str(code)] for code, row in reasons.COMMAND_STATUS.items()}


def _module(name: str) -> ModuleType:
    return import_module(f"processor.providers.{name}")


def _meaning(means: Means | None) -> tuple[str, str, str]:
    if means is None:
        return "no status", "", ""
    return (
        f"`{means.status.value}`",
        f"`{means.permanence.value}`" if means.permanence is not None else "",
        f"`{means.category.value}`" if means.category is not None else "",
    )


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


_Kinds = tuple["Permanence | None", "Category | None"]


def _codes(module: ModuleType) -> Iterator[tuple[str, dict[object, _Kinds]]]:
    """Yield a module's own tables of codes: what they say of how final a failure is, and of its kind."""
    for name, value in vars(module).items():
        if name == "TABLE" or not name.isupper() or not isinstance(value, dict) or not value:
            continue
        if getattr(reasons, name, None) is value:
            continue
        kinds = {code: _kinds(row) for code, row in value.items()}
        known = {code: kind for code, kind in kinds.items() if kind is not None}
        if len(known) == len(kinds):
            yield name, known


def _kinds(row: object) -> _Kinds | None:
    if row is None or isinstance(row, Category):
        return None, row
    if isinstance(row, tuple) and len(row) == 2:
        permanence, category = row
        if (permanence is None or isinstance(permanence, Permanence)) and isinstance(category, Category | None):
            return permanence, category
    return None


def matrix(made_by: str) -> str:
    """Compare what the providers tell."""
    parts = [
        "# Providers",
        made_by,
        "Each has a page with its statuses, what it needs and its traps.",
        "To add one: [ADDING_A_PROVIDER.md](ADDING_A_PROVIDER.md).",
    ]
    for channel in Channel:
        parts.append(f"## {CHANNEL_NAMES[channel]}")
        rows = (_row(adapter) for adapter in ADAPTERS.values() if adapter.channel is channel)
        parts.append(table(("provider", *(feature.name for feature in FEATURES), "signature"), rows).rstrip())
    parts.append("## What the columns mean")
    parts.append(
        "They follow from the samples in `tests/providers/samples`: what none of them shows is not claimed.\n"
        "A signature is for whoever receives the web hook to check, before it gets to Kafka."
    )
    parts.append("\n".join(f"- **{feature.name}**: {feature.meaning}" for feature in FEATURES))
    return "\n\n".join(parts) + "\n"


def _row(adapter: Adapter) -> tuple[str, ...]:
    shown = shown_by_samples(adapter.name)
    signature = description_of(_module(adapter.name)).sections.get("Signature", "")
    cells = ("yes" if feature.name in shown else "" for feature in FEATURES)
    return (f"[{adapter.name}]({adapter.name}.md)", *cells, " ".join(signature.split()))
