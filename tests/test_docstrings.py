"""Docstrings are imperative sentences in the usual words: functions return, yield or do something."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "processor"
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


def firsts() -> Iterator[tuple[str, str]]:
    """Give the place and the first line of every function's docstring."""
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, FUNCTIONS) and (text := ast.get_docstring(node)):
                yield f"{path.relative_to(PACKAGE)}: {node.name}", text.splitlines()[0]


FIRSTS = list(firsts())


def test_there_are_many():
    assert len(FIRSTS) > 1_000


@pytest.mark.parametrize("word", ["Give", "Gives", "Say", "Says", "Returns", "Yields", "This", "Get"])
def test_none_begins_with_another_word_for_it(word):
    assert [place for place, text in FIRSTS if text.split()[0] == word] == []
