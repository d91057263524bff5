"""The questions of a worker to the brokers: begins and ends of partitions, offsets, the group."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import (
    GroupCoordinatorNotAvailableError,
    KafkaError,
    LeaderNotAvailableError,
    RebalanceInProgressError,
    for_code,
)
from aiokafka.protocol.group import HeartbeatRequest
from aiokafka.structs import OffsetAndMetadata

from processor.engine import clients
from processor.engine.admin import changed_topics
from processor.engine.bounds import closed, within
from processor.engine.membership.members import is_member, transactional_ids_of_members
from processor.engine.pin import MEMBERSHIP_OVER, Pin
from processor.engine.predecessors import Transaction, Undecided, holders, transactions, undecided
from processor.engine.protocol import (
    UNSTABLE_OFFSET_COMMIT,
    CommittedOffset,
    ListOffsetsRequest,
    OffsetFetchRequest,
    Place,
)
from processor.engine.together import Together
from processor.logs import get_logger
from processor.settings import Settings

log = get_logger(__name__)

#: Seconds between attempts to reach a broker that is away, and to find the leader of a partition.
_RETRY_SECONDS = 1.0
_LEADER_SECONDS = 0.1


class MembershipUnknownError(KafkaError):
    """The broker that was asked is the group's coordinator no longer, or our membership is over."""

    retriable = True


class UnstableOffsetError(KafkaError):
    """A transaction that commits the offset has not ended, so neither is it known."""

    retriable = True


Client = TypeVar("Client", AIOKafkaAdminClient, AIOKafkaConsumer)


class Brokers:
    """Asks the brokers, from `connect` to `close`. Questions have no time limit unless stated."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._admin: Any = None
        self._reader: Any = None
        self._uncommitted_reader: Any = None
        self._committed = Together(self._ask_committed)
        self._offsets = {place: Together(partial(self._ask_offsets, place)) for place in Place}

    async def connect(self) -> None:
        """Connect; wait while the brokers cannot be reached."""
        self._admin = await self._connected(clients.admin)
        self._reader = await self._connected(clients.reader)
        self._uncommitted_reader = await self._connected(clients.uncommitted_reader)

    async def _connected(self, make: Callable[[Settings], Client]) -> Client:
        while True:
            client = make(self._settings)
            try:
                await within(client.start(), self._settings.commit_timeout)
            except (KafkaError, OSError, asyncio.TimeoutError) as error:
                log.warning("broker_away", brokers=self._settings.brokers, error=repr(error))
                await _close(client)
                await asyncio.sleep(_RETRY_SECONDS)
            else:
                return client

    async def close(self) -> None:
        """Close the connections."""
        clients_of_ours = [each for each in (self._reader, self._uncommitted_reader, self._admin) if each is not None]
        await asyncio.gather(*(_close(client) for client in clients_of_ours))

    async def committed_offset(self, tp: TopicPartition, pin: Pin) -> OffsetAndMetadata | None:
        """Ask for the group's committed offset of a partition; None if there is none.

        Args:
            tp: the partition.
            pin: the membership under which it is ours.

        Raises:
            MembershipUnknownError: another broker is to be asked, or our membership is over.
            UnstableOffsetError: a transaction of a former owner commits it, and has not ended.
        """
        return await self._committed.of((tp, pin))

    async def _ask_committed(
        self, asked: Collection[tuple[TopicPartition, Pin]]
    ) -> Mapping[tuple[TopicPartition, Pin], OffsetAndMetadata | Exception | None]:
        group = self._settings.app_id
        node = await self._admin.find_coordinator(group)
        found: dict[tuple[TopicPartition, Pin], OffsetAndMetadata | Exception | None] = {}
        for pin, tps in _by_pin(asked).items():
            try:
                await confirm_membership(self._admin, group, pin, node)
                answers = await told_at(self._admin, group, tps, node)
            except (KafkaError, OSError) as error:
                found.update(dict.fromkeys(((tp, pin) for tp in tps), error))
            else:
                found.update({(tp, pin): answers.get(tp) for tp in tps})
        return found

    async def bounds(self, tp: TopicPartition) -> tuple[int, int]:
        """Ask for the oldest offset of a partition and the offset after its last committed record."""
        oldest, end = await asyncio.gather(self._offset(tp, Place.OLDEST), self._offset(tp, Place.STABLE))
        return oldest, end

    async def high_watermark(self, tp: TopicPartition) -> int:
        """Ask for the offset after the last record of a partition, including those of open transactions."""
        return await self._offset(tp, Place.END)

    async def _offset(self, tp: TopicPartition, place: Place) -> int:
        """Ask the leader of a partition, once it is known."""
        while True:
            try:
                return await self._offsets[place].of(tp)
            except KafkaError as error:
                if not error.retriable:
                    raise
            await asyncio.sleep(_LEADER_SECONDS)

    async def _ask_offsets(
        self, place: Place, tps: Collection[TopicPartition]
    ) -> Mapping[TopicPartition, int | Exception]:
        """Ask the leaders of partitions; one that has no leader holds up no other."""
        by_leader = self._by_leader(tps)
        if None in by_leader:
            await self._admin._client.force_metadata_update()
            by_leader = self._by_leader(tps)
        found: dict[TopicPartition, int | Exception] = dict.fromkeys(by_leader.pop(None, ()), LeaderNotAvailableError())
        for answers in await asyncio.gather(*(self._ask_leader(place, *led) for led in by_leader.items())):
            found.update(answers)
        if any(isinstance(answer, Exception) for answer in found.values()):
            # Before anybody asks again: who was asked may not lead it any more.
            await self._admin._client.force_metadata_update()
        return found

    def _by_leader(self, tps: Collection[TopicPartition]) -> dict[int | None, list[TopicPartition]]:
        """Gather partitions by the brokers that lead them; None: nobody is known to."""
        found: dict[int | None, list[TopicPartition]] = defaultdict(list)
        for tp in tps:
            leader = self._admin._client.cluster.leader_for_partition(tp)
            found[leader if leader is not None and leader >= 0 else None].append(tp)
        return found

    async def _ask_leader(
        self, place: Place, leader: int | None, tps: Collection[TopicPartition]
    ) -> Mapping[TopicPartition, int | Exception]:
        try:
            response = await self._admin._send_request(ListOffsetsRequest(place, tps), leader)
        except (KafkaError, OSError) as error:
            return dict.fromkeys(tps, error)
        return {
            each.tp: for_code(each.error_code)(f"broker {leader}") if each.error_code else each.offset
            for each in ListOffsetsRequest.read(response)
        }

    async def stable_ends(self, tps: Collection[TopicPartition]) -> Mapping[TopicPartition, int]:
        """Ask for the offsets after the last committed records."""
        return await self._reader.end_offsets(list(tps)) if tps else {}

    async def ends(self, tps: Collection[TopicPartition]) -> Mapping[TopicPartition, int]:
        """Ask for the offsets after the last records, including those of open transactions."""
        return await self._uncommitted_reader.end_offsets(list(tps)) if tps else {}

    async def holders(self, tp: TopicPartition | None) -> frozenset[Undecided]:
        """Ask whose transactions hold up a partition, or the group's offsets (None)."""
        return await holders(self._admin, self._settings.app_id, tp)

    async def predecessors(
        self, tp: TopicPartition, producer_ids: Collection[int], *, spares_members: bool
    ) -> Sequence[str]:
        """Ask which transactional ids of some producers may be ended for a partition.

        These are the ids of this group's workers, and that of the partition, with which earlier versions committed.

        Args:
            tp: the input partition.
            producer_ids: whose transactions it waits for, as far as known.
            spares_members: whether to leave out open transactions of the group's present members, and all open ones
                while the group has none. A member ends its rounds by itself, and has none that began before it joined.
        """
        app_id = self._settings.app_id
        found = await self.transactions(producer_ids)
        former = f"{app_id}-{tp.topic}-{tp.partition}"
        ours = [
            each
            for each in found
            if each.transactional_id.startswith(f"{app_id}-worker-") or each.transactional_id == former
        ]
        if spares_members and any(each.is_open for each in ours):
            response = await self.describe_group()
            living = None if response is None else transactional_ids_of_members(response)
            ours = [each for each in ours if not (each.is_open and _is_of(each.transactional_id, living))]
        return [each.transactional_id for each in ours]

    async def undecided(self, tps: Collection[TopicPartition]) -> frozenset[Undecided]:
        """Ask the leaders of partitions what is undecided in them, and whose it is."""
        await self._admin._client.force_metadata_update()
        return await undecided(self._admin, tps)

    async def transactions(self, producer_ids: Collection[int]) -> Sequence[Transaction]:
        """Ask for the transactional ids of some producers, as far as we may see them."""
        return await transactions(self._admin, producer_ids=producer_ids) if producer_ids else ()

    async def changed_topics(self, known: Mapping[str, int]) -> dict[str, str]:
        """Ask which topics were deleted or repartitioned; return the problems by topic."""
        return await changed_topics(self._admin, known)

    async def offsets_of_group(self) -> Mapping[TopicPartition, OffsetAndMetadata]:
        """Ask for all that the group has committed, within the commit timeout."""
        try:
            offsets: Mapping[TopicPartition, OffsetAndMetadata] = await within(
                self._admin.list_consumer_group_offsets(self._settings.app_id), self._settings.commit_timeout
            )
        except GroupCoordinatorNotAvailableError:
            # As on every broker that is new: it has no groups yet.
            return {}
        return offsets

    async def has_member(self, transactional_id: str) -> bool | None:
        """Ask whether the worker with a transactional id is in the group; None: nobody can tell now."""
        response = await self.describe_group()
        return None if response is None else is_member(response, transactional_id)

    async def describe_group(self) -> Any:
        """Ask for the group within the commit timeout; return the answer to DescribeGroups, or None without one."""
        describing = self._admin.describe_consumer_groups([self._settings.app_id])
        try:
            [response] = await within(describing, self._settings.commit_timeout)
        except GroupCoordinatorNotAvailableError:
            # As on every broker that is new: it has no groups yet.
            return None
        except (KafkaError, OSError, asyncio.TimeoutError) as error:
            log.warning("broker_away", brokers=self._settings.brokers, error=repr(error))
            return None
        return response


def _is_of(transactional_id: str, members: Collection[str] | None) -> bool:
    """Return whether an id is a member's, or that of one of its partitions that commit apart; None: nobody knows."""
    return members is None or any(f"{transactional_id}-".startswith(f"{member}-") for member in members)


async def confirm_membership(admin: AIOKafkaAdminClient, group: str, pin: Pin, node: int) -> None:
    """Check that a broker knows our membership, and hence all offsets that former members committed.

    A broker that was the group's coordinator, stood still and was replaced answers for some moments after it wakes with
    the offsets that it knew. A generation is in the log before its members learn of it, and no commit of a former one
    is accepted after it, so whoever knows ours is not behind it (ADR 0025).

    Raises:
        MembershipUnknownError: it does not know our generation.
        KafkaError: it does not know of the group, or not yet.
    """
    response = await admin._send_request(HeartbeatRequest(group, pin.generation, pin.member_id), node)
    refusal = for_code(response.error_code)
    if issubclass(refusal, MEMBERSHIP_OVER):
        raise MembershipUnknownError(f"broker {node} does not know generation {pin.generation} of {group}")
    if response.error_code and refusal is not RebalanceInProgressError:
        raise refusal(f"broker {node}")


async def offsets_at(
    admin: AIOKafkaAdminClient, group: str, tps: Collection[TopicPartition], node: int
) -> Mapping[TopicPartition, OffsetAndMetadata]:
    """Ask a broker for a group's committed offsets; those that there have never been are left out.

    Raises:
        UnstableOffsetError: a transaction that has not ended commits one of them.
        KafkaError: it does not tell them.
    """
    offsets = {}
    for tp, told in (await told_at(admin, group, tps, node)).items():
        if isinstance(told, Exception):
            raise told
        offsets[tp] = told
    return offsets


async def told_at(
    admin: AIOKafkaAdminClient, group: str, tps: Collection[TopicPartition], node: int
) -> Mapping[TopicPartition, OffsetAndMetadata | Exception]:
    """Ask a broker for a group's committed offsets; what it tells of one says nothing of the others.

    Returns:
        Of each partition the offset, or the error: UnstableOffsetError if a transaction that has not ended commits it.
        Those are left out for which there has never been one.

    Raises:
        KafkaError: it tells none.
    """
    response = await admin._send_request(OffsetFetchRequest(group, tps), node)
    if response.error_code:
        raise for_code(response.error_code)(f"broker {node}")
    return {
        each.tp: _refusal(each, node) if each.error_code else OffsetAndMetadata(each.offset, each.metadata)
        for each in OffsetFetchRequest.read(response)
        if each.error_code or each.offset >= 0
    }


def _refusal(answer: CommittedOffset, node: int) -> KafkaError:
    if answer.error_code == UNSTABLE_OFFSET_COMMIT:
        return UnstableOffsetError(f"{answer.tp.topic}[{answer.tp.partition}]")
    error: KafkaError = for_code(answer.error_code)(f"broker {node}")
    return error


def _by_pin(asked: Collection[tuple[TopicPartition, Pin]]) -> Mapping[Pin, Collection[TopicPartition]]:
    found: dict[Pin, list[TopicPartition]] = defaultdict(list)
    for tp, pin in asked:
        found[pin].append(tp)
    return found


async def _close(client: AIOKafkaAdminClient | AIOKafkaConsumer) -> None:
    await closed("client", client.close() if isinstance(client, AIOKafkaAdminClient) else client.stop())
