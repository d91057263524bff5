"""Times of the API (RFC 3339) as the page shows them: in UTC, which static/live.js turns into local time."""

from __future__ import annotations

from datetime import datetime, timezone

import msgspec
from markupsafe import Markup

_MARKUP = Markup('<time datetime="{exact}" title="{title}"{short}>{shown}</time>')


def parse(moment: str) -> datetime:
    """Read a time of the API.

    Raises:
        msgspec.ValidationError: it is none.
    """
    return msgspec.convert(moment, datetime)


def since(moment: str, now: datetime) -> float:
    """Return how many seconds ago a moment was; 0 when it lies ahead."""
    return max(0.0, (now - parse(moment)).total_seconds())


def element(moment: str | datetime | None, form: str = "full") -> str:
    """Return a moment as a <time> element: exact for machines, UTC in its title, `short` without date and seconds."""
    if moment is None:
        return "\N{EN DASH}"
    utc = (parse(moment) if isinstance(moment, str) else moment).astimezone(timezone.utc)
    exact = utc.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    title = f"{utc:%Y-%m-%d %H:%M:%S}.{utc.microsecond // 1000:03d} UTC"
    if form == "short":
        return _MARKUP.format(exact=exact, title=title, short=Markup(' data-short=""'), shown=f"{utc:%H:%M} UTC")
    return _MARKUP.format(exact=exact, title=title, short="", shown=f"{utc:%Y-%m-%d %H:%M:%S} UTC")
