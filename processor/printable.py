"""Make foreign text safe to show: it must not control a terminal or a browser."""

from __future__ import annotations

import re

#: Not for a page: control characters, marks that change the direction of text, and halves of surrogate pairs.
_TURNING = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def printable(text: str) -> str:
    r"""Return a text as one line with everything invisible escaped, like `\x1b`, `\n`, `\u202e`.

    Escaped are control characters, line ends, marks of direction, characters without width or meaning, unusual spaces
    and halves of surrogate pairs. A backslash stays as it is: the result is for reading, not for parsing.
    """
    if text.isprintable():
        return text
    return "".join([char if char.isprintable() else _escaped(char) for char in text])


def showable(text: str) -> str:
    r"""Return a text for a page: control characters and marks of direction escaped, line ends and joiners kept."""
    return _TURNING.sub(lambda found: _escaped(found[0]), text)


def _escaped(char: str) -> str:
    return char.encode("unicode_escape").decode()
