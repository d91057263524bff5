"""The docs say what the code does."""

import importlib.util
import json
import re
from pathlib import Path

import msgspec
import pytest

from processor.domain.delivery import Action, Cause, Control, State
from processor.domain.event import Event
from processor.domain.reason import HARD, SOFT, Reason
from processor.domain.status import Channel
from processor.domain.transitions import NODE_NAMES, REOPENING, TRANSITIONS, Node
from processor.gateway.dialects import DIALECTS
from processor.providers import ADAPTERS, PROVIDERS, mmg
from processor.wire.control import decode_control
from processor.wire.events import decode_event

ROOT = Path(__file__).resolve().parent.parent
EVENTS = ROOT / "docs" / "events.md"
DELIVERIES = ROOT / "docs" / "deliveries.md"


def load_generator():
    spec = importlib.util.spec_from_file_location("docs_generate", ROOT / "docs" / "generate.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


generate = load_generator()
WHOLE_PAGES = [page for page in generate.PAGES if page.section is None]


@pytest.mark.parametrize("page", generate.PAGES, ids=lambda page: page.path)
def test_what_follows_from_the_code_is_up_to_date(page):
    path = ROOT / page.path
    if page.section is not None and not path.exists():
        pytest.skip(f"there is no {page.path}")
    present = path.read_text(encoding="utf-8")
    assert generate.renew(page, present) == present, "run: python docs/generate.py"


# The generator


@pytest.fixture
def copy(tmp_path, monkeypatch):
    """Let the generator write elsewhere."""
    monkeypatch.setattr(generate, "ROOT", tmp_path)
    (tmp_path / "docs").mkdir()
    return tmp_path


@pytest.mark.slow
def test_the_check_shows_what_is_out_of_date_and_changes_nothing(copy, capsys):
    assert generate.main([]) == 0
    page = copy / "docs" / "statuses.md"
    page.write_text(page.read_text(encoding="utf-8").replace("Väntande", "Väntar"), encoding="utf-8")
    capsys.readouterr()
    assert generate.main(["--check"]) == 1
    shown = capsys.readouterr().out
    assert "-| `pending` | Pending | Väntar " in shown
    assert "+| `pending` | Pending | Väntande " in shown
    assert "Väntar " in page.read_text(encoding="utf-8")


@pytest.mark.slow
def test_what_was_written_is_up_to_date(copy, capsys):
    assert generate.main(["--check"]) == 1
    assert generate.main([]) == 0
    assert generate.main(["--check"]) == 0
    written = {path.relative_to(copy).as_posix() for path in copy.rglob("*") if path.is_file()}
    assert written == {page.path for page in WHOLE_PAGES}


@pytest.mark.parametrize("end", ["<!-- settings -->", "<!-- /settings -->"])
def test_a_section_is_written_between_its_markers_only(end):
    page = generate.Page("README.md", lambda: "| new |\n", "settings")
    present = f"# Before\n\n<!-- settings -->\n| old |\n{end}\n\nAfter.\n"
    assert generate.renew(page, present) == f"# Before\n\n<!-- settings -->\n\n| new |\n\n{end}\n\nAfter.\n"


def test_a_page_without_the_markers_of_its_section_stays_as_it_is():
    page = generate.Page("README.md", lambda: "| new |\n", "settings")
    assert generate.renew(page, "# Before\n") == "# Before\n"


# The pages


@pytest.mark.parametrize("channel", list(Channel))
def test_the_diagram_of_a_channel_draws_all_of_its_table_and_nothing_else(channel):
    arrows = [re.fullmatch(r" {4}(\S+) --> (\S+?)(: new attempt)?", line) for line in generate.diagram(channel)][1:]
    drawn = {(arrow[1], arrow[2]) for arrow in arrows if not arrow[3] and "[*]" not in arrow.groups()}
    table = TRANSITIONS[channel]
    assert drawn == {(NODE_NAMES[node], NODE_NAMES[after]) for node, afters in table.items() for after in afters}
    ends = {arrow[1] for arrow in arrows if arrow[2] == "[*]"}
    assert ends == {NODE_NAMES[node] for node, afters in table.items() if not afters}
    reopened = {arrow[2] for arrow in arrows if arrow[3]}
    possible = (REOPENING & set(table)) - table[Node.FAILED_GAVE_UP]
    assert reopened == {NODE_NAMES[node] for node in possible}


def test_every_metric_and_its_labels_are_described():
    described = {metric.name: [label.name for label in metric.labels] for metric in generate.exported()}
    assert described["delivery_events_total"] == ["channel", "provider", "verdict"]
    assert described["delivery_lag_records"] == ["topic", "partition"]
    assert described["delivery_commit_seconds"] == ["stage"]
    assert described["delivery_conservation_error"] == []


@pytest.mark.parametrize("provider", PROVIDERS)
def test_the_page_of_a_provider_shows_every_status_and_what_people_need(provider):
    page = (ROOT / "docs" / "providers" / f"{provider}.md").read_text(encoding="utf-8")
    sections = re.findall(r"^## (.*)$", page, re.MULTILINE)
    webhook = ["Webhook"] if provider in DIALECTS else []
    assert sections[: 4 + len(webhook)] == ["What is needed", *webhook, "Signature", "Traps", "Statuses"]
    statuses = page.partition("## Statuses")[2]
    assert all(f"| `{native}` |" in statuses for native in ADAPTERS[provider].table)
    assert "## Source" in page


def test_the_matrix_has_a_row_for_every_provider():
    matrix = (ROOT / "docs" / "providers" / "README.md").read_text(encoding="utf-8")
    assert sorted(re.findall(r"^\| \[(\w+)\]\(\1\.md\) \|", matrix, re.MULTILINE)) == list(PROVIDERS)


def test_a_comment_is_found_beside_its_row_and_above_it():
    said = generate.provider_pages.comments_of(mmg)["TABLE"]
    assert said["3/2"] == "delivered to the operator"
    assert said["4"] == "A temporary condition outlived the tries."


@pytest.fixture
def example():
    """The event that docs/events.md shows."""
    return re.search(r"```json\n(.*?)```", EVENTS.read_text(encoding="utf-8"), re.DOTALL)[1]


def test_the_example_of_an_event_is_valid_and_shows_every_field(example):
    event, node, _ = decode_event(example.encode(), None)
    assert node is Node.FAILED
    shown = json.loads(example)
    # A mail has no parts, and publishers do not read payloads.
    assert set(shown) == set(Event.__struct_fields__) - {"part", "parts", "from_payload"}
    assert set(shown["reason"]) == set(Reason.__struct_fields__)
    assert msgspec.json.decode(msgspec.json.encode(event), type=Event) == event


def test_the_table_of_fields_names_every_field_and_which_are_required():
    rows = re.findall(r"^\| `(\S+)` \| (yes|no) \|", EVENTS.read_text(encoding="utf-8"), re.MULTILINE)
    fields = {field.name: "yes" if field.required else "no" for field in msgspec.structs.fields(Event)}
    assert dict(rows) == fields | dict.fromkeys((f"reason.{name}" for name in Reason.__struct_fields__), "no")


def test_the_example_of_a_control_record_is_valid_and_shows_every_field():
    page = DELIVERIES.read_text(encoding="utf-8")
    example = re.search(r"```json\n(.*?)```", page, re.DOTALL)[1]
    assert decode_control(example.encode(), None).delivery_id == "DM1042"
    assert set(json.loads(example)) == set(Control.__struct_fields__)
    rows = re.findall(r"^\| `(\S+)` \| (yes|no) \|", page, re.MULTILINE)
    assert dict(rows) == {field.name: "yes" if field.required else "no" for field in msgspec.structs.fields(Control)}


def test_every_action_state_and_cause_is_described():
    page = DELIVERIES.read_text(encoding="utf-8")
    assert all(f"`{member.value}`" in page for member in (*Action, *State, *Cause))
    assert all(f"`{category.value}`" in page for category in (*HARD, *SOFT))


def test_links_between_pages_lead_somewhere():
    for page, anchor in re.findall(r"\]\(([\w.]+\.md)#?([\w-]*)\)", EVENTS.read_text(encoding="utf-8")):
        headings = re.findall(r"^#+ (.*)$", (EVENTS.parent / page).read_text(encoding="utf-8"), re.MULTILINE)
        assert not anchor or anchor in {
            re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings
        }
