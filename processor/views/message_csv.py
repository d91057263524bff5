"""Messages as lines of CSV (RFC 4180), for spreadsheets and for programs."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable

from processor.views.message_list import MessageItem

COLUMNS = (
    "message_id",
    "delivery_id",
    "channel",
    "status",
    "permanence",
    "since",
    "reason_category",
    "reason_code",
    "reason_text",
    "recipient",
    "provider",
    "provider_message_id",
    "reference",
)

#: What a cell begins with that a spreadsheet takes for a formula.
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")


def header() -> str:
    """Return the line of the columns' names."""
    return _lines([COLUMNS])


def lines_of(items: Iterable[MessageItem]) -> str:
    """Return a line for each message.

    A free text that a spreadsheet would take for a formula has an apostrophe before it; ids and addresses stay as they
    are.
    """
    return _lines(map(_cells, items))


def _cells(item: MessageItem) -> tuple[str, ...]:
    reason = item.reason
    return (
        item.message_id,
        item.delivery_id or "",
        item.channel.value,
        item.status.value,
        "" if item.permanence is None else item.permanence.value,
        item.since,
        "" if reason is None or reason.category is None else reason.category.value,
        "" if reason is None else _harmless(reason.code),
        "" if reason is None else _harmless(reason.text),
        item.recipient or "",
        _harmless(item.provider),
        item.provider_message_id or "",
        item.reference,
    )


def _harmless(text: str | None) -> str:
    if not text:
        return ""
    return f"'{text}" if text.startswith(_FORMULA) else text


def _lines(rows: Iterable[Iterable[str]]) -> str:
    written = io.StringIO()
    csv.writer(written).writerows(rows)
    return written.getvalue()
