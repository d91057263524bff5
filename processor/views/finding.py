"""Messages and deliveries that a text finds, each with the field that matched."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from enum import Enum
from heapq import nlargest

import msgspec

from processor.domain.moment import Micros
from processor.views.deliveries import Deliveries
from processor.views.entries import Entry

#: Things that one text finds at most, of each kind of match.
FOUND_MAX = 50

#: Earlier than any time.
_EVER = Micros(-(1 << 62))


class Kind(str, Enum):
    """What is found."""

    MESSAGE = "message"
    DELIVERY = "delivery"


class Matched(str, Enum):
    """The field that matched: ids and addresses are equal to the text, a label contains it."""

    MESSAGE_ID = "message_id"
    PROVIDER_MESSAGE_ID = "provider_message_id"
    RECIPIENT = "recipient"
    DELIVERY_ID = "delivery_id"
    LABEL = "label"


class FoundThing(msgspec.Struct, frozen=True):
    """A message or a delivery that was found; what a link names it by is its `reference`."""

    kind: Kind
    #: Of a message, masked unless the caller may see it.
    id: str
    matched: Matched
    reference: str


class FindList(msgspec.Struct, frozen=True):
    """What a text finds, each thing once: by ids first, then by recipient, then by label."""

    items: tuple[FoundThing, ...]
    #: Partitions that could not be asked: their messages are not among the items.
    incomplete: tuple[int, ...]


def find_deliveries(deliveries: Deliveries, text: str) -> Iterator[FoundThing]:
    """Yield the delivery with an id, and those whose label has a text in it, the latest active first."""
    if text and text in deliveries.entries:
        yield _delivery(text, Matched.DELIVERY_ID)
    folded = text.casefold()
    labelled = [each for each in deliveries.entries.values() if each.label and folded in each.label.casefold()]
    for entry in nlargest(FOUND_MAX, labelled, key=_touched):
        yield _delivery(entry.delivery_id, Matched.LABEL)


def each_once(found: Iterable[FoundThing]) -> tuple[FoundThing, ...]:
    """Return each thing as it was found first."""
    things: dict[tuple[Kind, str], FoundThing] = {}
    for each in found:
        things.setdefault((each.kind, each.reference), each)
    return tuple(things.values())


def _delivery(delivery_id: str, matched: Matched) -> FoundThing:
    return FoundThing(Kind.DELIVERY, delivery_id, matched, delivery_id)


def _touched(entry: Entry) -> tuple[Micros, str]:
    return _EVER if entry.touched is None else entry.touched, entry.delivery_id
