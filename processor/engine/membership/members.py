"""The owners of partitions, according to the broker's group coordinator.

Every worker joins the group with its URL (Faust's `canonical_url`), so the group's description has the members, their
URLs and assignments. It cannot lag behind or outlive the group, as a topic would. During a rebalance no partition has
an owner.

Any member can write any URL there. So a worker also joins with a proof that its URL comes from a holder of the workers'
token; a URL without a proof is not used (web/forwarding.py).
"""

from __future__ import annotations

import asyncio
import hmac
import re
import time
from collections.abc import Callable, Iterable, Mapping
from hashlib import sha256
from typing import Any, NamedTuple

import msgspec
from aiokafka.coordinator.protocol import ConsumerProtocolMemberAssignment, ConsumerProtocolMemberMetadata
from aiokafka.errors import KafkaError, for_code

from processor.engine import clients
from processor.engine.bounds import closed, within
from processor.settings import Settings

#: Seconds for which an answer is taken as true, and that the broker may take for one.
_FRESH_SECONDS = 2.0
_PATIENCE_SECONDS = 3.0

#: States of a group without members, in Kafka's words.
_NO_MEMBERS = frozenset({"Empty", "Dead"})


class UnsettledError(Exception):
    """The group rebalances: no partition has an owner."""


class UnreachableError(Exception):
    """The broker does not answer."""


class Member(NamedTuple):
    """One member of the group."""

    #: Assigned by the broker, and unique.
    id: str
    #: Where it says that it is reached; None: it says nothing that is the URL of a worker.
    url: str | None
    #: Where the broker sees it connect from.
    address: str
    #: Whether the URL comes from a holder of the workers' token.
    is_proven: bool


class Group(NamedTuple):
    """All members with their assignments."""

    #: By topic (its full name) and partition.
    owners: Mapping[tuple[str, int], Member]
    members: tuple[Member, ...]


class _UserData(msgspec.Struct):
    """The part of a member's metadata that is needed: Faust's, and the fields that assignor.py adds."""

    url: str
    proof: str = ""
    #: The transactional id of its rounds; empty: a version that has none.
    worker: str = ""


def proof(settings: Settings, url: str) -> str:
    """Return the proof that a URL is that of a worker of this group; empty if the workers have no token."""
    key = settings.workers_token
    told = f"delivery-status member\n{settings.app_id}\n{url}"
    return hmac.new(key.encode(), told.encode(), sha256).hexdigest() if key else ""


class Members:
    """Asks the broker for the group at a limited rate; many callers may wait for one answer."""

    def __init__(self, settings: Settings, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._settings, self._monotonic = settings, monotonic
        self._admin: Any = None
        self._group: Group | None = None
        self._asked_at = float("-inf")
        self._asking: asyncio.Task[Group] | None = None

    async def group(self, *, anew: bool = False) -> Group:
        """Return the group as of now, or of a moment ago.

        Args:
            anew: whether to ask again and not to take a recent answer.

        Raises:
            UnsettledError: a rebalance is under way.
            UnreachableError: the broker does not answer.
        """
        if self._group is not None and not anew and self._monotonic() - self._asked_at < _FRESH_SECONDS:
            return self._group
        if self._asking is None:
            self._asking = asyncio.ensure_future(self._ask())
            self._asking.add_done_callback(self._asked)
        # A caller that leaves must not end the question for the others.
        return await asyncio.shield(self._asking)

    def _asked(self, asking: asyncio.Task[Group]) -> None:
        self._asking = None
        if not asking.cancelled():
            # The caller has left, so nobody else retrieves the error.
            asking.exception()

    async def _ask(self) -> Group:
        started = self._monotonic()
        try:
            response = await within(self._describe(), _PATIENCE_SECONDS)
        except (KafkaError, OSError, asyncio.TimeoutError) as error:
            await self.close()
            raise UnreachableError(repr(error)) from error
        self._group, self._asked_at = self._read(response), started
        return self._group

    async def _describe(self) -> Any:
        if self._admin is None:
            admin = clients.admin(self._settings)
            try:
                await admin.start()
            except BaseException:
                await closed("client", admin.close())
                raise
            self._admin = admin
        [response] = await self._admin.describe_consumer_groups([self._settings.app_id])
        return response

    async def close(self) -> None:
        """Close the connection; the next question opens another."""
        admin, self._admin = self._admin, None
        if admin is not None:
            await closed("client", admin.close())

    def _read(self, response: Any) -> Group:
        """Read the answer to DescribeGroups.

        Raises:
            UnsettledError: the group is not stable, or does not exist.
            UnreachableError: the broker refuses.
        """
        [(error, _, state, _, _, members, *_)] = response.groups
        if error:
            raise UnreachableError(for_code(error).__name__)
        if state != "Stable":
            raise UnsettledError(state or "no group")
        owners: dict[tuple[str, int], Member] = {}
        found = []
        for member_id, _, address, metadata, assignment in members:
            member = self._member(member_id, address, metadata)
            found.append(member)
            owners.update(dict.fromkeys(_assigned(assignment), member))
        return Group(owners, tuple(found))

    def _member(self, member_id: str, address: str, metadata: bytes) -> Member:
        told = _user_data(metadata)
        if told is None or not _is_worker_url(told.url):
            return Member(member_id, None, address, is_proven=False)
        known = proof(self._settings, told.url)
        is_proven = bool(known) and hmac.compare_digest(told.proof.encode(), known.encode())
        return Member(member_id, told.url, address, is_proven)


def transactional_ids_of_members(response: Any) -> frozenset[str] | None:
    """Read the answer to DescribeGroups: the transactional ids with which members joined; None while it rebalances."""
    [(error, _, state, _, _, members, *_)] = response.groups
    if error or state != "Stable":
        return None
    told = (_user_data(metadata) for _, _, _, metadata, _ in members)
    return frozenset(each.worker for each in told if each is not None and each.worker)


def is_member(response: Any, transactional_id: str) -> bool | None:
    """Read the answer to DescribeGroups: whether a worker with this id is in the group; None while it rebalances."""
    if any(state in _NO_MEMBERS for _, _, state, *_ in response.groups):
        return False
    members = transactional_ids_of_members(response)
    return None if members is None else transactional_id in members


def _is_worker_url(url: str) -> bool:
    """Return whether a URL has only scheme, host and port, as those of workers have."""
    found = re.fullmatch(r"https?://(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::([0-9]{1,5}))?", url)
    return found is not None and 0 < int(found[1] or 80) < 65_536


def _user_data(metadata: bytes) -> _UserData | None:
    """Read the metadata of a member; None if it is foreign."""
    try:
        user_data = ConsumerProtocolMemberMetadata.decode(metadata).user_data
        return msgspec.json.decode(user_data or b"", type=_UserData)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None


def _assigned(assignment: bytes) -> Iterable[tuple[str, int]]:
    """Read the assignment of a member, which the leader wrote, and that may be foreign."""
    try:
        read = ConsumerProtocolMemberAssignment.decode(assignment).assignment
    except ValueError:
        return ()
    return [(topic, number) for topic, numbers in read for number in numbers]
