"""Deliveries as people ask for them: totals, Adobe's indicators, rates, the end, and why they are pending."""

import random
import time
from collections import Counter
from typing import Any, ClassVar

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from processor.domain.delivery import ENDLESS, Cause, State
from processor.domain.moment import to_rfc3339
from processor.domain.reason import Category
from processor.domain.status import Channel, Status
from processor.domain.traits import SuccessFrom
from processor.views.deliveries import Deliveries, DeliveryView
from processor.views.series import POINTS_MAX
from processor.wire.topics import COUNTS, DELIVERIES
from tests.examples import examples
from tests.views.told import DAY, HOUR, LIMIT, MINUTE, NOW, SECOND, Record, counts, deliveries, told

property_of = settings(
    derandomize=True, deadline=None, max_examples=examples(100), suppress_health_check=list(HealthCheck)
)


def one(*records: Record, now: int = NOW, since: int = NOW, **more: Any) -> DeliveryView:
    found = deliveries(*records, since=since).one("DM1", now, **more)
    assert found is not None
    return found


def some(statuses: dict[str, int]) -> dict[str, int]:
    return {name: number for name, number in statuses.items() if number}


class TestTotals:
    def test_partitions_are_summed(self):
        view = one(
            counts({"sent": 3, "failed": 1}, partition=0, providers={"ses": 4}, expired=2),
            counts({"sent": 1, "pending": 2}, partition=5, providers={"ses": 1, "kumomta": 2}, expired=1),
        )
        assert (view.messages, view.expired, view.providers) == (7, 3, {"ses": 5, "kumomta": 2})
        assert list(view.statuses) == [status.value for status in Status]
        assert some(view.statuses) == {"sent": 4, "failed": 1, "pending": 2}

    def test_a_later_record_replaces_what_its_partition_said(self):
        view = one(
            counts({"pending": 3}, partition=0, providers={"ses": 3}),
            counts({"pending": 1}, partition=1),
            counts({"sent": 3}, partition=0, providers={"ses": 2, "twilio": 1}),
        )
        assert some(view.statuses) == {"pending": 1, "sent": 3}
        assert view.providers == {"ses": 2, "twilio": 1}

    def test_what_moved_away_leaves_no_zeroes_behind(self):
        view = one(
            counts({"failed": 2}, providers={"ses": 2}, failed={"refused": 2}),
            counts(),
            counts({"sent": 1}, partition=1),
        )
        assert (view.messages, view.providers, view.failures) == (1, {}, {})

    numbers = st.integers(0, 5)
    maps = st.dictionaries(st.sampled_from("abc"), st.integers(1, 5))
    statuses = st.fixed_dictionaries(dict.fromkeys([status.value for status in Status], st.integers(0, 5)))
    histories = st.lists(st.tuples(st.integers(0, 3), statuses, maps, maps, numbers), max_size=12)

    @given(histories)
    @property_of
    def test_totals_are_the_sum_of_the_last_record_of_each_partition(self, history):
        made = deliveries(
            *(
                counts(statuses, partition=number, providers=providers, failed=failed, expired=expired)
                for number, statuses, providers, failed, expired in history
            )
        )
        view = made.one("DM1", NOW)
        last = {number: rest for number, *rest in history}.values()
        if not history:
            assert view is None
            return
        sums = [sum((Counter(part[index]) for part in last), Counter()) for index in range(3)]
        assert (some(view.statuses), view.providers, view.failures) == tuple(map(dict, sums))
        assert (view.messages, view.expired) == (sums[0].total(), sum(part[3] for part in last))

    def test_what_there_is_by_channel_and_status_over_all(self):
        made = deliveries(
            counts({"sent": 4}, live={"email": {"sent": 3}}),
            counts({"sent": 2, "failed": 1}, "DM2", live={"email": {"sent": 1}, "sms": {"failed": 1}}),
            counts({"sent": 4, "pending": 1}, live={"email": {"sent": 2, "pending": 1}}),
        )
        assert {channel: some(numbers) for channel, numbers in made.messages().items()} == {
            "email": {"sent": 3, "pending": 1}, "sms": {"failed": 1}
        }  # fmt: skip
        assert all(list(numbers) == [status.value for status in Status] for numbers in made.messages().values())

    def test_an_old_record_has_statuses_only(self):
        view = one(counts({"sent": 3}))
        assert (view.channel, view.first_activity, view.last_activity, view.canceled_at) == (None, None, None, None)

    def test_a_null_value_takes_its_share_away(self):
        made = deliveries(counts({"sent": 3}), counts({"sent": 2}, partition=1), Record(b"DM1|0", None))
        view = made.one("DM1", NOW)
        assert view is not None
        assert view.messages == 2
        made.take(COUNTS, [Record(b"DM1|1", None)])
        assert made.one("DM1", NOW) is None

    def test_a_delivery_id_may_hold_any_character(self):
        made = deliveries(counts({"sent": 3}, "a|b|7"), Record(b"a|b|7|0", None))
        assert made.entries == {}

    @pytest.mark.parametrize("record", [Record(b"x|0", b"{}"), Record(b"x|y", None), Record(b"x|0", b"\xff")])
    def test_what_is_none_of_ours_is_counted_and_stops_nothing(self, record):
        made = deliveries(record, counts({"sent": 1}))
        assert made.unreadable == 1
        assert list(made.entries) == ["DM1"]

    def test_what_is_not_known(self):
        made = deliveries()
        assert made.one("DM1", NOW) is None
        assert made.holds.get("DM1") is None
        assert made.pending("DM1", NOW) is None
        assert made.state_of("DM1") is None


class TestFacts:
    def test_what_control_records_told(self):
        view = one(
            told(
                *("register", "schedule", "start", "pause"),
                label="Autumn sale",
                campaign="autumn",
                channel="sms",
                planned=10,
                scheduled_at=to_rfc3339(NOW - 2 * HOUR),
            )
        )
        assert (view.label, view.campaign, view.channel, view.planned) == ("Autumn sale", "autumn", Channel.SMS, 10)
        assert (view.state, view.messages) == (State.PAUSED, 0)
        times = (view.scheduled_at, view.started_at, view.paused_at)
        assert times == tuple(map(to_rfc3339, (NOW - 2 * HOUR, NOW - HOUR + 2 * SECOND, NOW - HOUR + 3 * SECOND)))
        assert (view.finished_at, view.canceled_at) == (None, None)

    def test_the_channel_is_that_of_most_messages_where_nobody_told(self):
        assert one(counts({"sent": 9}, channels={"email": 4, "sms": 5})).channel is Channel.SMS
        assert one(counts({"sent": 9}, channels={"sms": 5}), told("start", channel="email")).channel is Channel.EMAIL

    def test_activity_is_that_of_all_partitions(self):
        view = one(
            counts({"sent": 1}, first="2026-11-23T07:00:01Z", last="2026-11-23T07:00:05.5Z"),
            counts({"sent": 1}, partition=1, first="2026-11-23T07:00:02Z", last="2026-11-23T07:00:04Z"),
            counts({"sent": 1}, partition=2),
        )
        assert (view.first_activity, view.last_activity) == ("2026-11-23T07:00:01Z", "2026-11-23T07:00:05.500Z")

    def test_a_cancel_is_known_from_control_and_else_from_the_partitions(self):
        canceled = counts({"canceled": 1}, canceled_at="2026-11-23T07:30:00Z")
        view = one(canceled)
        assert (view.state, view.canceled_at) == (State.CANCELED, "2026-11-23T07:30:00Z")
        assert one(canceled, told("cancel")).canceled_at == to_rfc3339(NOW - HOUR)
        assert deliveries(canceled).state_of("DM1") is State.CANCELED
        assert deliveries(told("cancel")).state_of("DM1") is State.CANCELED

    def test_a_delivery_starts_at_its_date(self):
        date = {"scheduled_at": to_rfc3339(NOW + HOUR)}
        assert deliveries(counts({"sent": 1})).holds.get("DM1") is None
        assert deliveries(told("start")).holds.get("DM1") is None
        assert deliveries(told("schedule", **date)).holds.get("DM1") == NOW + HOUR

    def test_a_paused_delivery_is_held(self):
        assert deliveries(told("start", "pause")).holds.get("DM1") == ENDLESS
        assert deliveries(told("start", "pause")).state_of("DM1") is State.PAUSED
        made = deliveries(told("start", "pause"), Record(b"DM1", None))
        assert made.holds == {}

    def test_stuck_is_what_the_caller_knows(self):
        assert one(counts({"sent": 1})).stuck is None
        assert one(counts({"sent": 1}), stuck={}).stuck == 0
        assert one(counts({"sent": 1}), stuck={"DM1": 3}).stuck == 3

    def test_a_delivery_that_is_forgotten_keeps_its_messages(self):
        made = deliveries(told("start", label="a"), counts({"sent": 1}), Record(b"DM1", None))
        view = made.one("DM1", NOW)
        assert view is not None
        assert (view.label, view.messages) == (None, 1)
        made.take(COUNTS, [Record(b"DM1|0", None)])
        assert made.entries == {}

    def test_it_is_json(self):
        view = one(told("start"), counts({"pending": 1}, first="2026-11-23T07:00:01Z", last="2026-11-23T08:00:01Z"))
        value = msgspec.json.decode(msgspec.json.encode(view))
        assert value["state"] == "running"
        assert value["pending"]["cause"] == "mta_resources"
        assert value["series"] == [{"time": to_rfc3339(NOW), "statuses": view.statuses}]


SHOWN = {
    "control says": (told("start", "pause"), {"sent": 1}, State.PAUSED),
    "registered only": (told("register"), {}, State.PLANNED),
    "registered only, and messages wait": (told("register"), {"pending": 3}, State.PLANNED),
    "nobody said that it started, yet messages go": (told("register"), {"pending": 1, "sent": 1}, State.RUNNING),
    "nobody said that it started, and there is more to come": (told("register", planned=9), {"sent": 1}, State.RUNNING),
    "nobody said that it started, and all is done": (told("register", planned=2), {"sent": 2}, State.FINISHED),
    "not registered, messages wait": (None, {"pending": 1}, State.RUNNING),
    "not registered, all is done": (None, {"sent": 1, "failed": 1}, State.FINISHED),
    "started and all is done, which nobody said": (told("start", planned=1), {"sent": 1}, State.RUNNING),
}


class TestState:
    @pytest.mark.parametrize(("delivery", "statuses", "state"), SHOWN.values(), ids=SHOWN)
    def test_shown_state(self, delivery, statuses, state):
        assert one(*([delivery] if delivery else []), counts(statuses)).state is state


class TestIndicators:
    #: A count for each status that no sum confuses with another's.
    STATUSES: ClassVar = {status.value: 2**index for index, status in enumerate(Status)}

    def test_adobes_sums(self):
        view = one(counts(self.STATUSES))
        s = self.STATUSES
        success = s["taken_into_account"] + s["sent"] + s["received_on_mobile"]
        assert view.indicators.success == success
        assert view.indicators.failed == s["failed"]
        assert view.indicators.processed == s["prepared"] + s["failed"] + success

    def test_success_may_begin_when_a_message_is_sent(self):
        made = Deliveries(LIMIT, NOW, SuccessFrom.SENT)
        made.take(COUNTS, [counts(self.STATUSES)])
        view = made.one("DM1", NOW)
        s = self.STATUSES
        assert view.indicators.success == s["sent"] + s["received_on_mobile"]
        assert view.indicators.processed == one(counts(s)).indicators.processed

    def test_adobes_bounces(self):
        failed = {category.value: 2**index for index, category in enumerate(Category)}
        view = one(counts({"failed": sum(failed.values())}, failed=failed, ignored={"denylisted": 3}))
        soft = ["unreachable", "mailbox_full", "invalid_domain", "account_disabled", "not_connected", "refused"]
        assert view.indicators.hard == failed["user_unknown"]
        assert view.indicators.soft == sum(failed[name] for name in soft)
        assert view.indicators.ignored == {"denylisted": 3}
        assert view.failures == failed

    def test_rates_are_shares_of_what_was_processed(self):
        rates = one(counts({"sent": 6, "failed": 2, "pending": 100, "ignored": 9})).rates
        assert (rates.success, rates.failed) == (0.75, 0.25)

    def test_nothing_processed_has_no_rates(self):
        assert one(counts({"pending": 5})).rates == msgspec.structs.replace(
            one(counts({})).rates, success=None, failed=None, per_second=None
        )


class TestRate:
    """How many messages leave `pending` a second."""

    ACTIVE: ClassVar = {"first": to_rfc3339(NOW - 100 * SECOND), "last": to_rfc3339(NOW)}

    def rate(self, *records: Record, now: int, since: int = NOW) -> float | None:
        return one(*records, now=now, since=since).rates.per_second

    def test_of_one_that_runs_it_is_that_of_the_last_ten_minutes(self):
        records = [told("start", planned=10_000), counts({"sent": 1_000}, at=NOW - HOUR)]
        records += [counts({"sent": 1_000 + 2 * n}, at=NOW + n * SECOND) for n in range(0, 1_201, 10)]
        assert self.rate(*records, now=NOW + 1_200 * SECOND) == pytest.approx(2, rel=0.1)

    def test_what_was_counted_before_following_began_is_no_progress(self):
        records = [told("start", planned=10_000), counts({"sent": 1_000}, at=NOW - HOUR, **self.ACTIVE)]
        assert self.rate(*records, now=NOW + MINUTE) == 0

    def test_nor_is_what_is_learnt_of_it_late(self):
        records = [
            told("start", planned=10_000),
            counts({"sent": 1_000}, partition=0, at=NOW - HOUR),
            counts({"sent": 1_060}, partition=0, at=NOW + MINUTE),
            counts({"sent": 5_000}, partition=1, at=NOW - HOUR),
        ]
        assert self.rate(*records, now=NOW + MINUTE) == 1

    def test_one_that_stalls_has_none(self):
        records = [told("start", planned=99), counts({"sent": 1}, at=NOW), counts({"sent": 60}, at=NOW + MINUTE)]
        assert self.rate(*records, now=NOW + MINUTE) == pytest.approx(59 / 60, abs=0.001)
        assert self.rate(*records, now=NOW + MINUTE + 601 * SECOND) == 0

    def test_until_it_was_watched_for_a_while_it_is_that_of_its_life(self):
        records = [told("start", planned=9_999), counts({"sent": 200, "pending": 50}, **self.ACTIVE)]
        assert self.rate(*records, now=NOW + 10 * SECOND) == 2

    def test_of_one_that_does_not_run_it_is_that_of_its_life(self):
        records = [told("start", "finish"), counts({"sent": 200}, **self.ACTIVE)]
        assert self.rate(*records, now=NOW + DAY) == 2

    def test_one_moment_is_no_time(self):
        assert self.rate(counts({"sent": 5}, first=to_rfc3339(NOW), last=to_rfc3339(NOW)), now=NOW) is None

    def test_the_end_is_where_the_rate_leads(self):
        records = [told("start", planned=1_000), counts({"sent": 190, "pending": 10}, **self.ACTIVE)]
        view = one(*records)
        assert view.rates.per_second == 1.9
        assert view.estimated_end == to_rfc3339(NOW + round(810 / 1.9 * SECOND))

    @pytest.mark.parametrize(
        ("actions", "statuses"),
        [
            (("start", "pause"), {"sent": 5}),
            (("start", "finish"), {"sent": 5, "pending": 5}),
            (("start", "cancel"), {"sent": 5}),
            (("start",), {"sent": 10}),
            (("start",), {"pending": 5}),
        ],
    )
    def test_one_that_does_not_get_on_or_is_through_has_no_end(self, actions, statuses):
        assert one(told(*actions, planned=10), counts(statuses, **self.ACTIVE)).estimated_end is None

    def test_an_end_years_ahead_is_none(self):
        assert one(told("start", planned=10**12), counts({"sent": 1}, **self.ACTIVE)).estimated_end is None


class TestSeries:
    def points(self, *records: Record, since: int = NOW) -> list[tuple[str, dict[str, int]]]:
        series = one(*records, since=since).series
        assert not isinstance(series, msgspec.UnsetType)
        return [(point.time, some(point.statuses)) for point in series]

    def test_counts_over_time_begin_with_what_was_known(self):
        found = self.points(
            counts({"pending": 5}, at=NOW - HOUR),
            counts({"pending": 3, "sent": 2}, at=NOW + MINUTE),
            counts({"sent": 1}, partition=1, at=NOW + 2 * MINUTE),
        )
        assert found == [
            (to_rfc3339(NOW), {"pending": 5}),
            (to_rfc3339(NOW + MINUTE), {"pending": 3, "sent": 2}),
            (to_rfc3339(NOW + 2 * MINUTE), {"pending": 3, "sent": 3}),
        ]

    def test_what_is_learnt_late_of_the_time_before_is_in_every_point(self):
        found = self.points(
            counts({"pending": 1}, at=NOW - HOUR),
            counts({"sent": 1}, at=NOW + MINUTE),
            counts({"sent": 7}, partition=1, at=NOW - HOUR),
        )
        assert found == [(to_rfc3339(NOW), {"pending": 1, "sent": 7}), (to_rfc3339(NOW + MINUTE), {"sent": 8})]

    def test_before_following_began_there_are_none(self):
        assert self.points(counts({"pending": 5}, at=NOW - HOUR)) == []

    def test_there_are_never_many(self):
        found = self.points(*(counts({"sent": n}, at=NOW + n * MINUTE) for n in range(500)))
        assert len(found) <= POINTS_MAX
        assert found[-1] == (to_rfc3339(NOW + 499 * MINUTE), {"sent": 499})

    def test_a_list_goes_without(self):
        made = deliveries(counts({"sent": 5}))
        assert made.view(made.entries["DM1"], NOW, None).series is msgspec.UNSET


def running(number: int, **more: Any) -> list[Record]:
    """A delivery that runs and is under way."""
    name = f"R{number}"
    return [told("start", delivery_id=name, planned=10, **more), counts({"sent": 1}, name)]


class TestPending:
    AHEAD = to_rfc3339(NOW + HOUR)
    FULL: ClassVar = [record for number in range(LIMIT) for record in running(number)]

    def cause(self, *records: Record, now: int = NOW) -> Cause | None:
        pending = one(*records, now=now).pending
        return None if pending is None else pending.cause

    def test_its_date_lies_ahead(self):
        scheduled = told("schedule", scheduled_at=self.AHEAD)
        pending = one(scheduled).pending
        assert pending is not None
        assert (pending.cause, pending.scheduled_at) == (Cause.SCHEDULED, self.AHEAD)
        assert (pending.running, pending.limit) == (None, None)
        assert self.AHEAD in pending.detail
        assert self.cause(scheduled, counts({"pending": 5})) is Cause.SCHEDULED
        assert self.cause(scheduled, now=NOW + HOUR) is Cause.MTA_RESOURCES

    def test_the_limit_is_reached(self):
        pending = one(*self.FULL, told("start"), counts({"pending": 5})).pending
        assert pending is not None
        assert (pending.cause, pending.running, pending.limit) == (Cause.CONCURRENCY_LIMIT, LIMIT, LIMIT)
        assert pending.detail == "2 deliveries run, and 2 may"

    def test_one_that_has_no_messages_yet_is_held_too(self):
        assert self.cause(*self.FULL, told("start")) is Cause.CONCURRENCY_LIMIT
        date = to_rfc3339(NOW - 1)
        assert self.cause(*self.FULL, told("schedule", scheduled_at=date)) is Cause.CONCURRENCY_LIMIT

    def test_one_whose_messages_are_only_ignored_so_far_is_held_too(self):
        assert self.cause(*self.FULL, told("start"), counts({"pending": 5, "ignored": 1})) is Cause.CONCURRENCY_LIMIT

    def test_one_that_is_under_way_is_not_held(self):
        assert self.cause(*self.FULL, told("start"), counts({"pending": 5, "sent": 1})) is Cause.MTA_RESOURCES

    def test_with_a_place_free_the_mta_is_waited_for(self):
        assert self.cause(*self.FULL[:2], told("start"), counts({"pending": 5})) is Cause.MTA_RESOURCES

    ENDS: ClassVar = {
        "finished": [told("start", "finish", delivery_id="R0", planned=10)],
        "canceled": [told("start", "cancel", delivery_id="R0", planned=10)],
        "paused": [told("start", "pause", delivery_id="R0", planned=10)],
        "all of it done": [counts({"sent": 9, "failed": 1}, "R0")],
        "forgotten": [Record(b"R0", None)],
        "none of its messages taken after all": [counts({"pending": 1}, "R0")],
    }

    @pytest.mark.parametrize("end", ENDS.values(), ids=ENDS)
    def test_one_that_ends_gives_its_place_free(self, end):
        assert self.cause(*self.FULL, *end, told("start"), counts({"pending": 5})) is Cause.MTA_RESOURCES

    def test_what_nobody_started_takes_no_place(self):
        others = [record for n in range(9) for record in (counts({"sent": 1, "pending": 1}, f"R{n}"),)]
        made = deliveries(*others, *(told("register", delivery_id=f"R{n}") for n in range(9)))
        assert made.running() == 0

    def test_what_nobody_planned_runs_until_it_is_finished(self):
        made = deliveries(told("start"), counts({"sent": 9}))
        assert made.running() == 1
        made.take(DELIVERIES, [told("start", "finish")])
        assert made.running() == 0

    @pytest.mark.parametrize(
        "records",
        [
            [told("start"), counts({"sent": 5})],
            [told("start", planned=0)],
            [told("register", planned=9)],
            [told("start", "pause"), counts({"pending": 5})],
            [told("start", "cancel"), counts({"pending": 5})],
            [counts({"sent": 5})],
        ],
    )
    def test_one_that_is_not_pending_has_no_cause(self, records):
        assert self.cause(*self.FULL, *records) is None

    def test_deliveries_are_counted_by_cause(self):
        made = deliveries(
            *self.FULL,
            told("schedule", scheduled_at=self.AHEAD, delivery_id="S1"),
            told("schedule", scheduled_at=self.AHEAD, delivery_id="S2"),
            told("start", delivery_id="H"),
            counts({"pending": 1, "sent": 1}, "M"),
            counts({"pending": 9}, ""),
        )
        assert made.pending_deliveries(NOW) == {"scheduled": 2, "concurrency_limit": 1, "mta_resources": 1}
        assert made.pending_deliveries(NOW + HOUR) == {"scheduled": 0, "concurrency_limit": 3, "mta_resources": 1}
        assert deliveries().pending_deliveries(NOW) == {"scheduled": 0, "concurrency_limit": 0, "mta_resources": 0}

    def test_messages_whose_delivery_nobody_named_are_counted_and_are_no_delivery(self):
        view = deliveries(counts({"pending": 9}, "")).one("", NOW)
        assert view is not None
        assert (view.messages, view.pending) == (9, None)


@pytest.mark.slow
def test_twenty_thousand_deliveries_are_kept_up_to_date_quickly():
    rng = random.Random(1)
    records = [
        counts({"sent": rng.randrange(99), "pending": rng.randrange(9)}, f"DM{n}", partition, providers={"ses": 9})
        for partition in range(4)
        for n in range(20_000)
    ]
    made = deliveries(since=NOW + HOUR)
    started = time.process_time()
    made.take(COUNTS, records)
    made.take(DELIVERIES, [told("start", delivery_id=f"DM{n}", planned=500) for n in range(100)])
    taken = time.process_time() - started
    assert len(made.entries) == 20_000
    # About 20 µs of this process a record; a look at all entries for each would take a hundred times that.
    assert taken < len(records) * 500e-6
    started = time.process_time()
    causes = made.pending_deliveries(NOW)
    assert time.process_time() - started < 2
    assert sum(causes.values()) > 10_000
