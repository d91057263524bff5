"""A gateway in this process, without Kafka: whatever it takes is in its spool."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp

from processor.gateway.config import load
from processor.gateway.running import Gateway
from processor.gateway.spool import Spooled
from processor.gateway.subscriptions import Sns
from processor.settings import Settings
from tests.gateway.serving import Caller, written

#: Nobody listens there.
NOWHERE = Settings(brokers="127.0.0.1:1", topic_prefix="t.")


class World:
    """What a test sees of a gateway."""

    def __init__(self, gateway: Gateway, caller: Caller, admin: str) -> None:
        self.gateway, self.caller, self._admin = gateway, caller, admin

    async def spooled(self) -> list[Spooled]:
        """Give the records that have been taken."""
        return [record for _, record in await self.gateway._keeper._spool.oldest(10_000)]

    def count(self, provider: str, outcome: str) -> float:
        metric = self.gateway.metrics.webhooks._family.labels(provider, outcome)
        return float(metric._value.get())

    async def get(self, path: str) -> tuple[int, str]:
        """Ask the operators' address."""
        async with aiohttp.ClientSession() as session, session.get(self._admin + path) as response:
            return response.status, await response.text()

    @property
    def port(self) -> int:
        return int(self.caller.address.rpartition(":")[2])


@asynccontextmanager
async def a_world(
    folder: Path, routes: str, sns: Sns | None = None, environment: Mapping[str, str] | None = None, **keys: Any
) -> AsyncIterator[World]:
    config = load(written(folder, routes, **keys), environment or {})
    gateway = Gateway(config, NOWHERE, environment or {}, sns)
    addresses = await gateway.start()
    scheme = "http" if config.certificate is None else "https"
    try:
        async with Caller(f"{scheme}://127.0.0.1:{addresses.public}") as caller:
            yield World(gateway, caller, f"http://127.0.0.1:{addresses.admin}")
    finally:
        await gateway.stop()


async def until(condition: Any, seconds: float = 180) -> None:
    """Wait until something holds."""
    deadline = asyncio.get_running_loop().time() + seconds
    while not condition():
        assert asyncio.get_running_loop().time() < deadline
        await asyncio.sleep(0.02)
