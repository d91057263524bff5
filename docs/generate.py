"""Write the pages, and the parts of pages, that follow from the code.

    python docs/generate.py            writes what is out of date
    python docs/generate.py --check    changes nothing; shows what is out of date, and exits with 1 if anything is

A further page is one function here and one line in PAGES.
"""  # noqa: INP001 - a script, in no package

from __future__ import annotations

import difflib
import inspect
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from enum import Enum
from functools import partial
from pathlib import Path
from textwrap import indent
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
# What is described is the code beside this file, whether or not another version is installed.
DOCS = ROOT / "docs"
sys.path[:0] = [str(ROOT), str(DOCS)]

import api_page  # noqa: E402
import provider_pages  # noqa: E402
from provider_pages import CHANNEL_NAMES, table  # noqa: E402

from processor import settings  # noqa: E402
from processor.cli import sizing  # noqa: E402
from processor.domain.fold import Verdict  # noqa: E402
from processor.domain.reason import ADOBE_CODES, Category  # noqa: E402
from processor.domain.status import DEFINITIONS, Channel, Permanence  # noqa: E402
from processor.domain.transitions import NODE_NAMES, REOPENING, TRANSITIONS, Node  # noqa: E402
from processor.gateway.dialects import DIALECTS  # noqa: E402
from processor.gateway.verifiers import SIGNATURES  # noqa: E402
from processor.metrics import GatewayMetrics, Metrics  # noqa: E402
from processor.providers import PROVIDERS  # noqa: E402
from processor.stages import STAGE_NAMES  # noqa: E402
from processor.wire.deadletters import DeadReason  # noqa: E402

MADE_BY = "<!-- Made by docs/generate.py from the code: change that, not this. -->"


class Page(NamedTuple):
    """A file that is written here, or one section of it: what stands between `<!-- section -->` and its like."""

    path: str
    write: Callable[[], str]
    section: str | None = None


# Pieces


def code(names: Iterable[str]) -> str:
    """Return names as code, separated by commas."""
    return ", ".join(f"`{name}`" for name in names)


def meanings(vocabulary: type[Enum]) -> dict[str, str]:
    """Return what the `#:` comments of a vocabulary say of each value."""
    found: dict[str, str] = {}
    said: list[str] = []
    for line in map(str.strip, inspect.getsource(vocabulary).splitlines()):
        if line.startswith("#: "):
            said.append(line.removeprefix("#: "))
        elif said:
            found[vocabulary[line.partition(" = ")[0]].value] = " ".join(said)
            said = []
    missing = [member.value for member in vocabulary if member.value not in found]
    if missing:
        raise LookupError(f"{vocabulary.__name__} does not say what {', '.join(missing)} means")
    return found


def node_names(nodes: Iterable[Node]) -> list[str]:
    """Return the names of nodes, in order of rank."""
    return [NODE_NAMES[node] for node in sorted(nodes)]


# Statuses


def statuses() -> str:
    """Describe statuses, transitions, verdicts and reasons."""
    return "\n".join(
        (
            "# Statuses",
            "",
            MADE_BY,
            "",
            "A *message* is one message to one recipient, and has one status. A *delivery* is the send that it belongs",
            "to; it has counts of messages by status.",
            "",
            "## The ten statuses",
            "",
            table(
                ("name", "English", "Swedish", "meaning", "channels"),
                (
                    (
                        f"`{status.value}`",
                        definition.english,
                        definition.swedish,
                        definition.meaning,
                        "all"
                        if len(definition.channels) == len(Channel)
                        else code(sorted(channel.value for channel in definition.channels)),
                    )
                    for status, definition in DEFINITIONS.items()
                ),
            ),
            "## How final a failure is",
            "",
            "`reason.permanence` says it. `failed` without one counts as `permanent`.",
            "",
            table(("permanence", "meaning"), ((f"`{name}`", text) for name, text in meanings(Permanence).items())),
            "## What may follow what",
            "",
            "A row means: these may come after it, directly, or because the steps between were never reported.",
            "`failed_gave_up` is `failed` with permanence `gave_up`; `failed` is final.",
            "",
            *(line for channel in Channel for line in transitions(channel)),
            "### A new attempt",
            "",
            "A new attempt reopens a failure that was given up: from `failed_gave_up`, an event of a higher `attempt`",
            f"may also move the message to {code(node_names(REOPENING))}, where its channel has them.",
            "",
            "### What decides the status",
            "",
            "Not the order of arrival. All that was reported of a message is sorted by attempt, then by event time,",
            "then by this rank, and walked by the tables from the start:",
            "",
            f"{code(NODE_NAMES)}.",
            "",
            "What may not follow is *late* when the message has already passed it (then the present status may follow",
            "it), else it is *rejected*: the two contradict each other, and the earlier one stands.",
            "",
            "## Verdicts",
            "",
            "What one event did. A verdict may depend on the order of arrival; a status does not.",
            "",
            table(("verdict", "meaning"), ((f"`{name}`", text) for name, text in meanings(Verdict).items())),
            "## Categories of reasons",
            "",
            table(
                ("category", "Adobe's code"),
                ((f"`{category.value}`", str(ADOBE_CODES.get(category, "none"))) for category in Category),
            ),
        )
    )


def transitions(channel: Channel) -> Iterator[str]:
    """Yield the table and the diagram of a channel."""
    yield f"### {CHANNEL_NAMES[channel]}"
    yield ""
    yield table(
        ("after", "may come"),
        (
            (f"`{NODE_NAMES[node]}`", code(node_names(afters)) or "nothing")
            for node, afters in TRANSITIONS[channel].items()
        ),
    )
    yield "```mermaid"
    yield from diagram(channel)
    yield "```"
    yield ""


def diagram(channel: Channel) -> Iterator[str]:
    """Draw a channel's table in Mermaid: every transition of it is an arrow, and what is final leads to the end."""
    nodes = TRANSITIONS[channel]
    yield "stateDiagram-v2"
    yield f"    [*] --> {NODE_NAMES[Node.PENDING]}"
    for node, afters in nodes.items():
        for after in node_names(afters):
            yield f"    {NODE_NAMES[node]} --> {after}"
        if not afters:
            yield f"    {NODE_NAMES[node]} --> [*]"
    for node in node_names((REOPENING & nodes.keys()) - nodes[Node.FAILED_GAVE_UP]):
        yield f"    {NODE_NAMES[Node.FAILED_GAVE_UP]} --> {node}: new attempt"


# Metrics


class Label(NamedTuple):
    """A label, and the values that are known before traffic comes."""

    name: str
    values: tuple[str, ...]


class Metric(NamedTuple):
    """What a metric is to those who query it."""

    name: str
    kind: str
    labels: tuple[Label, ...]
    help: str


#: Labels of samples that are no labels of the metric.
_OF_HISTOGRAMS = {"le"}


def metrics() -> str:
    """Describe every metric and every label."""
    known = list(exported())
    users: dict[Label, list[str]] = {}
    for metric in known:
        for label in metric.labels:
            users.setdefault(label, []).append(metric.name)
    # Most labels have the same values wherever they occur; the others say where.
    names = [label.name for label in users if label.values]
    rows = [
        (f"`{label.name}`" + (f" of {code(where)}" if names.count(label.name) > 1 else ""), code(label.values))
        for label, where in users.items()
        if label.values
    ]
    open_ended = [
        (f"{code(label.name for label in metric.labels)} of `{metric.name}`", "known only as traffic comes")
        for metric in known
        if not all(label.values for label in metric.labels)
    ]
    return "\n".join(
        (
            "# Metrics",
            "",
            MADE_BY,
            "",
            "A gateway exports those of webhooks and of its spool, a worker the others, counted per chunk after its",
            "transaction has been committed. No label holds ids, recipients or texts.",
            "Every label set that is known without traffic is exported from the start, at 0. Both export `process_*`,",
            "too: CPU time, memory, open files and start of the process, as clients of Prometheus do.",
            "",
            table(
                ("metric", "type", "labels", "meaning"),
                (
                    (f"`{metric.name}`", metric.kind, code(label.name for label in metric.labels), metric.help)
                    for metric in known
                ),
            ),
            "## Labels",
            "",
            table(("label", "values"), [*rows, *open_ended]),
        )
    )


def exported() -> Iterator[Metric]:
    """Yield every metric of a worker and of a gateway, by name."""
    registry, of_gateway = Metrics(STAGE_NAMES).registry, GatewayMetrics().registry
    # Where both have a metric, it is the same.
    families = {family.name: family for family in (*of_gateway.collect(), *registry.collect())}
    for _, family in sorted(families.items()):
        if family.name.startswith("process_"):
            # Which there are depends on the system.
            continue
        values: dict[str, set[str]] = {}
        for sample in family.samples:
            for name, value in sample.labels.items():
                if name not in _OF_HISTOGRAMS:
                    values.setdefault(name, set()).add(value)
        if not family.samples:
            # A metric with labels and no samples yet tells their names nowhere else.
            collector = registry._names_to_collectors[family.name]  # noqa: SLF001
            values = {name: set() for name in collector.names}
        name = f"{family.name}_total" if family.type == "counter" else family.name
        labels = tuple(Label(label, tuple(sorted(known))) for label, known in values.items())
        yield Metric(name, family.type, labels, family.documentation)


# Events


def dead_letters() -> str:
    """Describe why a record becomes a dead letter."""
    return table(("reason", "meaning"), ((f"`{name}`", text) for name, text in meanings(DeadReason).items()))


# Settings


_SETTINGS = """\
Settings are environment variables. All problems, including misspelt names, are reported at the start, and the command
ends with 2. A secret may be in a file instead: `DELIVERY_SASL_PASSWORD_FILE=/run/secrets/kafka`. A worker that joins
compares the settings that must be the same on all workers ([0014](adr/0014-a-group-agrees-on-its-settings.md)).
"""


def settings_page() -> str:
    """Describe every setting."""
    return f"# Settings\n\n{MADE_BY}\n\n{_SETTINGS}\n{settings.markdown_table()}"


# Webhooks


def webhooks() -> str:
    """Describe how each provider calls."""
    return table(
        ("provider", "calls by", "verified by", "secret", "taken, again, refused", "waits", "mind"),
        (
            (
                f"[{provider}](providers/{provider}.md#webhook)",
                ", ".join(dialect.methods),
                " or ".join(scheme.name for scheme in SIGNATURES.get(provider, ())) or "basic, bearer or header",
                dialect.credential,
                f"{dialect.taken.status}, {dialect.again.status}, {dialect.never.status}",
                f"{dialect.deadline:g}",
                dialect.mind,
            )
            for provider, dialect in DIALECTS.items()
        ),
    )


# Sizes


def sizes() -> str:
    """Tell what four loads need."""
    loads = (1_000_000, 10_000_000, 100_000_000, 1_000_000_000)
    return "\n".join(
        f"With {title}:\n\n"
        + table(
            ("messages a day", *(f"{each // 1_000_000:,} million" for each in loads)),
            (
                (name, *(told(sizing.size_of(sizing.Load(each, store))) for each in loads))
                for name, told in sizing.LINES
            ),
        )
        for store, title in (("rocksdb", "`DELIVERY_STORE=rocksdb`"), ("memory", "the memory store"))
    )


# Rules for the Prometheus operator


def operators_rules() -> str:
    """Wrap each file of rules as the Prometheus operator takes it."""
    labels = {"app.kubernetes.io/name": "delivery-status", **OPERATORS_LABELS}
    written = ["# Made by docs/generate.py from ops/prometheus/rules: change those, not this.\n"]
    for path in sorted((DOCS.parent / "ops" / "prometheus" / "rules").glob("*.yml")):
        groups = path.read_text(encoding="utf-8").partition("\ngroups:\n")[2]
        written.append(
            "---\napiVersion: monitoring.coreos.com/v1\nkind: PrometheusRule\n"
            f"metadata:\n  name: delivery-status-{path.stem}\n  labels:\n"
            + "".join(f"    {name}: {value}\n" for name, value in labels.items())
            + f"spec:\n  groups:\n{indent(groups, '  ')}"
        )
    return "".join(written)


#: By which kube-prometheus, and the chart kube-prometheus-stack, select rules.
OPERATORS_LABELS = {"prometheus": "k8s", "role": "alert-rules", "release": "kube-prometheus-stack"}


PAGES = (
    Page("docs/statuses.md", statuses),
    Page("docs/metrics.md", metrics),
    Page("docs/api.md", partial(api_page.page, MADE_BY)),
    Page("docs/providers/README.md", partial(provider_pages.matrix, MADE_BY)),
    *(Page(f"docs/providers/{name}.md", partial(provider_pages.page, name, MADE_BY)) for name in PROVIDERS),
    Page("docs/events.md", dead_letters, section="dead letters"),
    Page("docs/settings.md", settings_page),
    Page("docs/gateway.md", webhooks, section="webhooks"),
    Page("docs/sizing.md", sizes, section="sizes"),
    Page("ops/kubernetes/components/service-monitor/rules.yaml", operators_rules),
)


def renew(page: Page, present: str) -> str:
    """Return a page as it should be; a page without the markers of its section stays as it is."""
    if page.section is None:
        return page.write()
    parts = re.split(rf"^(<!-- /?{page.section} -->)\n", present, flags=re.MULTILINE)
    if len(parts) != len(("before", "marker", "section", "marker", "after")):
        return present
    parts[2] = f"\n{page.write()}\n"
    return "".join(part + "\n" if index % 2 else part for index, part in enumerate(parts))


def main(arguments: list[str]) -> int:
    """Write or check every page; return the exit code."""
    outdated = 0
    for page in PAGES:
        path = ROOT / page.path
        if page.section is not None and not path.exists():
            continue
        present = path.read_text(encoding="utf-8") if path.exists() else ""
        due = renew(page, present)
        if due == present:
            continue
        outdated += 1
        if "--check" in arguments:
            lines = present.splitlines(keepends=True), due.splitlines(keepends=True)
            sys.stdout.writelines(difflib.unified_diff(*lines, page.path, f"{page.path} (from the code)"))
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(due, encoding="utf-8")
            sys.stdout.write(f"wrote {page.path}\n")
    return 1 if outdated and "--check" in arguments else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
