"""Faust's app for a worker: with our transport and our assignor."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Container, Sequence
from typing import NamedTuple, NoReturn

import faust
from faust.types import TP

from processor.engine.membership.agreement import Terms
from processor.engine.membership.assignor import Assignor
from processor.engine.membership.consumer import FAUST_LOGGER, ChunkTransport
from processor.settings import Settings


class Introduction(NamedTuple):
    """The data with which a worker joins the group."""

    #: The URL at which the others reach it; empty: none.
    url: str
    #: The settings that all must agree on.
    terms: Terms
    #: The transactional id of its rounds.
    worker: str


class App(faust.App):
    """Faust's app over our transport, without files or topics of its own."""

    logger = FAUST_LOGGER

    def __init__(
        self,
        settings: Settings,
        introduction: Introduction,
        wanted: Container[TP],
        on_disagreement: Callable[[Sequence[str], bool], None],
    ) -> None:
        #: What the assignor joins with, and compares with others.
        self.settings, self.terms, self.worker = settings, introduction.terms, introduction.worker
        self._wanted, self._on_disagreement = wanted, on_disagreement
        # The group's other members learn it from what we join with: see members.py.
        address = {"canonical_url": introduction.url} if introduction.url else {}
        super().__init__(
            settings.app_id,
            broker=[f"aiokafka://{broker}" for broker in settings.brokers.split(",")],
            autodiscover=False,
            web_enabled=False,
            store="memory://",
            topic_disable_leader=True,
            topic_allow_declare=False,
            table_standby_replicas=0,
            stream_wait_empty=False,
            broker_session_timeout=settings.session_timeout,
            broker_request_timeout=max(40.0, settings.session_timeout + 5),
            worker_redirect_stdouts=False,
            loop=asyncio.get_running_loop(),
            PartitionAssignor=Assignor,
            **address,
        )

    def disagree(self, problems: Sequence[str], *, is_refused: bool) -> None:
        """Take the disagreements of the group from the assignor, in its thread, and whether we must leave."""
        self.loop.call_soon_threadsafe(self._on_disagreement, problems, is_refused)

    def _new_transport(self) -> ChunkTransport:
        transport = ChunkTransport(self.conf.broker_consumer, self)
        transport.settings, transport.wanted = self.settings, self._wanted
        return transport

    _new_producer_transport = _new_transport

    async def on_first_start(self) -> None:
        """Start without making Faust's data folder."""

    async def raise_its_crash(self) -> NoReturn:
        """Wait for a crash of Faust, and raise its reason."""
        await self._crashed.wait()
        reason = self.crash_reason
        raise reason if isinstance(reason, Exception) else RuntimeError(f"Faust crashed: {reason!r}")
