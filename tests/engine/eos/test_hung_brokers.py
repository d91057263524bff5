"""Brokers that stand still, are replaced, and wake up believing what they believed, and brokers that die in EndTxn."""

import asyncio
import random
from typing import Any

import pytest
from aiokafka.errors import KafkaError, NotCoordinatorForGroupError
from aiokafka.structs import OffsetAndMetadata

from processor.engine import clients
from processor.engine.brokers import MembershipUnknownError, UnstableOffsetError, confirm_membership, offsets_at
from processor.engine.proof import Proof
from tests.engine.eos.stand import GROUP, TRANSACTION
from tests.engine.eos.test_coordinators import moved, open_transaction, tell
from tests.engine.harness import eventually

pytestmark = [pytest.mark.kafka, pytest.mark.trial]

#: Milliseconds for which a question waits at a broker that stands still.
LONG_MS = 120_000


@pytest.mark.parametrize("is_open", [True, False], ids=["open", "ended"])
async def test_a_former_coordinator_of_the_group_tells_what_it_knew(cluster, place, is_open):
    """Its answer may be an offset of long ago, stable in its eyes; but it does not know the present generation."""
    placed = await place()
    stand, member = placed.stand, await placed.stand.join()
    if is_open:
        producer = await open_transaction(stand, member)
    else:
        producer = await stand.producer("a")
        await stand.transaction(producer, member.pin, b"first", 10)
        assert await stand.settled_offset() == 10
    asker, former = await stand.asker(LONG_MS), placed.group
    with_it = offsets_at(asker, stand.name, stand.inputs[:1], former)
    if is_open:
        with pytest.raises(UnstableOffsetError):
            await with_it
    else:
        assert (await with_it)[stand.inputs[0]].offset == 10

    cluster.hang(former)
    await moved(stand, GROUP, stand.name, away_from=former)
    if is_open:
        await eventually(stand.is_unstable, "the pending offset is pending there, too")
        await producer.commit_transaction()
    other = await stand.join()
    await eventually(lambda: _same_generation(member, other), "another generation has begun")
    await stand.transaction(producer, other.pin, b"third", 30)
    assert await stand.settled_offset() == 30

    # These wait for it, and are the first that it reads.
    asked = [
        asyncio.ensure_future(offsets_at(asker, stand.name, stand.inputs[:1], former)),
        asyncio.ensure_future(confirm_membership(asker, stand.name, other.pin, former)),
    ]
    await asyncio.sleep(0.5)
    cluster.wake(former)
    offsets, known = await asyncio.gather(*asked, return_exceptions=True)
    tell(f"the former coordinator says {offsets!r} and {known!r}; the offset is 30")
    # Whatever it says of the offset, it says nothing of the kind to who asks whether it knows the generation.
    assert isinstance(known, MembershipUnknownError | NotCoordinatorForGroupError)
    assert await stand.settled_offset() == 30


async def _same_generation(member, other):
    return member.pin.generation == other.pin.generation


async def test_a_former_leader_of_a_changelog_tells_an_end_that_the_offset_disproves(cluster, place):
    """Who recovers from it would miss rows; the proof in the offset says that there must be more."""
    placed = await place()
    stand, member = placed.stand, await placed.stand.join()
    producer, changelog = await stand.producer("a"), stand.changelogs[0]
    await stand.transaction(producer, member.pin, b"first", 10)
    await stand.show([b"first"])
    former = stand.admin._client.cluster.leader_for_partition(changelog)
    async with clients.reader(stand.settings) as reader:
        before = (await reader.end_offsets([changelog]))[changelog]
        cluster.hang(former)
        asked = asyncio.ensure_future(reader.end_offsets([changelog]))

        async def has_moved() -> bool:
            await stand.admin._client.force_metadata_update()
            return stand.admin._client.cluster.leader_for_partition(changelog) not in {None, -1, former}

        await eventually(has_moved, "another broker leads the changelog")
        await producer.begin_transaction()
        [sent] = [await producer.send(changelog.topic, b"second", partition=changelog.partition)]
        proof = Proof((await sent).offset + 1, 10)
        offsets = {stand.inputs[0]: OffsetAndMetadata(20, proof.text())}
        await producer.send_offsets_to_transaction(offsets, stand.as_member(member.pin))
        await producer.commit_transaction()
        cluster.wake(former)
        try:
            told: Any = (await asked)[changelog]
        except KafkaError as error:
            told = repr(error)
        tell(f"the former leader says {told}; it was {before}, and the offset proves {proof.position}")
        # It may have learnt of its successor, or tell the old end; the offset knows better.
        assert told == before < proof.position or not isinstance(told, int) or told >= proof.position


@pytest.mark.parametrize("commits", [True, False], ids=["commit", "abort"])
async def test_a_former_coordinator_of_a_transaction_does_not_end_the_next(cluster, place, commits):
    """The request that waits for it as it wakes is refused, or does what the repetition elsewhere has done."""
    placed = await place()
    stand, member = placed.stand, await placed.stand.join()
    producer = await open_transaction(stand, member)
    cluster.hang(placed.transaction)
    began = asyncio.get_running_loop().time()
    await (producer.commit_transaction() if commits else producer.abort_transaction())
    tell(f"ended after {asyncio.get_running_loop().time() - began:.1f} s")
    await moved(stand, TRANSACTION, stand.transactional_id("a"), away_from=placed.transaction)
    await producer.begin_transaction()
    await stand.write(producer, stand.changelogs, b"third")
    cluster.wake(placed.transaction)
    await asyncio.sleep(2)  # It has done by now what it was asked for.
    await stand.move(producer, member.pin, dict.fromkeys(stand.inputs, 30))
    await producer.abort_transaction()
    assert await stand.settled_offset() == (20 if commits else 10)
    await stand.show([b"first", b"second"] if commits else [b"first"])


async def test_a_coordinator_dies_while_a_transaction_ends(cluster, place):
    """At another moment each time, in turn that of the transaction and of the group: it ends as it was told to."""
    placed = await place()
    stand, member = placed.stand, await placed.stand.join()
    producer = await stand.producer("a")
    await stand.transaction(producer, member.pin, b"0", 1)
    chance, expected = random.Random(5), [b"0"]
    for number in range(1, 5):
        kind, key = (TRANSACTION, stand.transactional_id("a")) if number % 2 else (GROUP, stand.name)
        victim = await stand.coordinator(kind, key)
        await producer.begin_transaction()
        await stand.write(producer, stand.changelogs, b"%d" % number)
        await stand.move(producer, member.pin, dict.fromkeys(stand.inputs, number + 1))
        ending = asyncio.ensure_future(producer.commit_transaction())
        await asyncio.sleep(chance.uniform(0, 0.03))
        await cluster.kill(victim)
        await ending
        expected.append(b"%d" % number)
        assert await stand.settled_offset() == number + 1
        await stand.show(expected)
        await cluster.start(victim)
