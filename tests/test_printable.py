"""Text of others made safe to show."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from processor.printable import printable, showable

ANY_TEXT = st.text(st.characters(codec=None, categories=None))


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("m-000417", "m-000417"),
        ("å ü 例 🙂 [/foo]", "å ü 例 🙂 [/foo]"),
        ("\x1b[31mred", r"\x1b[31mred"),
        ("\x9b31m \x7f \x00", r"\x9b31m \x7f \x00"),
        ("one\r\ntwo\tthree", r"one\r\ntwo\tthree"),
        ("a\u202eb\u2066c\u200fd", r"a\u202eb\u2066c\u200fd"),
        ("a\u200bb\ufeffc\u00add", r"a\u200bb\ufeffc\xadd"),
        ("a\u2028b\u2029c\x85d\x0be", r"a\u2028b\u2029c\x85d\x0be"),
        ("\udc80\ud800", r"\udc80\ud800"),
        ("", ""),
    ],
)
def test_what_is_not_seen_is_named(text, shown):
    assert printable(text) == shown


@given(ANY_TEXT)
def test_the_result_is_one_line_of_what_is_seen(text):
    shown = printable(text)
    assert shown.isprintable()
    assert len(shown.splitlines()) <= 1
    assert not {unicodedata.category(char) for char in shown} & {"Cc", "Cf", "Cs", "Zl", "Zp"}
    shown.encode()


@given(ANY_TEXT)
def test_on_a_page_lines_stay_and_nothing_turns_the_text_around(text):
    shown = showable(text)
    assert not {unicodedata.bidirectional(char) for char in shown} & {"LRE", "RLE", "LRO", "RLO", "LRI", "RLI", "FSI"}
    assert {char for char in shown if unicodedata.category(char) == "Cc"} <= set("\t\n\r")
    shown.encode()


def test_on_a_page_joiners_stay():
    assert showable("👩‍👩‍👧 می‌خواهم\n") == "👩‍👩‍👧 می‌خواهم\n"
