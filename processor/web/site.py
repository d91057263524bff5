"""Everything that one worker serves beside metrics and health, put together."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from typing import Any, Protocol

import msgspec
from aiohttp import web

from processor.domain.delivery import Cause
from processor.engine.bounds import end
from processor.engine.follower import Follower
from processor.engine.membership.members import Members
from processor.engine.streams import Outgoing, Writer
from processor.logs import get_logger
from processor.metrics import Metrics
from processor.settings import Settings
from processor.views.deliveries import Deliveries, DeliveryView
from processor.views.listing import DeliveryList
from processor.views.messages import MessageView
from processor.views.overview import Overview
from processor.watch.board import Board
from processor.web import forwarding, gathering
from processor.web.access import Access, Caller
from processor.web.answers import LIST_PARAMETERS, Answers
from processor.web.api import Api
from processor.web.hops import Hops
from processor.web.page.routes import NotFoundError, Page
from processor.web.parameters import parse_query
from processor.web.problems import DELIVERY_NOT_KNOWN, HOP_REFUSED, MESSAGE_NOT_KNOWN, ProblemError
from processor.web.sealing import Seal
from processor.web.sessions import ENDED_PATH, Ended, Session
from processor.wire.topics import CONTROL, COUNTS, DELIVERIES, EVENTS

log = get_logger(__name__)

#: Seconds between looks at how many deliveries are pending.
_SHOW_SECONDS = 5.0


class Host(forwarding.Host, gathering.Host, Protocol):
    """What is asked of the worker."""


class Site:
    """The API and the page of one worker, and what feeds them."""

    def __init__(self, settings: Settings, metrics: Metrics, host: Host, board: Board, deliveries: Deliveries) -> None:
        self._settings = settings
        self._board, self._deliveries = board, deliveries
        access, hops = Access(settings), Hops(settings, lambda: host.url)
        self._forwarding = forwarding.Forwarding(settings, hops, Members(settings), host)
        gatherer = gathering.Gathering(host, metrics, board, self._forwarding, settings.topic(EVENTS))
        self._follower = Follower(settings, (COUNTS, DELIVERIES), deliveries.take)
        answers = Answers(
            deliveries=deliveries,
            following=self._follower,
            forwarding=self._forwarding,
            gathering=gatherer,
            stuck_after=settings.stuck_after,
            publish=self._publish,
            control_topic=settings.topic(CONTROL),
            seal=Seal(settings),
        )
        self._routes = (Api(answers, gatherer, access, hops), Page(PageSource(answers, self._forwarding), access))

    def add_to(self, application: web.Application) -> None:
        """Add all routes, and follow for as long as the server runs."""
        for routes in self._routes:
            routes.add_to(application)
        application.cleanup_ctx.append(self._run)

    async def _run(self, _application: web.Application) -> AsyncIterator[None]:
        running = [asyncio.ensure_future(self._follower.run()), asyncio.ensure_future(self._show_pending())]
        yield
        await end(running)
        await self._forwarding.close()

    async def _show_pending(self) -> None:
        while True:
            causes = self._deliveries.pending_deliveries(time.time_ns() // 1000)
            self._board.show_pending({Cause(name): number for name, number in causes.items()})
            await asyncio.sleep(_SHOW_SECONDS)

    async def _publish(self, record: Outgoing) -> None:
        async with Writer(self._settings) as writer:
            await writer.write(record)


class PageSource:
    """Answers the page, in its own terms."""

    def __init__(self, answers: Answers, forwarding: forwarding.Forwarding) -> None:
        self._answers = answers
        self._forwarding = forwarding

    async def overview(self) -> Overview:
        """Give everything at a glance."""
        return await self._answers.overview()

    async def deliveries(self, filters: Mapping[str, str]) -> DeliveryList:
        """Give a page of deliveries, by the parameters of the API's query."""
        query: Any = filters
        return await self._answers.deliveries(parse_query(query, LIST_PARAMETERS))

    async def delivery(self, delivery_id: str) -> DeliveryView:
        """Give one delivery."""
        try:
            return await self._answers.delivery(delivery_id)
        except ProblemError as error:
            raise _in_terms_of_the_page(error) from None

    async def message(self, reference: str, caller: Caller) -> MessageView:
        """Give one message."""
        try:
            found = await self._answers.message(reference, reveal=caller.sees_recipients)
        except ProblemError as error:
            raise _in_terms_of_the_page(error) from None
        try:
            return msgspec.json.decode(found, type=MessageView)
        except (msgspec.MsgspecError, RecursionError):
            raise ProblemError(HOP_REFUSED, "the worker that knows answers what this one cannot read") from None

    def reference(self, message_id: str, caller: Caller) -> str:
        """Give what a link names a message by."""
        return self._answers.reference(message_id, reveal=caller.sees_recipients)

    async def cancel(self, delivery_id: str) -> None:
        """Cancel a delivery."""
        try:
            await self._answers.cancel(delivery_id)
        except ProblemError as error:
            raise _in_terms_of_the_page(error) from None

    async def tell_ended(self, session: Session) -> None:
        """Tell the other workers of a session that has ended."""
        ended = msgspec.json.encode(Ended(session.number, session.given))
        try:
            await self._forwarding.ask_all(ENDED_PATH, "POST", ended)
        except ProblemError as error:
            log.warning("sign_out_not_told", error=str(error))


def _in_terms_of_the_page(error: ProblemError) -> Exception:
    return NotFoundError(str(error)) if error.kind in {MESSAGE_NOT_KNOWN, DELIVERY_NOT_KNOWN} else error
