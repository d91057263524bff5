"""Where records are while Kafka is well, slow, away, or refuses one; with a proxy before a real broker."""

import asyncio
import time
from collections.abc import Callable
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
from aiokafka.admin import NewTopic

from processor.engine import clients
from processor.engine.outlet import Outlet, OutletError
from processor.engine.streams import Outgoing
from processor.gateway.keeper import Keeper, Kept
from processor.gateway.shared_spool import SharedSpool
from processor.gateway.spool import Spool, SpoolError
from processor.wire.topics import SMS
from tests.engine.proxy import Api, CutBefore, Delayed, Fate, Proxy, Request

pytestmark = [pytest.mark.kafka, pytest.mark.slow]


def away(request: Request) -> Fate:
    return CutBefore() if request.api == Api.PRODUCE else Fate()


class Place:
    """A keeper with a spool of its own, and a proxy before its broker."""

    def __init__(self, trial, proxy, outlet, keeper, spool) -> None:
        self.trial, self.proxy, self.outlet, self.keeper, self.spool = trial, proxy, outlet, keeper, spool
        self.topic = trial.topic(SMS)

    def record(self, value: bytes, key: bytes | None = b"k", topic: str = "") -> Outgoing:
        return Outgoing(topic or self.topic, value, key, (("provider", b"twilio"),), time.time_ns() // 1_000_000)

    async def keep(self, *values: bytes, seconds: float = 60.0) -> Kept:
        return await self.keeper.keep([self.record(value) for value in values], seconds)

    def lose_kafka(self, fate: Callable[[Request], Fate] = away) -> None:
        self.proxy.fate_of = fate

    def find_kafka(self) -> None:
        self.proxy.fate_of = lambda _: Fate()

    async def until_empty(self) -> None:
        async def is_empty():
            return self.spool.records == 0

        await self.trial.eventually(is_empty, "the spool is empty")

    async def values(self) -> list[bytes]:
        """Give the values that are in Kafka, each where it is first."""
        return list(dict.fromkeys([record.value for record in await self.trial.records(SMS)]))


@asynccontextmanager
async def a_place(trial, folder, *topics):
    async with Proxy(trial.settings.brokers) as proxy:
        outlet = Outlet(replace(trial.settings, brokers=proxy.address), topics or [trial.topic(SMS)])
        spool = Spool(folder / "spool.sqlite")
        keeper = Keeper(outlet, SharedSpool(spool), 5_000)
        await keeper.open()
        running = [asyncio.create_task(work) for work in (outlet.run(), keeper.replay(), keeper.watch())]

        async def is_connected():
            return not outlet.problem

        await trial.eventually(is_connected, "the outlet is connected")
        yield Place(trial, proxy, outlet, keeper, spool)
        for task in running:
            task.cancel()
        await asyncio.wait(running)
        await keeper.close()


@pytest.fixture
async def place(trial, tmp_path):
    async with a_place(trial, tmp_path) as place:
        yield place


async def test_records_of_one_key_are_in_kafka_in_their_order(place):
    values = [b"%d" % number for number in range(500)]
    kept = await asyncio.gather(*(place.keep(value) for value in values))
    assert set(kept) == {Kept.TAKEN}
    assert await place.values() == values
    assert place.proxy.count(Api.PRODUCE) < 50, "what comes together goes out together"


async def test_a_call_with_several_records_is_taken_when_all_are(place):
    assert await place.keep(b"1", b"2", b"3") is Kept.TAKEN
    assert await place.values() == [b"1", b"2", b"3"]


async def test_calls_wait_for_kafka_once_and_are_replayed_in_their_order(place):
    place.lose_kafka()
    assert await place.keep(b"0", seconds=0.5) is Kept.SPOOLED
    # From now on nobody waits.
    for number in range(1, 300):
        assert await place.keep(b"%d" % number, seconds=3600) is Kept.SPOOLED
    assert place.spool.records == 300
    place.find_kafka()
    await place.until_empty()
    assert await place.values() == [b"%d" % number for number in range(300)]

    async def is_taken():
        return await place.keep(b"after") is Kept.TAKEN

    await place.trial.eventually(is_taken, "calls go to Kafka again")


async def test_once_kafka_answers_nothing_nobody_waits_for_a_deadline(place):
    place.lose_kafka()
    kept = await asyncio.gather(*(place.keep(b"%d" % number, seconds=3600) for number in range(50)))
    assert set(kept) == {Kept.SPOOLED}
    place.find_kafka()
    await place.until_empty()
    assert sorted(await place.values(), key=int) == [b"%d" % number for number in range(50)]


async def test_kafka_may_be_slow_as_long_as_it_answers(place):
    place.lose_kafka(lambda request: Delayed(0.4) if request.api == Api.PRODUCE else Fate())
    kept = await asyncio.gather(*(place.keep(b"%d" % number) for number in range(20)))
    assert set(kept) == {Kept.TAKEN}


async def test_new_calls_go_to_kafka_beside_the_replay(trial, tmp_path):
    async with a_place(trial, tmp_path) as place:
        place.lose_kafka()
        assert await place.keeper.keep([place.record(b"%d" % number) for number in range(300)], 0.5) is Kept.SPOOLED
        place.keeper._rate, place.keeper._portion = 10, 1
        place.find_kafka()

        async def is_taken():
            return await place.keep(b"new") is Kept.TAKEN

        await trial.eventually(is_taken, "a call is taken")
        assert place.spool.records > 0, "the replay has not ended"


async def test_a_spooled_record_keeps_the_time_at_which_it_came(place):
    place.lose_kafka()
    come = time.time() * 1000
    assert await place.keep(b"1", seconds=0.5) is Kept.SPOOLED
    await asyncio.sleep(1)
    place.find_kafka()
    await place.until_empty()
    first = (await place.trial.records(SMS))[0]
    assert come - 1000 < first.timestamp < come + 500
    assert first.headers == (("provider", b"twilio"),)


async def test_where_neither_takes_it_the_call_is_to_come_again_until_kafka_does(place):
    pages = place.spool._connected().execute("PRAGMA page_count").fetchone()[0]
    place.spool._connected().execute(f"PRAGMA max_page_count = {pages + 4}")
    place.lose_kafka()
    with pytest.raises(SpoolError, match="full"):
        await place.keep(bytes(100_000), seconds=0.5)
    assert "full" in place.keeper.problem
    assert place.spool.records == 0
    place.find_kafka()

    async def is_taken():
        try:
            return await place.keep(b"1") is Kept.TAKEN
        except SpoolError:
            return False

    await place.trial.eventually(is_taken, "nothing is spooled, and yet Kafka is asked again")


async def test_a_record_that_kafka_refuses_holds_up_no_other(trial, tmp_path):
    """It stays on disk: nothing that was answered as taken is given up."""
    small = trial.topic(SMS) + ".small"
    admin = clients.admin(trial.settings)
    await admin.start()
    await admin.create_topics([NewTopic(small, 1, 1, topic_configs={"max.message.bytes": "2000"})])
    await admin.close()
    async with a_place(trial, tmp_path, trial.topic(SMS), small) as place:
        large = place.record(bytes(50_000), topic=small)
        with pytest.raises(OutletError) as refused:
            await place.outlet.offer([large])
        assert refused.value.is_of_record
        assert await place.keeper.keep([large], 60) is Kept.SPOOLED
        place.lose_kafka()
        await place.keep(b"first", seconds=0.5)
        for number in range(20):
            assert await place.keep(b"%d" % number) is Kept.SPOOLED
        place.find_kafka()

        async def is_alone():
            return place.spool.records == 1

        await trial.eventually(is_alone, "all others have been replayed")
        assert await place.values() == [b"first", *(b"%d" % number for number in range(20))]
        assert await place.keep(b"last") is Kept.TAKEN
        [(_, left)] = place.spool.oldest(10)
        assert left.value == large.value


async def test_a_connection_that_ends_for_good_is_made_anew(place):
    """A sender that has died takes no more batches: nothing would tell but a call that waits."""
    place.outlet._producer._sender.sender_task.cancel()

    async def is_taken():
        return await place.keep(b"1", seconds=5) is Kept.TAKEN

    await place.trial.eventually(is_taken, "a call is taken")


async def test_a_topic_that_is_not_there_is_told(trial):
    outlet = Outlet(trial.settings, ["no.such.topic"])
    running = asyncio.create_task(outlet.run())

    async def is_told():
        return "no.such.topic does not exist" in outlet.problem

    await trial.eventually(is_told, "it is told")
    with pytest.raises(OutletError, match="does not exist"):
        await outlet.offer([Outgoing("no.such.topic", b"1")])
    running.cancel()
    await asyncio.wait([running])


async def test_a_topic_that_goes_away_leaves_the_disk(trial, tmp_path):
    passing = trial.topic(SMS) + ".passing"
    admin = clients.admin(trial.settings)
    await admin.start()
    await admin.create_topics([NewTopic(passing, 1, 1)])
    async with a_place(trial, tmp_path, passing) as place:
        assert await place.keeper.keep([place.record(b"1", topic=passing)], 60) is Kept.TAKEN
        await admin.delete_topics([passing])
        await admin.close()
        place.outlet._producer.client.cluster._partitions.pop(passing, None)
        assert await place.keeper.keep([place.record(b"2", topic=passing)], 60) is Kept.SPOOLED
        assert place.spool.records == 1
