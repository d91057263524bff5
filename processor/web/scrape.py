"""Answer /metrics: one output serves all who ask close together, for making it holds up everything else."""

from __future__ import annotations

import gzip
import time
from collections.abc import Callable
from typing import NamedTuple

from aiohttp import hdrs, web
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

#: For how many times what it cost to make an output is used again: so scrapes take a fifth of a worker's time at most.
_USES = 4


class _Output(NamedTuple):
    body: bytes
    #: When it is too old, by the clock.
    until: float


class Scrape:
    """The metrics of one worker, in the formats that are asked for."""

    def __init__(self, registry: CollectorRegistry, clock: Callable[[], float] = time.perf_counter) -> None:
        """Begin; the clock gives seconds, and never goes back."""
        self._registry, self._clock = registry, clock
        #: By the type of content, and whether it is compressed.
        self._made: dict[tuple[str, bool], _Output] = {}

    async def answer(self, request: web.Request) -> web.Response:
        """Give all metrics; those of a moment ago, where they have just been made."""
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
