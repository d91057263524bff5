"""Which messages the fold stage calls stuck: by dates and pauses that it follows itself, with and without a page."""

from datetime import timedelta

import pytest

from processor.domain.delivery import Action, Control, Delivery, join
from processor.wire.deliveries import encode_delivery
from tests.stages.conftest import START, Read, event

HOUR = 60


def scheduled(delivery_id: str, minute: float, before: Delivery | None = None) -> tuple[Delivery, Read]:
    """Give what the control stage writes of a delivery that was given a date."""
    date = START + timedelta(minutes=minute)
    told = START if before is None else START + timedelta(minutes=1)
    delivery = join(before, Control(told, delivery_id, Action.SCHEDULE, scheduled_at=date))
    return delivery, Read(0, 0, delivery_id.encode(), encode_delivery(delivery_id, delivery))


@pytest.fixture
def waiting(desk):
    """Give a partition in which a message of DM1 is pending for two hours, its worker serving nothing but the fold."""
    d = desk()
    d.chunk(event("m", "pending", delivery_id="DM1"))
    d.now = START + timedelta(hours=2)
    return d


def stuck(d) -> float:
    d.sweep()
    labels = {"channel": "email", "status": "pending"}
    return d.metrics.registry.get_sample_value("delivery_stuck_messages", labels)


def test_a_pending_message_of_a_delivery_without_a_date_is_stuck(waiting):
    assert stuck(waiting) == 1


@pytest.mark.parametrize(("minute", "expected"), [(0.5 * HOUR, 1), (1.5 * HOUR, 0), (9 * HOUR, 0)])
def test_before_its_deliverys_date_a_message_waits_for_nobody(waiting, minute, expected):
    waiting.tell(scheduled("DM1", minute)[1])
    assert stuck(waiting) == expected


def test_the_last_date_that_was_told_counts(waiting):
    early, record = scheduled("DM1", 0.5 * HOUR)
    waiting.tell(record)
    waiting.tell(scheduled("DM1", 9 * HOUR, early)[1])
    assert stuck(waiting) == 0


def test_a_delivery_that_is_forgotten_has_no_date(waiting):
    waiting.tell(scheduled("DM1", 9 * HOUR)[1])
    waiting.tell(Read(0, 0, b"DM1", None))
    assert stuck(waiting) == 1


def test_while_its_delivery_is_paused_a_message_waits_for_nobody_and_then_it_has_its_time_again(waiting):
    paused = join(None, Control(START, "DM1", Action.PAUSE))
    waiting.tell(Read(0, 0, b"DM1", encode_delivery("DM1", paused)))
    assert stuck(waiting) == 0
    resumed = join(paused, Control(waiting.now, "DM1", Action.RESUME))
    waiting.tell(Read(0, 0, b"DM1", encode_delivery("DM1", resumed)))
    assert stuck(waiting) == 0
    waiting.now += timedelta(hours=1)
    assert stuck(waiting) == 1


def test_a_worker_that_starts_anew_learns_the_dates_again(waiting):
    waiting.tell(scheduled("DM1", 9 * HOUR)[1])
    waiting.restart()
    assert stuck(waiting) == 0
