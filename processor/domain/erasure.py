"""Erase a person's data from what is told of one message: recipient and texts go, status and counts stay.

What is erased leaves the mark `ERASED` in its place, so that erasing commutes with joining: a row that is erased, and
then joins an erased event, is the row that would have joined both and been erased. `Row` and what is published of it
show nothing where the mark stands.
"""

from __future__ import annotations

import re

import msgspec

from processor.domain.event import Event
from processor.domain.reason import ERASED, Reason
from processor.domain.row import NodeReason, Row


def is_erased(row: Row | None) -> bool:
    """Return whether a message's recipient has been erased."""
    return row is not None and row.names.recipient == ERASED


def erase_event(event: Event) -> Event:
    """Return an event of an erased recipient: without recipient and text."""
    recipient = None if event.recipient is None else ERASED
    return msgspec.structs.replace(event, recipient=recipient, reason=_without_text(event.reason))


def erase_row(row: Row) -> Row:
    """Return a row without recipient and texts; the same object if it has none."""
    names, reasons = row.names, row.reasons
    if names.recipient not in {None, ERASED}:
        names = msgspec.structs.replace(names, recipient=ERASED)
    if any(_without_text(given.reason) is not given.reason for given in reasons):
        reasons = tuple(
            NodeReason(given.node, given.time, _without_text(given.reason) or given.reason) for given in reasons
        )
    if names is row.names and reasons is row.reasons:
        return row
    return msgspec.structs.replace(row, names=names, reasons=reasons)


def _without_text(reason: Reason | None) -> Reason | None:
    """Return a reason without its text, and without codes that quote an address; the same object if it has none.

    That they were there still tells which reason of a node is the most specific.
    """
    if reason is None:
        return None
    text = ERASED if reason.text else reason.text
    code, provider_code = _without_address(reason.code), _without_address(reason.provider_code)
    if (code, provider_code, text) == (reason.code, reason.provider_code, reason.text):
        return reason
    return msgspec.structs.replace(reason, code=code, provider_code=provider_code, text=text)


#: What an address or a number has, and a code has not.
_ADDRESS = re.compile(r"@|[0-9]{7}")


def may_quote_address(text: str) -> bool:
    """Return whether a code or a part of an id may be, or quote, an address or a number."""
    return _ADDRESS.search(text) is not None


def _without_address(code: str | None) -> str | None:
    return ERASED if code is not None and may_quote_address(code) else code
