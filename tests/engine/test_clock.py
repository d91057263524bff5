"""The brokers' time is what their answers say, and a clock that is wrong is told."""

import pytest
from structlog.testing import capture_logs

from processor.engine.clock import BrokerClock
from processor.metrics import Metrics

NOW = 1_800_000_000.0
HOUR = 3_600.0


class World:
    """A machine whose clock is ahead of the brokers' by so many seconds; answers take a tenth of one."""

    def __init__(self, ahead: float) -> None:
        self.ahead = ahead
        self.true = NOW
        self.metrics = Metrics()
        self.clock = BrokerClock(self.metrics, lambda: self.true + self.ahead, lambda: self.true)

    def answer(self, seconds: float = 0.1) -> None:
        sent = self.clock.sent()
        self.true += seconds / 2
        appended = int(self.true * 1000)
        self.true += seconds / 2
        self.clock.see(sent, appended)

    @property
    def shown(self) -> float:
        return self.metrics.registry.get_sample_value("delivery_worker_clock_skew_seconds")


def test_before_any_answer_it_is_this_machines_time():
    assert World(0).clock.now() == NOW * 1000
    assert World(0).shown == 0


@pytest.mark.parametrize("ahead", [3 * HOUR, -3 * HOUR, 30.0, -30.0])
def test_an_answer_tells_by_how_much_this_clock_is_off(ahead):
    world = World(ahead)
    world.answer()
    assert world.clock.now() == pytest.approx(world.true * 1000, abs=60)
    assert world.shown == pytest.approx(ahead, abs=0.06)


def test_what_the_way_to_the_broker_may_explain_is_no_difference():
    world = World(0.02)
    world.answer()
    assert world.clock.ahead == 0
    assert world.shown == 0


def test_a_slow_answer_takes_nothing_back():
    world = World(20.0)
    world.answer()
    world.answer(25.0)
    assert world.clock.ahead == pytest.approx(20.0, abs=0.06)


def test_a_clock_that_is_set_is_learned_anew():
    world = World(HOUR)
    world.answer()
    world.ahead = 0.0
    world.answer()
    assert world.clock.ahead == 0
    assert world.clock.now() == pytest.approx(world.true * 1000, abs=60)


def test_a_clock_that_drifts_is_followed():
    world = World(0.0)
    for _ in range(100):
        world.ahead += 0.1
        world.answer(10.0 if world.ahead < 9 else 0.1)
    assert world.clock.ahead == pytest.approx(10.0, abs=0.3)


def test_a_difference_is_told_once_a_minute_with_its_mend():
    world = World(3 * HOUR)
    with capture_logs() as lines:
        for _ in range(10):
            world.answer()
        world.true += 60
        world.answer()
    assert [line["event"] for line in lines] == ["clock_skewed"] * 2
    assert lines[0]["seconds_ahead"] == pytest.approx(3 * HOUR, abs=0.2)
    assert "NTP" in lines[0]["mend"]


def test_a_small_difference_is_not_told():
    world = World(2.0)
    with capture_logs() as lines:
        world.answer()
    assert lines == []
    assert world.shown == pytest.approx(2.0, abs=0.06)


def test_of_several_that_are_refused_at_once_only_one_sets_it_back():
    world = World(3 * HOUR)
    taken = world.clock.now()
    for _ in range(4):
        world.clock.set_back(taken)
    assert world.clock.now() == taken - 24 * HOUR * 1000


def test_while_it_is_in_doubt_what_brokers_took_once_goes_on_as_it_is():
    world = World(3 * HOUR)
    first, last = world.clock.window()
    assert first > (world.true + HOUR) * 1000
    world.clock.set_back(world.clock.now())
    first, last = world.clock.window()
    assert first <= (world.true - 365 * 24 * HOUR) * 1000 < world.true * 1000 <= last


def test_until_an_answer_tells_refusals_set_it_back_further_each_time():
    world = World(10 * 365 * 24 * HOUR)
    refusals = 0
    while world.clock.now() > (world.true + HOUR) * 1000:
        world.clock.set_back(world.clock.now())
        refusals += 1
    assert refusals < 15
    world.answer()
    assert world.clock.now() == pytest.approx(world.true * 1000, abs=60)
