"""Coordinators that move while a transaction is open: what is pending stays pending, and ends as it is told."""

import asyncio
import sys

import pytest
from aiokafka.errors import IllegalGenerationError, KafkaError, ProducerFenced, UnknownMemberIdError

from processor.engine.predecessors import transactions, undecided
from tests.engine.eos.stand import GROUP, TRANSACTION
from tests.engine.harness import eventually

pytestmark = [pytest.mark.kafka, pytest.mark.trial]


def tell(what: str) -> None:
    sys.stdout.write(f"{what}\n")


async def moved(stand, kind: int, key: str, *, away_from: int) -> int:
    """Wait until a coordinator is another broker's; return its number."""

    async def has_moved() -> int | None:
        found = await stand.coordinator(kind, key)
        return found if found != away_from else None

    return int(await eventually(has_moved, "the coordinator has moved"))


async def open_transaction(stand, member, *, before: int = 10, pending: int = 20):
    """Commit one transaction, and open another that has its records and its offsets."""
    producer = await stand.producer("a")
    await stand.transaction(producer, member.pin, b"first", before)
    await stand.settled_offset()
    await producer.begin_transaction()
    await stand.write(producer, stand.changelogs, b"second")
    await stand.move(producer, member.pin, dict.fromkeys(stand.inputs, pending))
    assert await stand.is_unstable()
    return producer


@pytest.mark.parametrize("kind", [GROUP, TRANSACTION], ids=["group", "transaction"])
@pytest.mark.parametrize("commits", [True, False], ids=["commit", "abort"])
async def test_a_coordinator_is_killed_in_the_middle_of_a_transaction(cluster, place, kind, commits):
    placed = await place()
    stand, member = placed.stand, await placed.stand.join()
    producer = await open_transaction(stand, member)
    key, victim = (stand.name, placed.group) if kind == GROUP else (stand.transactional_id("a"), placed.transaction)
    await cluster.kill(victim)
    began = asyncio.get_running_loop().time()
    successor = await moved(stand, kind, key, away_from=victim)
    tell(f"moved from {victim} to {successor} after {asyncio.get_running_loop().time() - began:.1f} s")
    await eventually(stand.is_unstable, "the pending offset is pending there, too")
    await (producer.commit_transaction() if commits else producer.abort_transaction())
    assert await stand.settled_offset() == (20 if commits else 10)
    await stand.show([b"first", b"second"] if commits else [b"first"])
    # The membership goes on, and so does the producer.
    await stand.transaction(producer, member.pin, b"third", 30)
    assert await stand.settled_offset() == 30
    assert len(member.pins) == 1
    await cluster.start(victim)


async def test_the_next_coordinator_judges_memberships_as_the_former_did(cluster, place):
    placed = await place()
    stand, member = placed.stand, await placed.stand.join()
    producer = await open_transaction(stand, member)
    await producer.commit_transaction()
    await cluster.kill(placed.group)
    await moved(stand, GROUP, stand.name, away_from=placed.group)
    wrong = (
        (member.pin._replace(generation=member.pin.generation + 1), IllegalGenerationError),
        (member.pin._replace(generation=member.pin.generation - 1), IllegalGenerationError),
        (member.pin._replace(member_id="nobody"), UnknownMemberIdError),
    )
    for pin, error in wrong:
        await producer.begin_transaction()
        await stand.write(producer, stand.changelogs, b"refused")
        with pytest.raises(error):
            await stand.move(producer, pin, dict.fromkeys(stand.inputs, 99))
        await producer.abort_transaction()
    await stand.transaction(producer, member.pin, b"third", 30)
    assert await stand.settled_offset() == 30
    await stand.show([b"first", b"second", b"third"])
    await cluster.start(placed.group)


@pytest.mark.parametrize("kind", [GROUP, TRANSACTION], ids=["group", "transaction"])
async def test_a_predecessor_that_hangs_is_ended_while_its_coordinator_moves(cluster, place, kind):
    placed = await place()
    stand, member = placed.stand, await placed.stand.join()
    hanging = await open_transaction(stand, member)
    victim = placed.group if kind == GROUP else placed.transaction
    await cluster.kill(victim)
    began = asyncio.get_running_loop().time()
    places = [stand.changelogs[0], await stand.offsets_partition()]

    async def is_ended() -> bool:
        """As a new owner does: look, end what hangs, look again; whatever fails is tried again."""
        try:
            await stand.admin._client.force_metadata_update()
            found = await undecided(stand.admin, places)
            producer_ids = {each.producer_id for each in found}
            for each in await transactions(stand.admin, producer_ids=producer_ids) if found else ():
                await stand.end_transactions(each.transactional_id, stand.changelogs[:1], 0)
            return not found and await stand.offset() == 10
        except (KafkaError, OSError):
            return False

    await eventually(is_ended, "the offset is known")
    tell(f"ended after {asyncio.get_running_loop().time() - began:.1f} s")
    with pytest.raises((ProducerFenced, KafkaError)):
        await hanging.commit_transaction()
    await stand.show([b"first"])
    await cluster.start(victim)
