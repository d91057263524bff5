"""Masks for recipients, shown to readers who may not see them: enough that a recipient who is known can be recognized.

Everything here takes text that somebody else wrote, never fails, and takes time in proportion to the text's length.
What may be a recipient counts as one. Names, which only stand beside an address, are known by their form.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from processor.providers import ADAPTERS
from processor.web.masking import addresses, numbers
from processor.web.masking.known import Known
from processor.web.masking.reading import Reading, read

__all__ = ["mask_id", "mask_native_id", "mask_recipient", "mask_text"]

_BULLET = "\N{BULLET}"
_STARS = "***"
_CUT = "\N{HORIZONTAL ELLIPSIS}"

#: A number as the whole of a recipient, with the scheme of its URI.
_NUMBER = re.compile(r"(?P<scheme>[A-Za-z]{2,12}:)?(?P<number>[+0-9 ().,/-]+)(?:;.*)?", re.DOTALL)

#: From where to where something is to be masked.
Span = tuple[int, int]


def mask_recipient(recipient: str) -> str:
    """Mask a recipient so that it can be recognized: `u***@example.com`, `+467•••••12`."""
    plain = read(recipient).plain
    found = list(addresses.find(plain))
    if found:
        first = last = found[-1]
        for each in reversed(found[:-1]):
            # Signs before the last one belong to the local part.
            first = each if each.at + 1 == first.start else first
        domain = plain[plain.index("@", last.at) + 1 :].strip(" <>,;")
        return f"{_mask_local(plain[first.start : last.at])}@{_mask_numbers(domain)}"
    number = _NUMBER.fullmatch(plain)
    if number is not None and any(char.isdigit() for char in plain):
        return (number["scheme"] or "") + _mask_number(number["number"])
    return _mask_token(plain)


def mask_text(text: str, recipient: str | None = None) -> str:
    """Mask the recipients in a text: addresses, the names beside them, and numbers.

    Args:
        text: what a provider says, or what is wrong with a record.
        recipient: the message's own, where it is known: it is then masked also where it is quoted in part or in a form
            that could be anything.
    """
    reading = read(text)
    return _masked(reading, [*_addresses(reading), *_numbers(reading, numbers.is_in_text), *_cut(reading)], recipient)


def mask_id(message_id: str, recipient: str | None = None) -> str:
    """Mask the recipient in a message's id: an id may be made of it, where a provider's report had none of ours."""
    head, colon, rest = message_id.partition(":")
    if colon and head in ADAPTERS:
        return f"{head}:{mask_native_id(rest, recipient)}"
    reading = read(message_id)
    return _masked(reading, [*_addresses(reading), *_numbers(reading, numbers.is_in_id)], recipient)


def mask_native_id(provider_id: str, recipient: str | None = None) -> str:
    """Mask the recipient in a provider's id, and leave the rest, which operators look up at the provider."""
    reading = read(provider_id)
    spans = [*_addresses(reading, spare_made=True), *_numbers(reading, numbers.is_in_native_id)]
    return _masked(reading, spans, recipient)


# What is masked


def _addresses(reading: Reading, *, spare_made: bool = False) -> Iterator[tuple[Span, str]]:
    plain = reading.plain
    for found in addresses.find(plain):
        local = plain[found.start : found.at]
        if not (spare_made and addresses.is_made(local)):
            yield (found.start, found.at), _mask_local(local)
        for span in found.names:
            yield span, _STARS


def _numbers(reading: Reading, is_number: numbers.Judge) -> Iterator[tuple[Span, str]]:
    for start, end in numbers.find(reading.plain, is_number):
        yield (start, end), _mask_number(reading.plain[start:end])


def _cut(reading: Reading) -> Iterator[tuple[Span, str]]:
    """Mask the last word of a text that was cut within it: it may be the beginning of anything."""
    plain = reading.plain
    if plain.endswith(_CUT):
        end = len(plain) - 1
        start = max(plain.rfind(sign, 0, end) for sign in " <([\"'@") + 1
        if start < end and plain[start - 1 : start] != "@":
            yield (start, end), _STARS


def _known(reading: Reading, recipient: str) -> Iterator[tuple[Span, str]]:
    known = Known(recipient)
    for start, end in known.find(reading.plain):
        quoted = reading.plain[start:end]
        is_number = any(char.isdigit() for char in quoted) and not any(char.isalpha() for char in quoted)
        yield (start, end), _mask_number(quoted) if is_number else _mask_local(quoted)


def _masked(reading: Reading, found: Iterable[tuple[Span, str]], recipient: str | None) -> str:
    """Put masks in place of what is to be masked; of what overlaps, the first mask stands for all."""
    spans = sorted([*found, *(_known(reading, recipient) if recipient else ())])
    text = reading.text
    parts: list[str] = []
    done = end = 0
    for (start, stop), mask in spans:
        if start >= end:
            parts += (text[done : reading.starts[start]], mask)
        end = max(end, stop)
        done = reading.ends[end - 1]
    return "".join([*parts, text[done:]])


# Masks


def _mask_local(local: str) -> str:
    shown = local.lstrip('"\\')[:1] if len(local) > 1 else ""
    return (shown if shown.isalnum() else "") + _STARS


def _mask_number(number: str) -> str:
    plus = "+" if "+" in number else ""
    digits = "".join([char for char in number if char.isdigit()])
    if len(digits) < 8:
        return plus + _BULLET * len(digits)
    return plus + digits[:3] + _BULLET * (len(digits) - 5) + digits[-2:]


def _mask_numbers(domain: str) -> str:
    reading = read(domain)
    return _masked(reading, _numbers(reading, numbers.is_in_text), None)


def _mask_token(token: str) -> str:
    return f"{token[:1]}{_STARS}" if len(token) > 1 else _STARS
