"""Faults and the demo's story: each one is found by the rules that the product has, and nothing else is."""

from datetime import datetime, timedelta, timezone
from heapq import merge
from itertools import takewhile
from operator import attrgetter

import pytest

from processor.demo.simulate import (
    FAILED_MESSAGE,
    Window,
    bounce_storm,
    broken_records,
    failed_message,
    silenced,
    stuck_delivery,
    traffic,
    usual_past,
)
from processor.demo.simulate.faults import STUCK_MESSAGES
from processor.domain.delivery import State, join
from processor.domain.event import Event, node_of
from processor.domain.fold import fold
from processor.domain.moment import to_microseconds
from processor.domain.reason import Category
from processor.domain.status import Permanence, Status
from processor.domain.traits import STUCK_AFTER
from processor.domain.transitions import NODE_STATUS
from processor.providers import Context, Unreadable, decode_payload, read
from processor.providers.adapter import Memory
from processor.watch.evidence import Flow
from processor.watch.silence import Answering, judge
from processor.watch.sweep import Sweep
from processor.wire.control import decode_control
from processor.wire.events import decode_event

START = datetime(2026, 11, 23, 8, tzinfo=timezone.utc)
SPEED = 600.0
WINDOW = Window(START + timedelta(seconds=20), START + timedelta(seconds=80))


def at(seconds):
    return START + timedelta(seconds=seconds)


def by_due(*runs):
    return merge(*runs, key=attrgetter("due"))


def findings(record, memory=None):
    try:
        payload = decode_payload(record.value)
    except ValueError as error:
        return [Unreadable(str(error))]
    return read(dict(record.headers)["provider"].decode(), payload, Context(record.due, memory=memory))


class World:
    """What a worker would know that has read a run from its beginning."""

    def __init__(self, run):
        self.rows, self.flow, self.deliveries = {}, Flow(), {}
        self._run, self._memory = run, Memory()
        self._next = next(run)

    def live_until(self, seconds):
        """Read what is published until then."""
        while self._next is not None and self._next.due <= at(seconds):
            self._take(self._next)
            self._next = next(self._run, None)
        return self

    def _take(self, record):
        if record.topic == "control":
            control = decode_control(record.value, None)
            self.deliveries[control.delivery_id] = join(self.deliveries.get(control.delivery_id), control)
        elif record.topic == "events":
            self._fold(decode_event(record.value, None)[0], record)
        else:
            for finding in findings(record, self._memory):
                if isinstance(finding, Event):
                    self._fold(finding, record)

    def _fold(self, event, record):
        node, moment = node_of(event), to_microseconds(event.time)
        if node is None or event.time > record.due + timedelta(hours=24):
            return
        self.rows[event.message_id], _ = fold(self.rows.get(event.message_id), event, node, moment)
        # What lies before the start is all read when the worker starts.
        now = max(record.due, START)
        self.flow.hear(event.provider, node, [moment], [to_microseconds(record.due) // 1000], to_microseconds(now))

    def statuses(self, delivery):
        return [NODE_STATUS[row.node] for row in self.rows.values() if row.delivery == delivery]

    def look(self, seconds, stuck_after=STUCK_AFTER):
        sweep = Sweep(stuck_after, to_microseconds(at(seconds)), flow=self.flow)
        for key, row in self.rows.items():
            sweep.visit(key.encode(), row)
        return sweep.result()

    def answering(self, seconds):
        partial = self.look(seconds)
        return {each.provider: judge(each, partial.now).answering for each in partial.providers}


def silent(world, seconds):
    return {provider for provider, answering in world.answering(seconds).items() if answering is Answering.SILENT}


class TestSilentProvider:
    @pytest.mark.slow
    def test_it_is_found_soon_after_the_least_patience_and_no_other_is(self):
        run = silenced(traffic(7, START, rate=150, speed=SPEED), START)
        world = World(by_due(run, usual_past(START, speed=SPEED)))
        assert silent(world.live_until(40), 40) == set()
        assert silent(world.live_until(66), 66) == {"mailgun"}

    @pytest.mark.slow
    def test_it_is_found_in_the_midst_of_traffic_and_is_over_when_it_ends(self):
        window = Window(at(20), at(120))
        run = silenced(traffic(7, START, rate=60, speed=SPEED), *window)
        world = World(by_due(run, usual_past(START, speed=SPEED)))
        assert silent(world.live_until(75), 75) == set()
        assert silent(world.live_until(110), 110) == {"mailgun"}
        assert silent(world.live_until(130), 130) == set()

    def test_only_what_becomes_of_its_messages_is_left_out(self):
        run = list(takewhile(lambda record: record.due < at(60), traffic(7, START, rate=60, speed=SPEED)))
        kept = list(silenced(run, *Window(at(10), at(50))))
        left = set(map(id, kept))
        missing = [record for record in run if id(record) not in left]
        assert {dict(record.headers)["provider"] for record in missing} == {b"mailgun"}
        assert all(at(10) <= record.due < at(50) for record in missing)
        lost = [finding for record in missing for finding in findings(record) if isinstance(finding, Event)]
        assert Status.SENT in {event.status for event in lost}
        known = [
            finding
            for record in kept
            if at(10) <= record.due < at(50) and dict(record.headers).get("provider") == b"mailgun"
            for finding in findings(record)
            if isinstance(finding, Event)
        ]
        assert {(event.status, event.reason) for event in known} == {(Status.TAKEN_INTO_ACCOUNT, None)}

    def test_the_past_is_over_before_the_start_and_every_message_in_it_is_answered(self):
        past = list(usual_past(START, speed=SPEED))
        assert max(record.due for record in past) < at(-120)
        world = World(iter(past)).live_until(0)
        assert len(world.rows) == 40
        assert Status.TAKEN_INTO_ACCOUNT not in world.statuses("DM903")
        assert world.deliveries["DM903"].state is State.FINISHED


class TestStuckDelivery:
    THRESHOLDS = STUCK_AFTER | {key: 30.0 for key in STUCK_AFTER if key[1] is Status.PENDING}

    def test_most_of_it_is_stuck_until_the_end(self):
        world = World(stuck_delivery(WINDOW)).live_until(60)
        [stuck] = world.look(60, self.THRESHOLDS).stuck
        assert (stuck.delivery_id, stuck.status, stuck.messages) == ("DM911", Status.PENDING, STUCK_MESSAGES)

    def test_it_is_under_way_so_no_limit_holds_it(self):
        assert Status.SENT in World(stuck_delivery(WINDOW)).live_until(60).statuses("DM911")

    def test_it_ends_well(self):
        world = World(stuck_delivery(WINDOW)).live_until(80)
        assert set(world.statuses("DM911")) == {Status.SENT}
        assert world.deliveries["DM911"].state is State.FINISHED
        assert not world.look(200, self.THRESHOLDS).stuck


def test_in_a_bounce_storm_every_message_is_refused():
    records = list(bounce_storm(WINDOW, speed=SPEED))
    assert WINDOW.begin <= records[0].due
    assert records[-1].due <= WINDOW.end + timedelta(seconds=5)
    world = World(iter(records)).live_until(90)
    rows = [row for row in world.rows.values() if row.delivery == "DM921"]
    assert len(rows) == 600
    assert {(NODE_STATUS[row.node], row.provider_name) for row in rows} == {(Status.FAILED, "sparkpost")}
    assert {row.reason.category for row in rows} == {Category.REFUSED}


def test_broken_records_cannot_be_read_and_tell_who_sent_them():
    records = list(broken_records(WINDOW, speed=SPEED))
    assert len(records) >= WINDOW.seconds
    assert all(dict(record.headers) == {"provider": b"postmark"} for record in records)
    assert all(isinstance(finding, Unreadable) for record in records for finding in findings(record))


@pytest.mark.parametrize("make", [bounce_storm, broken_records])
def test_faults_come_in_the_order_in_which_they_are_due_and_again_the_same(make):
    records = list(make(WINDOW, speed=SPEED))
    dues = [record.due for record in records]
    assert dues == sorted(dues)
    assert records == list(make(WINDOW, speed=SPEED))


def test_the_named_message_failed_because_its_recipient_does_not_exist():
    world = World(failed_message(START)).live_until(0)
    [(name, row)] = world.rows.items()
    assert (name, NODE_STATUS[row.node], row.provider_name) == (FAILED_MESSAGE, Status.FAILED, "kumomta")
    assert (row.reason.category, row.reason.permanence) == (Category.USER_UNKNOWN, Permanence.PERMANENT)
    assert len(row.reasons) == 2
    assert world.deliveries["DM902"].state is State.FINISHED
