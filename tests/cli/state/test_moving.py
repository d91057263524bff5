"""A shadow works beside the live group, is compared with it, and takes over with more partitions."""

import asyncio
import json
from datetime import datetime, timedelta, timezone

import orjson
import pytest
from aiokafka import TopicPartition
from click.testing import CliRunner

from processor.cli import cli
from processor.demo.simulate import canonical_events, traffic
from processor.engine.admin import delete_before
from processor.engine.streams import Outgoing
from processor.wire.rows import encode_folded
from processor.wire.topics import CONTROL, DELIVERIES, EVENTS, LINKS, MESSAGES, MTA, PUBLISHED, SMS, TOPICS
from tests.cli.state.commands import run
from tests.engine.harness import eventually

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

BY_NAME = {"mta": MTA, "sms": SMS, "control": CONTROL, "links": LINKS, "events": EVENTS}


def started_at() -> datetime:
    return datetime.now(timezone.utc) - timedelta(minutes=30)


def raw_records(trial, seed: int, messages: int, first_delivery: int) -> list[Outgoing]:
    """Give what providers send, control records and links."""
    told = traffic(
        seed, started_at(), messages=messages, speed=3_600, controls=True, links=True, first_delivery=first_delivery
    )
    return [Outgoing(trial.topic(BY_NAME[each.topic]), each.value, each.key, each.headers) for each in told]


def direct_events(seed: int, messages: int) -> list[bytes]:
    return list(canonical_events(seed, messages, started_at(), out_of_order=0.1, duplicates=0.05))


def fold_offline(events: list[bytes]) -> dict[str, bytes]:
    """Give what `fold` writes of each message."""
    folded = CliRunner().invoke(cli, ["fold"], input=b"\n".join(events))
    return {orjson.loads(line)["message_id"]: line for line in folded.stdout_bytes.splitlines()}


async def make_shadow(make_trial, live, **settings):
    return await make_trial(shadow_of=live.settings.topic_prefix, **settings)


async def settled(shadow, live) -> None:
    """Wait until a shadow has read all that is published live, and worked it off."""
    tps = [
        TopicPartition(live.topic(topic), number) for topic in PUBLISHED for number in range(live.settings.partitions)
    ]

    async def has_read() -> bool:
        assert all(worker.exit_code in {None, 0} for worker in shadow.workers), shadow.workers[-1].log_text()[-4_000:]
        committed = await shadow.committed_offsets(tps)
        # Where all has expired, nothing was read.
        begins = await live.begin_offsets(tps)
        return {tp: max(committed[tp], begins[tp]) for tp in tps} == await live.end_offsets(tps)

    await eventually(has_read, "the shadow has read what is published live")
    await shadow.settled()


async def ends(trial) -> dict[TopicPartition, int]:
    """Give where all topics of an installation end."""
    return await trial.end_offsets(
        [TopicPartition(trial.topic(topic), number) for topic in TOPICS for number in range(trial.settings.partitions)]
    )


class Load:
    """Publishes to one installation, a few records at a time, until it has published all or is stopped."""

    def __init__(self, trial, records: list[Outgoing]) -> None:
        self._trial, self._left, self._is_over = trial, records, False
        self._task = asyncio.ensure_future(self._run())

    async def _run(self) -> None:
        while self._left and not self._is_over:
            some, self._left = self._left[:20], self._left[20:]
            await self._trial.publish(some)
            await asyncio.sleep(0.3)

    async def stop(self) -> list[Outgoing]:
        """Stop, and give what is left."""
        self._is_over = True
        await self._task
        return self._left


async def test_a_group_moves_to_more_partitions_under_load(make_trial, tmp_path):
    """What its inputs keep no longer comes from a backup, the rest from the inputs; each message counts once."""
    file = tmp_path / "state.jsonl"
    live = await make_trial(partitions=4)
    old, new = direct_events(1, 150), direct_events(2, 100)
    await live.publish_events(old)
    await live.publish(raw_records(live, 3, 100, 1_000))
    [worker] = await live.start_workers(1)
    await live.settled()
    # A week later, what was published has expired; where messages stand is known for longer.
    for topic in PUBLISHED:
        if topic is not CONTROL:
            of_topic = [TopicPartition(live.topic(topic), number) for number in range(4)]
            expired = {tp.partition: end for tp, end in (await live.end_offsets(of_topic)).items()}
            await delete_before(live.settings, live.topic(topic), expired)

    direct = [Outgoing(live.topic(EVENTS), each, orjson.loads(each)["message_id"].encode()) for each in new]
    half = len(direct) // 2
    load = Load(live, [*raw_records(live, 4, 150, 2_000), *direct[:half]])
    assert (await run(live, "backup", file)).exit_code == 0
    grown = await make_shadow(make_trial, live, partitions=8)
    refused = await run(grown, "restore", file)
    assert "DELIVERY_PARTITIONS=4, or spread the records with --repartition" in refused.told
    restored = await run(grown, "restore", "--repartition", file)
    assert restored.exit_code == 0, restored.told
    shadow = await grown.start_worker()
    await shadow.ready()
    await live.publish(await load.stop())
    await live.settled()
    await settled(grown, live)
    compared = await run(grown, "compare")
    assert compared.exit_code == 0, compared.written
    stood = await live.rows()
    assert await grown.rows() == stood

    # Publishers move to the new topics, one after the other; meanwhile there is something on both.
    moved = [each._replace(topic=grown.topic(EVENTS)) for each in direct[half::2]]
    await asyncio.gather(live.publish(direct[half + 1 :: 2]), grown.publish(moved))
    await settled(grown, live)
    assert await shadow.stop() == 0
    assert await worker.stop() == 0
    successor = await grown.start_worker(DELIVERY_SHADOW_OF="")
    last = direct_events(5, 20)
    await grown.publish_events(last)
    await successor.ready()
    await grown.settled()

    rows, folded = await grown.rows(), fold_offline([*old, *new, *last])
    assert {each: encode_folded(each, rows[each]) for each in folded} == folded
    assert {each: row for each, row in rows.items() if each not in folded} == {
        each: row for each, row in stood.items() if each not in folded
    }
    await grown.assert_counts_are_a_recount_of_the_rows()
    await grown.assert_gauges_say_what_the_rows_say()
    assert {record.key for record in await grown.records(DELIVERIES)} == {
        record.key for record in await live.records(DELIVERIES)
    }


async def test_a_shadow_with_other_settings_writes_to_nobody_and_is_compared(make_trial):
    live = await make_trial(partitions=2)
    form = b"MessageSid=SM%d&MessageStatus=delivered&To=%%2B46701234567"
    headers = (("provider", b"twilio"), ("query", b"message_id=m-1&ours=m-2"))
    await live.publish([Outgoing(live.topic(SMS), form % 1, None, headers)])
    await live.publish_events(direct_events(7, 30))
    worker = await live.start_worker()
    await live.settled()
    assert await worker.stop() == 0
    before = await ends(live)

    shadow = await make_shadow(make_trial, live, partitions=3)
    joining = await run(shadow, "worker", DELIVERY_APP_ID=live.settings.app_id)
    assert joining.exit_code == 2
    assert "give the shadow a group of its own" in joining.told
    await shadow.start_worker(DELIVERY_MESSAGE_ID_NAMES="ours")
    await settled(shadow, live)
    assert await ends(live) == before
    assert await live.committed() == await live.end_offsets(live.inputs())

    compared = await run(shadow, "compare", "--json")
    told = json.loads(compared.written)
    assert compared.exit_code == 1
    assert (told["only_live"], told["only_shadow"], told["status"]) == (1, 1, 0)
    assert {each["message_id"] for each in told["named"]} == {"m-1", "m-2"}
    _, page = await shadow.workers[0].get("/metrics")
    assert "delivery_shadow_messages{" in page
    assert "\ndelivery_messages{" not in page


async def test_a_comparison_of_topics_names_records_that_it_cannot_read(make_trial):
    live = await make_trial(partitions=1)
    shadow = await make_shadow(make_trial, live, partitions=1)
    await shadow.publish([Outgoing(shadow.topic(MESSAGES), b"{}", b"m-1")])
    compared = await run(shadow, "compare")
    assert compared.exit_code == 1
    assert "1 records cannot be read and were not compared" in compared.told
    alone = await run(live, "compare")
    assert (alone.exit_code, "set DELIVERY_SHADOW_OF" in alone.told) == (2, True)
