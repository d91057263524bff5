"""The second design as small as it can be: one transaction a worker and round, over all partitions that it has.

Run as a process: `python -m tests.engine.eos.mini BROKERS GROUP WORKER TOTAL LINGER`. The input of each partition is
the numbers from 0 to TOTAL; an input's row is its number, and a number that has a row is not written again, as events
are not that a row knows. So whatever happens, each changelog partition must hold each number once, in order.
"""

import asyncio
import logging
import random
import signal
import sys
import time
from collections import Counter
from collections.abc import Collection, Iterable
from contextlib import suppress
from typing import Any, NamedTuple

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError
from aiokafka.structs import OffsetAndMetadata

from processor.engine import clients
from processor.engine.bounds import within
from processor.engine.brokers import UnstableOffsetError, confirm_membership, offsets_at
from processor.engine.pin import MEMBERSHIP_OVER, Pin, PinnedGroup
from processor.engine.predecessors import (
    OFFSETS_TOPIC,
    Undecided,
    end_transactions,
    offsets_partition,
    transactions,
    undecided,
)
from processor.engine.proof import Proof, read_proof
from processor.engine.transactions import TransactionalProducer
from processor.settings import Settings

#: Numbers of each partition that one round takes.
STEP = 20

#: Seconds until whoever leaves something undecided is ended, and that a broker may take for an answer.
PATIENCE = 1.0
ANSWER = 5.0


class NotReadableError(Exception):
    """What a partition begins with is not known yet."""


class Blocked(NamedTuple):
    """Since when a partition waits for what others have left, and what that was at first."""

    since: float
    by: frozenset[Undecided]


class Share:
    """One partition: what is in its changelog, and where its input goes on."""

    def __init__(self, known: set[int], offset: int, proof: Proof | None) -> None:
        self.known, self.offset, self.proof = known, offset, proof


class Worker(ConsumerRebalanceListener):
    """Opens partitions, and commits rounds.

    Args:
        name: what its transactional id ends with.
        total: numbers of each partition.
        linger: seconds that a round waits in its middle, twice and at most: what strikes, strikes there.
    """

    def __init__(self, settings: Settings, name: str, total: int, linger: float) -> None:
        self.settings, self.name, self.total, self.linger = settings, name, total, linger
        self.group = settings.app_id
        self.pin: Pin | None = None
        self.to_open: set[TopicPartition] = set()
        self.shares: dict[TopicPartition, Share] = {}
        self.blocked: dict[TopicPartition, Blocked] = {}
        self.seen: Counter[str] = Counter()
        #: Held by a round, so that a rebalance waits for it.
        self.lock = asyncio.Lock()

    # Membership: partitions are opened under one pin, and every round of theirs carries it.

    async def on_partitions_assigned(self, assigned: Collection[TopicPartition]) -> None:
        coordinator = self.consumer._coordinator
        async with self.lock:
            pin = Pin(coordinator.generation, coordinator.member_id)
            self.pin = pin if pin.is_of_a_member else None
            self.to_open, self.shares = set(assigned), {}
            self.tell("assigned", len(assigned), pin.generation)

    async def on_partitions_revoked(self, revoked: Collection[TopicPartition]) -> None:
        async with self.lock:
            self.pin, self.to_open, self.shares = None, set(), {}

    # Life

    async def run(self) -> None:
        await self._connect()
        while True:
            # A wait for the group, which the round must not hold up: see `getmany` of aiokafka.
            await self.consumer.getmany(timeout_ms=20)
            async with self.lock:
                if self.pin is not None:
                    await self._work(self.pin)

    async def _connect(self) -> None:
        options = clients.connection(self.settings)
        self.producer = await self._new_producer()
        self.admin = AIOKafkaAdminClient(**options, request_timeout_ms=int(ANSWER * 1000), metadata_max_age_ms=3_000)
        await self._started(self.admin)
        self.consumer = AIOKafkaConsumer(
            **options,
            group_id=self.group,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            session_timeout_ms=6_000,
            heartbeat_interval_ms=300,
            rebalance_timeout_ms=20_000,
            request_timeout_ms=8_000,
            metadata_max_age_ms=3_000,
        )
        self.consumer.subscribe([f"{self.group}-in"], listener=self)
        await self._started(self.consumer)

    async def _started(self, client: Any) -> None:
        """Start a client, however long brokers are away."""
        while True:
            try:
                return await client.start()
            except (KafkaError, OSError) as error:
                self.tell("no broker", repr(error))
                await asyncio.sleep(0.5)

    async def _new_producer(self) -> TransactionalProducer:
        while True:
            producer = TransactionalProducer(
                **clients.connection(self.settings),
                transactional_id=f"{self.group}-{self.name}",
                request_timeout_ms=int(ANSWER * 1000),
                transaction_timeout_ms=60_000,
            )
            try:
                await within(producer.start(), 2 * ANSWER)
            except (KafkaError, OSError, asyncio.TimeoutError) as error:
                self.tell("no producer", repr(error))
                await abandoned(producer)
            else:
                return producer

    async def _work(self, pin: Pin) -> None:
        for tp in sorted(self.to_open):
            await self._open(tp, pin)
        if any(share.offset < self.total for share in self.shares.values()):
            await self._round(pin)

    # Opening

    async def _open(self, tp: TopicPartition, pin: Pin) -> None:
        try:
            self.shares[tp] = await within(self._opened(tp, pin), 2 * ANSWER)
        except MEMBERSHIP_OVER as error:
            self._give_up(error)
        except (UnstableOffsetError, NotReadableError) as error:
            self.seen[type(error).__name__] += 1
            with suppress(KafkaError, OSError, asyncio.TimeoutError):
                await self._end_predecessors(tp)
        except (KafkaError, OSError, asyncio.TimeoutError) as error:
            self.seen[type(error).__name__] += 1
            with suppress(KafkaError, OSError, asyncio.TimeoutError):
                await within(self.admin._client.force_metadata_update(), ANSWER)
        else:
            self.blocked.pop(tp, None)
            self.to_open.discard(tp)

    async def _opened(self, tp: TopicPartition, pin: Pin) -> Share:
        """Read an offset that is stable, then the changelog, which must hold what the offset proves."""
        coordinator = await self.admin.find_coordinator(self.group)
        await confirm_membership(self.admin, self.group, pin, coordinator)
        found = (await offsets_at(self.admin, self.group, [tp], coordinator)).get(tp)
        offset, proof = (0, None) if found is None else (found.offset, read_proof(found.metadata))
        known, positions = await self._read(self._changelog(tp), proof)
        if proof is not None and proof.position - 1 not in positions:
            self.seen["lost"] += 1
            self.tell("lost", tp.partition, "offset", offset, proof)
            offset, proof = proof.start, None
        return Share(known, offset, proof)

    async def _read(self, tp: TopicPartition, proof: Proof | None) -> tuple[set[int], set[int]]:
        """Read a changelog's numbers and their offsets; all of it must be decided, and no shorter than is proved."""
        async with clients.uncommitted_reader(self.settings) as all_of_it:
            last = (await all_of_it.end_offsets([tp]))[tp]
        async with clients.reader(self.settings) as reader:
            end = (await reader.end_offsets([tp]))[tp]
            if end < last or (proof is not None and last < proof.position):
                raise NotReadableError(tp)
            reader.assign([tp])
            await reader.seek_to_beginning(tp)
            numbers, offsets = set(), set()
            while await reader.position(tp) < end:
                for record in (await reader.getmany(timeout_ms=100)).get(tp, []):
                    numbers.add(int(record.value))
                    offsets.add(record.offset)
        return numbers, offsets

    async def _end_predecessors(self, tp: TopicPartition) -> None:
        """End whoever has left something undecided in a partition's changelog, or in the group's offsets, for long."""
        await self.admin._client.force_metadata_update()
        numbers = self.admin._client.cluster.partitions_for_topic(OFFSETS_TOPIC)
        by = await undecided(self.admin, [self._changelog(tp), offsets_partition(self.group, len(numbers))])
        blocked = self.blocked.setdefault(tp, Blocked(time.monotonic(), by))
        if time.monotonic() - blocked.since < PATIENCE:
            return
        del self.blocked[tp]
        producer_ids = {each.producer_id for each in blocked.by & by}
        for each in await transactions(self.admin, producer_ids=producer_ids) if producer_ids else ():
            if each.transactional_id.startswith(f"{self.group}-"):
                self.seen["ended"] += 1
                self.tell("ends", each, "for", tp.partition)
                producer = clients.transactional_producer(self.settings, each.transactional_id)
                ending = end_transactions(producer, self.group, [self._changelog(tp)], tp)
                await within(ending, 2 * ANSWER)
                if each.transactional_id == f"{self.group}-{self.name}":
                    await self._begin_anew()

    def _changelog(self, tp: TopicPartition) -> TopicPartition:
        return TopicPartition(f"{self.group}-log", tp.partition)

    # Rounds

    async def _round(self, pin: Pin) -> None:
        try:
            await self._commit(pin)
        except MEMBERSHIP_OVER as error:
            with suppress(KafkaError, OSError, asyncio.TimeoutError):
                await within(self.producer.abort_transaction(), ANSWER)
            self._give_up(error)
            await self._begin_anew()
        except (KafkaError, OSError, asyncio.TimeoutError) as error:
            # Fenced by mistake, or a broker away: what the round made is worth nothing, and is read again.
            self.seen[f"round: {type(error).__name__}"] += 1
            self.to_open |= set(self.shares)
            self.shares = {}
            await self._begin_anew()
        else:
            self.seen["rounds"] += 1

    async def _commit(self, pin: Pin) -> None:
        producer, ends = self.producer, {}
        await producer.begin_transaction()
        sent: dict[TopicPartition, list[Any]] = {}
        for tp, share in self.shares.items():
            ends[tp] = min(share.offset + STEP, self.total)
            fresh = [number for number in range(share.offset, ends[tp]) if number not in share.known]
            sent[tp] = [await self._send(tp, number) for number in fresh]
        written = {tp: [await future for future in futures] for tp, futures in sent.items()}
        await asyncio.sleep(random.uniform(0, self.linger))
        offsets = {}
        proofs = {}
        for tp, records in written.items():
            share = self.shares[tp]
            proofs[tp] = Proof(records[-1].offset + 1, share.offset) if records else share.proof
            note = "" if proofs[tp] is None else proofs[tp].text()
            offsets[tp] = OffsetAndMetadata(ends[tp], note)
        await within(producer.send_offsets_to_transaction(offsets, PinnedGroup(self.group, pin)), 2 * ANSWER)
        await asyncio.sleep(random.uniform(0, self.linger))
        await within(producer.commit_transaction(), 4 * ANSWER)
        for tp, share in self.shares.items():
            share.known.update(range(share.offset, ends[tp]))
            share.offset, share.proof = ends[tp], proofs[tp]

    async def _send(self, tp: TopicPartition, number: int) -> Any:
        return await self.producer.send(self._changelog(tp).topic, b"%d" % number, partition=tp.partition)

    def _give_up(self, error: BaseException) -> None:
        """Wait for the group to assign anew: others have, or will have, what we had."""
        self.seen[type(error).__name__] += 1
        self.pin, self.to_open, self.shares = None, set(), {}

    async def _begin_anew(self) -> None:
        await abandoned(self.producer)
        self.producer = await self._new_producer()

    def tell(self, *words: object) -> None:
        sys.stdout.write(f"{time.time():.2f} {self.name} {' '.join(map(str, words))}\n")
        sys.stdout.flush()


async def abandoned(producer: Any) -> None:
    """Close a producer, whatever it has open."""
    with suppress(Exception):
        await within(producer.stop(), 1)
    with suppress(Exception):
        await within(producer.client.close(), 1)


async def main(arguments: Iterable[str]) -> None:
    logging.basicConfig(level=logging.CRITICAL)
    brokers, group, name, total, linger = arguments
    worker = Worker(Settings(brokers=brokers, app_id=group), name, int(total), float(linger))
    working = asyncio.ensure_future(worker.run())
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, working.cancel)
    try:
        await working
    except asyncio.CancelledError:
        worker.tell("saw", dict(worker.seen))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:]))
