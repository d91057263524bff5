"""The page to cancel a delivery: a form that asks for a confirmation and the write token."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import quote

from aiohttp import web

from processor.web.access import Access
from processor.web.answers import Answers
from processor.web.page import arrange
from processor.web.page.frame import Frame, Visit, read_form, redirect
from processor.web.problems import FORBIDDEN, TOO_MANY_ATTEMPTS, UNAUTHORIZED, Kind, ProblemError

#: What the form says when the write token is not taken, and the status of the answer.
_DENIED: Mapping[Kind, tuple[str, int]] = {
    FORBIDDEN: ("cancel.off", 403),
    UNAUTHORIZED: ("cancel.wrong_token", 403),
    TOO_MANY_ATTEMPTS: ("attempts.wait", TOO_MANY_ATTEMPTS.status),
}


class Canceling:
    """Cancels a delivery for a form that carries the write token: no cookie is enough."""

    def __init__(self, frame: Frame, access: Access, answers: Answers) -> None:
        self._frame = frame
        self._access = access
        self._answers = answers

    def add_to(self, routes: web.UrlDispatcher) -> None:
        """Add the routes."""
        routes.add_get("/deliveries/{id:[^/]+}/cancel", self._frame.readers(self._ask))
        routes.add_post("/deliveries/{id:[^/]+}/cancel", self._frame.readers(self._cancel))

    async def _ask(self, visit: Visit) -> web.Response:
        return await self._form(visit)

    async def _cancel(self, visit: Visit) -> web.Response:
        form = await read_form(visit.request)
        if form.get("sure") != "yes":
            return await self._form(visit, "cancel.unsure", 400)
        try:
            self._access.require_write_token(visit.request, form.get("token", ""))
        except ProblemError as error:
            return await self._denied(visit, error)
        delivery_id = visit.request.match_info["id"]
        await self._answers.cancel(delivery_id)
        return redirect(f"/deliveries/{quote(delivery_id, safe='')}?canceled")

    async def _denied(self, visit: Visit, error: ProblemError) -> web.Response:
        response = await self._form(visit, *_DENIED[error.kind])
        if error.kind is TOO_MANY_ATTEMPTS:
            response.headers.update(error.headers)
        return response

    async def _form(self, visit: Visit, problem: str = "", status: int = 200) -> web.Response:
        view = await self._answers.delivery(visit.request.match_info["id"])
        can = arrange.stoppable(view.statuses, arrange.only_channel(view))
        return self._frame.page(
            visit,
            "cancel",
            status,
            view=view,
            can=can,
            gone=view.messages - can,
            counts=[item for item in arrange.legend(view.statuses, arrange.only_channel(view)) if item[1]],
            problem=problem,
        )
