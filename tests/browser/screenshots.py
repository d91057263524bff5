"""Write the docs' pictures of the page: `make screenshots`. The world in them is the tests' small one."""

import asyncio
import os
from pathlib import Path
from typing import NamedTuple

from playwright.async_api import async_playwright

from tests.browser.visiting import served, visiting
from tests.tools import require
from tests.web.campaigns import HELD
from tests.web.world import FAILED_MESSAGE

FOLDER = Path(__file__).resolve().parents[2] / "docs" / "images"


class Picture(NamedTuple):
    """One picture: of which page, how it is looked at, and down to where."""

    path: str
    scheme: str = "light"
    locale: str = "en-GB"
    width: int = 1280
    height: int = 900


PICTURES = {
    "overview": Picture("/", height=1180),
    "overview-dark": Picture("/", "dark", "sv-SE", height=1180),
    "overview-phone": Picture("/", width=375, height=812),
    "deliveries": Picture("/deliveries", height=760),
    "delivery": Picture("/deliveries/DM1042", height=1220),
    "delivery-held": Picture(f"/deliveries/{HELD}", height=560),
    "message": Picture(f"/messages/{FAILED_MESSAGE}", height=980),
    "statuses-dark": Picture("/statuses#sms-title", "dark", height=560),
}


async def main() -> None:
    """Write every picture."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    os.environ["REQUIRE_TOOLS"] = "1"
    executable = require("chromium")
    async with async_playwright() as playwright, served() as site:
        browser = await playwright.chromium.launch(executable_path=executable)
        for name, picture in PICTURES.items():
            options = {
                "color_scheme": picture.scheme,
                "locale": picture.locale,
                "viewport": {"width": picture.width, "height": picture.height},
            }
            async with visiting(browser, site, **options) as tab:
                page = await tab.open(picture.path)
                await page.wait_for_timeout(300)
                await page.screenshot(path=FOLDER / f"{name}.png")
        await browser.close()


if __name__ == "__main__":
    asyncio.run(main())
