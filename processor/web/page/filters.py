"""The form above the list of deliveries: its fields, the query that they make, and addresses that keep them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple
from urllib.parse import urlencode

from processor.domain.delivery import Cause, State
from processor.domain.status import Channel, Status
from processor.views.listing import ANY_CAUSE, DEFAULT_SORT
from processor.web.page.language import Language

#: Fields that the API takes under the same name.
_SAME = ("q", "state", "channel", "status", "provider", "pending", "stuck")
_FIELDS = (*_SAME, "active", "sort")

PERIODS = {"1h": timedelta(hours=1), "24h": timedelta(hours=24), "7d": timedelta(days=7)}

#: Columns that the list can be sorted by, and which way first; `-` is from the greatest.
SORTS = {
    "label": "label",
    "state": "state",
    "progress": "-progress",
    "messages": "-messages",
    "failed": "-failed",
    "stuck": "-stuck",
    "last_activity": "-last_activity",
}

_PAGE_SIZE = "25"


class Sorting(NamedTuple):
    """A column that can be sorted by: the address that does so, and how it is sorted now (as aria-sort says it)."""

    href: str
    now: str


@dataclass(frozen=True)
class Filters:
    """The fields of the form; those that were not given are empty."""

    form: Mapping[str, str]
    cursor: str

    @classmethod
    def of(cls, query: Mapping[str, str]) -> Filters:
        """Read the fields from a query; other parameters are ignored."""
        return cls({name: query.get(name, "").strip() for name in _FIELDS}, query.get("cursor", ""))

    @property
    def are_given(self) -> bool:
        """Whether any filter is set."""
        return any(value for name, value in self.form.items() if name != "sort")

    def parameters(self, now: datetime) -> dict[str, str]:
        """Return the parameters of the list of deliveries."""
        parameters = {name: self.form[name] for name in (*_SAME, "sort") if self.form[name]}
        if self.form["active"] in PERIODS:
            parameters["since"] = (now - PERIODS[self.form["active"]]).isoformat(timespec="seconds")
        if self.cursor:
            parameters["cursor"] = self.cursor
        return {**parameters, "limit": _PAGE_SIZE}

    def address(self, **changed: str) -> str:
        """Return the address of the list with these filters, some of them changed."""
        query = {name: value for name, value in {**self.form, **changed}.items() if value}
        return f"/deliveries?{urlencode(query)}" if query else "/deliveries"

    def sorting(self) -> dict[str, Sorting]:
        """Return how each column can be sorted: the present one in reverse."""
        given = self.form["sort"] or DEFAULT_SORT
        found = {}
        for column, first in SORTS.items():
            now = "" if given.removeprefix("-") != column else "descending" if given.startswith("-") else "ascending"
            turned = {"": first, "descending": column, "ascending": f"-{column}"}[now]
            found[column] = Sorting(self.address(sort=turned), now)
        return found

    def choices(self, language: Language) -> dict[str, list[tuple[str, str]]]:
        """Return the values of each field with a fixed set of values, with their labels."""
        nothing = ("", language.text("filter.any"))
        return {
            "state": [nothing, *((each.value, language.known("state", each.value)) for each in State)],
            "channel": [nothing, *((each.value, language.known("channel", each.value)) for each in Channel)],
            "status": [nothing, *((each.value, language.status(each.value)) for each in Status)],
            "pending": [
                nothing,
                (ANY_CAUSE, language.text("filter.pending.any")),
                *((each.value, language.text(f"cause.{each.value}.short")) for each in Cause),
            ],
            "active": [
                ("", language.text("filter.active.any")),
                *((period, language.text(f"filter.active.{period}")) for period in PERIODS),
            ],
        }
