"""The pages and their addresses: what each asks, and what its template is given."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from datetime import datetime, timezone
from urllib.parse import quote

from aiohttp import web

from processor.domain.status import DEFINITIONS, Channel
from processor.views.finding import Kind, Matched
from processor.views.history import HistoryView, Span
from processor.views.messages import MessageView
from processor.views.steering import offered
from processor.web.access import Access
from processor.web.answers import Answers
from processor.web.audit_list import AuditLists
from processor.web.dead_letters import DeadLetters
from processor.web.finding import Finding
from processor.web.forwarding import Forwarding
from processor.web.list_query import list_query
from processor.web.page import arrange, charts, diagram
from processor.web.page.assets import assets
from processor.web.page.audit import AuditPages
from processor.web.page.delivery_tabs import DeliveryTabs
from processor.web.page.filters import Filters
from processor.web.page.frame import Frame, Visit, redirect
from processor.web.page.letters import Letters
from processor.web.page.listing import Listing
from processor.web.page.message_filters import NO_DELIVERY
from processor.web.page.signing_in import SigningIn
from processor.web.page.steering import Steering, on_its_way

#: Where each kind of thing is shown.
_PLACES = {Kind.MESSAGE: "messages", Kind.DELIVERY: "deliveries"}


class Page:
    """Serves the page of one worker."""

    def __init__(  # noqa: PLR0913, PLR0917 - all that pages are made of
        self,
        answers: Answers,
        finding: Finding,
        access: Access,
        forwarding: Forwarding,
        letters: DeadLetters,
        audit: AuditLists,
        *,
        shadow_of: str = "",
    ) -> None:
        self._answers, self._finding = answers, finding
        self._frame = Frame(access, shadow_of)
        self._steering = Steering(self._frame, access, answers)
        self._dead_letters, self._letters = letters, Letters(self._frame, access, letters)
        self._listing = Listing(self._frame, answers)
        self._tabs = DeliveryTabs(self._frame, answers, audit)
        self._audit = AuditPages(self._frame, audit)
        self._signing_in = SigningIn(self._frame, access, forwarding)

    def add_to(self, application: web.Application) -> None:
        """Add the routes."""
        routes, readers = application.router, self._frame.readers
        # An id may hold anything but a slash that is not encoded; aiohttp's own pattern takes no braces.
        routes.add_get("/", readers(self._overview))
        routes.add_get("/partitions", readers(self._partitions))
        routes.add_get("/deliveries", readers(self._deliveries))
        routes.add_get("/deliveries/{id:[^/]+}", readers(self._delivery))
        routes.add_get(NO_DELIVERY, readers(self._delivery))
        self._steering.add_to(routes)
        self._letters.add_to(routes)
        self._audit.add_to(routes)
        self._listing.add_to(routes)
        self._tabs.add_to(routes)
        routes.add_get("/messages/{id:[^/]+}", readers(self._message))
        routes.add_get("/statuses", readers(self._statuses))
        routes.add_get("/find", readers(self._find))
        self._signing_in.add_to(routes)
        routes.add_get("/static/{name}", assets().serve)
        # Everything that no other route has; the API answers for itself.
        routes.add_get("/{rest:(?!api/|internal/).+}", self._frame.nothing)

    async def _overview(self, visit: Visit) -> web.Response:
        view, gateways, waiting = await asyncio.gather(
            self._answers.overview(), self._answers.gateways(), self._dead_letters.waiting()
        )
        language, messages, history = visit.language, view.messages, self._history(visit)
        dead_letters = arrange.dead_letters(waiting, view.wrong.dead_letters)
        alarms = arrange.alarms(view, sum(dead_letters.values()), language)
        counts = {alarm.name: language.number(alarm.number) for alarm in alarms}
        return self._frame.page(
            visit,
            "overview",
            view=view,
            wrong=view.wrong,
            missing=arrange.ranges(view.incomplete),
            alarms=alarms,
            summary=language.text("summary", **counts),
            channels=[channel.value for channel in Channel],
            by_status=arrange.by_status(messages),
            totals=arrange.totals(messages, self._answers.success_from),
            channel_totals={channel.value: sum(messages.get(channel.value, {}).values()) for channel in Channel},
            dead_letters=dead_letters,
            since_start=waiting is None,
            gateways=gateways,
            throughput_chart=charts.throughput(history),
            history=history,
            spans=[each.value for each in Span],
            partitions=arrange.partitions(view.partitions),
        )

    def _history(self, visit: Visit, delivery: str | None = None) -> HistoryView:
        """Return the history as far back as was chosen."""
        given = visit.request.query.get("span")
        span = next((each for each in Span if each.value == given), Span.THREE_HOURS)
        return self._answers.history(delivery=delivery, span=span)

    async def _partitions(self, visit: Visit) -> web.Response:
        view = await self._answers.overview()
        missing, partitions = arrange.ranges(view.incomplete), arrange.partitions(view.partitions)
        return self._frame.page(visit, "partitions", missing=missing, partitions=partitions)

    async def _deliveries(self, visit: Visit) -> web.Response:
        filters = Filters.of(visit.request.query)
        query = list_query(filters.parameters(datetime.now(timezone.utc)))
        view = await self._answers.deliveries(query)
        return self._frame.page(
            visit,
            "deliveries",
            view=view,
            shown_statuses=[name for name in charts.ORDER if view.statuses[name]],
            form=filters.form,
            filtered=filters.are_given,
            choices=filters.choices(visit.language),
            sorting=filters.sorting(),
            earlier=filters.address(cursor="") if filters.cursor else None,
            later=filters.address(cursor=view.next) if view.next else None,
        )

    async def _delivery(self, visit: Visit) -> web.Response:
        view = await self._answers.delivery(visit.request.match_info.get("id", ""))
        history = self._history(visit, view.delivery_id)
        ended = view.statuses["canceled"]
        channel = arrange.only_channel(view)
        return self._frame.page(
            visit,
            "delivery",
            view=view,
            cause_text=arrange.cause_text(view.pending, visit.language),
            done=on_its_way(visit.request.query, view),
            offered=[action.value for action in offered(view)],
            gone=view.messages - ended - arrange.stoppable(view.statuses, channel),
            legend=arrange.legend(view.statuses, channel),
            chart=charts.over_history(history, view.statuses),
            throughput_chart=charts.throughput(history),
            history=history,
            spans=[each.value for each in Span],
            reasons=arrange.reasons(view),
            facts=arrange.facts(view),
            providers=sorted(view.providers.items(), key=lambda item: -item[1]),
        )

    async def _message(self, visit: Visit) -> web.Response:
        view = await self._ask_message(visit.request.match_info["id"], visit)
        language, code = visit.language, view.waits_for_code
        return self._frame.page(
            visit,
            "message",
            view=view,
            shape=arrange.shape(view),
            meaning=language.meaning(view.status),
            waits_text=language.known("wait", code.value) if code else view.waits_for,
            life=arrange.life(view),
            attempts=max((each.attempt for each in view.history), default=1),
        )

    async def _statuses(self, visit: Visit) -> web.Response:
        names = {channel: visit.language.known("channel", channel.value) for channel in Channel}
        definitions = [
            {"status": status, "channels": ", ".join(names[channel] for channel in Channel if channel in each.channels)}
            for status, each in DEFINITIONS.items()
        ]
        drawings = [diagram.draw(channel) for channel in Channel]
        return self._frame.page(visit, "statuses", definitions=definitions, drawings=drawings)

    async def _find(self, visit: Visit) -> web.Response:
        """Lead to the one thing that a text finds, or show all; else lead to the deliveries whose names hold it."""
        sought = visit.request.query.get("q", "").strip()
        if not sought:
            return redirect("/deliveries")
        found = await self._finding.find(sought, reveal=visit.caller.sees_recipients)
        exact = [each for each in found.items if each.matched is not Matched.LABEL]
        if len(exact) == 1:
            return redirect(f"/{_PLACES[exact[0].kind]}/{quote(exact[0].reference, safe='')}")
        if exact or found.incomplete:
            missing = arrange.ranges(found.incomplete)
            return self._frame.page(visit, "find", sought=sought, found=found.items, missing=missing)
        return redirect(f"/deliveries?q={quote(sought, safe='')}")

    def _ask_message(self, reference: str, visit: Visit) -> Awaitable[MessageView]:
        return self._answers.message(reference, reveal=visit.caller.sees_recipients)
