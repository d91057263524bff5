"""Server-sent snapshots of the overview: one for all clients, sent when it has changed, with a heartbeat.

A snapshot is complete, so a client that reconnects misses nothing and gets nothing twice.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import msgspec
from aiohttp import web

from processor.logs import get_logger
from processor.serving.connections import connection_limit
from processor.web.problems import TOO_MANY_STREAMS, ProblemError

log = get_logger(__name__)

SNAPSHOT_SECONDS = 2.0
HEARTBEAT_SECONDS = 15.0

#: Most streams of one worker, and seconds that a client may leave one unread.
MAX_STREAMS = 100
_STALLED_SECONDS = 30.0

_HEADERS = {
    "Content-Type": "text/event-stream; charset=utf-8",
    "Cache-Control": "no-store",
    # A proxy that buffers would hold events back.
    "X-Accel-Buffering": "no",
}


def stream_limit() -> int:
    """Return how many streams this process can serve at a time: half of its connections stay for other requests."""
    return min(MAX_STREAMS, connection_limit() // 2)


class Live:
    """Sends snapshots to all clients; makes none while there is no client."""

    def __init__(self, snapshot: Callable[[], Awaitable[bytes]], *, max_streams: int = MAX_STREAMS) -> None:
        self._snapshot = snapshot
        self._max_streams = max_streams
        self._streams = 0
        self._is_stopping = False
        self._latest = b""
        #: Set when there is a new snapshot, and then replaced.
        self._news = asyncio.Event()
        self._making: asyncio.Task[None] | None = None

    async def stop(self) -> None:
        """End all streams: a worker that stops does not wait for clients."""
        self._is_stopping = True
        self._news.set()
        if self._making is not None:
            self._making.cancel()
            await asyncio.wait({self._making})

    async def stream(self, request: web.Request) -> web.StreamResponse:
        """Serve one client until it leaves or the worker stops.

        Raises:
            ProblemError: there are too many.
        """
        response = web.StreamResponse(headers=_HEADERS)
        if request.method == "HEAD":
            await response.prepare(request)
            return response
        if self._is_stopping or self._streams >= self._max_streams:
            raise ProblemError(TOO_MANY_STREAMS, f"{self._streams} streams are open")
        self._streams += 1
        try:
            await response.prepare(request)
            await self._send(response)
        except (ConnectionError, asyncio.TimeoutError):
            # The client has left, or does not read.
            pass
        finally:
            self._streams -= 1
        return response

    async def _send(self, response: web.StreamResponse) -> None:
        # Milliseconds that a browser waits before it reconnects.
        await self._write(response, b"retry: 3000\n\n")
        if self._making is None or self._making.done():
            self._latest = b""
            self._making = asyncio.ensure_future(self._make())
        sent = b""
        while not self._is_stopping:
            news = self._news
            if self._latest != sent:
                sent = self._latest
                await self._write(response, sent)
                continue
            try:
                await asyncio.wait_for(news.wait(), HEARTBEAT_SECONDS)
            except asyncio.TimeoutError:
                await self._write(response, b": alive\n\n")

    @staticmethod
    async def _write(response: web.StreamResponse, event: bytes) -> None:
        await asyncio.wait_for(response.write(event), _STALLED_SECONDS)

    async def _make(self) -> None:
        """Make snapshots for as long as there is a client."""
        while self._streams:
            event = await self._event()
            if event != self._latest:
                self._latest = event
                news, self._news = self._news, asyncio.Event()
                news.set()
            await asyncio.sleep(SNAPSHOT_SECONDS)

    async def _event(self) -> bytes:
        try:
            return b"event: overview\ndata: " + await self._snapshot() + b"\n\n"
        except ProblemError as error:
            return b"event: problem\ndata: " + msgspec.json.encode(error.problem) + b"\n\n"
        except Exception:
            log.exception("snapshot_failed")
            return self._latest
