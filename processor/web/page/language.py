"""The languages of the page: which one a request asks for, and how each writes numbers and spans of time."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum

from aiohttp import web

from processor.domain.status import DEFINITIONS, Status
from processor.web.page.texts import ENGLISH, SWEDISH, TEXTS

#: The cookie that remembers a choice of language.
COOKIE = "lang"

#: Shown where there is no value.
_NOTHING = "\N{EN DASH}"

#: Between groups of digits and before a unit or a percent sign: no line may break there.
_SPACE = "\N{NO-BREAK SPACE}"

_MINUTE, _HOUR, _DAY = 60, 3_600, 86_400


@dataclass(frozen=True)
class Language:
    """One language of the page; `index` is its place in each row of TEXTS."""

    code: str
    name: str
    index: int
    decimal: str
    group: str
    percent: str

    def text(self, key: str, **values: object) -> str:
        """Return a text, with values in the places that it names.

        Raises:
            KeyError: the page has no such text.
        """
        template = TEXTS[key][self.index]
        return template.format(**values) if values else template

    def counted(self, key: str, count: int, **values: object) -> str:
        """Return a text about a number of things: `key.one` or `key.other`."""
        form = "one" if count == 1 else "other"
        return self.text(f"{key}.{form}", n=self.number(count), **values)

    def known(self, prefix: str, name: str) -> str:
        """Return the text for a name; a name without a text stands for itself."""
        name = plain(name)
        row = TEXTS.get(f"{prefix}.{name}")
        return row[self.index] if row is not None else name.replace("_", " ")

    def owner(self, name: str) -> str:
        """Return the name of a user, or the text for whoever has a token without a name."""
        row = TEXTS.get(f"owner.{name}")
        return row[self.index] if row is not None else name

    def status(self, name: str) -> str:
        """Return the label of a status, to the letter of the product's list; `failed_gave_up` is a failure, too."""
        if name == "failed_gave_up":
            return self.text("node.failed_gave_up", failed=self.status(Status.FAILED.value))
        definition = DEFINITIONS[Status(name)]
        return (definition.english, definition.swedish)[self.index]

    def meaning(self, status: Status) -> str:
        """Return the meaning of a status."""
        return self.text(f"meaning.{status.value}")

    def number(self, value: float, digits: int = 0) -> str:
        """Write a number with its digits in groups of three."""
        return f"{value:,.{digits}f}".translate({ord(","): self.group, ord("."): self.decimal})

    def rate(self, value: float) -> str:
        """Write how many there are a second: the smaller, the finer."""
        return self.number(value, 0 if value >= 100 or value == 0 else 1 if value >= 1 else 2)

    def share(self, part: float, whole: float = 1) -> str:
        """Write a part of a whole as a percentage that is 0 or 100 only when it is exactly that."""
        if not whole:
            return _NOTHING
        percent = 100 * part / whole
        if 0 < percent < 0.1:
            return f"<{_SPACE}{self.number(0.1, 1)}{self.percent}"
        if percent not in {0, 100}:
            percent = min(max(round(percent, 1), 0.1), 99.9)
        return f"{self.number(percent, 0 if percent in {0, 100} else 1)}{self.percent}"

    def span(self, seconds: float) -> str:
        """Write a span of time in its two largest units."""
        whole = max(0, round(seconds))
        if whole < _MINUTE:
            return self._units((whole, "second"))
        if whole < _HOUR:
            return self._units((whole // _MINUTE, "minute"), (whole % _MINUTE, "second"))
        if whole < _DAY:
            return self._units((whole // _HOUR, "hour"), (whole % _HOUR // _MINUTE, "minute"))
        return self._units((whole // _DAY, "day"), (whole % _DAY // _HOUR, "hour"))

    def _units(self, first: tuple[int, str], *rest: tuple[int, str]) -> str:
        parts = [first, *(part for part in rest if part[0])]
        return " ".join(f"{self.number(count)}{_SPACE}{self.text(f'unit.{unit}')}" for count, unit in parts)


def plain(text: str) -> str:
    """Return a text as it is, and a member of an enumeration of texts as its value."""
    return str(text.value) if isinstance(text, Enum) else text


LANGUAGES: dict[str, Language] = {
    "en": Language("en", "English", ENGLISH, ".", ",", "%"),
    "sv": Language("sv", "Svenska", SWEDISH, ",", _SPACE, _SPACE + "%"),
}

DEFAULT = LANGUAGES["en"]


def language_of(request: web.Request) -> Language:
    """Return the language that a request asks for: by `?lang=`, by the cookie of an earlier choice, by its browser."""
    for asked in (request.query.get("lang"), request.cookies.get(COOKIE)):
        if asked in LANGUAGES:
            return LANGUAGES[asked]
    return _accepted(request.headers.get("Accept-Language", ""))


def _accepted(header: str) -> Language:
    best, best_quality = DEFAULT, 0.0
    for entry in header.split(","):
        tag, _, parameters = entry.partition(";")
        language = LANGUAGES.get(tag.strip().lower().partition("-")[0])
        quality = re.fullmatch(r"\s*q\s*=\s*([01](?:\.\d{0,3})?)\s*", parameters) if parameters else None
        weight = float(quality[1]) if quality else 0.0 if parameters else 1.0
        if language is not None and weight > best_quality:
            best, best_quality = language, weight
    return best
