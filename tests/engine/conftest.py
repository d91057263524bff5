"""Corners of the broker, one a test."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.engine.harness import Trial, settings_for_a_trial


@pytest.fixture
async def make_trial(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Callable[..., Awaitable[Trial]]]:
    """Open a corner of the broker with settings of one's own, until the test ends."""
    async with AsyncExitStack() as stack:

        async def make(**settings: Any) -> Trial:
            chosen = settings_for_a_trial(request.getfixturevalue("brokers"), **settings)
            return await stack.enter_async_context(Trial(chosen, tmp_path, is_guest=True))

        yield make


@pytest.fixture
async def trial(make_trial: Callable[..., Awaitable[Trial]]) -> Trial:
    """A corner of the broker with the usual settings."""
    return await make_trial()
