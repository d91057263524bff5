"""Text of others made safe to show: it may name anything, and must not tell a terminal or a browser what to do."""

from __future__ import annotations

import re

#: What a page should not hold: controls, what turns the direction of the text around it, and halves of characters.
_TURNING = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def printable(text: str) -> str:
    r"""Give a text as one line in which everything is seen: `\x1b`, `\n`, `\u202e` stand for what they name.

    That holds for controls, line ends, marks of direction, what has no width or no meaning, spaces of other kinds, and
    halves of surrogate pairs. A backslash stays as it is: the result is to be read, not to be parsed.
    """
    if text.isprintable():
        return text
    return "".join([char if char.isprintable() else _escaped(char) for char in text])


def showable(text: str) -> str:
    r"""Give a text for a page: line ends and joiners stay, controls and marks of direction are shown as `\x1b`."""
    return _TURNING.sub(lambda found: _escaped(found[0]), text)


def _escaped(char: str) -> str:
    return char.encode("unicode_escape").decode()
