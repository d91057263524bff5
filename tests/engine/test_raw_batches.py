"""Batches that a broker takes and no client library reads: each ends as dead letters, and everything else goes on."""

import asyncio
import hashlib
import json
import re
from collections import defaultdict
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from processor.engine.streams import Outgoing
from processor.wire.partitioner import partition_of
from processor.wire.topics import CONTROL, COUNTS, DELIVERIES, EVENTS, MESSAGES, MTA
from tests.engine.harness import Trial, settings_for_a_trial
from tests.engine.raw_batches import COMPRESS, GZIP, LZ4, SNAPPY, XERIAL, ZSTD, Batch, produce, record
from tests.engine.test_bad_input import KUMOMTA, NOW, delivered_by_mail, event

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

PARTITIONS = 2
RAW_HEADERS = [(b"provider", b"kumomta")]
BAD_NAME = [(b"bad\xff", b"1"), *RAW_HEADERS]
CODECS = {"plain": 0, "gzip": GZIP, "snappy": SNAPPY, "lz4": LZ4, "zstd": ZSTD}


class Case(NamedTuple):
    """What is published to partition 1 of a topic, and what must come of it."""

    topic: Any
    batch: Batch
    #: The reason of each dead letter.
    reasons: tuple[str, ...] = ()
    #: Messages that are folded.
    good: tuple[str, ...] = ()


def mail(name: str, **more: Any) -> bytes:
    return record(delivered_by_mail(name), None, RAW_HEADERS, **more)


def home(name: str) -> str:
    """Give a message id that begins with a name and belongs to partition 1."""
    return next(f"{name}-{n}" for n in range(99) if partition_of(f"{name}-{n}".encode(), PARTITIONS) == 1)


def bad_name_among_good(name: str, codec: int) -> Batch:
    bad = record(delivered_by_mail("unread"), b"key", BAD_NAME, delta=1)
    return Batch([mail(name + "-1"), bad, mail(name + "-2", delta=2)], codec)


def lies(name: str, *deltas: int) -> Case:
    records = [mail(f"{name}-{number}", delta=delta) for number, delta in enumerate(deltas)]
    return Case(MTA, Batch(records), (), tuple(f"{name}-{number}" for number in range(len(deltas))))


def bomb(codec: int, size: int, times: int = 1, key: bytes | None = None) -> Batch:
    @cache
    def payload() -> bytes:
        large = b"".join(record(bytes(size), key, RAW_HEADERS, delta=number) for number in range(times))
        return COMPRESS[codec](large)

    return Batch([b""] * times, codec, payload=payload)


LARGE = b"x" * 12_000_000
MANY_HEADERS = [(b"provider", b"kumomta"), *((b"name %d" % number, b"v" * 400) for number in range(9_000))]

CASES = {
    **{
        f"raw: a name that is no text, {name}": Case(
            MTA,
            bad_name_among_good(f"name-{name}", codec),
            ("unreadable_record",),
            (f"name-{name}-1", f"name-{name}-2"),
        )
        for name, codec in CODECS.items()
    },
    "event: a name that is no text": Case(
        EVENTS,
        Batch([record(event("unread"), None, BAD_NAME), record(event(home("event")), delta=1)], GZIP),
        ("unreadable_record",),
        (home("event"),),
    ),
    "control: a name that is no text": Case(CONTROL, Batch([record(b"{}", b"D", BAD_NAME)]), ("unreadable_record",)),
    "snappy in blocks": Case(MTA, Batch([b""], SNAPPY, payload=XERIAL(mail("blocks"))), (), ("blocks",)),
    "padding behind gzip": Case(
        MTA, Batch([b""], GZIP, payload=COMPRESS[GZIP](mail("padded")) + b"padding"), (), ("padded",)
    ),
    "offsets that are all the same": lies("same", 0, 0, 0),
    "offsets far ahead": lies("ahead", 0, 1_000_000, 2),
    "offsets before the batch": lies("before", -5, 1, 2),
    "a length that lies": Case(
        MTA,
        Batch([mail("long-1"), mail("lying", delta=1, length=900), mail("long-2", delta=2)], GZIP),
        ("unreadable_record",),
        ("long-1", "long-2"),
    ),
    "20 MB in 19.5 kB": Case(MTA, bomb(GZIP, 20_000_000), ("batch_too_large",)),
    "300 MB in zstd": Case(EVENTS, bomb(ZSTD, 3_000_000, 100), ("batch_too_large",)),
    "300 MB in lz4": Case(MTA, bomb(LZ4, 3_000_000, 100), ("batch_too_large",)),
    "300 MB of control": Case(CONTROL, bomb(ZSTD, 3_000_000, 100, b"D"), ("batch_too_large",)),
    "12 MB in one record": Case(MTA, Batch([record(LARGE, None, RAW_HEADERS)], GZIP), ("record_too_large",)),
    "12 MB in one event": Case(EVENTS, Batch([record(LARGE)], GZIP), ("record_too_large",)),
    "a key of 12 MB": Case(MTA, Batch([record(b"{}", LARGE, RAW_HEADERS)], GZIP), ("unreadable_payload",)),
    "4 MB of headers": Case(MTA, Batch([record(b"{}", None, MANY_HEADERS)]), ("unreadable_payload",)),
    "12 MB of headers": Case(
        MTA, Batch([record(b"{}", None, [*RAW_HEADERS, (b"large", LARGE)])], GZIP), ("unreadable_payload",)
    ),
    "an event on the wrong partition with 12 MB of headers": Case(
        EVENTS,
        Batch([record(event(next(f"a-{n}" for n in range(99) if f"a-{n}" != home("a"))), None, [(b"l", LARGE)])], GZIP),
        ("record_too_large",),
    ),
    "an event with 12 MB of headers": Case(
        EVENTS, Batch([record(event(home("headers")), None, [(b"large", LARGE)])], GZIP), (), (home("headers"),)
    ),
    "no timestamp": Case(MTA, Batch([mail("timeless")], timestamp=-1), (), ("timeless",)),
    "a timestamp before 1970": Case(MTA, Batch([mail("ancient")], timestamp=-(10**12)), (), ("ancient",)),
}


class Aftermath(NamedTuple):
    """What was found when everything had been read."""

    settings: Any
    #: By the offsets that each case took.
    letters: dict[str, list[Any]]
    rows: dict[str, Any]
    grown: int
    log: str


def as_of_now(batch: Batch) -> Batch:
    """Give a batch whose timestamp is the present, where the case is not about its timestamp."""
    return replace(batch, timestamp=int(NOW.timestamp() * 1000)) if batch.timestamp > 0 else batch


def resident_peak(pid: int) -> int:
    """Give the most memory that a process ever had, in bytes."""
    return int(re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())[1]) * 1024


@pytest.fixture(scope="module")
def aftermath(brokers, tmp_path_factory) -> Aftermath:
    """Publish every batch between good records, with a worker running, and look."""
    settings = settings_for_a_trial(brokers, partitions=PARTITIONS)
    return asyncio.run(run(Trial(settings, tmp_path_factory.mktemp("raw"), is_guest=True)))


async def run(trial: Trial) -> Aftermath:
    places: dict[tuple[str, int], str] = {}
    async with trial:
        worker = await trial.start_worker()
        await worker.ready()
        before = resident_peak(worker.pid)
        for number, (name, case) in enumerate(CASES.items()):
            topic = trial.topic(case.topic)
            start = await produce(trial.settings, topic, 1, as_of_now(case.batch).written())
            for offset in range(len(case.batch.records)):
                places[topic, start + offset] = name
            good_raw = Outgoing(trial.topic(MTA), delivered_by_mail(f"raw-{number}"), None, KUMOMTA, partition=1)
            await trial.publish([good_raw, Outgoing(trial.topic(EVENTS), event(f"event-{number}"))])
        await trial.settled()
        letters = defaultdict(list)
        for letter in await trial.dead_letters():
            ours = dict(letter.headers)
            place = ours["__streams.errors.topic"].decode(), int(ours["__streams.errors.offset"])
            letters[places.get(place, str((place, letter)))].append(letter)
        found = Aftermath(
            trial.settings, letters, await trial.rows(), resident_peak(worker.pid) - before, worker.log_text()
        )
        assert await worker.stop() == 0
        return found


@pytest.mark.parametrize("name", CASES)
def test_each_ends_as_the_dead_letters_that_it_must(aftermath, name):
    reasons = [dict(letter.headers)["delivery.dead.reason"].decode() for letter in aftermath.letters[name]]
    assert tuple(reasons) == CASES[name].reasons


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.good])
def test_what_is_good_in_it_is_folded(aftermath, name):
    assert set(CASES[name].good) <= set(aftermath.rows)


def test_nothing_else_is_a_dead_letter(aftermath):
    assert set(aftermath.letters) <= set(CASES)


def test_every_neighbour_is_folded_and_nothing_that_could_not_be_read(aftermath):
    good = {f"{kind}-{number}" for kind in ("raw", "event") for number in range(len(CASES))}
    assert set(aftermath.rows) == good | {each for case in CASES.values() for each in case.good}


def test_the_name_of_a_header_is_kept_byte_by_byte(aftermath):
    [letter] = aftermath.letters["raw: a name that is no text, gzip"]
    assert (letter.key, letter.value) == (b"key", delivered_by_mail("unread"))
    assert letter.headers[:3] == (
        ("bad\\xff", b"1"),
        ("provider", b"kumomta"),
        ("delivery.dead.header_name", b"bad\xff"),
    )


def test_a_bomb_is_kept_as_it_came(aftermath):
    for name in ("20 MB in 19.5 kB", "300 MB in zstd"):
        [letter] = aftermath.letters[name]
        raw = as_of_now(CASES[name].batch).written()
        # The broker gives it its place and the epoch of its leader.
        assert letter.value[17:] == raw[17:]
        assert dict(letter.headers)["delivery.dead.form"] == b"batch"
        assert letter.key is None


@pytest.mark.parametrize(
    ("name", "part", "whole"),
    [
        ("12 MB in one record", "", LARGE),
        ("12 MB in one event", "", LARGE),
        ("a key of 12 MB", "key_", LARGE),
    ],
)
def test_what_does_not_fit_is_cut_and_says_what_it_was(aftermath, name, part, whole):
    [letter] = aftermath.letters[name]
    headers = dict(letter.headers)
    assert headers[f"delivery.dead.{part}size"] == str(len(whole)).encode()
    assert headers[f"delivery.dead.{part}sha256"] == hashlib.sha256(whole).hexdigest().encode()
    kept = letter.key if part else letter.value
    assert 1_000_000 < len(kept) < len(whole)
    assert whole.startswith(kept)


def test_headers_that_fit_are_all_there_and_of_those_that_do_not_the_first(aftermath):
    [whole] = aftermath.letters["4 MB of headers"]
    assert whole.headers[: len(MANY_HEADERS)] == tuple((name.decode(), value) for name, value in MANY_HEADERS)
    [cut] = aftermath.letters["12 MB of headers"]
    assert cut.headers[0] == ("provider", b"kumomta")
    assert dict(cut.headers)["delivery.dead.headers"] == b"2"


def test_no_batch_took_memory_for_all_that_it_claims_to_hold(aftermath):
    assert aftermath.grown < 250_000_000


async def test_in_topics_that_are_read_to_recover_it_is_passed_over_and_told(trial):
    """A changelog, the deliveries and the counts: what stands beside it counts, and so does the next worker."""
    worker = await trial.start_worker()
    await trial.publish_events([event("one"), event("two")])
    await trial.settled()
    assert await worker.stop() == 0
    for topic in (MESSAGES, COUNTS, DELIVERIES):
        for number in range(trial.settings.partitions):
            for batch in (Batch([record(b"{}", b"x", BAD_NAME)]), bomb(ZSTD, 3_000_000, 20, b"x")):
                await produce(trial.settings, trial.topic(topic), number, as_of_now(batch).written())
    worker = await trial.start_worker()
    await worker.ready()
    await trial.publish_events([event("three")])
    await trial.settled()
    assert set(await trial.rows()) == {"one", "two", "three"}
    await trial.assert_rows_are_those_of_the_offline_fold()
    assert {"topic", "partition", "offset", "reason", "detail", "mend"} <= set(worker.log("record_unreadable")[0])
    told = await worker.metric("delivery_warnings_total", event="record_unreadable")
    assert told >= 2 * 3 * trial.settings.partitions
    assert await worker.stop() == 0


def test_the_cases_are_what_they_say():
    assert len(CASES["20 MB in 19.5 kB"].batch.written()) < 20_500
    assert json.loads(event("x"))["message_id"] == "x"
