"""What a worker's gauges show: its own partitions, the latest of each, and nothing of those that are gone."""

import msgspec
import pytest
from prometheus_client import generate_latest

from processor.domain.delivery import Cause
from processor.domain.status import Channel, Status
from processor.metrics import Metrics
from processor.watch.board import Board
from processor.watch.durations import bucket_of
from processor.watch.evidence import Evidence
from processor.watch.findings import Found, Partial, WaitingStatus, merge
from processor.watch.tallies import DeadLetterTally, merge_dead
from processor.wire.deadletters import DeadReason, Origin

MINUTE = 60_000_000
NOW = 1_800_000_000_000_000
PENDING = {"channel": "email", "status": "pending"}


def partial(stuck: int, age: int | None, *providers: Evidence, now: int = NOW) -> Partial:
    oldest = None if age is None else Found(now - age, "m")
    waiting = WaitingStatus(Channel.EMAIL, Status.PENDING, stuck, oldest)
    return merge([msgspec.structs.replace(merge([]), now=now, waiting=(waiting,), providers=providers)])


def evidence(provider: str, quiet: int) -> Evidence:
    """Make that of a provider which answers within seconds, and has left a hundred messages unanswered since."""
    quick = {bucket_of(3_000_000): 1_000}
    waiting, answered = {bucket_of(quiet - MINUTE): 100}, {bucket_of(quiet + 30 * MINUTE): 1_000}
    return Evidence(provider, NOW - quiet, waiting, NOW - quiet, answered, (quick, {}, {}, {}), {0: 100})


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


@pytest.fixture
def board(metrics) -> Board:
    return Board(metrics)


def value(metrics: Metrics, name: str, labels: dict[str, str]) -> float:
    found = metrics.registry.get_sample_value(name, labels)
    assert found is not None
    return found


def test_stuck_messages_are_summed_and_of_the_oldest_the_oldest_counts(board, metrics):
    board.put(0, partial(3, 5 * MINUTE))
    board.put(1, partial(4, 2 * MINUTE))
    assert value(metrics, "delivery_stuck_messages", PENDING) == 7
    assert value(metrics, "delivery_oldest_in_status_seconds", PENDING) == 300
    assert list(board.partitions) == [0, 1]


def test_news_are_shown_when_there_are_of_as_many_partitions_as_there_are(board, metrics):
    for partition in range(3):
        board.put(partition, partial(1, MINUTE))
    shown = []
    for partition in range(3):
        board.put(partition, partial(2, 2 * MINUTE))
        shown.append(value(metrics, "delivery_stuck_messages", PENDING))
    assert shown == [3, 3, 6]
    assert value(metrics, "delivery_oldest_in_status_seconds", PENDING) == 120


def test_what_is_gone_is_not_shown(board, metrics):
    def shown() -> list[str]:
        lines = generate_latest(metrics.registry).decode().splitlines()
        # What the process takes is told with the rest, and changes by itself.
        return [line for line in lines if line.startswith("delivery_")]

    before = shown()
    board.put(0, partial(3, 5 * MINUTE, evidence("ses", 10 * MINUTE)))
    assert shown() != before
    board.drop(0)
    board.drop(0)
    assert shown() == before
    assert board.partial() == merge([])


def test_a_silent_provider_is_shown_with_how_long_it_is(board, metrics):
    board.put(0, partial(0, None, evidence("ses", 10 * MINUTE), evidence("kumomta", 2_000_000)))
    assert value(metrics, "delivery_provider_silent_seconds", {"provider": "ses"}) == 600
    assert value(metrics, "delivery_provider_silent_seconds", {"provider": "kumomta"}) == 0


def test_silent_providers_that_share_a_label_show_the_longer(board, metrics):
    board.put(0, partial(0, None, *[evidence(name, minutes * MINUTE) for name, minutes in (("a", 9), ("b", 12))]))
    assert value(metrics, "delivery_provider_silent_seconds", {"provider": "other"}) == 720


def test_an_event_from_the_future_is_not_old(board, metrics):
    board.put(0, partial(0, -5 * MINUTE))
    assert value(metrics, "delivery_oldest_in_status_seconds", PENDING) == 0


def test_pending_deliveries_by_cause(board, metrics):
    board.show_pending({Cause.SCHEDULED: 3, Cause.CONCURRENCY_LIMIT: 2})
    board.show_pending({Cause.SCHEDULED: 1})
    shown = [value(metrics, "delivery_pending_deliveries", {"cause": cause.value}) for cause in Cause]
    assert shown == [1, 0, 0]


class TestDeadLetters:
    def test_are_counted_by_reason_and_the_last_is_told(self, board):
        board.see_dead(DeadReason.TIME_AHEAD, 3, Origin("events", 1, 7), 10, "a day ahead")
        board.see_dead(DeadReason.TIME_AHEAD, 2, Origin("events", 2, 9), 20, "x" * 5_000)
        board.see_dead(DeadReason.INVALID_JSON, 1, Origin("sms", 0, 1), 15, "not JSON")
        assert board.dead_letters() == (
            DeadLetterTally(DeadReason.TIME_AHEAD, 5, 20, "events", 2, 9, "x" * 299 + "\N{HORIZONTAL ELLIPSIS}"),
            DeadLetterTally(DeadReason.INVALID_JSON, 1, 15, "sms", 0, 1, "not JSON"),
        )

    def test_of_several_workers_are_joined_in_any_order(self):
        one, other, third = (
            DeadLetterTally(DeadReason.INVALID_JSON, number, time, "sms", 0, time, "")
            for number, time in ((1, 30), (2, 10), (3, 20))
        )
        joined = (DeadLetterTally(DeadReason.INVALID_JSON, 6, 30, "sms", 0, 30, ""),)
        assert merge_dead([one, other, third]) == merge_dead([*merge_dead([third, other]), one]) == joined
