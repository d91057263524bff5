"""Who owns which partition, as the broker's group coordinator tells it.

Every worker joins the group with its URL (Faust's `canonical_url`), so the group's description says it all: members,
their URLs, and what each was assigned. No topic of our own can lag behind it or outlive it. While the group is being
rebalanced nobody owns anything.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

import msgspec
from aiokafka.coordinator.protocol import ConsumerProtocolMemberAssignment, ConsumerProtocolMemberMetadata
from aiokafka.errors import KafkaError, for_code

from processor.engine import clients
from processor.settings import Settings

#: Seconds for which an answer is taken as true, and that the broker may take for one.
_FRESH_SECONDS = 2.0
_PATIENCE_SECONDS = 3.0


class UnsettledError(Exception):
    """The group shares its partitions out: nobody owns any."""


class UnreachableError(Exception):
    """The broker does not tell."""


class Group(NamedTuple):
    """What each member was assigned, and where it is reached."""

    #: By topic (its full name) and partition.
    owners: Mapping[tuple[str, int], str]
    urls: tuple[str, ...]


class _UserData(msgspec.Struct):
    """The part of Faust's metadata of a member that we need."""

    url: str


class Members:
    """Asks the broker for the group, at most once in a while; many may wait for one answer."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._admin: Any = None
        self._group: Group | None = None
        self._asked_at = float("-inf")
        self._asking: asyncio.Task[Group] | None = None

    async def group(self, *, anew: bool = False) -> Group:
        """Give the group as it is now, or was a moment ago.

        Args:
            anew: whether only an answer that is asked for from now on will do.

        Raises:
            UnsettledError: a rebalance is under way.
            UnreachableError: the broker does not tell.
        """
        if self._group is not None and not anew and time.monotonic() - self._asked_at < _FRESH_SECONDS:
            return self._group
        if self._asking is None:
            self._asking = asyncio.ensure_future(self._ask())
            self._asking.add_done_callback(self._asked)
        # One who leaves must not end the question for the others.
        return await asyncio.shield(self._asking)

    def _asked(self, asking: asyncio.Task[Group]) -> None:
        self._asking = None
        if not asking.cancelled():
            # Whoever asked has left: then nobody else looks at the error.
            asking.exception()

    async def _ask(self) -> Group:
        started = time.monotonic()
        try:
            response = await asyncio.wait_for(self._describe(), _PATIENCE_SECONDS)
        except (KafkaError, OSError, asyncio.TimeoutError) as error:
            await self.close()
            raise UnreachableError(repr(error)) from error
        self._group, self._asked_at = _read(response), started
        return self._group

    async def _describe(self) -> Any:
        if self._admin is None:
            admin = clients.admin(self._settings)
            try:
                await admin.start()
            except BaseException:
                await admin.close()
                raise
            self._admin = admin
        [response] = await self._admin.describe_consumer_groups([self._settings.app_id])
        return response

    async def close(self) -> None:
        """Let go of the connection; the next question makes another."""
        admin, self._admin = self._admin, None
        if admin is not None:
            with suppress(KafkaError, OSError):
                await admin.close()


def _read(response: Any) -> Group:
    """Read the answer to DescribeGroups.

    Raises:
        UnsettledError: the group is not stable, or does not exist.
        KafkaError: the broker refuses.
    """
    [(error, _, state, _, _, members, *_)] = response.groups
    if error:
        raise UnreachableError(for_code(error).__name__)
    if state != "Stable":
        raise UnsettledError(state or "no group")
    return _group_of([(metadata, assignment) for _, _, _, metadata, assignment in members])


def _group_of(members: Sequence[tuple[bytes, bytes]]) -> Group:
    owners: dict[tuple[str, int], str] = {}
    urls = []
    for metadata, assignment in members:
        url = _url_of(metadata)
        if url is None:
            continue
        urls.append(url)
        for topic, partitions in ConsumerProtocolMemberAssignment.decode(assignment).assignment:
            owners.update({(topic, number): url for number in partitions})
    return Group(owners, tuple(urls))


def _url_of(metadata: bytes) -> str | None:
    """Give the URL that a member joined with; None when it is none of ours."""
    try:
        user_data = ConsumerProtocolMemberMetadata.decode(metadata).user_data
        return msgspec.json.decode(user_data, type=_UserData).url
    except (msgspec.MsgspecError, ValueError):
        return None
