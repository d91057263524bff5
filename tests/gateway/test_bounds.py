"""Small parts that keep count: rates, and tokens that were used."""

from processor.gateway import tokens as module
from processor.gateway.bounds import Rate
from processor.gateway.tokens import Tokens


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_rate_takes_as_many_in_a_second_and_what_is_too_many_costs_nothing():
    clock = Clock()
    rate = Rate(10, clock)
    assert [rate.takes() for _ in range(15)] == [True] * 10 + [False] * 5
    clock.now = 0.55
    assert [rate.takes() for _ in range(7)] == [True] * 5 + [False] * 2
    clock.now = 100.0
    assert sum(rate.takes() for _ in range(50)) == 10, "what was not used does not add up"


def test_a_rate_below_one_takes_one_now_and_then():
    clock = Clock()
    rate = Rate(0.5, clock)
    assert [rate.takes(), rate.takes()] == [True, False]
    clock.now = 2.0
    assert rate.takes()


def test_no_rate_takes_all():
    assert all(Rate(0).takes() for _ in range(1_000))


def test_a_token_is_remembered_with_the_body_that_it_came_with_first():
    tokens = Tokens(600)
    tokens.remember("t", b"1", 0)
    tokens.remember("t", b"2", 1)
    assert dict(tokens) == {"t": b"1"}


def test_tokens_are_forgotten_when_their_time_is_up():
    tokens = Tokens(600)
    tokens.remember("old", b"1", 0)
    tokens.remember("new", b"2", 601)
    assert list(tokens) == ["new"]


def test_no_more_tokens_are_remembered_than_so_many(monkeypatch):
    monkeypatch.setattr(module, "_MOST", 3)
    tokens = Tokens(600)
    for number in range(10):
        tokens.remember(str(number), b"", number)
    assert list(tokens) == ["7", "8", "9"]
