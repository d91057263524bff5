"""A real browser: Debian's Chromium, headless, driven by Playwright, which brings no browser of its own here."""

from collections.abc import AsyncIterator, Awaitable, Callable

import pytest_asyncio
from playwright.async_api import Browser, async_playwright

from tests.browser.visiting import Site, Tab, served, visiting
from tests.tools import require


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browsers() -> AsyncIterator[Callable[[], Awaitable[Browser]]]:
    """Give what returns the browser that runs, and starts one if none does."""
    executable = require("chromium")
    async with async_playwright() as playwright:
        started: list[Browser] = []

        async def start() -> Browser:
            if not started or not started[-1].is_connected():
                started.append(await playwright.chromium.launch(executable_path=executable))
            return started[-1]

        yield start
        for each in started:
            await each.close()


@pytest_asyncio.fixture(loop_scope="module")
async def browser(browsers) -> Browser:
    # Chromium ends by itself now and then: the next test has another.
    return await browsers()


@pytest_asyncio.fixture(loop_scope="module")
async def site() -> AsyncIterator[Site]:
    async with served() as site:
        yield site


@pytest_asyncio.fixture(loop_scope="module")
async def tab(browser, site) -> AsyncIterator[Tab]:
    async with visiting(browser, site) as tab:
        yield tab
        assert tab.faults == []
