"""A real browser: Debian's Chromium, headless, driven by Playwright, which brings no browser of its own here."""

from collections.abc import AsyncIterator

import pytest_asyncio
from playwright.async_api import Browser, async_playwright

from tests.browser.visiting import Site, Tab, served, visiting
from tests.tools import require


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncIterator[Browser]:
    executable = require("chromium")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=executable)
        yield browser
        await browser.close()


@pytest_asyncio.fixture(loop_scope="module")
async def site() -> AsyncIterator[Site]:
    async with served() as site:
        yield site


@pytest_asyncio.fixture(loop_scope="module")
async def tab(browser, site) -> AsyncIterator[Tab]:
    async with visiting(browser, site) as tab:
        yield tab
        assert tab.faults == []
