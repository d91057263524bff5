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
    return list(read())


def read() -> Iterator[tuple[str, str]]:
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, FUNCTIONS) and (text := ast.get_docstring(node)):
                yield f"{path.relative_to(PACKAGE)}: {node.name}", text.splitlines()[0]


def test_there_are_many(firsts):
    assert len(firsts) > 1_000


@pytest.mark.parametrize("word", ["Give", "Gives", "Say", "Says", "Returns", "Yields", "This", "Get"])
def test_none_begins_with_another_word_for_it(firsts, word):
    assert [place for place, text in firsts if text.split()[0] == word] == []
