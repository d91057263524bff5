"""Who went silent, on simulated series: found soon when it is so, and never said when it is not."""

from collections.abc import Iterable, Sequence
from datetime import timedelta
from random import Random
from typing import NamedTuple

import msgspec
import pytest

from processor.domain.event import Event, node_of
from processor.domain.fold import fold
from processor.domain.moment import EPOCH
from processor.domain.reason import Reason
from processor.domain.row import Row
from processor.domain.status import Channel, Permanence, Status
from processor.domain.traits import STUCK_AFTER
from processor.domain.transitions import Node
from processor.watch.durations import bucket_of
from processor.watch.evidence import Evidence, Flow
from processor.watch.findings import Partial, merge
from processor.watch.silence import Answering, Silence, judge
from processor.watch.sweep import Sweep

SECOND, MINUTE, HOUR, DAY = 1.0, 60.0, 3_600.0, 86_400.0
#: Seconds since the epoch at which every series begins.
START = 1_800_000_000.0


class Message(NamedTuple):
    """What becomes of one message, in seconds since START; None: never."""

    handed: float
    answered: float | None
    #: When we learn of the answer.
    heard: float | None
    waiting_row: Row
    answered_row: Row | None


def row(*reports: tuple[float, Status], provider: str | None = "smpp", reason: Reason | None = None) -> Row:
    known = None
    for at, status in reports:
        time = EPOCH + timedelta(seconds=START + at)
        event = Event(time, "m", Channel.SMS, status, provider=provider, reason=reason)
        known, _ = fold(known, event, node_of(event))
    return known


def message(handed: float, delay: float | None, lag: float = 0.2) -> Message:
    opening = (handed - 1, Status.PENDING), (handed, Status.TAKEN_INTO_ACCOUNT)
    if delay is None:
        return Message(handed, None, None, row(*opening), None)
    done = handed + delay
    return Message(handed, done, done + lag, row(*opening), row(*opening, (done, Status.RECEIVED_ON_MOBILE)))


def quick(rng: Random) -> float:
    """Draw a usual delay: half within 5 s, nine in ten within 20 s, few after hours."""
    return rng.uniform(10 * MINUTE, 3 * HOUR) if rng.random() < 0.03 else rng.lognormvariate(1.6, 1.0)


def steady(rng: Random, begin: float, end: float, every: float, *, lost: float = 0.02, delay=quick) -> list[Message]:
    """Hand messages over at random times, one `every` so many seconds on average."""
    found, at = [], begin
    while (at := at + rng.expovariate(1 / every)) < end:
        found.append(message(at, None if rng.random() < lost else delay(rng)))
    return found


def stops(messages: Iterable[Message], at: float) -> list[Message]:
    """Let nothing be heard from a moment on."""
    return [
        each if each.heard is None or each.heard < at else each._replace(answered=None, heard=None) for each in messages
    ]


class World:
    """The partitions of one worker, as time goes on."""

    def __init__(self, messages: Sequence[Message], partitions: int = 4) -> None:
        self.messages = sorted(messages, key=lambda each: each.handed)
        self.flows = [Flow() for _ in range(partitions)]
        self.now = 0.0

    def restart(self) -> None:
        self.flows = [Flow() for _ in self.flows]

    def at(self, now: float, *, only: int | None = None, behind: Sequence[int] = ()) -> Silence:
        """Let time go on, and say how it answers then."""
        partials = [
            self._partial(number, now, number in behind)
            for number in range(len(self.flows))
            if only is None or number == only
        ]
        self.now = now
        merged = merge(partials)
        found = [judge(each, merged.now) for each in merged.providers]
        return found[0] if found else judge(Evidence("smpp", None, {}, None, {}, ({}, {}, {}, {}), {}), merged.now)

    def _partial(self, number: int, now: float, is_behind: bool) -> Partial:
        share = self.messages[number :: len(self.flows)]
        heard = [each for each in share if each.heard is not None and self.now < each.heard <= now]
        if heard:
            self.flows[number].hear(
                "smpp",
                Node.RECEIVED_ON_MOBILE,
                [micros(each.answered) for each in heard],
                [micros(each.heard) // 1000 for each in heard],
                max(micros(each.heard) for each in heard),
            )
        sweep = Sweep(STUCK_AFTER, micros(now), flow=self.flows[number], is_behind=is_behind)
        for index, each in enumerate(share):
            if each.handed <= now:
                is_known = each.heard is not None and each.heard <= now
                sweep.visit(b"%d" % index, each.answered_row if is_known else each.waiting_row)
        return sweep.result()

    def answers(self, begin: float, end: float, step: float, **how) -> set[Answering]:
        found, now = set(), begin
        while now <= end:
            found.add(self.at(now, **how).answering)
            now += step
        return found


def micros(seconds: float) -> int:
    return int((START + seconds) * 1_000_000)


class TestNoFalseAlarm:
    @pytest.mark.parametrize("seed", range(3))
    @pytest.mark.parametrize(("every", "hours"), [(2 * SECOND, 1), (30 * SECOND, 8), (10 * MINUTE, 120)])
    @pytest.mark.parametrize("lost", [0.02, 0.3])
    @pytest.mark.slow
    def test_while_answers_come(self, seed, every, hours, lost):
        rng = Random(seed)
        world = World(steady(rng, 0, hours * HOUR, every, lost=lost))
        assert Answering.SILENT not in world.answers(MINUTE, hours * HOUR, hours * MINUTE * 1.01)

    @pytest.mark.parametrize("lost", [0.0, 0.05, 0.4])
    @pytest.mark.slow
    def test_at_night_when_nothing_is_sent(self, lost):
        rng = Random(1)
        world = World([*steady(rng, 0, HOUR, 3, lost=lost), *steady(rng, 9 * HOUR, 9.2 * HOUR, 3, lost=lost)])
        assert world.answers(HOUR, 9 * HOUR, 10 * MINUTE) <= {Answering.FLOWING, Answering.IDLE}
        assert world.answers(9 * HOUR, 9.2 * HOUR, 20) <= {Answering.FLOWING, Answering.IDLE}

    def test_in_a_burst_that_queues_with_the_provider(self):
        rng = Random(2)
        before = steady(rng, 0, 2 * HOUR, 20)
        # 2,000 in ten seconds after an idle hour, answered one after the other at two a second.
        burst = [message(3 * HOUR + index / 200, 2 + index * 0.5 - index / 200) for index in range(2_000)]
        world = World([*before, *burst])
        assert Answering.SILENT not in world.answers(3 * HOUR - 5, 3 * HOUR + 20 * MINUTE, 30)

    def test_of_a_slow_provider(self):
        rng = Random(3)
        slow = steady(rng, 0, 20 * HOUR, 60, delay=lambda rng: rng.lognormvariate(7.5, 0.9))
        assert Answering.SILENT not in World(slow).answers(HOUR, 20 * HOUR, 20 * MINUTE)

    def test_of_a_provider_that_becomes_slower(self):
        rng = Random(4)
        messages = [
            message(at, (5 + 30 * (at / HOUR) ** 2) * rng.uniform(0.7, 1.4)) for at in range(0, int(6 * HOUR), 20)
        ]
        assert Answering.SILENT not in World(messages).answers(HOUR, 6 * HOUR, 5 * MINUTE)

    def test_of_a_provider_that_tells_its_truths_once_an_hour(self):
        rng = Random(5)
        messages = []
        for each in steady(rng, 0, 12 * HOUR, 30):
            told = None if each.answered is None else (each.answered // HOUR + 1) * HOUR
            messages.append(each._replace(heard=told))
        world = World(messages)
        assert Answering.SILENT not in world.answers(3 * HOUR, 6.9 * HOUR, 7 * MINUTE)
        world.restart()
        assert Answering.SILENT not in world.answers(6.9 * HOUR, 12 * HOUR, 7 * MINUTE)

    @pytest.mark.parametrize("partition", range(4))
    def test_seen_from_one_partition(self, partition):
        rng = Random(6)
        world = World(steady(rng, 0, 10 * HOUR, 60, lost=0.1))
        assert Answering.SILENT not in world.answers(HOUR, 10 * HOUR, 10 * MINUTE, only=partition)

    def test_after_a_restart(self):
        rng = Random(7)
        world = World(steady(rng, 0, 3 * HOUR, 5))
        world.at(2 * HOUR)
        world.restart()
        assert Answering.SILENT not in world.answers(2 * HOUR + 1, 3 * HOUR, 2 * MINUTE)

    def test_at_the_very_start(self):
        rng = Random(8)
        assert World(steady(rng, 0, HOUR, 1)).at(0).answering is Answering.UNKNOWN
        assert Answering.SILENT not in World(steady(rng, 0, HOUR, 2)).answers(1, 300, 10)

    def test_while_hand_overs_are_read_before_their_answers(self):
        handed = [message(at, None) for at in range(3_000)]
        assert World(handed).answers(HOUR, 30 * HOUR, 5 * HOUR) == {Answering.UNKNOWN}

    def test_of_old_history(self):
        rng = Random(9)
        world = World(steady(rng, -400 * DAY, -400 * DAY + 2 * HOUR, 5, lost=0.2))
        assert world.answers(0, HOUR, MINUTE * 20) == {Answering.UNKNOWN}

    def test_of_old_history_that_comes_in_while_answers_come(self):
        rng = Random(10)
        old = [each._replace(heard=None) for each in steady(rng, -3 * DAY, -3 * DAY + HOUR, 4, lost=1.0)]
        world = World([*steady(rng, 0, 2 * HOUR, 5), *old])
        assert world.answers(HOUR, 2 * HOUR, 3 * MINUTE) == {Answering.FLOWING}

    def test_when_every_try_fails_for_a_reason_that_may_pass(self):
        later = Reason(Permanence.TRANSIENT)
        sweep = Sweep(STUCK_AFTER, micros(HOUR))
        for index, each in enumerate(steady(Random(11), 0, 0.5 * HOUR, 5)):
            sweep.visit(b"a%d" % index, each.answered_row or each.waiting_row)
        for index in range(500):
            handed = 0.5 * HOUR + index * 3
            tried = row((handed, Status.TAKEN_INTO_ACCOUNT), (handed + 2, Status.TAKEN_INTO_ACCOUNT), reason=later)
            sweep.visit(b"b%d" % index, tried)
        [evidence] = sweep.result().providers
        assert judge(evidence, micros(HOUR)).answering is Answering.FLOWING


class TestAlarm:
    @pytest.mark.parametrize("seed", range(3))
    @pytest.mark.parametrize("lost", [0.0, 0.1, 0.4])
    @pytest.mark.slow
    def test_within_minutes_of_a_quick_provider(self, seed, lost):
        rng = Random(seed)
        world = World(stops(steady(rng, 0, 2 * HOUR, 2, lost=lost), HOUR))
        assert world.answers(HOUR - MINUTE, HOUR, 10) == {Answering.FLOWING}
        found = world.at(HOUR + 4 * MINUTE)
        assert found.answering is Answering.SILENT
        assert found.quiet == pytest.approx(4 * MINUTE, abs=10)
        assert 10 < found.usual < 60
        assert 0.8 * 120 < found.unanswered < 1.6 * 120
        assert found.waiting >= found.unanswered
        assert found.unanswered_since is not None

    def test_of_a_slow_one_only_when_it_takes_longer_than_it_does(self):
        rng = Random(3)
        slow = steady(rng, 0, 20 * HOUR, 60, delay=lambda rng: rng.uniform(10 * MINUTE, 40 * MINUTE))
        world = World(stops(slow, 10 * HOUR))
        assert Answering.SILENT not in world.answers(9.8 * HOUR, 11.5 * HOUR, 5 * MINUTE)
        assert world.at(13 * HOUR).answering is Answering.SILENT

    def test_after_a_burst_whose_queue_is_never_worked_off(self):
        before = steady(Random(2), 0, 2 * HOUR, 20)
        burst = [message(3 * HOUR + index / 200, 2 + index * 0.1) for index in range(2_000)]
        world = World(stops([*before, *burst], 3 * HOUR + 5))
        assert world.answers(3 * HOUR, 3 * HOUR + MINUTE, 5) <= {Answering.FLOWING, Answering.IDLE}
        assert world.at(3 * HOUR + 10 * MINUTE).answering is Answering.SILENT

    def test_lasts_through_the_night_and_ends_with_the_first_answer(self):
        rng = Random(4)
        silent = stops(steady(rng, 0, 2 * HOUR, 2), HOUR)
        world = World([*silent, message(10 * HOUR, 3.0)])
        world.at(HOUR)
        assert world.answers(HOUR + 5 * MINUTE, 10 * HOUR, HOUR) == {Answering.SILENT}
        assert world.at(10 * HOUR + 5).answering is Answering.FLOWING

    def test_of_little_traffic_takes_longer(self):
        rng = Random(5)
        world = World(stops(steady(rng, 0, 60 * HOUR, 10 * MINUTE), 50 * HOUR))
        assert Answering.SILENT not in world.answers(40 * HOUR, 50.2 * HOUR, 5 * MINUTE)
        assert world.at(53 * HOUR).answering is Answering.SILENT

    def test_is_raised_by_each_partition_alone_where_traffic_allows(self):
        rng = Random(6)
        for partition in range(4):
            world = World(stops(steady(rng, 0, 1.5 * HOUR, 2), HOUR))
            world.at(HOUR, only=partition)
            assert world.at(HOUR + 6 * MINUTE, only=partition).answering is Answering.SILENT

    def test_survives_a_restart(self):
        rng = Random(7)
        world = World(stops(steady(rng, 0, 4 * HOUR, 5), HOUR))
        world.at(HOUR + 10 * MINUTE)
        world.restart()
        # Whether its reports are usually late is not known any more.
        assert Answering.SILENT not in world.answers(HOUR + 11 * MINUTE, HOUR + 59 * MINUTE, 6 * MINUTE)
        assert world.at(2.3 * HOUR).answering is Answering.SILENT

    def test_of_a_provider_whose_clock_is_hours_ahead(self):
        rng = Random(8)
        ahead = [
            each
            if each.answered is None
            else message(each.handed, each.answered - each.handed + 2 * HOUR)._replace(heard=each.heard)
            for each in steady(rng, 0, 2 * HOUR, 2)
        ]
        world = World(stops(ahead, HOUR))
        world.at(HOUR)
        found = world.at(HOUR + 50 * MINUTE)
        assert (found.answering, round(found.quiet / MINUTE)) == (Answering.FLOWING, 50)

    def test_history_that_comes_in_is_no_sign_of_life(self):
        rng = Random(9)
        world = World(stops(steady(rng, 0, 2 * HOUR, 2), HOUR))
        world.at(HOUR)
        for flow in world.flows:
            times = [micros(-100 * DAY + index) for index in range(100)]
            flow.hear("smpp", Node.RECEIVED_ON_MOBILE, times, [micros(HOUR) // 1000] * 100, micros(HOUR + 4 * MINUTE))
        assert world.at(HOUR + 5 * MINUTE).answering is Answering.SILENT

    def test_a_partition_that_is_behind_says_nothing(self):
        world = World(stops(steady(Random(10), 0, 2 * HOUR, 2), HOUR))
        world.at(HOUR)
        assert world.at(HOUR + 5 * MINUTE, behind=range(4)).answering is Answering.UNKNOWN
        assert world.at(HOUR + 5 * MINUTE, behind=[0, 1]).answering is Answering.SILENT


class TestEvidence:
    def test_goes_as_json_and_comes_back(self):
        world = World(steady(Random(1), 0, HOUR, 5))
        world.at(HOUR)
        partial = world._partial(0, HOUR, is_behind=False)
        assert msgspec.json.decode(msgspec.json.encode(partial), type=Partial) == partial

    def test_of_many_names_is_bounded(self):
        sweep = Sweep(STUCK_AFTER, micros(HOUR))
        for number in range(1_000):
            waiting = row((0, Status.TAKEN_INTO_ACCOUNT), provider=f"provider-{number}")
            sweep.visit(b"%d" % number, waiting)
        providers = sweep.result().providers
        assert len(providers) == 65
        assert sum(sum(each.waiting.values()) for each in providers) == 1_000

    def test_of_a_provider_without_a_name_is_kept(self):
        sweep = Sweep(STUCK_AFTER, micros(HOUR))
        sweep.visit(b"1", row((0, Status.SENT_TO_PROVIDER), provider=None))
        sweep.visit(b"2", row((0, Status.SENT_TO_PROVIDER), provider="smpp"))
        assert [each.provider for each in sweep.result().providers] == [None, "smpp"]

    def test_of_plenty_of_answers_is_learned_from_some(self):
        flow = Flow()
        messages = [message(at, 5.0) for at in range(3_000)]
        seen = []
        for answers in (0, 50_000):
            flow.answers = {"smpp": answers}
            sweep = Sweep(STUCK_AFTER, micros(HOUR), flow=flow)
            for index, each in enumerate(messages):
                sweep.visit(b"%d" % index, each.answered_row)
            [evidence] = sweep.result().providers
            seen.append((sum(evidence.answered.values()), sum(sum(delays.values()) for delays in evidence.delays)))
            assert flow.answers == {"smpp": 3_000}
        assert seen == [(3_000, 3_000)] * 2

    def test_the_flow_hears_answers_only(self):
        flow = Flow()
        flow.hear("smpp", Node.TAKEN_INTO_ACCOUNT, [micros(0)], [micros(1) // 1000], micros(1))
        assert not list(flow.providers)

    def test_the_flow_hears_nothing_of_records_without_a_timestamp(self):
        flow = Flow()
        flow.hear("smpp", Node.SENT, [micros(0)], [-1], micros(1))
        assert not list(flow.providers)

    def test_the_flow_forgets_lags(self):
        flow = Flow()
        for minute in range(0, 200, 5):
            lag = HOUR if minute < 60 else SECOND
            times = [micros(minute * MINUTE - lag)] * 20
            flow.hear("smpp", Node.SENT, times, [micros(minute * MINUTE) // 1000] * 20, micros(minute * MINUTE))
        assert max(flow.lags("smpp")) < bucket_of(10_000_000)
        assert sum(flow.lags("smpp").values()) >= 50
