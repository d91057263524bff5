"""Prose is spelt one way: British words, with -ize. Names, such as the status `canceled`, are code and no prose."""

import ast
import io
import re
import tokenize
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = ("processor", "tests", "docs", "ops", "benchmarks", "examples")

#: Stems whose verbs are written with -ize here.
STEMS = "authori|initiali|minimi|normali|optimi|organi|priorit[iy]|recogni|seriali|summari|synchroni"
#: What is written otherwise here.
OTHERWISE = re.compile(
    rf"\b\w*(?:(?:{STEMS})s(?:e[ds]?|ing|ation|ations|able)|cancel(?:ed|ing)|label(?:ed|ing)|travel(?:ed|ing)"
    r"|behavior|color|center|favor)s?\b",
    re.IGNORECASE,
)
#: Code and quotations within prose.
CODE = re.compile(
    r"^ *```.*?^ *```|`[^`]*`|Delivery canceled|“[^”]*”|\"[^\"\n]*\"|^ {4,}\S.*?$|\]\([^)]*\)|\S*[_/=]\S*",
    re.MULTILINE | re.DOTALL,
)


def comments(source: str) -> list[str]:
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    return [token.string for token in tokens if token.type == tokenize.COMMENT]


def docstrings(source: str) -> list[str]:
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    return [
        text for node in ast.walk(ast.parse(source)) if isinstance(node, kinds) and (text := ast.get_docstring(node))
    ]


def prose_of(path: Path) -> str:
    text = path.read_text(encoding="utf-8")
    if not OTHERWISE.search(text):
        return ""
    return text if path.suffix == ".md" else "\n".join([*comments(text), *docstrings(text)])


def other_spellings(prose: str) -> list[str]:
    return OTHERWISE.findall(CODE.sub(" ", prose))


def paths() -> list[Path]:
    every = [path for folder in FOLDERS for kind in ("*.py", "*.md") for path in (ROOT / folder).rglob(kind)]
    # What npm and the benchmarks have installed is not ours.
    found = [path for path in every if not any(map(_is_installed, path.relative_to(ROOT).parts))]
    return sorted([*found, ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md"])


def _is_installed(folder: str) -> bool:
    return folder.startswith(".") or folder == "node_modules"


def test_all_prose_is_spelt_the_same_way():
    every = paths()
    assert len(every) > 300
    spelt = {path.relative_to(ROOT).as_posix(): other_spellings(prose_of(path)) for path in every}
    assert {name: words for name, words in spelt.items() if words} == {}


@pytest.mark.parametrize("word", ["canceled", "recognised", "unrecognised", "authorisations", "color", "behavior"])
def test_another_spelling_is_found(word):
    assert other_spellings(f"It is {word} here.") == [word]


@pytest.mark.parametrize("text", ["the status `canceled`", "cancelled, recognized, colour", "in `color: red`"])
def test_what_is_spelt_so_is_not(text):
    assert other_spellings(text) == []
