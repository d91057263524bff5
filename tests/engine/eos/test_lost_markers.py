"""A transaction that is decided, and one of whose partitions never learns it (ADR 0013), with one producer a worker.

A broker that does not ask coordinators whether a partition has joined a transaction lets a test leave a partition out
of it: what is written there stays undecided when the transaction has ended, as after a crash that lost the marker.
"""

from collections.abc import AsyncIterator, Iterator

import pytest
from aiokafka.errors import IllegalGenerationError, ProducerFenced

from processor.demo.broker import EmbeddedKafka
from processor.engine import clients
from processor.engine.brokers import UnstableOffsetError
from processor.engine.predecessors import commit_lost, end_transactions, transactions, undecided
from tests.engine.eos.stand import Stand, stopped
from tests.engine.harness import eventually

pytestmark = [pytest.mark.kafka, pytest.mark.trial]


@pytest.fixture(scope="module")
def broker() -> Iterator[EmbeddedKafka]:
    with EmbeddedKafka(properties={"transaction.partition.verification.enable": "false"}) as running:
        yield running


@pytest.fixture
async def stand(broker: EmbeddedKafka) -> AsyncIterator[Stand]:
    async with Stand(broker.bootstrap_servers, partitions=2) as made:
        yield made


async def commit_without_markers(stand, producer, pin, *, changelog: bool, offsets: bool) -> None:
    """Commit a transaction, and leave the first changelog partition or the offsets out of it."""
    manager, lost = producer._txn_manager, stand.changelogs[0]
    await producer.begin_transaction()
    await stand.write(producer, stand.changelogs[1:], b"second")
    if changelog:
        # What aiokafka takes for joined, it does not ask the coordinator to let in.
        manager._txn_partitions.add(lost)
    await stand.write(producer, [lost], b"second")
    if offsets:
        manager._txn_consumer_group = stand.name
    await stand.move(producer, pin, dict.fromkeys(stand.inputs, 20))
    manager._txn_partitions.discard(lost)
    await producer.commit_transaction()


CASES = pytest.mark.parametrize(
    ("changelog", "offsets"), [(True, False), (False, True), (True, True)], ids=["rows", "offsets", "both"]
)


@CASES
async def test_another_owner_ends_it_by_the_id_that_brokers_know(stand, changelog, offsets):
    member, lost = await stand.join(), stand.changelogs[0]
    former = await stand.producer("a")
    await stand.transaction(former, member.pin, b"first", 10)
    await stand.settled_offset()
    await commit_without_markers(stand, former, member.pin, changelog=changelog, offsets=offsets)
    await stopped(former)

    async def others_have_theirs() -> bool:
        return await stand.visible(stand.changelogs[1]) == [b"first", b"second"]

    await eventually(others_have_theirs, "the markers that are written are there")
    assert await stand.hangs(lost) is changelog
    assert await stand.is_unstable() is offsets

    found = await undecided(stand.admin, [lost, await stand.offsets_partition()])
    [transaction] = await transactions(stand.admin, producer_ids={each.producer_id for each in found})
    assert transaction[::2] == (stand.transactional_id("a"), "CompleteCommit"), "to its coordinator all is done"
    await stand.end_transactions(transaction.transactional_id, [lost], 0)

    async def all_is_decided() -> bool:
        return not (await stand.hangs(lost) or await stand.is_unstable())

    await eventually(all_is_decided, "nothing hangs")
    # Both ways the proof in the offset says what to do: what was aborted is done again, what is there is known.
    assert await stand.settled_offset() == (10 if offsets else 20)
    assert await stand.visible(lost) == ([b"first"] if changelog else [b"first", b"second"])
    successor = await stand.producer("b")
    await stand.transaction(successor, member.pin, b"third", 30)
    assert await stand.settled_offset() == 30


@CASES
async def test_fencing_alone_does_not_end_it(stand, changelog, offsets):
    """To its coordinator there is nothing to abort: an empty transaction with the same partitions is needed."""
    member, lost = await stand.join(), stand.changelogs[0]
    former = await stand.producer("a")
    await commit_without_markers(stand, former, member.pin, changelog=changelog, offsets=offsets)
    await stopped(former)
    await stopped(await stand.producer("a"))
    assert await stand.hangs(lost) is changelog
    assert await stand.is_unstable() is offsets


@pytest.mark.parametrize("commits", [True, False], ids=["commit", "abort"])
async def test_the_next_transaction_of_the_same_producer_decides_it(stand, commits):
    """So a worker that goes on loses it with the next round that it aborts: then it opens its partitions anew."""
    member, lost = await stand.join(), stand.changelogs[0]
    producer = await stand.producer("a")
    await commit_without_markers(stand, producer, member.pin, changelog=True, offsets=True)
    await producer.begin_transaction()
    await stand.write(producer, stand.changelogs[1:], b"elsewhere")
    await producer.commit_transaction()
    assert await stand.hangs(lost), "a round without the partition leaves it as it is"
    with pytest.raises(UnstableOffsetError):
        await stand.offset()
    await producer.begin_transaction()
    await stand.write(producer, stand.changelogs, b"third")
    await stand.move(producer, member.pin, dict.fromkeys(stand.inputs, 30))
    await (producer.commit_transaction() if commits else producer.abort_transaction())
    assert await stand.settled_offset() == (30 if commits else -1)
    assert await stand.visible(lost) == ([b"second", b"third"] if commits else [])


async def test_a_worker_that_lives_is_only_made_to_begin_anew(stand):
    """Whoever is fenced by mistake loses the round in hand, and nothing that is committed."""
    member = await stand.join()
    living = await stand.producer("a")
    await stand.transaction(living, member.pin, b"first", 10)
    await living.begin_transaction()
    await stand.write(living, stand.changelogs, b"in hand")
    await stand.end_transactions(stand.transactional_id("a"), stand.changelogs[:1], 0)
    with pytest.raises(ProducerFenced):
        await stand.move(living, member.pin, dict.fromkeys(stand.inputs, 20))
    assert isinstance(living._txn_manager.wait_for_transaction_end().exception(), ProducerFenced)
    await stand.transaction(await stand.producer("a"), member.pin, b"second", 20)
    assert await stand.settled_offset() == 20
    assert await stand.visible(stand.changelogs[0]) == [b"first", b"second"]


async def test_in_an_output_it_is_committed_by_the_id_that_brokers_know(stand):
    """What may be there twice is better than what is missing; and of what others have there nothing changes."""
    member, lost = await stand.join(), stand.changelogs[0]
    former, other = await stand.producer("a"), await stand.producer("b")
    await commit_without_markers(stand, former, member.pin, changelog=True, offsets=False)
    await stopped(former)
    await other.begin_transaction()
    await stand.write(other, [lost], b"open")
    assert await stand.hangs(lost)
    await commit_lost(clients.transactional_producer(stand.settings, stand.transactional_id("a")), [lost])

    async def is_there() -> bool:
        return await stand.visible(lost) == [b"second"]

    await eventually(is_there, "the record is committed")
    await other.abort_transaction()
    assert await stand.visible(lost) == [b"second"]


async def test_whose_membership_is_over_ends_nothing(stand):
    """The records may be those of a round of the partition's owner, which has taken them for true."""
    member, lost = await stand.join(), stand.changelogs[0]
    owner = await stand.producer("a")
    await commit_without_markers(stand, owner, member.pin, changelog=True, offsets=False)
    stranger = clients.transactional_producer(stand.settings, stand.transactional_id("a"))
    over = stand.as_member(member.pin._replace(generation=member.pin.generation - 1))
    with pytest.raises(IllegalGenerationError):
        await end_transactions(stranger, over, [lost], stand.inputs[0])
    await stopped(await stand.producer("a"))
    assert await stand.hangs(lost), "nothing was told of an end"
    successor = await stand.producer("a")
    await stand.transaction(successor, member.pin, b"third", 30)
    await stand.settled_offset()
    assert await stand.visible(lost) == [b"second", b"third"]
