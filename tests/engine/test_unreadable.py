"""Garbage in our own topics, on a real broker: no worker dies, nothing is written over it, and all is named."""

import asyncio
import base64
import json
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner

from processor.cli import cli
from processor.engine.streams import Outgoing
from processor.wire.partitioner import partition_of
from processor.wire.topics import COUNTS, DELIVERIES, MESSAGES, Topic
from tests.engine.harness import Trial, WorkerProcess, eventually

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

GARBAGE = b"not ours"


def report(message_id: str, status: str = "sent", minute: int = 0) -> bytes:
    time = f"2026-11-23T08:{minute:02}:00Z"
    return json.dumps(
        {"time": time, "message_id": message_id, "channel": "email", "status": status, "delivery_id": "DM1"}
    ).encode()


def of_a_newer_version(value: bytes) -> bytes:
    record = json.loads(value)
    items = msgspec.msgpack.decode(base64.b64decode(record["memory"]))
    memory = msgspec.msgpack.encode([items[0] + 1, *items[1:]])
    return json.dumps({**record, "memory": base64.b64encode(memory).decode()}).encode()


async def put(trial: Trial, topic: Topic, key: bytes, value: bytes | None, partition: int | None = None) -> None:
    """Write to a topic of ours as whoever has the right can."""
    number = partition_of(key, trial.settings.partitions) if partition is None else partition
    await trial.publish([Outgoing(trial.topic(topic), value, key, partition=number)])


async def latest(trial: Trial, topic: Topic) -> dict[bytes, Any]:
    return {record.key: record for record in await trial.records(topic)}


async def run(trial: Trial, *arguments: str) -> Any:
    """Run a command against the trial's topics, beside this loop."""
    runner = CliRunner(env=trial.environment)
    return await asyncio.to_thread(runner.invoke, cli, arguments, catch_exceptions=False)


async def names_them(worker: WorkerProcess, places: set[tuple[str, int, int]]) -> None:
    """Wait until API and page name these records."""

    async def are_told() -> bool:
        wrong = json.loads((await worker.get("/api/v1/overview"))[1]).get("wrong", {"unreadable": []})
        told = {(at["topic"], at["partition"], at["offset"]) for at in wrong["unreadable"]}
        page = (await worker.get("/"))[1]
        return places <= told and all(f"{topic}[{number}] {offset}" in page for topic, number, offset in places)

    await eventually(are_told, "API and page name what cannot be read")


@pytest.mark.parametrize("store", ["memory", "rocksdb"])
async def test_what_cannot_be_read_is_set_aside_named_and_taken_again_once_mended(make_trial, tmp_path, store):
    trial = await make_trial(store=store, store_path=str(tmp_path / "rows"))
    worker = await trial.start_worker()
    names = [f"m-{number}" for number in range(40)]
    await trial.publish_events(report(name) for name in names)
    await put(trial, DELIVERIES, b"DM9", GARBAGE)
    await trial.settled()
    assert await worker.stop() == 0

    good = (await latest(trial, MESSAGES))[b"m-1"].value
    newer = of_a_newer_version((await latest(trial, MESSAGES))[b"m-2"].value)
    await put(trial, MESSAGES, b"m-1", GARBAGE)
    await put(trial, MESSAGES, b"m-2", newer)
    await put(trial, COUNTS, b"DM1|0", GARBAGE, 0)
    await put(trial, COUNTS, b"what is this", GARBAGE, 1)
    bad = await latest(trial, MESSAGES)

    for is_last in (False, True):  # It is not forgotten.
        worker = await trial.start_worker()
        await worker.ready()
        await trial.publish_events(report(name, "failed", 1) for name in names[:4])
        await trial.settled()
        assert await worker.metric("delivery_rows_unreadable", topic=MESSAGES.name) == 2
        assert await worker.metric("delivery_rows_unreadable", topic=DELIVERIES.name) == 1
        told = {(line["topic"], line["key"]): line for line in worker.log("row_unreadable")}
        for key in (b"m-1", b"m-2"):
            line = told[trial.topic(MESSAGES), key.decode()]
            assert (line["partition"], line["offset"]) == (bad[key].partition, bad[key].offset)
        status, body = await worker.get("/api/v1/messages/m-1")
        assert (status, json.loads(body)["type"].rpartition(":")[2]) == (500, "message-unreadable")
        assert (await worker.get("/api/v1/messages/m-3"))[0] == 200
        assert await worker.metric("delivery_conservation_error") == 0
        await names_them(worker, {(each.topic, each.partition, each.offset) for each in (bad[b"m-1"], bad[b"m-2"])})
        if not is_last:
            assert await worker.stop() == 0
    now = await latest(trial, MESSAGES)
    assert (now[b"m-1"].value, now[b"m-2"].value) == (GARBAGE, newer)
    assert json.loads(now[b"m-3"].value)["status"] == "failed"
    letters = [dict(record.headers) for record in await trial.dead_letters()]
    assert [each["delivery.dead.reason"] for each in letters] == [b"row_unreadable"] * 4
    details = [each["__streams.errors.message"] for each in letters]
    assert any(b"'m-2'" in each and b"newer" in each for each in details)
    counts = [json.loads(each.value) for key, each in (await latest(trial, COUNTS)).items() if key != b"what is this"]
    assert sum(each["messages"] for each in counts) == len(names) - 2

    for arguments in (("check",), ("check", "--json"), ("export",), ("export", "--deliveries"), ("message", "m-1")):
        result = await run(trial, *arguments)
        assert result.exit_code == 1, (arguments, result.output)
        assert "Traceback" not in result.output
        assert ("what is this" if "--deliveries" in arguments else "m-1") in result.output
        assert "DeliveryRowsUnreadable" in result.output
    told = (await run(trial, "check")).output
    for name, record in (("m-1", bad[b"m-1"]), ("m-2", bad[b"m-2"])):
        assert f"{record.topic}[{record.partition}] offset {record.offset}, key '{name}'" in told
    assert f"{trial.topic(DELIVERIES)}[" in told
    assert (await run(trial, "message", "m-3")).exit_code == 0
    assert len((await run(trial, "export")).stdout.splitlines()) == len(names) - 2

    await put(trial, MESSAGES, b"m-1", good)
    await put(trial, MESSAGES, b"m-2", None)
    await put(trial, DELIVERIES, b"DM9", None)
    await put(trial, COUNTS, b"what is this", None, 1)
    assert await worker.stop() == 0
    worker = await trial.start_worker()
    await worker.ready()
    await trial.publish_events(report(name, "failed", 2) for name in names[1:3])
    await trial.settled()
    assert await worker.metric("delivery_rows_unreadable") == 0
    assert len(await trial.dead_letters()) == len(letters)
    rows = await trial.row_records()
    assert {rows[name].status.value for name in names[:4]} == {"failed"}
    counts = [json.loads(each.value) for each in (await latest(trial, COUNTS)).values() if each.value is not None]
    assert sum(each["messages"] for each in counts) == len(rows) == len(names)
    assert sum(each["statuses"]["failed"] for each in counts) == 4
    result = await run(trial, "check")
    assert "rows: ok" in result.output
    assert await worker.stop() == 0
