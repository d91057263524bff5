"""Complaints and unsubscriptions in payloads: no statuses of messages, but facts about their addresses.

That somebody left one of several lists is no objection to the others, so adapters leave that out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime

from processor.domain.addresses import Kind
from processor.providers.adapter import Context, Objection
from processor.providers.fields import identifier

COMPLAINT, UNSUBSCRIBE = Kind.COMPLAINT, Kind.UNSUBSCRIBE

#: Types of feedback reports (RFC 5965) that are complaints; one without a type is taken for one. The others are
#: `other`, `auth-failure`, and `not-spam`, which takes a complaint back.
_COMPLAINTS = frozenset({"abuse", "fraud", "virus"})


def objections(
    kinds: Mapping[str, Kind], native: str, recipients: Iterable[object], time: datetime | None, context: Context
) -> tuple[Objection, ...]:
    """Return what a native status says of addresses; nothing if it is not in the table."""
    kind = kinds.get(native)
    if kind is None:
        return ()
    named = [identifier(each) for each in recipients]
    return tuple(Objection(kind, each, time or context.received) for each in named if each is not None)


def is_complaint(feedback_type: object) -> bool:
    """Return whether a feedback report of a type is a complaint."""
    return not isinstance(feedback_type, str) or not feedback_type or feedback_type.lower() in _COMPLAINTS
