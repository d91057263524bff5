"""Find an address in bytes of any kind: in any form, however it is escaped, and not within another one."""

from __future__ import annotations

import re
from functools import lru_cache

from processor.web.masking.reading import read

#: What people write between the digits of a number.
_BETWEEN = r"[ ().,/\-]{0,3}"

#: Characters that are read at a time, and those of them that are read again with the next ones: more than the longest
#: address has, however it is escaped.
_WINDOW, _OVERLAP = 32 * 1024, 8 * 1024


@lru_cache(maxsize=16)
def _pattern(wanted: str) -> re.Pattern[str]:
    """Return what finds an address, given as addresses are compared, in any form and not within another one."""
    if wanted.isdecimal():
        return re.compile(rf"(?<![0-9])(?:\+|00)?{_BETWEEN.join(wanted)}(?![0-9])")
    return re.compile(rf"(?<![\w.+-]){re.escape(wanted)}(?![\w-]|\.\w)")


def quotes(data: bytes, wanted: str) -> bool:
    """Return whether bytes quote an address, given in the form that addresses are compared in.

    A text as it reads takes a hundred times the room of its bytes, so that a large one is read in parts.
    """
    text = data.decode(errors="replace")
    lasts = max(0, len(text) - _OVERLAP)
    return any(
        _has(text[start : start + _WINDOW], wanted, is_first=not start, is_last=start + _WINDOW >= len(text))
        for start in range(0, lasts or 1, _WINDOW - _OVERLAP)
    )


def _has(part: str, wanted: str, *, is_first: bool, is_last: bool) -> bool:
    """Return whether a part of a text quotes an address; what its edge cuts may be another one."""
    plain = read(part).plain.casefold()
    return any(
        (is_first or found.start()) and (is_last or found.end() < len(plain))
        for found in _pattern(wanted).finditer(plain)
    )
