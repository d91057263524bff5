"""Serve /metrics: scrapes close together share one output, since making it blocks the event loop."""

from __future__ import annotations

import gzip
import time
from collections.abc import Callable
from typing import NamedTuple

from aiohttp import hdrs, web
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

#: An output is reused for this many times the time that it took: so scrapes take at most a fifth of a worker's time.
_USES = 4


class _Output(NamedTuple):
    body: bytes
    #: When it expires, by the clock.
    until: float


class Scrape:
    """The metrics of one worker, in the format that a client accepts."""

    def __init__(self, registry: CollectorRegistry, clock: Callable[[], float] = time.perf_counter) -> None:
        """Begin; the clock gives seconds that only increase."""
        self._registry, self._clock = registry, clock
        #: By the type of content, and whether it is compressed.
        self._made: dict[tuple[str, bool], _Output] = {}

    async def answer(self, request: web.Request) -> web.Response:
        """Answer with all metrics, or with the last output while it is fresh."""
        encode, content_type = choose_encoder(request.headers.get(hdrs.ACCEPT, ""))
        is_packed = "gzip" in request.headers.get(hdrs.ACCEPT_ENCODING, "")
        made = self._made.get((content_type, is_packed))
        begun = self._clock()
        if made is None or begun >= made.until:
            body = encode(self._registry)
            body = gzip.compress(body) if is_packed else body
            ended = self._clock()
            made = self._made[content_type, is_packed] = _Output(body, ended + _USES * (ended - begun))
        headers = {hdrs.CONTENT_TYPE: content_type, hdrs.VARY: "Accept, Accept-Encoding"}
        return web.Response(body=made.body, headers=headers | ({hdrs.CONTENT_ENCODING: "gzip"} if is_packed else {}))
