"""Docstrings are imperative sentences in the usual words: functions return, yield or do something."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "processor"
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


@pytest.fixture(scope="module")
def firsts() -> list[tuple[str, str]]:
    """Give the place and the first line of every function's docstring."""
    return [(place, text) for place, text, _ in read()]


def read() -> Iterator[tuple[str, str, bool]]:
    """Yield place, first line, and whether it is a property: one says what it is, and so may begin with a noun."""
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, FUNCTIONS) and (text := ast.get_docstring(node)):
                is_property = any("property" in ast.unparse(each) for each in node.decorator_list)
                yield f"{path.relative_to(PACKAGE)}: {node.name}", text.splitlines()[0], is_property


def test_there_are_many(firsts):
    assert len(firsts) > 1_000


@pytest.mark.parametrize("word", ["Give", "Gives", "Say", "Says", "Returns", "Yields", "This", "Get"])
def test_none_begins_with_another_word_for_it(firsts, word):
    assert [place for place, text in firsts if text.split()[0] == word] == []


def test_only_a_property_begins_with_whether():
    said = [(place, is_property) for place, text, is_property in read() if text.startswith("Whether ")]
    assert len(said) > 20
    assert [place for place, is_property in said if not is_property] == []


def test_every_module_begins_with_what_it_is_or_does_and_not_with_half_a_question():
    questions = {"How", "What", "When", "Where", "Whether", "Which", "Who", "Why"}
    texts = {path: ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) for path in PACKAGE.rglob("*.py")}
    assert len(texts) > 200
    assert [str(path) for path, text in texts.items() if (text or "What").split()[0] in questions] == []
