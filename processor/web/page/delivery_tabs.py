"""The tabs of a delivery beside its counts and messages: domains, exclusions, audit."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web

from processor.domain.reason import ADOBE_CODES, Category
from processor.domain.status import Status
from processor.providers.calling_codes import region_of
from processor.views.audit import AuditList
from processor.views.breakdown import Breakdown, BreakdownQuery, By
from processor.views.deliveries import DeliveryView
from processor.views.history import Span
from processor.views.message_query import CountedAs, MessageQuery
from processor.web.answers import Answers
from processor.web.audit_list import AuditLists
from processor.web.page import arrange, charts
from processor.web.page.audit import PLACE
from processor.web.page.frame import Frame, Visit
from processor.web.page.message_filters import NO_DELIVERY
from processor.web.parameters import NAME_MAX, is_text
from processor.web.problems import ProblemError, invalid

#: Seconds that the tab of the audit waits for Kafka.
_AUDIT_SECONDS = 5.0

#: Serves one tab of a delivery.
Tab = Callable[[Visit, DeliveryView], Awaitable[web.Response]]


class DeliveryTabs:
    """Serves the tabs of deliveries."""

    def __init__(self, frame: Frame, answers: Answers, audit: AuditLists) -> None:
        self._frame, self._answers, self._lists = frame, answers, audit

    def add_to(self, routes: web.UrlDispatcher) -> None:
        """Add the routes."""
        domains, exclusions, audit = map(self._of_delivery, (self._domains, self._exclusions, self._audit))
        routes.add_get("/deliveries/{id:[^/]+}/domains", domains)
        routes.add_get("/deliveries/{id:[^/]+}/exclusions", exclusions)
        routes.add_get("/deliveries/{id:[^/]+}/audit", audit)
        routes.add_get(f"{NO_DELIVERY}/domains", domains)
        routes.add_get(f"{NO_DELIVERY}/exclusions", exclusions)
        routes.add_get(f"{NO_DELIVERY}/audit", audit)

    def _of_delivery(self, tab: Tab) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        async def answer(visit: Visit) -> web.Response:
            return await tab(visit, await self._answers.delivery(visit.request.match_info.get("id", "")))

        return self._frame.readers(answer)

    async def _domains(self, visit: Visit, view: DeliveryView) -> web.Response:
        """Show the places of a delivery's recipients, or the reasons for which messages to one of them failed."""
        place = visit.request.query.get("place", "").strip()
        if len(place) > NAME_MAX or not is_text(place):
            raise invalid("place is no domain and no calling code")
        messages = MessageQuery(delivery=view.delivery_id)
        if place:
            messages = MessageQuery(delivery=view.delivery_id, domain=place, indicator=CountedAs.FAILED)
        codes = {category.value: code for category, code in ADOBE_CODES.items()}
        breaking_down = self._broken_down(messages, By.CATEGORY if place else By.PLACE)
        # Both at once: each takes what time it has.
        found, history = await asyncio.gather(breaking_down, self._history(visit, view, place))
        return self._page(visit, "domains", view, found, place=place, region_of=region_of, codes=codes, **history)

    async def _history(self, visit: Visit, view: DeliveryView, place: str) -> dict[str, Any]:
        if not place:
            return {}
        given = visit.request.query.get("span")
        span = next((each for each in Span if each.value == given), Span.ONE_DAY)
        history = await self._answers.history_of_place(place, delivery=view.delivery_id, span=span)
        return {
            "history": history,
            "throughput_chart": charts.throughput(history),
            "spans": [each.value for each in Span],
        }

    async def _exclusions(self, visit: Visit, view: DeliveryView) -> web.Response:
        messages = MessageQuery(delivery=view.delivery_id, status=Status.IGNORED)
        found = await self._broken_down(messages, By.RULE)
        rows = sorted(view.indicators.ignored.items(), key=lambda item: (-item[1], item[0]))
        rules = {category: [each for each in found.groups if each.name[0] == category] for category, _ in rows}
        codes = {category: ADOBE_CODES.get(Category(category)) for category, _ in rows}
        return self._page(visit, "exclusions", view, found, rows=rows, rules=rules, codes=codes)

    async def _audit(self, visit: Visit, view: DeliveryView) -> web.Response:
        """Show what control records say, and who did it, as far as the newest entries of the audit tell."""
        found = await self._deeds(visit, view)
        return self._frame.page(visit, "audit", view=view, entries=arrange.audit(view), deeds_found=found, place=PLACE)

    async def _deeds(self, visit: Visit, view: DeliveryView) -> AuditList | None:
        """Return what was done to a delivery, and by whom; None: it cannot be had. Who looked is for operators."""
        if not view.delivery_id:
            return AuditList((), None)
        given = {"subject": view.delivery_id}
        try:
            return await self._lists.list(given, with_sights=visit.caller.may_write, seconds=_AUDIT_SECONDS)
        except ProblemError:
            return None

    async def _broken_down(self, messages: MessageQuery, by: By) -> Breakdown:
        return await self._answers.breakdown(BreakdownQuery(messages, by))

    def _page(self, visit: Visit, name: str, view: DeliveryView, found: Breakdown, **values: Any) -> web.Response:
        missing = arrange.ranges(found.incomplete)
        return self._frame.page(visit, name, view=view, found=found, missing=missing, **values)
