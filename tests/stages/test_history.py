"""Samples of counts: written once what they are of is over, the same after a restart, and enough to draw from."""

from datetime import datetime, timedelta, timezone
from random import Random

import orjson
import pytest

from processor.domain.moment import Micros, to_microseconds
from processor.engine.stage import Outbox
from processor.stages import history as module
from processor.views.deliveries import Deliveries
from processor.views.history import Span
from processor.wire.topics import COUNTS, Topic
from processor.wire.topics import HISTORY as TOPIC
from tests.stages.conftest import Read, event

NOON = datetime(2026, 11, 23, 12, tzinfo=timezone.utc)


class At:
    """A desk whose clock, which is the brokers', too, is set before each chunk."""

    def __init__(self, desk):
        self.desk = desk
        #: What the topics hold, with its timestamps.
        self.records: list[tuple[Topic, Read]] = []

    def set(self, minutes: float) -> datetime:
        self.desk.now = NOON + timedelta(minutes=minutes)
        return self.desk.now

    def chunk(self, minutes: float, *records: Read) -> None:
        milliseconds = int(self.set(minutes).timestamp() * 1_000)
        before = [len(self.desk.written[f"t.{topic.name}"]) for topic in (COUNTS, TOPIC)]
        self.desk.chunk(*records)
        self.desk.written_at = milliseconds
        for topic, known in zip((COUNTS, TOPIC), before, strict=True):
            for key, value, _ in self.desk.written[f"t.{topic.name}"][known:]:
                self.records.append((topic, Read(0, milliseconds, key, value)))

    def samples(self) -> list[tuple[str, str, dict]]:
        told = [orjson.loads(value) for _, value, _ in self.desk.written["t.history.v1"]]
        return [(each["width"], each["time"], each["deliveries"]) for each in told]

    def minutes(self) -> list[tuple[str, dict]]:
        return [(time[11:16], deliveries) for width, time, deliveries in self.samples() if width == "minute"]


@pytest.fixture
def at(desk) -> At:
    return At(desk())


def sent(message_id: str, status: str = "sent", **more) -> Read:
    return event(message_id, status, delivery_id="DM1", provider="ses", **more)


def test_a_minute_is_written_by_the_next_transaction_as_it_was_before(at):
    at.chunk(0.1, sent("a"))
    at.chunk(0.9, sent("b"))
    assert at.samples() == []
    at.chunk(1.0, sent("c"))
    assert at.samples() == [("minute", "2026-11-23T12:00:00Z", {"DM1": {"ses": {"sent": 2}}})]


def test_it_tells_of_what_changed_in_it_only(at):
    at.chunk(0, sent("a"))
    at.chunk(1, event("b", "pending", delivery_id="DM2"))
    at.chunk(2)
    assert at.minutes() == [("12:00", {"DM1": {"ses": {"sent": 1}}}), ("12:01", {"DM2": {"": {"pending": 1}}})]


def test_what_comes_late_counts_when_it_is_folded(at):
    at.chunk(0, sent("a", "failed", reason={"permanence": "gave_up", "category": "mailbox_full"}))
    at.chunk(5, sent("a", minute=1))  # It is hours old.
    at.chunk(6)
    assert at.minutes() == [
        ("12:00", {"DM1": {"ses": {"failed": 1, "soft": 1}}}),
        ("12:05", {"DM1": {"ses": {"sent": 1}}}),
    ]


def test_it_is_due_without_records_once_the_minute_is_over(at):
    at.chunk(0, sent("a"))
    at.set(0.9)
    assert not at.desk.work.is_due
    at.set(1)
    assert at.desk.work.is_due
    at.chunk(1)
    assert len(at.samples()) == 1
    assert not at.desk.work.is_due
    at.set(60)
    assert at.desk.work.is_due, "the hour is over"
    at.chunk(60)
    assert [(width, time) for width, time, _ in at.samples()[1:]] == [("hour", "2026-11-23T12:00:00Z")]
    at.chunk(12 * 60)
    assert [(width, time) for width, time, _ in at.samples()[2:]] == [("day", "2026-11-23T00:00:00Z")]
    at.set(48 * 60)
    assert not at.desk.work.is_due


def test_a_clock_ahead_of_the_brokers_makes_nobody_busy(at):
    at.chunk(0, sent("a"))
    behind = int(at.desk.now.timestamp() * 1_000)
    at.set(3)
    assert at.desk.work.is_due
    outbox = Outbox(behind, topics=at.desk.outputs)
    at.desk.work.process((), outbox)
    assert not any(outbox.records.values())
    assert not at.desk.work.is_due


def test_after_a_restart_it_is_what_it_would_have_been(at):
    at.chunk(0, sent("a"))
    at.desk.restart()
    at.chunk(0.5, event("b", "pending", delivery_id="DM2"))
    at.desk.restart()
    at.chunk(1, sent("c"))
    [(_, deliveries)] = at.minutes()
    assert deliveries["DM2"] == {"": {"pending": 1}}
    assert deliveries["DM1"] == {"ses": {"sent": 1}}


def test_deliveries_that_are_too_many_are_left_to_later_samples(at, monkeypatch):
    monkeypatch.setattr(module, "_DELIVERIES_TOLD", 1)
    at.chunk(0, sent("a"), sent("b"), event("c", "sent", delivery_id="DM2"))
    at.chunk(1)
    [(_, value, _)] = at.desk.written["t.history.v1"]
    sample = orjson.loads(value)
    assert (list(sample["deliveries"]), sample["omitted"]) == (["DM1"], 1)


def test_nor_is_a_sample_larger_than_its_topic_takes_whatever_deliveries_are_called(at, monkeypatch):
    monkeypatch.setattr(module, "_BYTES_TOLD", 7_000)
    name = "\x01" * 1_000
    at.chunk(0, sent("a"), event("b", "sent", delivery_id=name), event("c", "sent", delivery_id=f"{name[1:]}2"))
    at.chunk(1)
    [(_, value, _)] = at.desk.written["t.history.v1"]
    assert len(value) < 7_000
    assert orjson.loads(value)["omitted"] == 2


@pytest.mark.parametrize("seed", range(5))
def test_every_worker_tells_the_same_whenever_it_began_to_read(at, seed):
    rng = Random(seed)
    minutes, number = 0.0, 0
    statuses = ["pending", "taken_into_account", "sent", "failed"]
    while minutes < 30 * 60:
        names = {"delivery_id": f"DM{int(minutes // 500)}", "provider": rng.choice(["ses", "kumomta"])}
        number += rng.random() < 0.7
        at.chunk(minutes, event(f"m-{number}", rng.choice(statuses), rng.random() * 9, **names))
        minutes += rng.choice([0.1, 0.4, 1, 5, 90])
        if rng.random() < 0.05:
            at.desk.restart()

    always, late = Deliveries(10, Micros(0)), Deliveries(10, Micros(0))
    for topic, record in at.records:
        always.take(topic, [record])
    latest = {(topic.name, record.key): record for topic, record in at.records}
    # Topics are read beside each other: in any order, as the log of each has it.
    for topic in rng.sample([COUNTS, TOPIC], 2):
        kept = [record for of, record in at.records if of is topic and latest[of.name, record.key] is record]
        late.take(topic, kept)

    now = to_microseconds(at.desk.now)
    scopes = [(None, None), ("DM0", None), ("DM3", None), (None, "ses")]
    for scope in scopes:
        for span in Span:
            assert always.history.view([scope], span, now) == late.history.view([scope], span, now)
    # Nothing is lost, and nothing is counted twice.
    told = late.history.view([(None, None)], Span.THIRTY_DAYS, now).points
    assert sum(sum(point.statuses.values()) for point in told) == len(at.desk.statuses())
    assert always.unreadable == late.unreadable == 0
