"""The pages of dead letters: a list with its filters, and one with its bytes, to replay or discard."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import quote, urlencode

from aiohttp import web

from processor.views.dead_letters import LetterCounts, LetterState
from processor.web.access import Access
from processor.web.auditing import DEED
from processor.web.dead_letters import LETTER_PARAMETERS, DeadLetters, LetterOrder
from processor.web.page.frame import Frame, Visit, read_form, redirect
from processor.web.page.language import Language
from processor.web.parameters import parse_query
from processor.web.problems import FORBIDDEN, TAKEN_OVER, TOO_MANY_ATTEMPTS, UNAUTHORIZED, Kind, ProblemError
from processor.wire.audit import DEEDS
from processor.wire.deadletters import DeadReason
from processor.wire.settled import Outcome

#: Where dead letters are listed.
PLACE = "/dead-letters"

_FILTERS = ("reason", "state", "provider", "topic")

#: Seconds that the list waits for the counts beside it.
_COUNTING_SECONDS = 5.0

#: What the form's buttons do.
_DOES = {"replay": Outcome.REPLAYED, "discard": Outcome.DISCARDED}

#: What the form says when nothing was done, and the status of the answer.
_DENIED: Mapping[Kind, tuple[str, int]] = {
    FORBIDDEN: ("steer.off", 403),
    UNAUTHORIZED: ("steer.wrong_token", 403),
    TOO_MANY_ATTEMPTS: ("attempts.wait", TOO_MANY_ATTEMPTS.status),
    TAKEN_OVER: ("letters.taken_over", 409),
}


class Letters:
    """Shows dead letters, and settles one for a form with the token of an operator: no cookie is enough."""

    def __init__(self, frame: Frame, access: Access, letters: DeadLetters) -> None:
        self._frame, self._access, self._letters = frame, access, letters

    def add_to(self, routes: web.UrlDispatcher) -> None:
        """Add the routes."""
        routes.add_get(PLACE, self._frame.readers(self._list))
        routes.add_get(PLACE + "/{id:[^/]+}", self._frame.readers(self._one))
        routes.add_post(PLACE + "/{id:[^/]+}", self._frame.readers(self._settle))

    async def _list(self, visit: Visit) -> web.Response:
        query = visit.request.query
        given = {name: value for name in _FILTERS if (value := query.get(name, "").strip())}
        # What waits is what there is to do; all are asked for by their own word.
        form = {
            name: given.get(name, "waiting" if name == "state" and "state" not in query else "") for name in _FILTERS
        }
        wanted = {name: value for name, value in form.items() if value}
        cursor = query.get("cursor", "")
        parameters = {**wanted, **({"cursor": cursor} if cursor else {})}
        found = await self._letters.list(
            parse_query(parameters, LETTER_PARAMETERS), reveal=visit.caller.sees_recipients
        )
        return self._frame.page(
            visit,
            "dead_letters",
            counts=await self._counts(),
            found=found.items,
            form=form,
            place=PLACE,
            filtered=bool(given),
            choices=_choices(visit.language),
            earlier=_address(form) if cursor else None,
            later=_address(form, cursor=found.next) if found.next else None,
        )

    async def _counts(self) -> LetterCounts | None:
        """Return the counts by reason; None where they take too long, which the list need not wait for."""
        try:
            return await self._letters.counts(_COUNTING_SECONDS)
        except ProblemError:
            return None

    async def _one(self, visit: Visit) -> web.Response:
        return await self._form(visit)

    async def _settle(self, visit: Visit) -> web.Response:
        form = await read_form(visit.request)
        outcome = _DOES.get(form.get("do", ""))
        if outcome is None:
            return await self._form(visit, "letters.unsure", 400)
        name = visit.request.match_info["id"]
        try:
            self._access.require_operator(visit.request, form.get("token", ""))
            visit.request[DEED] = DEEDS[outcome]
            done = await self._letters.settle(LetterOrder((name,)), outcome)
        except ProblemError as error:
            if error.kind not in _DENIED:
                raise
            response = await self._form(visit, *_DENIED[error.kind])
            if error.kind is TOO_MANY_ATTEMPTS:
                response.headers.update(error.headers)
            return response
        if not done.settled:
            return await self._form(visit, "letters.refused", 409)
        return redirect(f"{PLACE}/{quote(name, safe='')}?done")

    async def _form(self, visit: Visit, problem: str = "", status: int = 200) -> web.Response:
        # A form that is refused is no sight that the audit has: it shows masks.
        reveal = visit.caller.sees_recipients and not problem
        view = await self._letters.one(visit.request.match_info["id"], reveal=reveal)
        return self._frame.page(
            visit,
            "dead_letter",
            status,
            view=view,
            waits=view.state is LetterState.WAITING,
            done="done" in visit.request.query,
            problem=problem,
            asks_token=self._access.asks_for_token(visit.request),
        )


def _choices(language: Language) -> dict[str, list[tuple[str, str]]]:
    everything = ("", language.text("filter.any"))
    return {
        "reason": [everything, *((reason.value, language.known("dead", reason.value)) for reason in DeadReason)],
        "state": [everything, *((state.value, language.known("letter", state.value)) for state in LetterState)],
    }


def _address(form: Mapping[str, str], **more: str) -> str:
    # An empty state asks for all of them.
    return f"{PLACE}?{urlencode({**form, **more})}"
