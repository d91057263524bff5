"""A text as a person may read it: escapes undone, one form of each digit, dash and space, nothing invisible.

Masking looks for recipients in what a text reads as, and replaces them in the text as it stands: what is not masked
stays as it was written.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from functools import lru_cache
from html.entities import html5
from typing import NamedTuple

#: How often escapes are undone that stand in escapes of another kind. Repeated ones of a kind are undone at once.
_PASSES = 3

# All repetition is bounded: the time is linear.
_ESCAPE = re.compile(
    r"""
      %(?:25){0,8}(?P<byte>[0-9A-Fa-f]{2})
    | &(?:amp;){0,8}(?:
          \#(?P<decimal>[0-9]{1,7});? | \#[xX](?P<hex>[0-9A-Fa-f]{1,6});? | (?P<name>[A-Za-z][A-Za-z0-9]{1,30};)
      )
    | \\{1,8}u(?P<high>[dD][89abAB][0-9A-Fa-f]{2})\\{1,8}u(?P<low>[dD][c-fC-F][0-9A-Fa-f]{2})
    | \\{1,8}(?:
          u(?P<four>[0-9A-Fa-f]{4}) | u\{(?P<braced>[0-9A-Fa-f]{1,6})\} | x(?P<two>[0-9A-Fa-f]{2}) | (?P<letter>[nrt/])
      )
    | (?P<soft>=\r?\n)
    """,
    re.VERBOSE,
)
_STARTS = frozenset("%&\\=")

_LETTERS = {"n": "\n", "r": "\r", "t": "\t", "/": "/"}

#: Dots of other scripts that separate the labels of a domain's name.
_DOTS = {"\u3002": ".", "\uff0e": ".", "\uff61": "."}

#: What cannot be seen, or is drawn on the character before it.
_UNSEEN = frozenset({"Cc", "Cf", "Cs", "Mn", "Me"})


class Unit(NamedTuple):
    """One character as it reads, and where it stands in the text."""

    char: str
    start: int
    end: int


class Reading(NamedTuple):
    """A text, and what it reads as: `plain[i]` is read from `text[starts[i]:ends[i]]`."""

    text: str
    plain: str
    starts: Sequence[int]
    ends: Sequence[int]


def read(text: str) -> Reading:
    """Read a text. The time is linear in its length."""
    if _is_plain(text):
        return Reading(text, text, range(len(text)), range(1, len(text) + 1))
    units = [Unit(char, at, at + 1) for at, char in enumerate(text)]
    for _ in range(_PASSES):
        undone = _undo(units)
        if undone is None:
            break
        units = undone
    plain: list[str] = []
    starts: list[int] = []
    ends: list[int] = []
    for char, start, end in units:
        shown = char if "!" <= char <= "~" else _canonical(char)
        if not shown:
            continue
        if shown == " " and plain and plain[-1] == " ":
            ends[-1] = end
            continue
        plain.append(shown)
        starts.append(start)
        ends.append(end)
    return Reading(text, "".join(plain), starts, ends)


def _is_plain(text: str) -> bool:
    return text.isascii() and text.isprintable() and "  " not in text and _STARTS.isdisjoint(text)


def _undo(units: list[Unit]) -> list[Unit] | None:
    """Undo escapes once; None when there are none."""
    text = "".join([unit.char for unit in units])
    if _STARTS.isdisjoint(text):
        return None
    undone: list[Unit] = []
    done = 0
    pending: list[tuple[int, Unit]] = []
    for found in _ESCAPE.finditer(text):
        start, end = units[found.start()].start, units[found.end() - 1].end
        if found.start() > done:
            undone += _characters(pending)
            undone += units[done : found.start()]
        done = found.end()
        if found["byte"] is not None:
            pending.append((int(found["byte"], 16), Unit("", start, end)))
            continue
        undone += _characters(pending)
        char = _escaped(found)
        if char is None:
            undone += units[found.start() : done]
        elif char:
            undone.append(Unit(char, start, end))
    if not done:
        return None
    undone += _characters(pending)
    return undone + units[done:]


def _escaped(found: re.Match[str]) -> str | None:
    """Return what an escape stands for, empty: nothing; None: it is none."""
    if found["high"]:
        return chr(0x10000 + ((int(found["high"], 16) & 0x3FF) << 10) + (int(found["low"], 16) & 0x3FF))
    if found["letter"]:
        return _LETTERS[found["letter"]]
    if found["name"]:
        char = html5.get(found["name"], "")
        return char if len(char) == 1 else None
    if found["soft"]:
        return ""
    number = int(found["decimal"]) if found["decimal"] else int(_hexadecimal(found), 16)
    return chr(number) if number <= 0x10FFFF else None


def _hexadecimal(found: re.Match[str]) -> str:
    return str(found["hex"] or found["four"] or found["braced"] or found["two"])


def _characters(pending: list[tuple[int, Unit]]) -> Iterator[Unit]:
    """Yield the characters of percent-encoded bytes in UTF-8, and take them from `pending`."""
    at = 0
    for char in bytes([byte for byte, _ in pending]).decode(errors="replace"):
        # A byte that is not UTF-8 becomes one character, or one with those that began like one.
        length = 1 if char == "\N{REPLACEMENT CHARACTER}" else len(char.encode())
        _, first = pending[min(at, len(pending) - 1)]
        _, last = pending[min(at + length, len(pending)) - 1]
        yield Unit(char, first.start, last.end)
        at += length
    pending.clear()


@lru_cache(maxsize=4_096)
def _canonical(char: str) -> str:
    """Return the one form of a character that is no visible ASCII; empty: it is not seen."""
    if char.isspace():
        return " "
    category = unicodedata.category(char)
    if category in _UNSEEN:
        return ""
    digit = unicodedata.digit(char, None)
    if digit is not None:
        return str(digit)
    if category == "Pd" or char == "\N{MINUS SIGN}":
        return "-"
    compatible = _DOTS.get(char) or unicodedata.normalize("NFKC", char)
    return compatible if len(compatible) == 1 and not compatible.isspace() else char
