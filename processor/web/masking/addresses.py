"""Mail addresses in a text: their local parts, and the names that stand with them.

An address may have its local part in quotes, in any script, or percent-encoded, and its domain as a name in any script
or as a literal in brackets. Any text directly before an `@` counts as a local part, whether or not a domain follows:
masking too much does no harm.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from processor.web.masking.words import FIELD_NAMES, MAIL_WORDS, PARTICLES

#: What no unquoted local part holds.
_STOPS = frozenset(' <>()[]{},;:"@')

#: A name after an address: `ulla@example.com (Ulla Bengtsson)`, and a domain after an `@` that stands by itself.
_COMMENT = re.compile(r"[\w.\-\[\]]{0,255}>? ?\((?P<words>[^()]{1,80})\)")
_DOMAIN = re.compile(r" ?(?P<domain>[\w.-]{3,255})")

#: Most words of a name.
_WORDS = 6

#: How long the local part of an id that a program made is at least, and the most digits that a number has.
_MADE_LENGTH = 16
_NUMBER_DIGITS = 15


class Found(NamedTuple):
    """One address: its local part from `start` to its `@`, and the names beside it."""

    start: int
    at: int
    names: list[tuple[int, int]]


def find(plain: str) -> Iterator[Found]:
    """Yield the addresses of a text (see reading.py). Each character is looked at a few times at most."""
    floor = 0
    at = plain.find("@")
    while at >= 0:
        end = _end(plain, floor, at)
        start = _without_field(plain, _start(plain, floor, end), end)
        if start < end:
            yield Found(start, end, list(_names(plain, floor, start, end, at)))
        floor = at + 1
        at = plain.find("@", floor)


def is_made(local: str) -> bool:
    """Return whether a program has made a local part, as of a Message-ID, and so no person is named by it."""
    digits = sum([char.isdigit() for char in local])
    has_more = digits > _NUMBER_DIGITS or any(char.isalpha() for char in local)
    return len(local) >= _MADE_LENGTH and digits * 2 >= len(local) and has_more


def _end(plain: str, floor: int, at: int) -> int:
    """Return where the local part ends: at the `@`, or before the space in front of one that stands by itself."""
    if at > floor and plain[at - 1] == " ":
        found = _DOMAIN.match(plain, at + 1)
        if found is not None and found["domain"].rpartition(".")[2].isalpha() and "." in found["domain"]:
            return at - 1
    return at


def _start(plain: str, floor: int, end: int) -> int:
    start = end
    while True:
        if start > floor and plain[start - 1] == '"' and (start == end or plain[start] == "."):
            opening = _opening_quote(plain, floor, start - 1)
            if opening is None:
                # It closes nothing: what stands before it may still be a part.
                start -= 1
            else:
                start = opening
                if start == floor or plain[start - 1] != ".":
                    return start
        first = start
        while start > floor and plain[start - 1] not in _STOPS:
            start -= 1
        if start == first or not (start > floor and plain[start - 1] == '"' and plain[start] == "."):
            return start


def _opening_quote(plain: str, floor: int, closing: int) -> int | None:
    """Return where the quotes begin that close here: at the nearest that is escaped no more than these are."""
    depth = _backslashes(plain, floor, closing)
    opening = plain.rfind('"', floor, closing)
    while opening >= 0:
        more = _backslashes(plain, floor, opening)
        if more <= depth:
            return opening - more
        opening = plain.rfind('"', floor, opening)
    return None


def _backslashes(plain: str, floor: int, at: int) -> int:
    start = at
    while start > floor and plain[start - 1] == "\\":
        start -= 1
    return at - start


def _without_field(plain: str, start: int, end: int) -> int:
    """Leave out what is no part of a local part: the rest of a URL, the name of a field, quotes and signs."""
    run = plain[start:end]
    if run.lstrip("\\").startswith('"'):
        return start
    if "//" in run:
        start += max(run.rfind(sign) for sign in "/?&=#") + 1
    else:
        name, equals, _ = run.partition("=")
        if equals and name.lstrip("'`*|\\").lower() in FIELD_NAMES:
            start += len(name) + 1
    first = start
    while first < end and not (plain[first].isalnum() or plain[first] in "_+"):
        first += 1
    # Of signs alone, it is one that is masked already, or an odd one.
    return start if first == end and plain[start:end].strip("*") else first


# Names


def _names(plain: str, floor: int, start: int, end: int, at: int) -> Iterator[tuple[int, int]]:
    local = plain[start:end].casefold()
    if start > floor and plain[start - 1] == "<":
        before = _name_before(plain, floor, start - 1, local)
        if before is not None:
            yield before
    comment = _COMMENT.match(plain, at + 1)
    if comment is not None:
        words = comment["words"].split()
        if words and all(_is_name(word, local) or word.casefold() in PARTICLES for word in words):
            yield comment.span("words")


def _name_before(plain: str, floor: int, bracket: int, local: str) -> tuple[int, int] | None:
    """Return the name before an address in angle brackets; None: there is none."""
    end = bracket - 1 if bracket > floor and plain[bracket - 1] == " " else bracket
    if end > floor and plain[end - 1] == '"':
        opening = _opening_quote(plain, floor, end - 1)
        return None if opening is None else (opening, end)
    start = at = end
    for _ in range(_WORDS):
        first = at
        while first > floor and plain[first - 1] not in _STOPS:
            first -= 1
        word = plain[first:at]
        if _is_name(word, local):
            start = first
        elif not (start < end and word.casefold() in PARTICLES):
            break
        at = first - 1
        if at < floor or plain[at] != " ":
            break
    return (start, end) if start < end else None


def _is_name(word: str, local: str) -> bool:
    if word.startswith("=?"):
        return True
    bare = word.strip(".,'-").casefold()
    if not bare or bare in MAIL_WORDS or any(char.isdigit() for char in bare) or not word[0].isalpha():
        return False
    # Letters of some scripts have no case.
    return not word[0].islower() or (len(bare) > 2 and bare in local)
