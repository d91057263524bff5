"""Somebody joins the group of a real broker and tells workers where to go: they do not."""

import asyncio
import json
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

import pytest
from aiohttp import web
from aiokafka.coordinator.protocol import ConsumerProtocolMemberMetadata

from processor.engine import clients
from processor.engine.membership.assignor import Assignor
from processor.wire.topics import CONTROL, EVENTS, MTA, SMS
from tests.engine.harness import eventually

pytestmark = [pytest.mark.kafka, pytest.mark.slow]


class Stranger:
    """Something that listens and is no worker."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        application = web.Application()
        application.router.add_route("*", "/{path:.*}", self._note)
        self._runner = web.AppRunner(application)

    async def _note(self, request: web.Request) -> web.Response:
        self.asked.append(request.path)
        return web.json_response({})

    async def start(self) -> str:
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        return f"http://127.0.0.1:{self._runner.addresses[0][1]}"

    async def stop(self) -> None:
        await self._runner.cleanup()


class Intruding(Assignor):
    """Joins as workers do, with what the test says in place of the URL."""

    told: bytes

    def metadata(self, topics: set[str]) -> ConsumerProtocolMemberMetadata:
        theirs = super().metadata(topics)
        fields = json.loads(theirs.user_data)
        return ConsumerProtocolMemberMetadata(
            theirs.version, theirs.subscription, json.dumps({**fields, **json.loads(self.told)}).encode()
        )

    def on_assignment(self, assignment: Any) -> None:
        """Take it."""


@asynccontextmanager
async def intruder(trial: Any, told: dict[str, Any]):
    app: Any = SimpleNamespace(
        conf=SimpleNamespace(canonical_url="http://127.0.0.1:1"),
        tables=SimpleNamespace(data={}, changelog_topics=set()),
        # It has no token of the workers'.
        settings=SimpleNamespace(workers_token="", app_id=trial.settings.app_id),
        worker="",
        terms={},
    )
    assignor = Intruding(app)
    assignor.told = json.dumps(told).encode()
    consumer = clients.group_consumer(trial.settings, assignor)
    consumer.subscribe([trial.settings.topic(topic) for topic in (MTA, SMS, EVENTS, CONTROL)])
    await consumer.start()
    try:
        yield consumer
    finally:
        await consumer.stop()


@pytest.mark.parametrize("way", ["its own url", "the worker's url", "no url"])
async def test_workers_are_not_sent_about(make_trial, way):
    trial = await make_trial(partitions=4, internal_token="a-token-among-workers")
    worker = await trial.start_worker()
    await worker.ready()
    stranger = Stranger()
    url = await stranger.start()
    told = {"its own url": url, "the worker's url": await worker.address(), "no url": "http://[::1"}[way]
    try:
        async with intruder(trial, {"url": told}) as consumer:

            async def has_partitions() -> bool:
                return any(tp.topic == trial.topic(EVENTS) for tp in consumer.assignment())

            await eventually(has_partitions, "the intruder has been given partitions")
            theirs = {tp.partition for tp in consumer.assignment() if tp.topic == trial.topic(EVENTS)}

            async def settled() -> bool:
                status, body = await worker.get("/api/v1/overview")
                return status == 200 and set(json.loads(body)["incomplete"]) == theirs

            await eventually(settled, "what the intruder has is missing, and nothing else")
            answers = await asyncio.gather(*[worker.get(f"/api/v1/messages/m-{number}") for number in range(40)])
            # Of its own it says that there is none; of the intruder's that it asks nobody.
            assert {status for status, _ in answers} == {404, 502}
            assert stranger.asked == []
            assert worker.log("member_not_asked")
            assert (await worker.get("/readyz"))[0] == 200
    finally:
        await stranger.stop()
    assert await worker.stop() == 0
