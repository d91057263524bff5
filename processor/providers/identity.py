"""Tell which message a report is about: our own id where it travels, else the provider's.

One message is one message to one recipient. Where one id covers several, the recipient is a part of the name; which ids
do is data of the adapter and of the settings, and never follows from how many recipients one record happens to name:
another record of the same message may name another number.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any, NamedTuple

from processor.domain.event import MAX_ATTEMPT, MAX_NAME, MAX_PARTS, Event
from processor.domain.links import native_key
from processor.domain.reason import Reason
from processor.domain.status import Channel, Status
from processor.providers.adapter import UNREADABLE_MAX, Adapter, Context, Finding, PayloadError, Unreadable, left_unread
from processor.providers.addresses import bare_address
from processor.providers.fields import identifier


class Ours(NamedTuple):
    """What of ours travels with a message; None where it does not."""

    message_id: str | None = None
    delivery_id: str | None = None
    attempt: int = 1
    #: Which part of a text message, and how many there are; None where nothing says so.
    part: int | None = None
    parts: int | None = None


def ours_in(context: Context, *places: Mapping[str, Any]) -> Ours:
    """Find our ids and our attempt in what travels with a message, and in the callback's own address."""
    if context.query:
        places = (*places, context.query)
    elif not any(places):
        return NOTHING_OF_OURS
    wanted = _wanted(context.message_id_names, context.delivery_id_names, context.attempt_names)
    # Most of what a payload has is not ours: one look at its names, then only at the few that are.
    lengths, stands_for = wanted.lengths, wanted.stands_for
    found: list[str | None] = []
    for place in places:
        for key in place:
            if len(key) in lengths and (lower := key.lower()) in stands_for:
                found = found or [None] * len(wanted.names)
                for which in stands_for[lower]:
                    # As a rule it is there once; else the order of names and places decides.
                    is_first = found[which] is None
                    found[which] = _first(place[key]) if is_first else _found(wanted.names[which], places)
    if not found:
        return NOTHING_OF_OURS
    message_id, delivery_id, attempt, part, parts = found
    if attempt is None and part is None and parts is None:
        return Ours(message_id, delivery_id)
    return Ours(
        message_id,
        delivery_id,
        1 if attempt is None else number_of(attempt, MAX_ATTEMPT) or 1,
        None if part is None else number_of(part, MAX_PARTS),
        None if parts is None else number_of(parts, MAX_PARTS),
    )


NOTHING_OF_OURS = Ours()
#: The names under which the number of a part, and how many there are, travel beside our ids.
_PART_NAMES, _PARTS_NAMES = ("part",), ("parts",)


class _Wanted(NamedTuple):
    #: The names of each of what is ours, as they are configured: of the message id, the delivery id, the attempt, the
    #: part, the number of parts.
    names: tuple[tuple[str, ...], ...]
    #: Which of the five each of them stands for, in lower case.
    stands_for: Mapping[str, Sequence[int]]
    #: How many characters they have; anything where some are not ASCII, whose case may change it.
    lengths: Container[int]


@lru_cache(maxsize=64)
def _wanted(*configured: tuple[str, ...]) -> _Wanted:
    names = (*configured, _PART_NAMES, _PARTS_NAMES)
    stands_for: dict[str, list[int]] = {}
    for which, some in enumerate(names):
        for name in some:
            stands_for.setdefault(name.lower(), []).append(which)
    is_ascii = all(map(str.isascii, stands_for))
    return _Wanted(names, stands_for, frozenset(map(len, stands_for)) if is_ascii else range(sys.maxsize))


def number_of(text: str | None, largest: int) -> int | None:
    """Read a whole number from 1 to `largest`; None when it is none."""
    if text is None or len(text) > 3 or not (text.isascii() and text.isdecimal()):
        return None
    return int(text) if 1 <= int(text) <= largest else None


def own_id(names: Iterable[str], *places: Mapping[str, Any]) -> str | None:
    """Find one of our own ids by its configured names, in order; a name matches exactly, else in any case."""
    return _found(tuple(names), places)


def _found(names: Sequence[str], places: Sequence[Mapping[str, Any]]) -> str | None:
    for place in places:
        for name in names:
            if name in place and (found := _first(place[name])) is not None:
                return found
    for place in places:
        in_any_case = {key.lower(): value for key, value in place.items()}
        for name in names:
            if (lower := name.lower()) in in_any_case and (found := _first(in_any_case[lower])) is not None:
                return found
    return None


def _first(value: object) -> str | None:
    # Tags and repeated headers come as lists; an id is the first of them.
    if isinstance(value, list):
        value = value[0] if value else None
    return identifier(value) if value is not None else None


def event_of(  # noqa: PLR0913 - what an event is made of
    adapter: Adapter,
    context: Context,
    native_id: str,
    ours: Ours,
    *,
    time: datetime,
    status: Status,
    recipient: str | None,
    reason: Reason | None,
    provider_message_id: str | None = None,
    names_several: bool = False,
    covers_several: bool | None = None,
    needs_recipient: bool = False,
    channel: Channel | None = None,
) -> Event:
    """Make the event of one message.

    Args:
        adapter: whose payload it was.
        context: what the adapter knows beside it.
        native_id: the provider's id.
        ours: what of ours travelled along.
        time: when it happened; aware.
        status: what it tells.
        recipient: whom it is about.
        reason: why.
        provider_message_id: the provider's id as it wrote it, where `native_id` is the part that names the message.
        names_several: whether the record names more recipients than this one.
        covers_several: whether ids of this kind may cover several recipients; None: as the adapter's do.
        needs_recipient: whether a report without a recipient, and without an id of ours, says nothing; else it is about
            all that the id covers.
        channel: where it is not the adapter's.

    Raises:
        PayloadError: one id of ours is told of several recipients, although it covers one; this one of several has no
            address; or what names the message is too long together.
    """
    # This runs for every event: what is told of ours is taken apart once, and nothing is called that need not be.
    name, delivery_id, attempt, part, parts = ours
    if names_several:
        refuse_shared(ours, context)
    if recipient is None and (names_several or (needs_recipient and name is None)):
        raise PayloadError("one of several recipients has no address")
    provider, channel = adapter.name, channel or adapter.channel
    if name is not None:
        covers_several = context.message_id_covers_send
    else:
        # Ids of two accounts, or of two SMS centres, may be equal.
        name = native_key(provider, context.account, native_id) if context.account else f"{provider}:{native_id}"
        if covers_several is None:
            covers_several = adapter.id_covers_several
    if covers_several and recipient is not None:
        name = f"{name}:{bare_address(recipient)}"
    if len(name) > MAX_NAME:
        raise PayloadError(
            f"account, id and recipient make a message id of {len(name)} characters; {MAX_NAME} are allowed"
        )
    event = Event(
        time,
        name,
        channel,
        status,
        None,
        delivery_id,
        provider,
        provider_message_id or native_id,
        recipient,
        attempt,
        reason,
    )
    if channel is Channel.SMS and (part is None or parts is None or part <= parts):
        event.part, event.parts = part, parts
    return event


def of_one_recipient(ours: Ours, recipient: str, context: Context) -> Ours:
    """Make an id of ours, which this record has of several messages, that of one; as it is where each record is so."""
    if ours.message_id is None or context.message_id_covers_send:
        return ours
    return ours._replace(message_id=f"{ours.message_id}:{bare_address(recipient)}")


def refuse_shared(ours: Ours, context: Context) -> None:
    """Refuse a record that tells of several recipients under one id of ours, unless ours covers a send.

    Raises:
        PayloadError: it does; one row would swallow all of them.
    """
    if ours.message_id is not None and not context.message_id_covers_send:
        raise PayloadError(
            f"several recipients under one message id of ours ({ours.message_id[:100]}): give each recipient an id of "
            "its own, or set DELIVERY_MESSAGE_ID_COVERS=send if an id covers a whole send"
        )


def each_recipient(
    recipients: Sequence[Any], ours: Ours, context: Context, event: Callable[..., Finding], *beside: Sequence[Any]
) -> list[Finding]:
    """Make one finding a recipient; one bad recipient of several is one `Unreadable`, the others live.

    Those behind the thousandth bad one are one `Unreadable`.

    Args:
        recipients: as the provider names them.
        ours: what of ours travelled along.
        context: what the adapter knows beside the payload.
        event: makes the finding, of a recipient and of what `beside` has of it.
        beside: what is told of each recipient elsewhere in the record, in the same order.

    Raises:
        PayloadError: they have one id of ours among them (`refuse_shared`).
    """
    if len(recipients) == 1:
        return [event(recipients[0], *[of_each[0] for of_each in beside]) if beside else event(recipients[0])]
    refuse_shared(ours, context)
    findings: list[Finding] = []
    bad = 0
    for told in zip(recipients, *beside, strict=True):
        if bad >= UNREADABLE_MAX:
            findings.append(Unreadable(left_unread(bad)))
            break
        try:
            findings.append(event(*told))
        except PayloadError as error:
            bad += 1
            findings.append(Unreadable(f"one of {len(recipients)} recipients: {error}"))
    return findings
