"""Addresses of recipients in the forms in which they are told apart and searched for, however they are written."""

from __future__ import annotations

import re


def bare_address(recipient: str) -> str:
    """Reduce a recipient to what identifies it: lower case, without a display name ('Jane <jane@…>')."""
    if recipient[-1:] == ">" and "<" in recipient:
        recipient = recipient[recipient.rindex("<") + 1 : -1]
    return recipient.strip().lower()


_DIGITS = frozenset("0123456789")
#: A number as people and providers write it, with the scheme of its URI.
_WRITTEN_NUMBER = re.compile(r"(?:[a-z]{2,12}:)?\+?[0-9 ().,/\-\xa0]+", re.IGNORECASE)


def comparable_address(recipient: str) -> str:
    """Return a recipient in the form in which it is searched for.

    Case and spaces do not matter; in numbers neither do hyphens, dots and brackets, nor a `+` or `00` at the start.
    """
    # The usual cases: an address that is written as it is compared, and a number that nearly is.
    if "@" in recipient:
        if recipient.islower() and recipient.isascii() and recipient.isprintable() and _is_bare(recipient):
            return recipient
    elif (digits := recipient.removeprefix("+")).isdigit() and digits.isascii():
        return digits.removeprefix("00") or digits
    bare = bare_address(recipient)
    if "@" not in bare and _WRITTEN_NUMBER.fullmatch(bare):
        digits = "".join([char for char in bare if char in _DIGITS])
        if digits:
            return digits.removeprefix("00") or digits
    return "".join(bare.casefold().split())


def domain_of(recipient: str) -> str | None:
    """Return the domain of an address, in the form in which it is searched for; None: it has none."""
    _, at, domain = comparable_address(recipient).rpartition("@")
    return domain if at else None


def _is_bare(recipient: str) -> bool:
    return " " not in recipient and recipient[-1] != ">"
