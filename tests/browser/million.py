"""Time people's ways through a worker with a million messages, in a real browser.

    python -m tests.browser.million [--store memory|rocksdb] [--messages N] [--rounds N]

It starts a Kafka and a worker, and needs Chromium. Each way begins on a page that is open, with a click or a search,
and ends when what it leads to has been loaded and is shown. It prints a table in Markdown; docs/performance.md has the
figures.
"""

import argparse
import asyncio
import os
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta, timezone
from pathlib import Path
from statistics import median

import aiohttp
from playwright.async_api import Page, async_playwright

from benchmarks.load import fill_with
from processor.demo.broker import EmbeddedKafka
from processor.domain.event import Event, node_of
from processor.domain.fold import fold
from processor.domain.reason import Category, Reason
from processor.domain.row import Row
from processor.domain.status import Channel, Permanence, Status
from processor.engine.admin import create_topics
from processor.settings import Settings
from tests.engine.harness import WORKER, WorkerProcess, environment_of
from tests.tools import require

#: Messages of one delivery, and messages to one address.
OF_A_DELIVERY, TO_ONE = 50_000, 4
DOMAINS = ("gmail.example", "outlook.example", "mail.example", "yahoo.example", "telia.example", "small.example")
REASONS = (Category.USER_UNKNOWN, Category.MAILBOX_FULL, Category.REFUSED, Category.UNREACHABLE)
#: How messages stand, by the rest of their number.
STANDING = (*[Status.SENT] * 85, *[Status.TAKEN_INTO_ACCOUNT] * 5, *[Status.FAILED] * 5, *[Status.PENDING] * 5)


def rows(messages: int) -> Iterator[tuple[str, Row]]:
    """Give messages, the last of them a second ago; a tenth of a second lies between two of a delivery."""
    now = datetime.now(timezone.utc)
    for number in range(messages):
        delivery, place = divmod(number, OF_A_DELIVERY)
        status = STANDING[number % len(STANDING)]
        time_ = now - timedelta(seconds=1 + (OF_A_DELIVERY - place) / 10, hours=delivery)
        reason = None
        if status is Status.FAILED:
            reason = Reason(Permanence.PERMANENT, REASONS[number // 100 % len(REASONS)], "5.1.1", "550", "no such user")
        event = Event(
            time_,
            f"m-{number:09d}",
            Channel.EMAIL,
            status,
            delivery_id=f"DM{delivery:04d}",
            provider="kumomta",
            provider_message_id=f"p{number:09d}",
            recipient=address(number // TO_ONE),
            reason=reason,
        )
        yield event.message_id, fold(None, event, node_of(event))[0]


def address(number: int) -> str:
    """Give the address of a recipient."""
    return f"user{number:07d}@{DOMAINS[number % len(DOMAINS)]}"


class Ways:
    """The ways, each with the seconds that it took so far."""

    def __init__(self, page: Page, site: str, messages: int) -> None:
        self._page, self._site, self._messages = page, site, messages
        self.seconds: dict[str, list[float]] = {}
        self.notes: dict[str, str] = {}

    async def go(self, name: str, act: Callable[[], Awaitable[None]], shown: str) -> None:
        """Do one thing, and wait until what it leads to is loaded and shown."""
        begun = time.perf_counter()
        async with self._page.expect_navigation(wait_until="load"):
            await act()
        await self._page.locator(shown).first.wait_for()
        self.seconds.setdefault(name, []).append(time.perf_counter() - begun)

    async def all(self, number: int) -> None:
        """Go every way once."""
        page = self._page
        await page.goto(self._site)
        box = page.get_by_label("Find messages by id")
        await box.fill(address(number * 7_919 % (self._messages // TO_ONE)))
        await self.go("address -> its messages", lambda: box.press("Enter"), "#found a.id")
        await self.go("... -> one of them", page.locator("#found a.id").first.click, "#life")
        await page.goto(self._site)
        failed = page.locator("#messages tbody tr", has_text="Failed").locator("td.strong a")
        await self.go("Failed, of all -> list", failed.click, "#list a.id")
        delivery = f"{self._site}/deliveries/DM{number % (self._messages // OF_A_DELIVERY):04d}"
        await page.goto(delivery)
        failed = page.locator("#statuses tr", has_text="Failed").locator("a.counted")
        await self.go("Failed, of a delivery -> list", failed.click, "#list a.id")
        await self.download()
        await page.goto(delivery)
        await self.go("delivery -> its domains", page.get_by_role("link", name="Domains").click, "#domains .place a")
        domain = page.locator("#domains .place a").nth(number % 3)
        await self.go("domain -> its reasons", domain.click, "#domains td.number a")

    async def download(self) -> None:
        """Download the list that is shown."""
        begun = time.perf_counter()
        async with self._page.expect_download() as downloading:
            await self._page.get_by_role("link", name="CSV").click()
        download = await downloading.value
        self.seconds.setdefault("list -> its CSV begins", []).append(time.perf_counter() - begun)
        lines = await asyncio.to_thread(_lines_of, await download.path())
        self.seconds.setdefault("list -> its CSV is there", []).append(time.perf_counter() - begun)
        self.notes["list -> its CSV is there"] = f"{lines - 1:,} messages"


def _lines_of(path: Path) -> int:
    return len(path.read_text().splitlines())


@asynccontextmanager
async def serving(store: str, messages: int) -> AsyncIterator[str]:
    """Run a worker that has so many messages; give its address."""
    with tempfile.TemporaryDirectory() as folder, EmbeddedKafka(Path(folder) / "kafka") as kafka:
        settings = Settings(
            brokers=kafka.bootstrap_servers, topic_prefix="million.", store=store, store_path=f"{folder}/store"
        )
        await create_topics(settings)
        begun = time.monotonic()
        await fill_with(settings, rows(messages))
        tell(f"{messages:,} messages published in {time.monotonic() - begun:.0f} s")
        worker = WorkerProcess(environment_of(settings), Path(folder) / "worker.log", WORKER)
        try:
            begun = time.monotonic()
            await worker.ready()
            tell(f"the worker has them after {time.monotonic() - begun:.0f} s")
            yield (await worker.address()).rstrip("/")
        finally:
            await worker.stop()


def tell(text: str) -> None:
    """Tell whoever measures."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


async def told(site: str) -> int:
    """Give how many messages the API counts."""
    async with aiohttp.ClientSession() as session, session.get(f"{site}/api/v1/overview") as response:
        overview = await response.json()
    return sum(sum(counts.values()) for counts in overview["messages"].values())


async def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--store", choices=("memory", "rocksdb"), default="memory")
    parser.add_argument("--messages", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=10)
    options = parser.parse_args()
    os.environ["REQUIRE_TOOLS"] = "1"
    executable = require("chromium")
    async with serving(options.store, options.messages) as site, async_playwright() as playwright:
        tell(f"the API counts {await told(site):,}")
        browser = await playwright.chromium.launch(executable_path=executable)
        ways = Ways(await browser.new_page(locale="en-GB"), site, options.messages)
        for number in range(options.rounds):
            await ways.all(number)
        await browser.close()
    tell("| way | first, ms | median, ms | longest, ms | |\n|---|---|---|---|---|")
    for name, seconds in ways.seconds.items():
        figures = [f"{1_000 * each:,.0f}" for each in (seconds[0], median(seconds), max(seconds))]
        tell(f"| {name} | {' | '.join(figures)} | {ways.notes.get(name, '')} |")


if __name__ == "__main__":
    asyncio.run(main())
