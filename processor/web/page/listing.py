"""The pages that list messages: of one delivery, or of all."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any

import msgspec
from aiohttp import web

from processor.views.deliveries import DeliveryView
from processor.views.message_list import MessageList
from processor.web.answers import Answers
from processor.web.message_query import MESSAGE_PARAMETERS
from processor.web.page import arrange
from processor.web.page.frame import Frame, Visit
from processor.web.page.message_filters import (
    NO_DELIVERY,
    PAGE_SIZE,
    MessageFilters,
    counted_in_all,
    counted_in_delivery,
    messages_address,
)
from processor.web.parameters import parse_query

#: Seconds that a page goes on looking for rare messages before it shows what it has.
_LOOKING_SECONDS = 0.5


class Listing:
    """Lists messages, with their filters."""

    def __init__(self, frame: Frame, answers: Answers) -> None:
        self._frame, self._answers = frame, answers

    def add_to(self, routes: web.UrlDispatcher) -> None:
        """Add the routes."""
        routes.add_get("/messages", self._frame.readers(self._all))
        routes.add_get("/deliveries/{id:[^/]+}/messages", self._frame.readers(self._of_delivery))
        routes.add_get(f"{NO_DELIVERY}/messages", self._frame.readers(self._of_delivery))

    async def _all(self, visit: Visit) -> web.Response:
        filters = MessageFilters.of(visit.request.query, messages_address())
        view, found = await asyncio.gather(self._answers.overview(), self._found(visit, filters))
        counted = counted_in_all(filters.given, view, self._answers.success_from)
        return self._page(visit, filters, found, delivery=None, counted=counted)

    async def _of_delivery(self, visit: Visit) -> web.Response:
        delivery_id = visit.request.match_info.get("id", "")
        filters = MessageFilters.of(visit.request.query, messages_address(delivery_id))
        view = await self._answers.delivery(delivery_id)
        found = await self._found(visit, filters, delivery=delivery_id)
        return self._page(visit, filters, found, delivery=view, counted=counted_in_delivery(filters.given, view))

    async def _found(self, visit: Visit, filters: MessageFilters, **given: str) -> MessageList:
        """List a page of messages; go on behind what was looked at while few match."""
        parameters = parse_query(filters.parameters(datetime.now(timezone.utc)), MESSAGE_PARAMETERS)
        query: Mapping[str, Any] = {**parameters, **given}
        ends = time.monotonic() + _LOOKING_SECONDS
        found = await self._ask(visit, query)
        while found.next is not None and len(found.items) < PAGE_SIZE and time.monotonic() < ends:
            more = await self._ask(visit, {**query, "cursor": found.next, "limit": PAGE_SIZE - len(found.items)})
            incomplete = tuple(sorted({*found.incomplete, *more.incomplete}))
            found = msgspec.structs.replace(more, items=found.items + more.items, incomplete=incomplete)
        return found

    async def _ask(self, visit: Visit, query: Mapping[str, Any]) -> MessageList:
        return await self._answers.messages(query, reveal=visit.caller.sees_recipients)

    def _page(
        self,
        visit: Visit,
        filters: MessageFilters,
        found: MessageList,
        *,
        delivery: DeliveryView | None,
        counted: int | None,
    ) -> web.Response:
        return self._frame.page(
            visit,
            "messages",
            found=found.items,
            missing=arrange.ranges(found.incomplete),
            form=filters.form,
            place=filters.place,
            filtered=bool(filters.given),
            linked=filters.linked,
            choices=filters.choices(visit.language),
            is_whole=found.next is None and not filters.cursor and not found.incomplete,
            earlier=filters.address(cursor="") if filters.cursor else None,
            later=filters.address(cursor=found.next) if found.next else None,
            downloads=filters.downloads(datetime.now(timezone.utc), None if delivery is None else delivery.delivery_id),
            delivery=delivery,
            counted=counted,
        )
