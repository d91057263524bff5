"""Whole lists of messages as streams of CSV or of JSON Lines: page after page, one of them in memory at a time.

A stream that cannot go on is cut off, so a client can tell it from one that has ended. It goes on behind the last line
that it has by the cursor `since/reference` of that line.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import aclosing
from typing import Any

import msgspec
from aiohttp import hdrs, web

from processor.views import message_csv
from processor.views.message_list import MessageItem, MessageList
from processor.views.message_query import MAX_LIMIT
from processor.web.message_query import STREAM_FORMATS
from processor.web.openapi import JSON
from processor.web.problems import RECOVERING, TOO_MANY_STREAMS, ProblemError

CSV, NDJSON = STREAM_FORMATS["csv"], STREAM_FORMATS["ndjson"]

#: The media types of streams, and what a browser calls the file.
STREAMS = {CSV: "messages.csv", NDJSON: "messages.ndjson"}

#: Most streams of one worker: each asks all workers for page after page.
MAX_STREAMS = 10

#: Seconds to wait for partitions that do not answer, as in a rebalance, and between two questions; and seconds that a
#: client may leave a page unread.
_PATIENCE_SECONDS = 60.0
_RETRY_SECONDS = 1.0
_STALLED_SECONDS = 60.0

#: Gives one page, by the parameters of the list.
Ask = Callable[[Mapping[str, Any]], Awaitable[MessageList]]


def stream_type(accept: str) -> str | None:
    """Return the media type of the stream that a header `Accept` asks for; None: it asks for a page of JSON."""
    wanted = [each.strip().split(";") for each in accept.lower().split(",")]
    ranked = sorted(wanted, key=lambda each: -_quality(each[1:]))
    for name, *parameters in ranked:
        if name in {JSON, "*/*", "application/*"}:
            return None
        if name in STREAMS and _quality(parameters) > 0:
            return name
    return None


def _quality(parameters: Iterable[str]) -> float:
    for each in parameters:
        name, _, value = each.strip().partition("=")
        if name == "q":
            try:
                return float(value)
            except ValueError:
                return 0.0
    return 1.0


class MessageStreams:
    """The streams of one worker."""

    def __init__(self) -> None:
        self._streams = 0
        self._is_stopping = False

    def stop(self) -> None:
        """Cut all streams off: a worker that stops does not wait for clients."""
        self._is_stopping = True

    async def serve(
        self, request: web.Request, media_type: str, query: Mapping[str, Any], ask: Ask
    ) -> web.StreamResponse:
        """Serve the whole of a list, or as much of it as the query's limit says.

        Raises:
            ProblemError: there are too many streams, or the list cannot be had now.
        """
        response = web.StreamResponse(
            headers={
                hdrs.CONTENT_TYPE: f"{media_type}; charset=utf-8",
                hdrs.CONTENT_DISPOSITION: f'attachment; filename="{STREAMS[media_type]}"',
                hdrs.VARY: hdrs.ACCEPT,
                # A proxy that buffers would hold lines back.
                "X-Accel-Buffering": "no",
            }
        )
        if request.method == "HEAD":
            await response.prepare(request)
            return response
        if self._is_stopping or self._streams >= MAX_STREAMS:
            raise ProblemError(TOO_MANY_STREAMS, f"{self._streams} streams are open")
        self._streams += 1
        try:
            async with aclosing(self._parts(media_type, query, ask)) as parts:
                await self._send(request, response, parts)
        finally:
            self._streams -= 1
        return response

    async def _send(self, request: web.Request, response: web.StreamResponse, parts: AsyncIterator[bytes]) -> None:
        # What cannot be had at all is a problem, and no stream.
        first = await anext(parts)
        try:
            await response.prepare(request)
            await asyncio.wait_for(response.write(first), _STALLED_SECONDS)
            async for part in parts:
                await asyncio.wait_for(response.write(part), _STALLED_SECONDS)
        except (ProblemError, ConnectionError, asyncio.TimeoutError):
            # Without its last chunk, a response is no whole one to any client.
            if request.transport is not None:
                request.transport.abort()

    async def _parts(self, media_type: str, query: Mapping[str, Any], ask: Ask) -> AsyncGenerator[bytes, None]:
        """Yield the stream, a page at a time.

        Raises:
            ProblemError: the list cannot be had now.
        """
        encode = _csv if media_type == CSV else _ndjson
        left: int | None = query.get("limit")
        given = dict(query)
        start = message_csv.header().encode() if media_type == CSV else b""
        while True:
            given["limit"] = MAX_LIMIT if left is None else min(left, MAX_LIMIT)
            page = await self._whole_page(given, ask)
            yield start + encode(page.items)
            start = b""
            left = None if left is None else left - len(page.items)
            if page.next is None or left == 0:
                return
            given["cursor"] = page.next

    async def _whole_page(self, query: Mapping[str, Any], ask: Ask) -> MessageList:
        """Return a page of all partitions, waited for as long as a rebalance takes.

        Raises:
            ProblemError: some partition does not answer.
        """
        loop = asyncio.get_running_loop()
        ends = loop.time() + _PATIENCE_SECONDS
        while (page := await ask(query)).incomplete:
            if self._is_stopping or loop.time() > ends:
                numbers = ", ".join(map(str, page.incomplete))
                raise ProblemError(RECOVERING, f"partitions {numbers} of the messages cannot be asked")
            await asyncio.sleep(_RETRY_SECONDS)
        if self._is_stopping:
            raise ProblemError(RECOVERING, "this worker stops")
        return page


def _csv(items: Iterable[MessageItem]) -> bytes:
    return message_csv.lines_of(items).encode()


def _ndjson(items: Iterable[MessageItem]) -> bytes:
    return b"".join([msgspec.json.encode(item) + b"\n" for item in items])
