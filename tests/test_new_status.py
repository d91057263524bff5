"""Who adds a status, or a node: this says what is still missing, all at once.

What it needs besides, its place in the tables of transitions, its traits and its definition, the domain cannot be
imported without.
"""

import json
import re
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

import processor.web.page as page
from processor.domain.reason import CLASSIFICATIONS, Category
from processor.domain.status import DEFINITIONS, Channel, Status
from processor.domain.traits import STUCK_AFTER, TRAITS
from processor.domain.transitions import ANY_PART, LEAST_ADVANCED, NODE_NAMES, TRANSITIONS, Node
from processor.metrics import Metrics
from processor.stages import STAGE_NAMES
from processor.views.messages import WAITS
from processor.web.page import charts, diagram
from processor.web.page.texts import TEXTS

ROOT = Path(__file__).parent.parent
PAGE = Path(page.__file__).parent


def schema(name: str) -> dict:
    return json.loads((ROOT / "schemas" / f"{name}.json").read_text(encoding="utf-8"))


def labels(metric: str, label: str) -> set[str]:
    families = Metrics(STAGE_NAMES).registry.collect()
    return {at.labels[label] for family in families if family.name == metric for at in family.samples}


def found(pattern: str, path: Path) -> set[str]:
    return set(re.findall(pattern, path.read_text(encoding="utf-8"), re.MULTILINE))


#: Where every status must be, by its name on the wire.
OF_STATUSES: dict[str, Callable[[], Iterable[str]]] = {
    "status.DEFINITIONS": lambda: [status.value for status in DEFINITIONS],
    "texts.py, in both languages": lambda: [name for name in Status if all(TEXTS.get(f"meaning.{name.value}", [""]))],
    "charts.ORDER": lambda: charts.ORDER,
    "schemas/event.json": lambda: schema("event")["definitions"]["status"]["enum"],
    "schemas/row.json": lambda: schema("row")["definitions"]["status"]["enum"],
    "schemas/counts.json": lambda: schema("counts")["properties"]["statuses"]["required"],
    "schemas/rejected.json": lambda: schema("rejected")["definitions"]["status"]["enum"],
    "delivery_messages{status}": lambda: labels("delivery_messages", "status"),
}

#: Where every node must be, by its name.
OF_NODES: dict[str, Callable[[], Iterable[str]]] = {
    "transitions, on some channel": lambda: [NODE_NAMES[node] for table in TRANSITIONS.values() for node in table],
    "transitions, for messages of several parts": lambda: [NODE_NAMES[node] for node in ANY_PART + LEAST_ADVANCED],
    "traits.TRAITS": lambda: [NODE_NAMES[node] for node in TRAITS],
    "schemas/row.json": lambda: schema("row")["definitions"]["node"]["enum"],
    "schemas/rejected.json": lambda: schema("rejected")["definitions"]["node"]["enum"],
    "delivery_status_changes_total{to}": lambda: labels("delivery_status_changes", "to"),
    "app.css, a colour": lambda: found(r"^\.s-(\w+) \{", PAGE / "static" / "app.css"),
    "icons.html, a shape": lambda: found(r'<symbol id="i-(\w+)"', PAGE / "templates" / "icons.html"),
    "docs/statuses.md": lambda: found(r"^\| `(\w+)` \|", ROOT / "docs" / "statuses.md"),
}


def missing(names: Iterable[str], places: dict[str, Callable[[], Iterable[str]]]) -> dict[str, set[str]]:
    gaps = {place: set(names) - set(there()) for place, there in places.items()}
    return {place: lacks for place, lacks in gaps.items() if lacks}


def test_every_status_is_everywhere():
    assert missing([status.value for status in Status], OF_STATUSES) == {}


def test_every_node_is_everywhere():
    assert missing(NODE_NAMES, OF_NODES) == {}


@pytest.mark.parametrize("channel", Channel)
def test_every_node_of_a_channel_has_its_place_in_the_diagram(channel):
    assert (
        missing(
            [NODE_NAMES[node] for node in TRANSITIONS[channel]],
            {"diagram.PLACES": lambda: [NODE_NAMES[node] for node in diagram.PLACES[channel]]},
        )
        == {}
    )


def test_wherever_messages_wait_it_is_said_for_what():
    places = {(channel, Node[status.name]) for channel, status in STUCK_AFTER}
    pending = {(channel, Node.PENDING) for channel in Channel}
    assert set(WAITS) == places - pending


def test_every_category_is_classified_and_has_a_text():
    assert list(CLASSIFICATIONS) == list(Category)
    assert missing([f"category.{each.value}" for each in Category], {"texts.py": lambda: TEXTS}) == {}
