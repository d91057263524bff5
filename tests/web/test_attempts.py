"""How many wrong tokens are taken, and how one gets in again."""

import pytest

from processor.web import attempts as module
from processor.web.attempts import Attempts


@pytest.fixture
def clock(monkeypatch):
    class Clock:
        now = 1_000.0

    monkeypatch.setattr(module.time, "monotonic", lambda: Clock.now)
    return Clock


@pytest.fixture
def made(clock):
    return Attempts()


def test_some_at_once_and_then_one_after_the_other(made, clock):
    for _ in range(10):
        assert made.wait("10.0.0.1") == 0
        made.wrong("10.0.0.1")
    assert made.wait("10.0.0.1") == pytest.approx(6)
    clock.now += 6
    assert made.wait("10.0.0.1") == 0
    made.wrong("10.0.0.1")
    assert made.wait("10.0.0.1") == pytest.approx(6)


def test_it_comes_back(made, clock):
    for _ in range(10):
        made.wrong("10.0.0.1")
    clock.now += 60
    for _ in range(10):
        assert made.wait("10.0.0.1") == 0
        made.wrong("10.0.0.1")


def test_nobody_waits_for_longer_than_it_takes_to_come_back(made, clock):
    """Whoever is refused is not counted again, so no attack makes the wait longer."""
    for _ in range(1_000):
        if not made.wait("10.0.0.1"):
            made.wrong("10.0.0.1")
    assert made.wait("10.0.0.1") <= 6


def test_one_client_does_not_become_many_by_its_addresses(made):
    for number in range(10):
        made.wrong(f"2001:db8::{number:x}")
    assert made.wait("2001:db8::ffff") > 0
    assert made.wait("2001:db8:0:1::1") == 0
    for _ in range(10):
        made.wrong("::ffff:10.0.0.1")
    assert made.wait("10.0.0.1") > 0


def test_from_many_addresses_there_is_a_limit_to_all_which_spares_those_that_were_right(made):
    made.right("10.9.9.9")
    for number in range(100):
        made.wrong(f"10.0.0.{number}")
    assert 0 < made.wait("10.1.1.1") <= 0.6
    assert made.wait("10.9.9.9") == 0


def test_what_is_remembered_has_bounds(made, clock):
    for number in range(30_000):
        address = f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}"
        made.wrong(address)
        made.right(address)
    assert len(made._spent) <= 10_000
    assert len(made._right) <= 1_000
    made.wrong("x" * 10_000)
    assert max(map(len, made._spent)) <= 100
