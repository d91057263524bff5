"""Offsets of a membership, on one broker: accepted while it lasts, refused after it, known when they are stable."""

from collections.abc import AsyncIterator

import pytest
from aiokafka.errors import IllegalGenerationError, ProducerFenced, UnknownMemberIdError

from processor.engine.brokers import UnstableOffsetError
from processor.engine.pin import Pin, PinnedGroup
from processor.engine.predecessors import transactions, undecided
from tests.engine.eos.stand import Stand
from tests.engine.harness import eventually

pytestmark = pytest.mark.kafka


@pytest.fixture
async def stand(kafka_broker: str) -> AsyncIterator[Stand]:
    async with Stand(kafka_broker) as made:
        yield made


class TestAPin:
    async def test_of_the_present_is_accepted(self, stand):
        member, producer = await stand.join(), await stand.producer("a")
        for round_ in range(1, 4):
            await stand.transaction(producer, member.pin, b"%d" % round_, round_)
        assert await stand.settled_offset() == 3
        assert await stand.visible(stand.changelogs[0]) == [b"1", b"2", b"3"]

    @pytest.mark.parametrize(
        ("change", "error"),
        [
            (lambda pin: pin._replace(generation=pin.generation - 1), IllegalGenerationError),
            (lambda pin: pin._replace(generation=pin.generation + 5), IllegalGenerationError),
            (lambda pin: pin._replace(member_id="nobody"), UnknownMemberIdError),
        ],
        ids=["older", "newer", "unknown"],
    )
    async def test_of_another_time_is_refused_and_nothing_of_it_is_seen(self, stand, change, error):
        member, producer = await stand.join(), await stand.producer("a")
        await producer.begin_transaction()
        await stand.write(producer, stand.changelogs, b"refused")
        with pytest.raises(error):
            await stand.move(producer, change(member.pin), dict.fromkeys(stand.inputs, 9))
        await producer.abort_transaction()
        await stand.transaction(producer, member.pin, b"true", 1)
        assert await stand.settled_offset() == 1
        assert await stand.visible(stand.changelogs[0]) == [b"true"]

    @pytest.mark.parametrize("pin", [Pin(-1, ""), Pin(-1, "member"), Pin(3, "")])
    def test_of_nobody_is_never_sent(self, pin):
        """Brokers accept it, and it is what a consumer has that was thrown out."""
        with pytest.raises(ValueError, match="no membership"):
            PinnedGroup("group", pin)

    async def test_is_accepted_until_its_partitions_are_anothers(self, stand):
        """So a round in hand can end while a rebalance waits for it; after that it cannot."""
        member, producer = await stand.join(), await stand.producer("a")
        before = member.pin
        await producer.begin_transaction()
        await stand.write(producer, stand.changelogs, b"in hand")
        other = await stand.join()
        await eventually(lambda: _has_pins(member, 2), "the group has another generation")
        assert before.generation < member.pin.generation == other.pin.generation
        with pytest.raises(IllegalGenerationError):
            await stand.move(producer, before, {stand.inputs[0]: 1})
        await producer.abort_transaction()
        assert await stand.settled_offset() == -1


async def _has_pins(member, number):
    return len(member.pins) >= number


class TestAnOffsetWhoseTransactionIsOpen:
    async def test_is_unstable_until_it_ends(self, stand):
        member, producer = await stand.join(), await stand.producer("a")
        await stand.transaction(producer, member.pin, b"1", 10)
        for commits, expected in ((False, 10), (True, 20)):
            await stand.settled_offset()
            await producer.begin_transaction()
            await stand.write(producer, stand.changelogs, b"2")
            assert await stand.offset() == 10, "records alone leave the offset as it is"
            await stand.move(producer, member.pin, {stand.inputs[0]: 20})
            with pytest.raises(UnstableOffsetError):
                await stand.offset()
            assert await stand.offset(stand.inputs[1]) == 10, "others are known"
            await (producer.commit_transaction() if commits else producer.abort_transaction())
            assert await stand.settled_offset() == expected


class TestAPredecessorThatHangs:
    @pytest.mark.parametrize("with_offsets", [True, False])
    async def test_is_found_and_ended_by_a_stranger(self, stand, with_offsets):
        member, hanging = await stand.join(), await stand.producer("a")
        await stand.transaction(hanging, member.pin, b"1", 10)
        await stand.settled_offset()
        await hanging.begin_transaction()
        await stand.write(hanging, stand.changelogs, b"hangs")
        if with_offsets:
            await stand.move(hanging, member.pin, dict.fromkeys(stand.inputs, 20))
        assert await stand.is_unstable() is with_offsets
        assert await stand.hangs(stand.changelogs[1])

        places = [stand.changelogs[1], await stand.offsets_partition()]
        found = await undecided(stand.admin, places)
        assert {each.producer_id for each in found} == {hanging._txn_manager.producer_id}
        [transaction] = await transactions(stand.admin, producer_ids={each.producer_id for each in found})
        assert (transaction.transactional_id, transaction.state) == (stand.transactional_id("a"), "Ongoing")

        await stand.end_transactions(transaction.transactional_id, stand.changelogs[1:2], 1)
        assert await stand.settled_offset() == 10
        await eventually(lambda: _not(stand.hangs(stand.changelogs[1])), "its records are decided")
        with pytest.raises(ProducerFenced):
            await stand.move(hanging, member.pin, {stand.inputs[0]: 30})
        assert isinstance(hanging._txn_manager.wait_for_transaction_end().exception(), ProducerFenced)
        successor = await stand.producer("b")
        await stand.transaction(successor, member.pin, b"2", 11)
        assert await stand.settled_offset() == 11
        assert await stand.visible(stand.changelogs[1]) == [b"1", b"2"]


async def _not(awaitable):
    return not await awaitable
