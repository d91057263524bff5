"""The canonical event: the normal form of every provider's report; producers may also publish it directly."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated

import msgspec

from processor.domain.reason import Reason
from processor.domain.status import Channel, Permanence, Status
from processor.domain.transitions import NODE_OF_REPORT, Node

#: An event whose time is further ahead of its Kafka record is refused: its clock is wrong.
MAX_AHEAD = timedelta(hours=24)


#: The highest attempt, and the highest number of parts.
MAX_ATTEMPT, MAX_PARTS = 99, 255

#: Maximum characters of a name: a message's row must fit into one Kafka record, whatever is reported.
MAX_NAME = 1_000

_Name = Annotated[str, msgspec.Meta(max_length=MAX_NAME)]


class Event(msgspec.Struct, gc=False, omit_defaults=True):
    """One report about one message.

    Decoding checks types and ranges; `node_of` checks the rest of the contract.
    Unknown fields are allowed and kept out of the fold.
    """

    time: Annotated[datetime, msgspec.Meta(tz=True)]
    message_id: Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_NAME)]
    channel: Channel
    status: Status
    id: _Name | None = None
    delivery_id: _Name | None = None
    provider: _Name | None = None
    provider_message_id: _Name | None = None
    recipient: _Name | None = None
    #: The number of our attempt that this report is about, 1 to 99.
    attempt: Annotated[int, msgspec.Meta(ge=1, le=MAX_ATTEMPT)] = 1
    reason: Reason | None = None
    #: The part of a multipart SMS that this report is about, and the number of parts.
    part: Annotated[int, msgspec.Meta(ge=1, le=MAX_PARTS)] | None = None
    parts: Annotated[int, msgspec.Meta(ge=1, le=MAX_PARTS)] | None = None
    #: Whether a provider's payload said all of this: then the ids in it tell nothing that its receipts do not tell.
    from_payload: bool = False


def breach_of_parts(event: Event) -> str | None:
    """Return how an event's part numbers break the contract; None if they do not."""
    if event.channel is not Channel.SMS:
        return f"`part` and `parts` are of text messages, and the channel is {event.channel.value}"
    if event.part is not None and event.parts is not None and event.part > event.parts:
        return f"part {event.part} of {event.parts} parts"
    return None


def node_of(event: Event) -> Node | None:
    """Return the node that an event reports, or None if it breaks the contract (see `breach_of`)."""
    reason = event.reason
    return NODE_OF_REPORT.get((event.channel, event.status, reason.permanence if reason is not None else None))


def breach_of(event: Event) -> str:
    """Return how an event breaks the contract for which `node_of` returns None."""
    reason = event.reason
    if event.status is Status.FAILED and reason is not None and reason.permanence is Permanence.TRANSIENT:
        return "status 'failed' with permanence 'transient': a transient reason rides on taken_into_account or pending"
    return f"status '{event.status.value}' does not exist on channel '{event.channel.value}'"
