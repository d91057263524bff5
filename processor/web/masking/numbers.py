"""Telephone numbers in texts and ids, told from other runs of as many digits.

A telephone number is recognized by its form only: a plus sign, or enough digits, in one run or in groups. Other forms
of that length stay readable: dates and times, enhanced status codes, IP addresses, and ids that mix letters and
digits. A doubtful run counts as a number.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

#: What cannot stand within a number: where it begins, a number ends.
_BARRIER = r"""
    (?: (?:19|20)\d\d-\d\d-\d\d(?!\d)
      | \d{1,2}:\d\d
      | [245]\.\d{1,3}\.\d{1,3}(?!\d|\.\d)
      | (?:[1-9]\d{0,2}\.){3}\d{1,3}(?!\d|\.\d) )
"""
_OCTET = r"(?:25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)"
_CLOCK = r"\d{1,2}:\d\d(?::\d\d(?:[.,]\d{1,9})?)?(?!\d)"
_OFFSET = r"(?:Z|[ ]?[+-]\d\d:?\d\d(?!\d))?"
_MIXED = r"[A-Za-z_]{0,40}\d{1,40}[A-Za-z_]{1,40}\d{1,40}[A-Za-z_]"
_MONTH, _DAY = r"(?:0[1-9]|1[0-2])", r"(?:0[1-9]|[12]\d|3[01])"

#: What has digits. The first alternative that fits decides; only `number` may be one. All repetition
#: is bounded, or ends its alternative, which then cannot fail any more: the time is linear.
_SHAPES = re.compile(
    rf"""
      (?P<uuid>     (?<![0-9A-Za-z])[0-9a-fA-F]{{8}}(?:-[0-9a-fA-F]{{4}}){{3}}-[0-9a-fA-F]{{12}}(?![0-9A-Za-z]) )
    | (?P<moment>   (?<!\d)(?:19|20)\d\d[-/.]{_MONTH}[-/.]{_DAY}(?!\d)(?:[T ]{_CLOCK}{_OFFSET})? )
    | (?P<date>     (?<!\d)(?:0?[1-9]|[12]\d|3[01])[-/.](?:0?[1-9]|[12]\d|3[01])[-/.](?:19|20)\d\d(?!\d) )
    | (?P<clock>    (?<![\d:]){_CLOCK}{_OFFSET} )
    | (?P<compact>  (?<!\d)(?:19|20)\d\d{_MONTH}{_DAY}(?:[T-]?(?:[01]\d|2[0-3])[0-5]\d(?:[0-5]\d)?Z?)?(?!\d) )
    | (?P<epoch>    (?<!\d)1[5-9]\d{{11}}(?!\d) )
    | (?P<ip>       (?<![\d.])(?:{_OCTET}\.){{3}}{_OCTET}(?!\d|\.\d) )
    | (?P<code>     (?<![\d.])(?:[245]\d\d[ -])?[245]\.\d{{1,3}}\.\d{{1,3}}(?!\d|\.\d) )
    | (?P<fraction> (?<![\d.])(?:0\.\d{{1,18}}|\d{{1,5}}\.\d{{1,3}})(?!\d|\.\d|[ ]?[-()/]?\d) )
    | (?P<opaque>   (?<![0-9A-Za-z_])(?={_MIXED})[0-9A-Za-z_]{{16,}} )
    | (?P<number>   (?:\+[ ]?\(?)?\d(?:(?:[ ]?[-()/_]{{1,2}}[ ]?|[ .])(?!{_BARRIER})\d|\d)* )
    """,
    re.VERBOSE,
)
_RUN = re.compile(r"\d+")

#: The fewest digits of a run that is a number by itself, whatever stands before it; and the most digits of a number.
_ALONE, _MOST = 9, 15

#: The fewest digits of a number, by how much else speaks for it: named as one, with a plus sign, nothing, and within
#: an id or a word, where it must be one whole.
_LEAST_CALLED, _LEAST_PLUS, _LEAST, _LEAST_GLUED = 4, 6, 7, 10

#: How far before a run it is looked what it is called, and what it may be called: a number, or none.
_BEFORE = 24
_CALLED = re.compile(
    r"(?<![a-z])(?:tel|sms|smsto|callto|whatsapp|viber|msisdn|phone|mobile|handset|subscriber)"
    r"(?: ?(?:no|nr|number))?\.?[ :=]{0,2}[\"']?$"
)
_COUNTED = re.compile(
    r"(?<![a-z])(?:offset|partition|port|pid|line|column|char|character|position|byte|errno|error|code|err|status|id"
    r"|date|time|timestamp|ts|size|length|len|seq|sequence|queue|version|build)[ :=#]{0,3}[\"']?$"
)
_OFFSET_BEFORE = re.compile(r"(?<![a-z])(?:offset|date|timestamp)[ :=#]{0,3}[\"']?$")
_UNIT = re.compile(
    r" ?(?:[kmg]i?b|b|bytes?|ms|s|seconds?|messages?|records?|events?|lines?|%)(?![a-z0-9])", re.IGNORECASE
)

#: Says whether what stands from `start` to `end` of a text is a number.
Judge = Callable[[str, int, int], bool]


def find(plain: str, is_number: Judge) -> Iterator[tuple[int, int]]:
    """Yield where numbers stand in a text (see reading.py)."""
    for found in _SHAPES.finditer(plain):
        if found.lastgroup == "number":
            for start, end in _parts(plain, *found.span()):
                if is_number(plain, start, end):
                    yield start, end


def _parts(plain: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Part codes and other small numbers from a number that they only stand beside."""
    if plain[start] in "+0":
        yield start, end
        return
    first = last = start
    for run in _RUN.finditer(plain, start, end):
        if run.end() - run.start() >= _ALONE or plain[run.start()] == "0":
            if last > first:
                yield first, last
            if plain[run.start()] == "0":
                yield run.start(), end
                return
            yield run.span()
            first = last = run.end()
        else:
            first = run.start() if first == last else first
            last = run.end()
    if last > first:
        yield first, last


def is_in_text(plain: str, start: int, end: int) -> bool:
    """Return whether digits in a text are a number."""
    run = plain[start:end]
    digits = _digits(run)
    before = plain[max(0, start - _BEFORE) : start].lower()
    if _CALLED.search(before):
        return digits >= _LEAST_CALLED
    if run.startswith("+"):
        return digits >= _LEAST_PLUS
    if _is_impossible(run, digits):
        return False
    if _is_glued(plain, start, end):
        return digits >= _LEAST_GLUED
    if not run.startswith("0") and run.isdigit() and _is_counted(plain, end, before, digits):
        return False
    return digits >= _LEAST


def _is_counted(plain: str, end: int, before: str, digits: int) -> bool:
    """Return whether a run counts or locates something: a number of bytes, an offset."""
    if _OFFSET_BEFORE.search(before):
        return True
    return digits <= _LEAST_GLUED and bool(_COUNTED.search(before) or _UNIT.match(plain, end))


def is_in_id(plain: str, start: int, end: int) -> bool:
    """Return whether digits in an id of ours are a number: an id may be made of the one in a provider's report."""
    run = plain[start:end]
    digits = _digits(run)
    if run.startswith("+"):
        return digits >= _LEAST_PLUS
    if _is_impossible(run, digits):
        return False
    is_last = end == len(plain) and plain[start - 1 : start] == ":"
    return digits >= (_LEAST if is_last else _LEAST_GLUED)


def is_in_native_id(plain: str, start: int, end: int) -> bool:
    """Return whether digits in a provider's id are a telephone number: such ids often are numbers of other forms."""
    run = plain[start:end]
    digits = _digits(run)
    if run.startswith("+"):
        return digits >= _LEAST_PLUS
    is_last = end == len(plain) and plain[start - 1 : start] == ":"
    return is_last and digits >= _LEAST and not _is_impossible(run, digits)


def _digits(run: str) -> int:
    return sum([char.isdigit() for char in run])


def _is_impossible(run: str, digits: int) -> bool:
    """Return whether a run cannot be a number: it is too long, or has zeroes for a country."""
    prefix = 2 if run.startswith("00") else 0
    return run.startswith("000") or (run.isdigit() and digits - prefix > _MOST)


def _is_glued(plain: str, start: int, end: int) -> bool:
    """Return whether a run is part of a word or an id: letters touch it, or stand before a sign that joins."""
    before, after = plain[max(0, start - 2) : start], plain[end : end + 1]
    if before[-1:].isalnum() or before[-1:] == "_" or after.isalnum() or after == "_":
        return True
    return before[-1:] in {"-", "."} and before[:1].isalpha()
