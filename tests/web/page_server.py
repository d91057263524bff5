"""The page alone, over the fixture world: for tests, and to look at (`python -m tests.web.page_server [port]`)."""

import asyncio
import sys

from aiohttp import web

from processor.settings import Settings
from processor.web.access import Access
from processor.web.audit_list import AuditLists
from processor.web.dead_letters import DeadLetters
from processor.web.page.routes import Page
from tests.web.world import READ_TOKEN, WRITE_TOKEN, World

OPEN = Settings(write_token=WRITE_TOKEN)
CLOSED = Settings(write_token=WRITE_TOKEN, read_token=READ_TOKEN)


class Stream:
    """What stands in for /api/v1/events: says that something is new when it is told to."""

    def __init__(self) -> None:
        self.is_refused = False
        self.is_over = False
        self.listeners: set[asyncio.Event] = set()

    def tell(self) -> None:
        """Let every listener hear."""
        for listener in self.listeners:
            listener.set()

    async def end(self, _application: web.Application) -> None:
        """End all streams."""
        self.is_over = True
        self.tell()

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """Serve one listener until it leaves."""
        if self.is_refused:
            raise web.HTTPServiceUnavailable
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "Cache-Control": "no-store"})
        await response.prepare(request)
        await response.write(b"retry: 3000\n\n")
        news = asyncio.Event()
        self.listeners.add(news)
        try:
            while not self.is_over:
                await news.wait()
                news.clear()
                await response.write(b"event: overview\ndata: {}\n\n")
        except ConnectionError:
            pass
        finally:
            self.listeners.discard(news)
        return response


def application(world: World, stream: Stream, settings: Settings = OPEN) -> web.Application:
    """Give an application with nothing but the page and the stream."""
    made = web.Application()
    letters, audit = DeadLetters(world.letters), AuditLists(world.audit)
    Page(world.answers, world.finding, Access(settings), world.forwarding, letters, audit).add_to(made)
    made.router.add_get("/api/v1/events", stream.serve)
    made.on_shutdown.append(stream.end)
    return made


if __name__ == "__main__":
    web.run_app(application(World(), Stream()), host="127.0.0.1", port=int(sys.argv[1]) if len(sys.argv) > 1 else 8099)
