"""The API and the page of one worker, put together; metrics and health are served beside them (server.py)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence

from aiohttp import web

from processor.domain.delivery import Cause
from processor.domain.moment import Micros
from processor.engine.audits import AuditTopic
from processor.engine.bounds import end
from processor.engine.follower import Follower
from processor.engine.letters import DeadLetterTopic
from processor.engine.membership.members import Members
from processor.engine.streams import Outgoing, Writer
from processor.metrics import Metrics
from processor.settings import Settings
from processor.views.dead_letters import without_bulk
from processor.views.deliveries import FOLLOWED, Deliveries
from processor.watch.board import Board
from processor.web.access import Access
from processor.web.addresses import AddressLookup
from processor.web.answers import Answers
from processor.web.api import Api
from processor.web.audit_list import AuditLists
from processor.web.auditing import Auditing
from processor.web.breakdowns import Breakdowns
from processor.web.dead_letters import DeadLetters
from processor.web.erasing import Erasing
from processor.web.finding import Finding
from processor.web.forwarding import Forwarding
from processor.web.gateways import Gateways
from processor.web.gathering import Gathering
from processor.web.hops import Hops
from processor.web.message_lists import MessageLists
from processor.web.owner import Owner
from processor.web.page.routes import Page
from processor.web.sealing import Seal
from processor.wire.audit import AuditEntry, encode_entry
from processor.wire.topics import AUDIT, CONTROL, EVENTS

#: Seconds between two counts of the pending deliveries.
_SHOW_SECONDS = 5.0


class Site:
    """The API and the page of one worker, and the reading that they answer from."""

    def __init__(
        self, settings: Settings, metrics: Metrics, owner: Owner, board: Board, deliveries: Deliveries
    ) -> None:
        self._settings = settings
        self._board, self._deliveries = board, deliveries
        access, hops = Access(settings), Hops(settings, lambda: owner.url)
        self._forwarding = Forwarding(settings, hops, Members(settings), owner)
        gathering = Gathering(owner, metrics, board, self._forwarding, settings.topic(EVENTS))
        self._gateways = Gateways(settings.gateways)
        self._follower = Follower(settings, FOLLOWED, deliveries.take)
        lists = MessageLists(owner, self._forwarding, settings, deliveries.holds)
        breakdowns = Breakdowns(owner, self._forwarding, lists, settings)
        answers = Answers(
            deliveries=deliveries,
            following=self._follower,
            forwarding=self._forwarding,
            gathering=gathering,
            lists=lists,
            breakdowns=breakdowns,
            stuck_after=settings.stuck_after,
            publish=self._publish,
            control_topic=settings.topic(CONTROL),
            seal=Seal(settings),
            gateways=self._gateways.reports,
        )
        letters = DeadLetters(DeadLetterTopic(settings, without_bulk))
        looked_up = AddressLookup(self._forwarding, settings.addresses_key)
        finding = Finding(answers, lists, deliveries, settings.index)
        audit, erasing = AuditLists(AuditTopic(settings)), Erasing(settings)
        api = Api(answers, finding, gathering, lists, access, hops, erasing, letters, breakdowns, looked_up, audit)
        page = Page(answers, finding, access, self._forwarding, letters, audit, shadow_of=settings.shadow_of)
        self._routes = (api, page, Auditing(access, self._write_down))

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
        await self._gateways.close()

    async def _show_pending(self) -> None:
        while True:
            causes = self._deliveries.pending_deliveries(Micros(time.time_ns() // 1000))
            self._board.show_pending({Cause(name): number for name, number in causes.items()})
            await asyncio.sleep(_SHOW_SECONDS)

    async def _write_down(self, entries: Sequence[AuditEntry]) -> None:
        topic = self._settings.topic(AUDIT)
        async with Writer(self._settings) as writer:
            for entry in entries:
                await writer.write(Outgoing(topic, encode_entry(entry)))

    async def _publish(self, record: Outgoing) -> None:
        async with Writer(self._settings) as writer:
            await writer.write(record)
