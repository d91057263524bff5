"""What people may do with a delivery as it stands, and why not the rest."""

import pytest

from processor.domain.delivery import Action
from processor.views.deliveries import DeliveryView
from processor.views.steering import STEERING, Obstacle, obstacle, offered, refusal
from tests.views.told import NOW, counts, deliveries, told

PAUSE, RESUME, FINISH, CANCEL = STEERING
WAITING = counts({"pending": 3})

#: What was told of a delivery; what stands in the way of each action, in the order of `STEERING`; what is offered.
STATES = {
    "nothing told": ((), (None, Obstacle.NOT_PAUSED, None, None), (PAUSE, FINISH, CANCEL)),
    "scheduled": (("schedule",), (None, Obstacle.NOT_PAUSED, None, None), (PAUSE, FINISH, CANCEL)),
    "running": (("start",), (None, Obstacle.NOT_PAUSED, None, None), (PAUSE, FINISH, CANCEL)),
    "paused": (("start", "pause"), (Obstacle.PAUSED, None, None, None), (RESUME, FINISH, CANCEL)),
    "resumed": (("pause", "resume"), (None, Obstacle.NOT_PAUSED, None, None), (PAUSE, FINISH, CANCEL)),
    "finished": (("start", "finish"), (*[Obstacle.FINISHED] * 3, None), (CANCEL,)),
    "finished while it was paused": (("pause", "finish"), (*[Obstacle.FINISHED] * 3, None), (CANCEL,)),
    "canceled": (("start", "cancel"), [Obstacle.CANCELED] * 4, ()),
    "canceled and finished": (("finish", "cancel"), [Obstacle.CANCELED] * 4, ()),
}


def view_of(*actions: str) -> DeliveryView:
    dates = {"scheduled_at": "2026-11-30T08:00:00Z"} if "schedule" in actions else {}
    records = [told(*actions, **dates)] if actions else []
    view = deliveries(WAITING, *records).one("DM1", NOW)
    assert view is not None
    return view


@pytest.mark.parametrize(("actions", "obstacles", "offers"), STATES.values(), ids=STATES)
def test_what_has_an_effect_is_offered(actions, obstacles, offers):
    view = view_of(*actions)
    assert [obstacle(view, action) for action in STEERING] == list(obstacles)
    assert offered(view) == offers


def test_where_all_have_ended_there_is_nothing_to_pause():
    view = deliveries(counts({"sent": 3})).one("DM1", NOW)
    assert view is not None
    assert offered(view) == (CANCEL,)
    # More may come: a sender that says so is right.
    assert obstacle(view, PAUSE) is None


def test_messages_of_no_delivery_cannot_be_steered():
    view = deliveries(counts({"pending": 3}, "")).one("", NOW)
    assert view is not None
    assert offered(view) == ()


@pytest.mark.parametrize(
    ("actions", "action", "text"),
    [
        (("finish",), Action.PAUSE, "it cannot be paused: it was finished at 2026-"),
        (("start", "pause"), Action.PAUSE, "it cannot be paused: it has been paused since 2026-"),
        (("start",), Action.RESUME, "it cannot be resumed: it is not paused"),
        (("cancel",), Action.FINISH, "it cannot be finished: it was cancelled at 2026-"),
    ],
)
def test_a_refusal_says_why_and_since_when(actions, action, text):
    view = view_of(*actions)
    found = obstacle(view, action)
    assert found is not None
    assert refusal(view, action, found).startswith(text)
