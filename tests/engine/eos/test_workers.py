"""Real workers: what they commit carries the membership that the group gave them, through Faust's two threads."""

import asyncio
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import KafkaError, UnknownMemberIdError
from aiokafka.structs import OffsetAndMetadata

from processor.demo.simulate import canonical_events
from processor.engine import clients
from processor.engine.pin import Pin
from processor.engine.transactions import TransactionalProducer
from processor.wire.topics import MESSAGES
from tests.engine.eos.commits import answer_to, fields_of
from tests.engine.eos.stand import stopped
from tests.engine.harness import eventually
from tests.engine.proxy import PASSES, Answered, Api, Fate, Late, Proxy, Request

pytestmark = [pytest.mark.kafka, pytest.mark.slow]


def pins(proxy: Proxy) -> Iterator[Pin]:
    """Give the pins of the offsets that were committed, in order."""
    commits = (fields_of(request) for request in proxy.seen if request.api == Api.TXN_OFFSET_COMMIT)
    return (Pin(commit.generation_id, commit.member_id) for commit in commits)


def events(seed: int) -> list[bytes]:
    return list(canonical_events(seed, 300, datetime.now(timezone.utc) - timedelta(minutes=5)))


async def test_a_worker_commits_as_the_member_that_it_is(make_trial):
    trial = await make_trial()
    async with Proxy(trial.settings.brokers) as proxy:
        first = await trial.start_worker(DELIVERY_BROKERS=proxy.address)
        await first.ready()
        await trial.publish_events(events(1))
        await trial.settled()
        *_, old = before = list(pins(proxy))
        second = await trial.start_worker()
        await second.ready()
        await eventually(lambda: _has_share(trial, 2), "both have partitions")
        await trial.publish_events(events(2))
        await trial.settled()
        later = list(pins(proxy))[len(before) :]
        assert later
        for pin in later:
            assert pin.generation > old.generation
            assert pin.member_id == old.member_id
        await trial.assert_rows_are_those_of_the_offline_fold()
        assert await first.stop() == 0
        assert await second.stop() == 0


async def _has_share(trial, workers):
    answers = [(await each.get("/readyz"))[0] for each in trial.workers]
    return await trial.members() == workers and answers == [200] * workers


async def test_a_worker_that_is_told_that_its_membership_is_over_goes_on_with_the_next(make_trial):
    """All that it commits is refused for a while; when the group rebalances, it takes its partitions up again."""
    trial = await make_trial()
    async with Proxy(trial.settings.brokers) as proxy:
        worker = await trial.start_worker(DELIVERY_BROKERS=proxy.address)
        await worker.ready()
        proxy.fate_of = lambda request: (
            Answered(answer_to(request, UnknownMemberIdError.errno)) if request.api == Api.TXN_OFFSET_COMMIT else PASSES
        )
        await trial.publish_events(events(1))
        await eventually(lambda: _said(worker, "membership_over"), "it is refused")
        proxy.fate_of = lambda _: PASSES
        other = await trial.start_worker()
        await other.ready()
        await trial.settled()
        await trial.assert_rows_are_those_of_the_offline_fold()
        await trial.assert_every_event_had_its_effect_once()
        assert await worker.stop() == 0
        assert await other.stop() == 0


async def test_a_worker_that_dies_before_its_commit_is_ended_and_what_it_sent_late_changes_nothing(make_trial):
    """Its offsets wait for a transaction that nobody of its will end: whoever comes ends it before it reads them."""
    trial = await make_trial()
    async with Proxy(trial.settings.brokers) as proxy:
        dying = await trial.start_worker(DELIVERY_BROKERS=proxy.address)
        await dying.ready()
        await trial.publish_events(events(1))
        await trial.settled()
        late: list[Late] = []

        def fate_of(request: Request) -> Fate:
            if request.api != Api.END_TXN:
                return PASSES
            late.append(Late())
            return late[-1]

        proxy.fate_of = fate_of
        await trial.publish_events(events(2))
        await eventually(lambda: _are(late), "a transaction is to end")
        await dying.kill()
        successor = await trial.start_worker()
        await trial.settled()
        await asyncio.gather(*(each.arrives() for each in late))
        await trial.publish_events(events(3))
        await trial.settled()
        await trial.assert_rows_are_those_of_the_offline_fold()
        await trial.assert_every_event_had_its_effect_once()
        assert await successor.stop() == 0


@pytest.mark.parametrize("with_offsets", [False, True], ids=["rows", "rows-and-offsets"])
async def test_a_worker_ends_what_another_id_of_its_group_has_left_undecided(make_trial, with_offsets):
    """As a worker does that was killed: nothing but the name of its producer is known of it."""
    trial = await make_trial()
    worker = await trial.start_worker()
    await worker.ready()
    await trial.publish_events(events(1))
    await trial.settled()
    assert await worker.stop() == 0
    rows = [TopicPartition(trial.topic(MESSAGES), number) for number in range(trial.settings.partitions)]
    producer = TransactionalProducer(
        **clients.connection(trial.settings),
        transactional_id=f"{trial.settings.app_id}-worker-gone",
        transaction_timeout_ms=600_000,
    )
    await producer.start()
    try:
        await producer.begin_transaction()
        for tp in rows:
            await (await producer.send(tp.topic, b"{}", key=b"never true", partition=tp.partition))
        if with_offsets:
            offsets = {tp: OffsetAndMetadata(0, "") for tp in trial.inputs()}
            await producer.send_offsets_to_transaction(offsets, trial.settings.app_id)
        successor = await trial.start_worker()
        await trial.publish_events(events(2))
        await trial.settled()
        assert successor.log("predecessor_ended")
        with pytest.raises(KafkaError):
            await producer.send_offsets_to_transaction({trial.inputs()[0]: OffsetAndMetadata(0, "")}, "another")
        assert isinstance(producer._txn_manager.wait_for_transaction_end().exception(), KafkaError)
    finally:
        await stopped(producer)
    await trial.assert_rows_are_those_of_the_offline_fold()
    await trial.assert_every_event_had_its_effect_once()
    assert await successor.stop() == 0


async def _are(found):
    return bool(found)


async def _said(worker, event):
    return bool(worker.log(event))
