"""The pages to pause, resume, finish and cancel a delivery: a form with a token, and what it would do."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from urllib.parse import quote

from aiohttp import web

from processor.domain.delivery import Action
from processor.views.deliveries import DeliveryView
from processor.views.steering import FINAL, STEERING, obstacle
from processor.web.access import Access
from processor.web.answers import Answers
from processor.web.auditing import tell_action
from processor.web.page import arrange
from processor.web.page.frame import Frame, Visit, read_form, redirect
from processor.web.problems import FORBIDDEN, NO_EFFECT, TOO_MANY_ATTEMPTS, UNAUTHORIZED, Kind, ProblemError

#: What the form says when the token is not taken, and the status of the answer.
_DENIED: Mapping[Kind, tuple[str, int]] = {
    FORBIDDEN: ("steer.off", 403),
    UNAUTHORIZED: ("steer.wrong_token", 403),
    TOO_MANY_ATTEMPTS: ("attempts.wait", TOO_MANY_ATTEMPTS.status),
}

_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def on_its_way(query: Mapping[str, str], view: DeliveryView) -> str:
    """Return the action that was just asked for and has not had its effect; nothing if there is none."""
    done = query.get("done")
    return next((each.value for each in STEERING if each.value == done and obstacle(view, each) is None), "")


class Steering:
    """Acts on a delivery for a form with the token of an operator: no cookie is enough."""

    def __init__(self, frame: Frame, access: Access, answers: Answers) -> None:
        self._frame = frame
        self._access = access
        self._answers = answers

    def add_to(self, routes: web.UrlDispatcher) -> None:
        """Add the routes."""
        routes.add_get("/deliveries/{id:[^/]+}/pause", self._asking(Action.PAUSE))
        routes.add_post("/deliveries/{id:[^/]+}/pause", self._acting(Action.PAUSE))
        routes.add_get("/deliveries/{id:[^/]+}/resume", self._asking(Action.RESUME))
        routes.add_post("/deliveries/{id:[^/]+}/resume", self._acting(Action.RESUME))
        routes.add_get("/deliveries/{id:[^/]+}/finish", self._asking(Action.FINISH))
        routes.add_post("/deliveries/{id:[^/]+}/finish", self._acting(Action.FINISH))
        routes.add_get("/deliveries/{id:[^/]+}/cancel", self._asking(Action.CANCEL))
        routes.add_post("/deliveries/{id:[^/]+}/cancel", self._acting(Action.CANCEL))

    def _asking(self, action: Action) -> _Handler:
        async def ask(visit: Visit) -> web.Response:
            return await self._form(visit, action)

        return self._frame.readers(ask)

    def _acting(self, action: Action) -> _Handler:
        async def act(visit: Visit) -> web.Response:
            form = await read_form(visit.request)
            if action in FINAL and form.get("sure") != "yes":
                return await self._form(visit, action, "steer.unsure", 400)
            delivery_id = visit.request.match_info["id"]
            try:
                self._access.require_operator(visit.request, form.get("token", ""))
                tell_action(visit.request, action)
                await self._answers.steer(delivery_id, action)
            except ProblemError as error:
                return await self._refused(visit, action, error)
            return redirect(f"/deliveries/{quote(delivery_id, safe='')}?done={action.value}")

        return self._frame.readers(act)

    async def _refused(self, visit: Visit, action: Action, error: ProblemError) -> web.Response:
        if error.kind is NO_EFFECT:
            # The form tells why.
            return await self._form(visit, action, status=NO_EFFECT.status)
        if error.kind not in _DENIED:
            raise error
        response = await self._form(visit, action, *_DENIED[error.kind])
        if error.kind is TOO_MANY_ATTEMPTS:
            response.headers.update(error.headers)
        return response

    async def _form(self, visit: Visit, action: Action, problem: str = "", status: int = 200) -> web.Response:
        view = await self._answers.delivery(visit.request.match_info["id"])
        channel = arrange.only_channel(view)
        reached = arrange.stoppable(view.statuses, channel) if action is Action.CANCEL else arrange.held(view.statuses)
        found = obstacle(view, action)
        return self._frame.page(
            visit,
            "steer",
            status,
            view=view,
            action=action.value,
            is_final=action in FINAL,
            obstacle=None if found is None else found.value,
            reached=reached,
            gone=view.messages - reached,
            counts=[item for item in arrange.legend(view.statuses, channel) if item[1]],
            problem=problem,
            asks_token=self._access.asks_for_token(visit.request),
        )
