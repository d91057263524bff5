"""Three brokers for a file of tests, and groups whose coordinators are where a test wants them."""

import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest

from tests.engine.eos.cluster import BROKERS, Cluster
from tests.engine.eos.stand import GROUP, TRANSACTION, Stand

#: Names to try; half of them have two coordinators on different brokers.
_NAMES = 100


@pytest.fixture
async def cluster() -> AsyncIterator[Cluster]:
    """Start three brokers, and start again those that a test has killed."""
    async with Cluster() as running:
        yield running


@pytest.fixture
async def place(cluster: Cluster) -> AsyncIterator[Callable[..., Awaitable["Placed"]]]:
    """Make a group whose coordinator is not the one of its first worker's transactions."""
    async with AsyncExitStack() as stack:

        async def make(**settings: Any) -> Placed:
            scout = await stack.enter_async_context(Stand(cluster.bootstrap_servers, replicas=BROKERS))
            for _ in range(_NAMES):
                name = f"eos-{uuid.uuid4().hex[:10]}"
                group = await scout.coordinator(GROUP, name)
                transaction = await scout.coordinator(TRANSACTION, f"{name}-a")
                if group != transaction:
                    stand = Stand(cluster.bootstrap_servers, name=name, replicas=BROKERS, **settings)
                    return Placed(await stack.enter_async_context(stand), group, transaction)
            raise AssertionError("every name has both coordinators on one broker")

        yield make


class Placed:
    """A group, and the brokers that coordinate it and the transactions of its worker `a`."""

    def __init__(self, stand: Stand, group: int, transaction: int) -> None:
        self.stand, self.group, self.transaction = stand, group, transaction
