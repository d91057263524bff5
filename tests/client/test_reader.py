"""Readers of the published topics, beside a real worker on a real broker: the library, and the examples."""

import asyncio
import os
import subprocess
import sys
from collections import Counter
from contextlib import aclosing
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from aiokafka import AIOKafkaProducer

from processor.client import Reader, Status, UnreadableRecordError
from processor.demo.broker import _java, _kafka_jars
from processor.demo.simulate import canonical_events
from processor.engine.streams import Outgoing
from processor.wire.topics import COUNTS, EVENTS, MESSAGES
from tests.engine.harness import eventually
from tests.tools import require

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

ROOT = Path(__file__).parents[2]


@pytest.fixture
async def folded(make_trial):
    """Give a corner in which a worker has folded the events of 200 messages, and one that is none."""
    trial = await make_trial(partitions=3)
    start = datetime.now(timezone.utc) - timedelta(minutes=30)
    await trial.publish_events(canonical_events(1, 200, start, out_of_order=0.1, duplicates=0.05))
    await trial.publish([Outgoing(trial.topic(EVENTS), b"no event", b"m-bad", (("own", b"1"),))])
    await trial.start_worker()
    await trial.settled()
    return trial


def reader_of(trial) -> Reader:
    return Reader(trial.settings.brokers, prefix=trial.settings.topic_prefix)


async def taken(iterator, number):
    """Give that many items of an endless iterator."""
    found = []
    async with aclosing(iterator):
        async for item in iterator:
            found.append(item)
            if len(found) == number:
                break
    return found


async def changes_on(trial):
    """Give the places of all changes, by the topic itself."""
    records = await trial.records(MESSAGES)
    return {(record.partition, record.offset) for record in records if b'"previous"' in record.value}


async def test_rows_are_those_that_stand_now(folded):
    rows = {row.message_id: row async for row in reader_of(folded).rows()}
    expected = await folded.row_records()
    assert rows.keys() == expected.keys()
    for message_id, row in rows.items():
        told = expected[message_id]
        assert (row.status, row.permanence, row.reason) == (told.status, told.permanence, told.reason)
        assert (row.recipient, row.delivery_id, row.attempt) == (told.recipient, told.delivery_id, told.attempt)


async def test_each_change_comes_once_and_from_the_offset_that_was_kept(folded):
    expected = await changes_on(folded)
    changes = await taken(reader_of(folded).changes(), len(expected))
    assert {(change.partition, change.offset) for change in changes} == expected
    # In the order of each message: it comes from where it stood.
    stands = {}
    for change in changes:
        previous = change.row.previous
        assert (previous and previous.status) == stands.get(change.message_id)
        stands[change.message_id] = change.row.status
    half = changes[: len(changes) // 2]
    start = {}
    for change in half:
        start[change.partition] = change.offset + 1
    rest = await taken(reader_of(folded).changes(start), len(expected) - len(half))
    assert {(change.partition, change.offset) for change in half + rest} == expected


async def test_what_is_not_committed_is_not_read(folded):
    record = (await folded.records(MESSAGES))[0]
    async with AIOKafkaProducer(bootstrap_servers=folded.settings.brokers, transactional_id="a-liar") as producer:
        await producer.begin_transaction()
        await producer.send_and_wait(
            folded.topic(MESSAGES), record.value.replace(record.key, b"liar"), key=b"liar", partition=record.partition
        )
        await producer.abort_transaction()
    assert "liar" not in {row.message_id async for row in reader_of(folded).rows()}


async def test_counts_add_up_to_the_rows(folded):
    counts: Counter[Status] = Counter()
    async for each in reader_of(folded).counts():
        counts.update(each.statuses)
    assert +counts == Counter(row.status for row in (await folded.row_records()).values())


async def test_a_dead_letter_says_where_it_came_from_and_is_as_it_came(folded):
    [placed] = await taken(reader_of(folded).dead_letters(), 1)
    letter = placed.value
    assert (letter.key, letter.value, letter.headers[0]) == (b"m-bad", b"no event", ("own", b"1"))
    assert (letter.reason, letter.topic) == ("invalid_json", folded.topic(EVENTS))


async def test_what_cannot_be_read_is_named_and_can_be_passed_over(folded):
    await folded.publish([Outgoing(folded.topic(COUNTS), b"no counts", b"DM1|0", partition=0)])
    with pytest.raises(UnreadableRecordError, match="partition 0, offset") as raised:
        async for _ in reader_of(folded).counts():
            pass
    assert raised.value.partition == 0


async def test_a_topic_that_is_not_there_is_named(folded):
    with pytest.raises(LookupError, match=r"there is no topic elsewhere\.messages\.v1"):
        async for _ in Reader(folded.settings.brokers, prefix="elsewhere.").rows():
            pass


# Examples


#: The broker's Java is told of a cache that javac's does not know.
SURROUNDINGS = {name: value for name, value in os.environ.items() if name != "JAVA_TOOL_OPTIONS"}


def started(command, path: Path) -> subprocess.Popen[bytes]:
    with path.open("w") as output:
        return subprocess.Popen(command, stdout=output, stderr=output, cwd=path.parent, env=SURROUNDINGS)


def compiled(source: Path, classes: str, folder: Path) -> None:
    command = [require("javac", "default-jdk-headless"), "-Xlint:all,-classfile,-path,-processing", "-Werror"]
    command += ["-proc:none", "-cp", classes, "-d", str(folder), str(source)]
    outcome = subprocess.run(command, env=SURROUNDINGS, capture_output=True, text=True, check=False)
    assert outcome.returncode == 0, outcome.stderr[-3_000:]


async def lines_of(command, number, folder, name):
    """Run an example until it has written as many lines; give them."""
    path = folder / name
    process = started(command, path)
    try:

        async def has_written() -> bool:
            lines = path.read_text().splitlines()
            assert process.poll() is None, "\n".join(lines[-30:])
            return sum(" -> " in line for line in lines) >= number

        await eventually(has_written, f"{name} has written {number} changes")
        await asyncio.sleep(0.5)  # More than these would come now.
    finally:
        process.kill()
        process.wait()
    return [line for line in path.read_text().splitlines() if " -> " in line]


async def test_the_example_in_python_deals_with_each_change_and_goes_on_where_it_was(folded, tmp_path):
    expected = await changes_on(folded)
    command = [sys.executable, ROOT / "examples/consumer.py", "--brokers", folded.settings.brokers]
    command += ["--prefix", folded.settings.topic_prefix, "--offsets", tmp_path / "offsets.json"]
    lines = await lines_of(command, len(expected), tmp_path, "first")
    assert len(lines) == len(expected)
    await folded.publish_events(
        [b'{"message_id":"m-later","channel":"email","status":"sent","time":"2026-11-23T08:00:00Z"}']
    )
    assert await lines_of(command, 1, tmp_path, "second") == ["m-later new -> sent 2026-11-23T08:00:00+00:00"]


async def test_the_example_in_java_deals_with_each_change(folded, tmp_path):
    classes = ":".join(map(str, _kafka_jars()))
    compiled(ROOT / "examples/Consumer.java", classes, tmp_path)
    expected = await changes_on(folded)
    command = [_java(), "-cp", f"{tmp_path}:{classes}", "Consumer", folded.settings.brokers]
    command += [folded.topic(MESSAGES), folded.settings.topic_prefix + "java"]
    lines = await lines_of(command, len(expected), tmp_path, "java")
    assert len(lines) == len(expected)
    python = {row.message_id async for row in reader_of(folded).rows()}
    assert {line.split()[0] for line in lines} == python
