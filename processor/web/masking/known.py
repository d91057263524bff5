"""Quotations of a known recipient in a text, also in part, and in forms that alone would mean nothing."""

from __future__ import annotations

import re
from collections.abc import Iterator

from processor.web.masking.reading import read
from processor.web.masking.words import MAIL_WORDS

#: This many consecutive digits that a text and a number share are no coincidence.
_COMMON = 6
#: This many letters of a local part, standing by themselves, name that mailbox.
_LETTERS = 3

_DIGITS = re.compile(r"\d(?:[^0-9A-Za-z@]{0,3}\d)*")
_RUN = re.compile(r"\d+")


class Known:
    """One recipient: an address, a number, or any other text."""

    def __init__(self, recipient: str) -> None:
        name = _folded(read(recipient).plain)
        if name.endswith(">") and "<" in name:
            name = name[name.rindex("<") + 1 : -1]
        self._name = name.replace(" ", "")
        self.local, at, _ = self._name.rpartition("@")
        self._digits = "" if at else "".join(_RUN.findall(name))

    def find(self, plain: str) -> Iterator[tuple[int, int]]:
        """Yield where a text quotes it (see reading.py); of an address the local part."""
        if not self._name:
            return
        folded = _folded(plain)
        if self._digits:
            yield from self._numbers(folded)
        if self.local:
            yield from self._squeezed(folded, len(self.local))
            for word in {self.local, self.local.partition("+")[0]}:
                yield from _words(folded, word)
        elif len(self._digits) < len(self._name) or len(self._digits) < _COMMON:
            yield from self._squeezed(folded, len(self._name))
        yield from self._cut(folded)

    def _numbers(self, plain: str) -> Iterator[tuple[int, int]]:
        if len(self._digits) < _COMMON:
            return
        for found in _DIGITS.finditer(plain):
            places = [at for at in range(*found.span()) if plain[at].isdigit()]
            digits = "".join([plain[at] for at in places])
            common = [at for at in range(len(digits) - _COMMON + 1) if digits[at : at + _COMMON] in self._digits]
            if common:
                first, last = places[common[0]], places[common[-1] + _COMMON - 1]
                yield _run_start(plain, first), _run_end(plain, last)

    def _squeezed(self, plain: str, shown: int) -> Iterator[tuple[int, int]]:
        """Find it where it is broken across lines; give its first `shown` characters."""
        places = [at for at, char in enumerate(plain) if char != " "]
        squeezed = plain.replace(" ", "")
        at = squeezed.find(self._name)
        while at >= 0:
            yield places[at], places[at + shown - 1] + 1
            at = squeezed.find(self._name, at + len(self._name))

    def _cut(self, plain: str) -> Iterator[tuple[int, int]]:
        """Find its beginning at the end of a text, which may have been cut there."""
        end = len(plain.rstrip("\N{HORIZONTAL ELLIPSIS}"))
        start = max(plain.rfind(sign, 0, end) for sign in " <([\"':;,=") + 1
        if end - start >= _LETTERS and plain[start:end] not in MAIL_WORDS and self._name.startswith(plain[start:end]):
            yield start, end


def _words(plain: str, word: str) -> Iterator[tuple[int, int]]:
    """Find a word where it stands by itself."""
    if len(word) < _LETTERS or word in MAIL_WORDS:
        return
    at = plain.find(word)
    while at >= 0:
        end = at + len(word)
        if not (plain[at - 1 : at].isalnum() or plain[end : end + 1].isalnum()):
            yield at, end
        at = plain.find(word, end)


def _run_start(plain: str, at: int) -> int:
    while at > 0 and plain[at - 1].isdigit():
        at -= 1
    return at


def _run_end(plain: str, at: int) -> int:
    while at < len(plain) and plain[at].isdigit():
        at += 1
    return at


def _folded(plain: str) -> str:
    """Put all in lower case, character by character: places stay as they are."""
    return "".join([char.lower() if len(char.lower()) == 1 else char for char in plain])
