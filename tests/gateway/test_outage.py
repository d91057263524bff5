"""What was answered as taken is in Kafka in the end, whoever is killed meanwhile."""

import asyncio
import re
import socket

import pytest

from processor.demo.broker import EmbeddedKafka
from processor.gateway.dialects import DIALECTS
from processor.wire.topics import MTA, SMS
from tests.engine.harness import Trial, settings_for_a_trial
from tests.gateway.fakes import POLICIES, Provider, route_of
from tests.gateway.serving import Caller, GatewayProcess

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

#: A provider's minutes are a quarter of a second.
SCALE = 240.0
ROUTES = "\n".join(map(route_of, DIALECTS))


def a_free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_every_dialect_has_a_provider_that_calls():
    assert POLICIES.keys() == DIALECTS.keys()


class Outage:
    """A gateway, its broker and all providers."""

    def __init__(self, trial, folder, broker, port) -> None:
        self.trial, self.folder, self.broker, self.port = trial, folder, broker, port
        self.gateway = None

    async def start_gateway(self) -> None:
        self.gateway = GatewayProcess(self.trial, self.folder, ROUTES, listen=f"127.0.0.1:{self.port}", replay_rate=100)
        await self.gateway.address()

    async def spooled(self) -> float:
        return await self.gateway.metric("delivery_spool_records")

    async def until_spooled(self, more: int) -> None:
        """Wait until this many calls have been answered as taken that are on disk only."""
        before = await self.gateway.metric("delivery_webhooks_total", outcome="spooled")

        async def has_more():
            return await self.gateway.metric("delivery_webhooks_total", outcome="spooled") >= before + more

        await Trial.eventually(has_more, "calls go to the spool")

    async def until_taken(self, providers, more: int) -> None:
        before = sum(len(provider.taken) for provider in providers)

        async def has_more():
            return sum(len(provider.taken) for provider in providers) >= before + more

        await Trial.eventually(has_more, "calls are taken")

    async def found(self) -> list[str]:
        """Give the calls that are in Kafka, each as often as it is there."""
        found = []
        for topic in (MTA, SMS):
            for record in await self.trial.records(topic):
                places = record.value + b"&" + dict(record.headers).get("query", b"")
                found += {match.decode() for match in re.findall(rb"call=[a-z_]+-\d+", places)}
        return found


async def test_what_was_answered_as_taken_is_in_kafka_in_the_end(tmp_path):
    with EmbeddedKafka() as broker:
        settings = settings_for_a_trial(broker.bootstrap_servers, partitions=2)
        async with Trial(settings, tmp_path) as trial:
            outage = Outage(trial, tmp_path, broker, a_free_port())
            await outage.start_gateway()
            await outage.gateway.ready()
            async with Caller(f"http://127.0.0.1:{outage.port}") as caller:
                providers = [Provider(name, caller, SCALE) for name in DIALECTS]
                reporting = [asyncio.create_task(provider.report(1.0)) for provider in providers]
                await outage.until_taken(providers, 100)

                await asyncio.to_thread(broker.kill)
                await outage.until_spooled(60)
                await outage.gateway.kill()
                await outage.start_gateway()
                assert await outage.spooled() >= 60, "what an earlier gateway has spooled is there"
                # One that has never seen Kafka takes calls as well.
                await outage.until_spooled(60)

                await asyncio.to_thread(broker.start)
                await outage.gateway.ready()
                # In the middle of the replay, or of new calls.
                await outage.until_taken(providers, 20)
                await outage.gateway.kill()
                await asyncio.to_thread(broker.kill)
                await outage.start_gateway()
                await outage.until_spooled(30)
                await asyncio.to_thread(broker.start)
                await outage.until_taken(providers, 60)

                for task in reporting:
                    task.cancel()
                await asyncio.gather(*(provider.finish() for provider in providers))

                async def is_empty():
                    return await outage.spooled() == 0

                await Trial.eventually(is_empty, "the spool has been replayed")
                found = await outage.found()

    taken = {call for provider in providers for call in provider.taken}
    assert all(len(provider.taken) > 5 for provider in providers), {one.name: len(one.taken) for one in providers}
    assert taken - set(found) == set(), "answered as taken, and lost"
    repeated = len(found) - len(set(found))
    # Duplicates are allowed; most are of what was on its way when the broker went.
    assert repeated < len(taken)
    # Whoever repeats for hours has lost nothing at all.
    patient = [provider for provider in providers if sum(provider._policy.pauses) > 3600]
    assert [provider.name for provider in patient if provider.given_up] == []
