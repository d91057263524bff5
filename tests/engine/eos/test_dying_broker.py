"""A broker that dies while it ends the transaction of a whole worker, and leaves markers out (ADR 0013).

EOS_KILLS says how often it dies. Few crashes lose a marker; test_lost_markers.py makes each case without one.
"""

import asyncio
import os
import random
import sys
from contextlib import suppress
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import KafkaError

from processor.demo.broker import EmbeddedKafka
from processor.engine.predecessors import OFFSETS_TOPIC, Undecided, transactions, undecided
from tests.engine.eos.stand import Stand, stopped
from tests.engine.harness import eventually

pytestmark = [pytest.mark.kafka, pytest.mark.trial]

KILLS = int(os.environ.get("EOS_KILLS", "1"))
SEED = int(os.environ.get("EOS_SEED", "20261129"))

#: More markers are more to be left out.
PARTITIONS = 48

#: Seconds after the answer by which markers are written that will be.
MARKERS = 3.0


async def test_what_it_leaves_undecided_a_stranger_ends(tmp_path):
    chance, hung = random.Random(SEED), 0
    with EmbeddedKafka() as broker:
        for kill in range(KILLS):
            async with Stand(broker.bootstrap_servers, partitions=PARTITIONS) as stand:
                member, producer = await stand.join(), await stand.producer("a")
                await stand.transaction(producer, member.pin, b"first", 10)
                await stand.show([b"first"])
                await producer.begin_transaction()
                await stand.write(producer, stand.changelogs, b"second")
                await stand.move(producer, member.pin, dict.fromkeys(stand.inputs, 20))
                ending = asyncio.ensure_future(producer.commit_transaction())
                await asyncio.sleep(chance.uniform(0, 0.06))
                await asyncio.to_thread(broker.kill)
                await asyncio.to_thread(broker.start)
                await ending
                await stopped(producer)
                lost = await what_hangs(stand)
                hung += len(lost)
                sys.stdout.write(f"kill {kill}: the commit was told; undecided: {sorted(str(tp) for tp in lost)}\n")
                await end_what_hangs(stand)
                # Of the offsets, too, either what was told is there, or what was before.
                is_offset_lost = any(tp.topic == OFFSETS_TOPIC for tp in lost)
                assert await stand.offsets() == {10 if is_offset_lost else 20}
                assert await stand.all_visible() == [
                    [b"first"] if tp in lost else [b"first", b"second"] for tp in stand.changelogs
                ]
    sys.stdout.write(f"seed {SEED}: {KILLS} crashes left {hung} of {KILLS * (PARTITIONS + 1)} places undecided\n")


async def looked(stand: Stand) -> frozenset[Undecided] | None:
    """Look at the partitions of a stand; None while a broker does not answer."""
    try:
        await stand.admin._client.force_metadata_update()
        return await undecided(stand.admin, [*stand.changelogs, await stand.offsets_partition()])
    except (KafkaError, OSError):
        return None


async def what_hangs(stand: Stand) -> set[TopicPartition]:
    """Return where something stays undecided: a marker that is on its way is no lost one."""
    earlier: list[Any] = [None]

    async def is_at_rest() -> bool:
        earlier.append(await looked(stand))
        await asyncio.sleep(MARKERS)
        return earlier[-1] is not None and await looked(stand) == earlier[-1]

    await eventually(is_at_rest, "what is undecided stays as it is")
    return {each.tp for each in earlier[-1]}


async def end_what_hangs(stand: Stand) -> None:
    """End all that hangs, as another worker would."""

    async def all_is_decided() -> bool:
        found = await looked(stand)
        if not found:
            return found is not None
        with suppress(KafkaError, OSError):
            for each in await transactions(stand.admin, producer_ids={each.producer_id for each in found}):
                await stand.end_transactions(each.transactional_id, stand.changelogs, 0)
        return False

    await eventually(all_is_decided, "everything is decided")
