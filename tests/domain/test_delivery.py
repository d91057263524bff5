"""A delivery: the same control records give the same delivery in every order, and say why it is pending."""

from collections.abc import Iterable
from datetime import datetime, timedelta, timezone
from itertools import combinations_with_replacement, permutations
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from processor.domain.delivery import (
    DELIVERY_LAYOUT,
    ENDLESS,
    Action,
    Cause,
    Control,
    Delivery,
    Done,
    Pending,
    State,
    breach_of,
    join,
    pending_cause,
)
from processor.domain.moment import to_microseconds
from processor.domain.status import Channel
from tests.examples import examples

property_of = settings(
    derandomize=True, deadline=None, max_examples=examples(200), suppress_health_check=list(HealthCheck)
)

START = datetime(2026, 11, 23, 8, tzinfo=timezone.utc)
NOW = to_microseconds(START)
HOUR = 3_600_000_000


def control(action: str, minute: int = 0, **facts: Any) -> Control:
    return Control(START + timedelta(minutes=minute), "DM1", Action(action), **facts)


def at(minute: int) -> int:
    return NOW + minute * 60_000_000


def joined(controls: Iterable[Control]) -> Delivery:
    delivery = None
    for each in controls:
        delivery = join(delivery, each)
    assert delivery is not None
    return delivery


def naive(controls: Iterable[Control]) -> Delivery:
    """Read the contract a second time: everything at once, without any joining."""
    told = list(controls)

    def latest(name: str, form: Any = lambda value: value) -> Any:
        given = [
            (to_microseconds(each.time), form(getattr(each, name))) for each in told if getattr(each, name) is not None
        ]
        return max(given) if given else None

    def times(action: Action) -> list[int]:
        return [to_microseconds(each.time) for each in told if each.action is action]

    plain = (
        DELIVERY_LAYOUT,
        *(latest(name) for name in ("label", "campaign", "channel", "planned")),
        latest("scheduled_at", to_microseconds),
        [(action, min(times(action)), max(times(action))) for action in Action if times(action)],
    )
    return msgspec.convert(msgspec.to_builtins(plain), Delivery)


#: Facts that meet: equal and different times, equal and different values, each action.
FACTS = [
    *(control(action.value, minute) for action in Action for minute in (0, 1)),
    control("register", 0, label="a", planned=1),
    control("register", 0, label="b", planned=2),
    control("start", 1, label="a", channel=Channel.SMS),
    control("schedule", 1, scheduled_at=START, channel=Channel.EMAIL, campaign="c"),
    control("schedule", 0, scheduled_at=START + timedelta(hours=1), campaign="d"),
]


class TestJoin:
    def test_every_order_and_repetition_of_up_to_three_records_gives_one_delivery(self):
        for size in (1, 2, 3):
            for chosen in combinations_with_replacement(FACTS, size):
                expected = naive(chosen)
                for order in set(permutations(range(size))):
                    assert joined(chosen[index] for index in order) == expected

    def test_what_was_absorbed_tells_nothing_new(self):
        for chosen in combinations_with_replacement(FACTS, 2):
            delivery = joined(chosen)
            for each in chosen:
                assert join(delivery, each) is delivery

    texts = st.none() | st.sampled_from(["", "a", "b"])
    moments = st.integers(0, 5).map(lambda minute: START + timedelta(minutes=minute))
    controls = st.lists(
        st.builds(
            Control,
            time=moments,
            delivery_id=st.just("DM1"),
            action=st.sampled_from(Action),
            label=texts,
            campaign=texts,
            channel=st.none() | st.sampled_from(Channel),
            planned=st.none() | st.integers(0, 3),
            scheduled_at=st.none() | moments,
        ),
        min_size=1,
        max_size=12,
    )

    @given(controls, st.randoms(use_true_random=False))
    @property_of
    def test_a_long_history_in_any_order_with_repetitions_gives_one_delivery(self, controls, random):
        shuffled = controls + random.choices(controls, k=5)
        random.shuffle(shuffled)
        assert joined(shuffled) == joined(controls) == naive(controls)

    @given(controls)
    @property_of
    def test_it_survives_being_written_down(self, controls):
        delivery = joined(controls)
        assert msgspec.json.decode(msgspec.json.encode(delivery), type=Delivery) == delivery

    def test_the_value_told_last_wins_and_the_greatest_of_one_time(self):
        delivery = joined([control("register", 5, planned=10), control("start", 1, planned=99, label="early")])
        assert delivery.planned is not None
        assert delivery.planned.value == 10
        assert delivery.label is not None
        assert delivery.label.value == "early"
        tie = joined([control("register", 1, planned=10), control("start", 1, planned=9)])
        assert tie.planned is not None
        assert tie.planned.value == 10

    def test_a_fact_that_is_not_told_again_stays(self):
        delivery = joined([control("register", 0, label="Autumn sale"), control("finish", 9)])
        assert delivery.label is not None
        assert delivery.label.value == "Autumn sale"

    def test_an_action_is_remembered_by_its_first_and_last_time(self):
        delivery = joined([control("pause", minute) for minute in (3, 1, 2)])
        assert delivery.actions == (Done(Action.PAUSE, at(1), at(3)),)


STATES = {
    "nothing but register": (["register"], State.PLANNED),
    "a date": (["schedule"], State.SCHEDULED),
    "started": (["register", "schedule", "start"], State.RUNNING),
    "started, although nobody registered it": (["start"], State.RUNNING),
    "paused": (["start", "pause"], State.PAUSED),
    "paused before it started": (["schedule", "pause"], State.PAUSED),
    "resumed": (["start", "pause", "resume"], State.RUNNING),
    "paused again": (["start", "pause", "resume", "pause"], State.PAUSED),
    "resumed, although nobody said that it started": (["resume"], State.RUNNING),
    "started again after a pause": (["start", "pause", "start"], State.RUNNING),
    "finished": (["start", "finish"], State.FINISHED),
    "a finished delivery does not start again": (["start", "finish", "start"], State.FINISHED),
    "a finished delivery does not pause": (["finish", "pause"], State.FINISHED),
    "canceled": (["start", "cancel"], State.CANCELED),
    "canceled before it started": (["schedule", "cancel", "start"], State.CANCELED),
    "cancel is stronger than finish": (["cancel", "finish"], State.CANCELED),
    "finished, then canceled": (["finish", "cancel"], State.CANCELED),
}


class TestState:
    @pytest.mark.parametrize(("actions", "state"), STATES.values(), ids=STATES)
    def test_state(self, actions, state):
        dates = {"schedule": {"scheduled_at": START}}
        told = [control(action, minute, **dates.get(action, {})) for minute, action in enumerate(actions)]
        for order in permutations(told):
            assert joined(order).state is state

    def test_every_state_can_be_reached(self):
        assert {state for _, state in STATES.values()} == set(State)

    def test_a_date_may_come_with_any_action(self):
        assert joined([control("register", scheduled_at=START)]).state is State.SCHEDULED

    def test_of_one_moment_the_later_step_counts(self):
        assert joined([control("pause"), control("start")]).state is State.PAUSED
        assert joined([control("pause"), control("resume")]).state is State.RUNNING

    def test_times(self):
        delivery = joined([control("start", 2), control("start", 4), control("pause", 5), control("pause", 7)])
        assert (delivery.started_at, delivery.paused_at) == (at(2), at(7))
        assert (delivery.finished_at, delivery.canceled_at) == (None, None)
        ended = join(join(join(delivery, control("finish", 9)), control("finish", 8)), control("cancel", 11))
        assert (ended.paused_at, ended.finished_at, ended.canceled_at) == (None, at(8), at(11))

    def test_a_repeated_cancel_does_not_move_its_time_and_an_earlier_one_does(self):
        delivery = joined([control("cancel", 5), control("cancel", 9)])
        assert delivery.canceled_at == at(5)
        assert join(delivery, control("cancel", 3)).canceled_at == at(3)

    def test_one_that_only_resumed_started_then(self):
        assert joined([control("resume", 3)]).started_at == at(3)
        assert joined([control("resume", 3), control("start", 4)]).started_at == at(4)
        assert joined([control("register")]).started_at is None


def date(minute: int, told: int = 0) -> Control:
    return control("schedule", told, scheduled_at=START + timedelta(minutes=minute))


HOLDS = {
    "never held": ([control("start", 1), control("finish", 2)], None),
    "until its date": ([date(60)], at(60)),
    "until its date, although it started earlier": ([date(60), control("start", 5)], at(60)),
    "while it is paused": ([control("start", 1), control("pause", 5)], ENDLESS),
    "paused before its date": ([date(60), control("pause", 5)], ENDLESS),
    "paused before it started": ([control("pause", 5)], ENDLESS),
    "until it was resumed": ([control("pause", 5), control("resume", 9)], at(9)),
    "resumed before its date": ([date(60), control("pause", 5), control("resume", 9)], at(60)),
    "resumed after its date": ([date(60), control("pause", 5), control("resume", 90)], at(90)),
    "until it was started again": ([control("start", 1), control("pause", 5), control("start", 9)], at(9)),
    "a resume that is told again ends nothing": (
        [control("pause", 5), control("resume", 9), control("resume", 99)],
        at(9),
    ),
    "paused again": ([control("pause", 5), control("resume", 9), control("pause", 20)], ENDLESS),
    "resumed again": (
        [control("pause", 5), control("resume", 9), control("pause", 20), control("resume", 30)],
        at(30),
    ),
    "paused and resumed in one moment": ([control("pause", 5), control("resume", 5)], at(5)),
    "started and paused in one moment": ([control("start", 5), control("pause", 5)], ENDLESS),
    "finished while it was paused": ([control("pause", 5), control("finish", 9)], at(9)),
    "a finished delivery does not pause": ([control("finish", 5), control("pause", 9)], at(5)),
    "canceled while it was paused": ([control("pause", 5), control("cancel", 9)], at(9)),
}


class TestHold:
    @pytest.mark.parametrize(("told", "until"), HOLDS.values(), ids=HOLDS)
    def test_it_keeps_back_what_nobody_took(self, told, until):
        for order in permutations(told):
            assert joined(order).held_until == until


class TestContract:
    def test_to_schedule_is_to_say_when(self):
        assert "scheduled_at" in (breach_of(control("schedule")) or "")
        assert breach_of(control("schedule", scheduled_at=START)) is None
        assert all(breach_of(control(action.value)) is None for action in Action if action is not Action.SCHEDULE)


class TestPendingCause:
    SCHEDULED = joined([control("schedule", scheduled_at=START)])
    STARTED = joined([control("schedule", scheduled_at=START), control("start")])

    def cause(self, delivery, now=NOW, running=0, limit=10, **facts):
        return pending_cause(delivery, now, running, limit, **{"has_pending": True, **facts})

    def test_its_date_lies_ahead(self):
        assert self.cause(self.SCHEDULED, NOW - 1) == Pending(Cause.SCHEDULED, scheduled_at=NOW)
        assert self.cause(self.SCHEDULED, NOW - 1, running=99) == Pending(Cause.SCHEDULED, scheduled_at=NOW)
        assert self.cause(self.SCHEDULED, NOW - 1, has_pending=False) == Pending(Cause.SCHEDULED, scheduled_at=NOW)

    def test_its_date_has_come(self):
        assert self.cause(self.SCHEDULED, NOW) == Pending(Cause.MTA_RESOURCES)
        assert self.cause(self.SCHEDULED, NOW, running=10) == Pending(Cause.CONCURRENCY_LIMIT, running=10, limit=10)

    def test_one_that_was_started_before_its_date_does_not_wait_for_it(self):
        assert self.cause(self.STARTED, NOW - HOUR) == Pending(Cause.MTA_RESOURCES)

    def test_one_whose_messages_are_on_their_way_does_not_wait_for_its_date(self):
        assert self.cause(self.SCHEDULED, NOW - HOUR, is_under_way=True) == Pending(Cause.MTA_RESOURCES)

    @pytest.mark.parametrize(("running", "cause"), [(9, Cause.MTA_RESOURCES), (10, Cause.CONCURRENCY_LIMIT)])
    def test_as_many_others_run_as_may(self, running, cause):
        found = self.cause(self.STARTED, running=running)
        assert found is not None
        assert found.cause is cause

    def test_the_limit_holds_nobody_whom_it_let_through(self):
        assert self.cause(self.STARTED, running=11, is_under_way=True) == Pending(Cause.MTA_RESOURCES)

    def test_one_that_control_records_do_not_name_can_be_held_too(self):
        assert self.cause(None, running=10) == Pending(Cause.CONCURRENCY_LIMIT, running=10, limit=10)
        assert self.cause(None) == Pending(Cause.MTA_RESOURCES)

    def test_nothing_pending_needs_no_cause(self):
        assert self.cause(self.STARTED, has_pending=False, running=99) is None
        assert self.cause(None, has_pending=False) is None

    @pytest.mark.parametrize("action", ["pause", "cancel"])
    def test_whoever_paused_or_cancelled_it_knows_why(self, action):
        assert self.cause(join(self.SCHEDULED, control(action)), NOW - HOUR, running=99) is None

    def test_a_finished_delivery_may_have_messages_that_wait(self):
        assert self.cause(join(self.STARTED, control("finish"))) == Pending(Cause.MTA_RESOURCES)
