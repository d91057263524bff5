"""Tell what people may do with a delivery as it stands, and why not the rest.

A sender's control records are taken whatever the delivery's state is: they come late and out of order. What a person
does is a decision about what is seen, so it is refused where it can have no effect.
"""

from __future__ import annotations

from enum import Enum

from processor.domain.delivery import Action, State
from processor.views.deliveries import DeliveryView

#: What people do with a delivery that is known, in the order in which it is offered.
STEERING = (Action.PAUSE, Action.RESUME, Action.FINISH, Action.CANCEL)

#: What cannot be undone.
FINAL = frozenset({Action.FINISH, Action.CANCEL})


class Obstacle(str, Enum):
    """Why an action can have no effect."""

    #: The delivery was cancelled, which nothing undoes.
    CANCELED = "canceled"
    #: It was finished: it neither pauses nor starts again.
    FINISHED = "finished"
    #: It is paused already.
    PAUSED = "paused"
    #: It is not paused.
    NOT_PAUSED = "not_paused"


_TEXTS = {
    Obstacle.CANCELED: "it was cancelled at {time}, and nothing undoes that",
    Obstacle.FINISHED: "it was finished at {time}: it neither pauses nor starts again",
    Obstacle.PAUSED: "it has been paused since {time}",
    Obstacle.NOT_PAUSED: "it is not paused",
}

_PARTICIPLES = {
    Action.PAUSE: "paused",
    Action.RESUME: "resumed",
    Action.FINISH: "finished",
    Action.CANCEL: "cancelled",
}


def obstacle(view: DeliveryView, action: Action) -> Obstacle | None:
    """Return why an action of `STEERING` can have no effect; None: it can."""
    if view.canceled_at is not None:
        return Obstacle.CANCELED
    if action is Action.CANCEL:
        return None
    if view.finished_at is not None:
        return Obstacle.FINISHED
    if action is Action.PAUSE and view.paused_at is not None:
        return Obstacle.PAUSED
    if action is Action.RESUME and view.paused_at is None:
        return Obstacle.NOT_PAUSED
    return None


def refusal(view: DeliveryView, action: Action, found: Obstacle) -> str:
    """Return an obstacle in words."""
    times = {
        Obstacle.CANCELED: view.canceled_at,
        Obstacle.FINISHED: view.finished_at,
        Obstacle.PAUSED: view.paused_at,
    }
    return f"it cannot be {_PARTICIPLES[action]}: {_TEXTS[found].format(time=times.get(found))}"


def offered(view: DeliveryView) -> tuple[Action, ...]:
    """Return the actions to offer: those with an effect.

    Where nothing is under way any more, there is nothing to pause or finish.
    Messages whose delivery no event has named are none that could be steered.
    """
    if not view.delivery_id:
        return ()
    is_over = view.state is State.FINISHED
    may = [action for action in STEERING if obstacle(view, action) is None]
    return tuple([action for action in may if action is Action.CANCEL or not is_over])
