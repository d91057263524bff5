"""What cannot be used becomes a dead letter, as it came and with the reason; everything else goes on."""

import asyncio
import json
import zlib
from collections import Counter, defaultdict
from datetime import datetime, timedelta, timezone
from typing import Any, NamedTuple

import pytest

from processor.demo.simulate import canonical_events
from processor.engine.streams import Outgoing
from processor.wire.partitioner import partition_of
from processor.wire.topics import EVENTS, MESSAGES, MTA, SMS
from tests.engine.harness import Trial, settings_for_a_trial

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

NOW = datetime.now(timezone.utc)


def event(message_id: str, **fields: Any) -> bytes:
    least = {"time": NOW.isoformat(), "message_id": message_id, "channel": "email", "status": "sent"}
    return json.dumps(least | fields).encode()


def delivered_by_mail(message_id: str, time: datetime = NOW) -> bytes:
    """A KumoMTA record of a message that got there."""
    record = {
        "type": "Delivery",
        "id": "1d98076abbbc11ed940250ebf67f93bd",
        "recipient": "user@example.com",
        "response": {"code": 250, "enhanced_code": {"class": 2, "subject": 0, "detail": 0}, "content": "OK"},
        "timestamp": int(time.timestamp()),
        "num_attempts": 0,
        "meta": {"message_id": message_id},
    }
    return json.dumps(record).encode()


class Bad(NamedTuple):
    """A record that cannot be used, and why."""

    topic: Any
    reason: str
    value: bytes | None
    #: What the metric calls the provider.
    label: str = "none"
    headers: tuple[tuple[str, bytes | None], ...] = ()


KUMOMTA = (("provider", b"kumomta"),)
TOO_LARGE = b'{"type": "' + b"x" * 1_500_000 + b'"}'
BINARY = bytes(range(256)) * 4
DEEP = b'{"a":' * 50_000 + b"1" + b"}" * 50_000


def raw(reason: str, value: bytes | None) -> Bad:
    return Bad(MTA, reason, value, "kumomta", KUMOMTA)


BAD = {
    "raw: broken JSON": raw("unreadable_payload", delivered_by_mail("broken")[:-9]),
    "raw: wrong types": raw("unreadable_payload", b'{"type": 5, "id": [], "recipient": {}}'),
    "raw: a number": raw("unreadable_payload", b"42"),
    "raw: binary garbage": raw("invalid_encoding", BINARY),
    "raw: 1.5 MB": raw("record_too_large", TOO_LARGE),
    "raw: empty": raw("empty_value", b""),
    "raw: null": raw("null_value", None),
    "raw: null once more": raw("null_value", None),
    "raw: deep nesting": raw("unreadable_payload", DEEP),
    "raw: lone surrogate": raw("unreadable_payload", delivered_by_mail("\ud800")),
    "raw: unknown native status": raw("unknown_status", delivered_by_mail("new").replace(b"Delivery", b"Teleport")),
    "raw: three days ahead": raw("time_ahead", delivered_by_mail("raw-ahead", NOW + timedelta(days=3))),
    "raw: a name of 1,001 characters": raw(
        "unreadable_payload", delivered_by_mail("m").replace(b"user@", b"u" * 1_000 + b"@")
    ),
    "raw: unknown provider": Bad(MTA, "unknown_provider", b"{}", "other", (("provider", b"pigeon-post"),)),
    "raw: provider is no text": Bad(SMS, "unknown_provider", b"{}", "other", (("provider", b"\xff\xfe"),)),
    "raw: provider header without a value": Bad(SMS, "no_provider", b"{}", "none", (("provider", None),)),
    "raw: no provider": Bad(SMS, "no_provider", b"{}"),
    "event: broken JSON": Bad(EVENTS, "invalid_json", event("broken")[:-9]),
    "event: wrong types": Bad(EVENTS, "invalid_event", event("wrong", attempt="many")),
    "event: a number": Bad(EVENTS, "invalid_event", b"42"),
    "event: no message id": Bad(EVENTS, "invalid_event", b'{"status": "sent"}'),
    "event: binary garbage": Bad(EVENTS, "invalid_encoding", BINARY),
    "event: 1.5 MB": Bad(EVENTS, "record_too_large", event("large", text="x" * 1_500_000)),
    "event: empty": Bad(EVENTS, "empty_value", b""),
    "event: null": Bad(EVENTS, "null_value", None),
    "event: null once more": Bad(EVENTS, "null_value", None),
    "event: deep nesting": Bad(EVENTS, "invalid_json", event("deep")[:-1] + b', "a": ' + DEEP + b"}"),
    "event: lone surrogate": Bad(EVENTS, "invalid_json", event("\ud800")),
    "event: a status that its channel does not have": Bad(
        EVENTS, "invalid_status", event("on-mobile", status="received_on_mobile")
    ),
    "event: failed, and still trying": Bad(
        EVENTS, "invalid_status", event("trying", status="failed", reason={"permanence": "transient"})
    ),
    "event: three days ahead": Bad(EVENTS, "time_ahead", event("ahead", time=(NOW + timedelta(days=3)).isoformat())),
}


class Aftermath(NamedTuple):
    """What was found when everything had been read."""

    settings: Any
    #: By the name of the case.
    letters: dict[str, list[Any]]
    rows: dict[str, Any]
    #: delivery_dead_letters_total by reason and provider.
    counted: dict[tuple[str, str], float]


@pytest.fixture(scope="module")
def aftermath(brokers, tmp_path_factory) -> Aftermath:
    """Publish every bad record among good ones, with a worker running, and look."""
    settings = settings_for_a_trial(brokers, partitions=2)
    return asyncio.run(run(Trial(settings, tmp_path_factory.mktemp("bad"), is_guest=True)))


async def run(trial) -> Aftermath:
    async with trial:
        worker = await trial.start_worker()
        for number, (case, bad) in enumerate(BAD.items()):
            headers = (("case", case.encode()), *bad.headers, ("empty", b""), ("null", None))
            key = None if number % 2 else b"key of \xff " + str(number).encode()
            record = Outgoing(trial.topic(bad.topic), bad.value, key, headers, 1_700_000_000_000, 1)
            if bad.reason == "time_ahead":
                record = record._replace(timestamp=int(NOW.timestamp() * 1000))
            good_raw = Outgoing(trial.topic(MTA), delivered_by_mail(f"raw-{number}"), None, KUMOMTA, partition=1)
            good_event = Outgoing(trial.topic(EVENTS), event(f"event-{number}"))
            await trial.publish([record, good_raw, good_event])
        await trial.settled()
        letters = defaultdict(list)
        for letter in await trial.dead_letters():
            letters[dict(letter.headers).get("case", b"none").decode()].append(letter)
        expected = Counter((bad.reason, bad.label) for bad in BAD.values())

        async def all_counted() -> bool:
            return await worker.metric("delivery_dead_letters_total") >= sum(expected.values())

        await trial.eventually(all_counted, "the metric counts every dead letter")
        counted = {
            labels: await worker.metric("delivery_dead_letters_total", reason=labels[0], provider=labels[1])
            for labels in expected
        }
        assert sum(counted.values()) == await worker.metric("delivery_dead_letters_total")
        assert await worker.stop() == 0
        return Aftermath(trial.settings, letters, await trial.rows(), counted)


@pytest.mark.parametrize("case", BAD)
def test_it_becomes_one_dead_letter_as_it_came_with_the_reason_and_where_it_was(aftermath, case):
    number, bad = list(BAD).index(case), BAD[case]
    [letter] = aftermath.letters[case]
    assert letter.value == bad.value
    assert letter.key == (None if number % 2 else b"key of \xff " + str(number).encode())
    own, ours = letter.headers[:-8], dict(letter.headers[-8:])
    assert own == (("case", case.encode()), *bad.headers, ("empty", b""), ("null", None))
    assert ours["delivery.dead.reason"] == bad.reason.encode()
    assert ours["__streams.errors.topic"].decode() == aftermath.settings.topic_prefix + bad.topic.name
    assert ours["__streams.errors.partition"] == b"1"
    published = int(NOW.timestamp() * 1000) if bad.reason == "time_ahead" else 1_700_000_000_000
    assert ours["delivery.dead.timestamp"] == str(published).encode()
    assert letter.timestamp >= int(NOW.timestamp() * 1000), "it is kept for as long as what is written now"
    assert ours["__streams.errors.offset"].isdigit()
    assert ours["__streams.errors.message"]
    assert ours["__streams.errors.stacktrace"] == b"", "none of these is a fault of ours"


def test_the_metric_counts_each_by_reason_and_provider(aftermath):
    expected = Counter((bad.reason, bad.label) for bad in BAD.values())
    assert aftermath.counted == expected


def test_every_good_record_among_them_is_folded_and_none_of_the_bad(aftermath):
    good = {f"{kind}-{number}" for kind in ("raw", "event") for number in range(len(BAD))}
    assert set(aftermath.rows) == good
    assert {row.status.value for row in aftermath.rows.values()} == {"sent"}


async def test_an_event_on_a_wrong_partition_is_sent_on_and_ends_in_the_right_row_once(trial):
    """As librdkafka's partitioner would publish: it hashes keys in another way than Kafka's own clients."""
    count = trial.settings.partitions
    events = list(canonical_events(5, 300, NOW - timedelta(minutes=5), duplicates=0))
    keys = [json.loads(value)["message_id"].encode() for value in events]
    homes = [zlib.crc32(key) % count for key in keys]
    strays = sum(home != partition_of(key, count) for key, home in zip(keys, homes, strict=True))
    assert 0 < strays < len(events)
    topic = trial.topic(EVENTS)
    worker = await trial.start_worker()
    await trial.publish(
        Outgoing(topic, value, key, partition=home) for value, key, home in zip(events, keys, homes, strict=True)
    )
    await trial.settled()

    assert Counter(await trial.events()).total() == len(events) + strays
    for record in await trial.records(MESSAGES):
        assert record.partition == partition_of(record.key, count)
    await trial.assert_rows_are_those_of_the_offline_fold()
    await trial.assert_every_status_change_is_told_once()
    await trial.assert_counts_are_a_recount_of_the_rows()
    await trial.assert_gauges_say_what_the_rows_say()
    assert await worker.metric("delivery_events_total", verdict="rerouted") == strays
    assert await worker.metric("delivery_events_total", verdict="duplicate") == 0
    assert await worker.metric("delivery_events_total") == len(events) + strays
    assert await trial.dead_letters() == []


@pytest.mark.parametrize("topic", [MTA, EVENTS], ids=["raw", "events"])
async def test_a_null_key_is_fine_the_key_is_made_from_the_message_id(trial, topic):
    names = [f"m-{number}" for number in range(40)]
    write = delivered_by_mail if topic is MTA else event
    worker = await trial.start_worker()
    await trial.publish(Outgoing(trial.topic(topic), write(name), None, KUMOMTA) for name in names)
    await trial.settled()
    records = await trial.records(MESSAGES)
    assert sorted(record.key.decode() for record in records) == sorted(names)
    assert {record.partition for record in records} == set(range(trial.settings.partitions))
    assert await trial.dead_letters() == []
    assert await worker.metric("delivery_dead_letters_total") == 0
