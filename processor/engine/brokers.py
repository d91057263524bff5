"""The questions of a worker to the brokers: begins and ends of partitions, offsets, the group."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, TypeVar

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import GroupCoordinatorNotAvailableError, KafkaError, RebalanceInProgressError, for_code
from aiokafka.protocol.group import HeartbeatRequest
from aiokafka.structs import OffsetAndMetadata

from processor.engine import clients
from processor.engine.admin import changed_topics
from processor.engine.bounds import closed, within
from processor.engine.membership.members import is_member, transactional_ids_of_members
from processor.engine.pin import MEMBERSHIP_OVER, Pin
from processor.engine.predecessors import Transaction, Undecided, holders, transactions, undecided
from processor.engine.protocol import UNSTABLE_OFFSET_COMMIT, OffsetFetchRequest
from processor.logs import get_logger
from processor.settings import Settings

log = get_logger(__name__)

#: Seconds between attempts to reach a broker that is away.
_RETRY_SECONDS = 1.0


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
        group = self._settings.app_id
        node = await self._admin.find_coordinator(group)
        await confirm_membership(self._admin, group, pin, node)
        return (await offsets_at(self._admin, group, [tp], node)).get(tp)

    async def bounds(self, tp: TopicPartition) -> tuple[int, int]:
        """Ask for the oldest offset of a partition and the offset after its last committed record."""
        begin = await self._reader.beginning_offsets([tp])
        end = await self._reader.end_offsets([tp])
        return int(begin[tp]), int(end[tp])

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
    response = await admin._send_request(OffsetFetchRequest(group, tps), node)
    answers = list(OffsetFetchRequest.read(response))
    for code in (response.error_code, *(answer.error_code for answer in answers)):
        if code == UNSTABLE_OFFSET_COMMIT:
            raise UnstableOffsetError(f"{group}: {', '.join(f'{tp.topic}[{tp.partition}]' for tp in tps)}")
        if code:
            raise for_code(code)(f"broker {node}")
    return {each.tp: OffsetAndMetadata(each.offset, each.metadata) for each in answers if each.offset >= 0}


async def _close(client: AIOKafkaAdminClient | AIOKafkaConsumer) -> None:
    await closed("client", client.close() if isinstance(client, AIOKafkaAdminClient) else client.stop())
