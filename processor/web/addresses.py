"""Answer whether to send to an address, from whichever worker has its partition."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import Annotated, Protocol, runtime_checkable
from urllib.parse import quote

import msgspec

from processor.domain.event import MAX_NAME
from processor.domain.moment import from_seconds
from processor.domain.status import Channel
from processor.providers.address_keys import AddressKeys
from processor.views.addresses import AddressView, address_view
from processor.web.forwarding import Forwarding, Question
from processor.web.owner import Owner
from processor.web.problems import MESSAGE_NOT_KNOWN, MESSAGE_UNREADABLE, NO_ADDRESS, NO_FEED, ProblemError
from processor.wire.addresses import Known
from processor.wire.readback import UnreadableError
from processor.wire.topics import RECIPIENTS

ADDRESS_PATH = "/internal/v1/addresses/"

_KEY = re.compile(r"(email|sms)\|[0-9a-f]{32}")


class AddressQuestion(msgspec.Struct, frozen=True):
    """Whose address is asked for; without a channel, one with an `@` is a mail address."""

    recipient: Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_NAME)]
    channel: Channel | None = None


@runtime_checkable
class Conditions(Protocol):
    """What is remembered of the addresses of one partition."""

    def known(self, key: bytes) -> Known | None:
        """Return what is remembered of an address; None: nothing.

        Raises:
            UnreadableError: it is there, and cannot be read.
        """


def conditions_of(owner: Owner, number: int) -> Conditions | None:
    """Return the addresses of a partition; None: it is not owned here, or has not recovered."""
    work = owner.running_work(RECIPIENTS, number)
    return work if work is not None and isinstance(work, Conditions) else None


class AddressLookup:
    """Answers about addresses for one worker.

    Args:
        forwarding: asks the owner of a partition.
        secret: what addresses are hashed under; empty: there is no feed.
        clock: returns the present time, in seconds since the epoch.
    """

    def __init__(self, forwarding: Forwarding, secret: str, clock: Callable[[], float] = time.time) -> None:
        self._forwarding, self._clock = forwarding, clock
        self._keys = AddressKeys(secret) if secret else None

    async def find(self, asked: AddressQuestion) -> AddressView:
        """Return how the address of a recipient stands.

        Raises:
            ProblemError: there is no feed, or it cannot be had now.
        """
        channel = asked.channel or (Channel.EMAIL if "@" in asked.recipient else Channel.SMS)
        return await self.one(self._required().key_of(channel, asked.recipient))

    async def one(self, key: str) -> AddressView:
        """Return how an address stands, by its key.

        Raises:
            ProblemError: there is no feed, the key is none, or it cannot be had now.
        """
        self._required()
        if not _KEY.fullmatch(key):
            raise ProblemError(NO_ADDRESS, "an address is named by `email|` or `sms|` and 32 hexadecimal digits")
        try:
            found = await self._forwarding.ask_owner(self._question(key))
        except ProblemError as error:
            if error.kind is not MESSAGE_NOT_KNOWN:
                raise
            found = None
        return found or self._view(key, None)

    async def here(self, key: str) -> AddressView:
        """Return how an address stands, if this worker has its partition.

        Raises:
            ProblemError: nothing is remembered of it, or it is not here.
        """
        found: AddressView | None = None
        if _KEY.fullmatch(key):
            found = await self._forwarding.ask_here(self._question(key))
        if found is None:
            raise ProblemError(MESSAGE_NOT_KNOWN, "nothing is remembered of this address")
        return found

    def _required(self) -> AddressKeys:
        if self._keys is None:
            raise ProblemError(NO_FEED, "set DELIVERY_ADDRESSES_KEY for all workers: docs/addresses.md")
        return self._keys

    def _question(self, key: str) -> Question[Conditions, AddressView]:
        packed = key.encode()

        def find(conditions: Conditions) -> AddressView | None:
            try:
                known = conditions.known(packed)
            except UnreadableError as error:
                raise ProblemError(MESSAGE_UNREADABLE, str(error)) from None
            return None if known is None else self._view(key, known)

        partition = self._forwarding.partition_of(RECIPIENTS, packed)
        path = f"{ADDRESS_PATH}{quote(key, safe='')}"
        return Question(RECIPIENTS, partition, conditions_of, path, AddressView, find)

    def _view(self, key: str, known: Known | None) -> AddressView:
        return address_view(key, None if known is None else known.memory, from_seconds(self._clock()))
