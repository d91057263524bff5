"""Visits to the page with a real browser, each by somebody who never was there."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web
from playwright.async_api import Browser, BrowserContext, Error, Page

from processor.settings import Settings
from tests.web.page_server import OPEN, Stream, application
from tests.web.world import World


class Site:
    """The page of a small world, served for browsers."""

    def __init__(self, address: str, world: World, stream: Stream) -> None:
        self.address, self.world, self.stream = address, world, stream


@asynccontextmanager
async def served(settings: Settings = OPEN) -> AsyncIterator[Site]:
    """Serve the page on a free port."""
    world, stream = World(), Stream()
    runner = web.AppRunner(application(world, stream, settings), shutdown_timeout=1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield Site(f"http://127.0.0.1:{runner.addresses[0][1]}", world, stream)
    finally:
        await runner.cleanup()


class Tab:
    """A page of the browser, and all that went wrong in it."""

    def __init__(self, page: Page, site: Site) -> None:
        self.page, self.site = page, site
        self.faults: list[str] = []
        page.on("console", lambda message: self.faults.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: self.faults.append(f"error: {error}"))

    async def open(self, path: str) -> Page:
        """Go to a page."""
        await self.page.goto(self.site.address + path)
        return self.page


#: Tells of whatever the policy forbade, also where the browser's console would not.
_WATCH_POLICY = """
addEventListener("securitypolicyviolation", (event) => {
  console.error(`policy: ${event.violatedDirective} ${event.blockedURI} ${event.sourceFile}:${event.lineNumber}`);
});
"""


@asynccontextmanager
async def visiting(browser: Browser, site: Site, **options) -> AsyncIterator[Tab]:
    """Open a tab of somebody who never was here."""
    context: BrowserContext = await browser.new_context(
        **{"locale": "en-GB", "timezone_id": "Europe/Stockholm", "viewport": {"width": 1280, "height": 900}, **options}
    )
    try:
        await context.add_init_script(_WATCH_POLICY)
        yield Tab(await context.new_page(), site)
    finally:
        try:
            await context.close()
        except Error:
            # Chromium may end at this by itself; what was to be seen has been seen.
            if browser.is_connected():
                raise
