"""The answer to the question whether to send to an address."""

from __future__ import annotations

import msgspec

from processor.domain.addresses import NOTHING, Address, State, condition_of
from processor.domain.moment import Micros
from processor.domain.status import Channel
from processor.wire.addresses import ReasonRecord, record_of


class AddressView(msgspec.Struct, frozen=True):
    """Whether to send to an address, since when and until when, and why."""

    channel: Channel
    #: The keyed hash of the address: `channel|hash` is its key in the topic of addresses.
    hash: str
    state: State
    since: str | None
    until: str | None
    reasons: tuple[ReasonRecord, ...]


def address_view(key: str, address: Address | None, now: Micros) -> AddressView:
    """Return how an address stands; None: nothing is remembered of it."""
    memory = NOTHING if address is None else address
    record = record_of(key, memory, condition_of(memory, now))
    return AddressView(record.channel, record.hash, record.state, record.since, record.until, record.reasons)
