"""What the page says: complete in both languages, and written as each language writes."""

import re
import string
from pathlib import Path

import pytest

import processor.web.page as package
from processor.domain.delivery import Cause, State
from processor.domain.reason import Category
from processor.domain.status import DEFINITIONS, Channel, Permanence, Status
from processor.stages import STAGE_NAMES
from processor.users import Role
from processor.views.dead_letters import LetterState
from processor.views.messages import Wait
from processor.views.steering import FINAL, STEERING, Obstacle
from processor.watch.failing import Failing
from processor.watch.silence import Answering
from processor.web.page.language import LANGUAGES
from processor.web.page.texts import TEXTS
from processor.web.problems import BROKER_AWAY, OWNER_AWAY, REBALANCING, RECOVERING, STARTING
from processor.wire.audit import Deed, Via
from processor.wire.deadletters import DeadReason
from tests.cases import every_case

ENGLISH, SWEDISH = LANGUAGES["en"], LANGUAGES["sv"]


def fields(text: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(text) if name}


def test_a_text_says_the_same_in_both_languages():
    with every_case() as case:
        for key, (english, swedish) in TEXTS.items():
            with case(key):
                assert english.strip()
                assert swedish.strip()
                assert fields(english) == fields(swedish)


@pytest.mark.parametrize(
    ("prefix", "names"),
    [
        ("channel", Channel),
        ("obstacle", Obstacle),
        ("state", State),
        ("cause", Cause),
        ("category", Category),
        ("permanence", Permanence),
        ("wait", Wait),
        ("dead", DeadReason),
        ("letter", LetterState),
        ("answering", Answering),
        ("failing", Failing),
        ("meaning", Status),
        ("role", Role),
        ("deed", Deed),
        ("via", Via),
    ],
)
def test_every_word_of_a_vocabulary_has_a_text(prefix, names):
    assert not [name.value for name in names if f"{prefix}.{name.value}" not in TEXTS]


def test_every_stage_has_a_text():
    assert not [name for name in STAGE_NAMES if f"stage.{name}" not in TEXTS]


def test_every_action_on_a_delivery_has_its_texts():
    parts = ("open", "title", "can.one", "can.other", "gone.one", "gone.other", "do", "done")
    assert not [key for action in STEERING for part in parts if (key := f"{action.value}.{part}") not in TEXTS]
    assert not [key for action in FINAL if (key := f"{action.value}.sure") not in TEXTS]


def test_why_nobody_can_tell_has_a_text():
    for kind in (STARTING, REBALANCING, RECOVERING, OWNER_AWAY, BROKER_AWAY):
        assert f"unavailable.{kind.name}" in TEXTS


def test_no_text_is_left_over():
    folder = Path(package.__file__).parent
    sources = [*folder.glob("*.py"), *folder.glob("templates/*.html")]
    written = "\n".join(path.read_text() for path in sources if path.name != "texts.py")
    vocabularies = (
        r"(pause|resume|finish|cancel)\.(open|title|can|gone|sure|do|done)|"
        r"(answering|audit|ca(use|tegory)|channel|dead|deed|error|exclusion|facts|failing|filter|history|kind|letter|list|matched|meaning|nav|obstacle|owner|partition|permanence|problem|role|stage|state|tabs|unavailable|unit|via|"
        r"wait|wrong)\."
    )
    left_over = [
        key
        for key in TEXTS
        if f'"{key}"' not in written
        and f"'{key}'" not in written
        and not re.match(vocabularies, key)
        and not (key.endswith((".one", ".other")) and f'"{key.rpartition(".")[0]}"' in written)
    ]
    assert left_over == []


def test_labels_are_those_of_the_domain():
    for status, definition in DEFINITIONS.items():
        assert ENGLISH.status(status.value) == definition.english
        assert SWEDISH.status(status.value) == definition.swedish
        assert ENGLISH.meaning(status) == definition.meaning
    assert SWEDISH.status("failed_gave_up") == "Misslyckades (gav\N{NO-BREAK SPACE}upp)"


def test_a_name_that_nobody_knows_speaks_for_itself():
    assert SWEDISH.known("category", "brand_new") == "brand new"


@pytest.mark.parametrize(
    ("part", "whole", "english", "swedish"),
    [
        (0, 10, "0%", "0 %"),
        (10, 10, "100%", "100 %"),
        (1, 3, "33.3%", "33,3 %"),
        (999_999, 1_000_000, "99.9%", "99,9 %"),
        (1, 1_000_000, "< 0.1%", "< 0,1 %"),
        (3, 2_000, "0.1%", "0,1 %"),
        (0, 0, "\N{EN DASH}", "\N{EN DASH}"),
    ],
)
def test_shares(part, whole, english, swedish):
    assert ENGLISH.share(part, whole).replace("\N{NO-BREAK SPACE}", " ") == english
    assert SWEDISH.share(part, whole).replace("\N{NO-BREAK SPACE}", " ") == swedish


@pytest.mark.parametrize(
    ("number", "english", "swedish"),
    [(0, "0", "0"), (1_234_567, "1,234,567", "1 234 567")],
)
def test_numbers(number, english, swedish):
    assert ENGLISH.number(number) == english
    assert SWEDISH.number(number) == swedish.replace(" ", "\N{NO-BREAK SPACE}")


@pytest.mark.parametrize(("rate", "told"), [(0, "0"), (0.123, "0.12"), (2.31, "2.3"), (9_871.4, "9,871")])
def test_rates(rate, told):
    assert ENGLISH.rate(rate) == told


@pytest.mark.parametrize(
    ("seconds", "english", "swedish"),
    [
        (-5, "0 s", "0 s"),
        (59.4, "59 s", "59 s"),
        (60, "1 min", "1 min"),
        (61, "1 min 1 s", "1 min 1 s"),
        (7_800, "2 h 10 min", "2 tim 10 min"),
        (86_400 * 4 + 3 * 3_600 + 59, "4 d 3 h", "4 d 3 tim"),
    ],
)
def test_spans_have_their_two_largest_units(seconds, english, swedish):
    assert ENGLISH.span(seconds).replace("\N{NO-BREAK SPACE}", " ") == english
    assert SWEDISH.span(seconds).replace("\N{NO-BREAK SPACE}", " ") == swedish
