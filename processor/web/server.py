"""The HTTP server: metrics and health, and the routes that are added to it.

It is up before anything else, and nothing here asks the broker.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import socket
import time
from collections.abc import Iterable, Sequence
from typing import Any, Protocol
from urllib.parse import urlsplit

import orjson
from aiohttp import web

from processor.metrics import Metrics
from processor.metrics.shadow import ShadowRegistry
from processor.serving.connections import Connections, Site, connection_limit
from processor.serving.scrape import Scrape
from processor.settings import Settings
from processor.web.bodies import take_bodies
from processor.web.hosts import Hosts
from processor.web.problems import tell_problems

#: Seconds between heart beats of the event loop; and how late one may be before the worker counts as hung.
_HEART_BEAT_SECONDS = 1.0
_HUNG_SECONDS = 30.0


class Health(Protocol):
    """The health of a worker."""

    @property
    def is_ready(self) -> bool:
        """Whether partitions were assigned, all of them have recovered, and nothing is wrong."""

    @property
    def problems(self) -> Sequence[str]:
        """What is wrong that waiting does not mend, each with its remedy."""

    @property
    def ailment(self) -> str:
        """Why only a restart helps, as far as that is known without the broker; empty when none is needed."""

    @property
    def recovery_progress(self) -> float:
        """How much of the changelogs has been read, from 0 to 1."""

    def states(self) -> dict[str, int]:
        """Count the worker's partitions by state."""


class Routes(Protocol):
    """A part of the site, which adds its own routes."""

    def add_to(self, application: web.Application) -> None:
        """Add its routes."""


#: Most bytes of a body and of a request's first line (the longest name takes twelve thousand, and a list may be asked
#: for by four, and by a cursor); and seconds that running requests may take when the server stops.
_MAX_BODY_BYTES = 64 * 1024
_MAX_LINE_BYTES = 128 * 1024
_LAST_SECONDS = 5.0

#: aiohttp logs a traceback, with the address, for every request that is no HTTP. Our own faults are logged where they
#: are answered (problems.py); addresses may name recipients.
_SILENT = logging.Logger("aiohttp", logging.CRITICAL + 1)  # noqa: LOG001 - it is nobody else's to configure

#: Headers of every response that does not set them: no caching, no guessing of types, no showing inside another page.
_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


class Server:
    """Serves /metrics, /livez and /readyz of one worker, and the routes of others that it is given."""

    def __init__(self, settings: Settings, metrics: Metrics, health: Health, others: Iterable[Routes] = ()) -> None:
        self._settings = settings
        self._health = health
        self._beat = time.monotonic()
        self._heart: asyncio.Task[None] | None = None
        self._connections = Connections(connection_limit())
        application = web.Application(
            middlewares=[tell_problems, take_bodies(self._connections), Hosts(settings).check],
            client_max_size=_MAX_BODY_BYTES,
        )
        application.on_response_prepare.append(_add_headers)
        registry = ShadowRegistry(metrics.registry) if settings.shadow_of else metrics.registry
        application.router.add_get("/metrics", Scrape(registry).answer)
        application.router.add_get("/livez", self._livez)
        application.router.add_get("/readyz", self._readyz)
        for routes in others:
            routes.add_to(application)
        self._runner = web.AppRunner(
            application,
            access_log=None,
            logger=_SILENT,
            max_line_size=_MAX_LINE_BYTES,
            shutdown_timeout=_LAST_SECONDS,
            # A body is as large as it says.
            auto_decompress=False,
        )

    async def start(self) -> str:
        """Bind and serve; give the URL.

        Raises:
            OSError: the address cannot be bound.
        """
        await self._runner.setup()
        site = Site(self._runner, self._settings.http_host, self._settings.http_port, self._connections)
        try:
            await site.start()
        except OSError:
            await self._runner.cleanup()
            raise
        self._heart = asyncio.ensure_future(self._beat_on())
        host, port = self._runner.addresses[0][:2]
        return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

    async def stop(self) -> None:
        """Stop serving."""
        if self._heart is not None:
            self._heart.cancel()
        await self._runner.cleanup()

    async def _beat_on(self) -> None:
        while True:
            self._beat = time.monotonic()
            self._connections.close_late()
            await asyncio.sleep(_HEART_BEAT_SECONDS)

    async def _livez(self, _request: web.Request) -> web.Response:
        """Answer whether the event loop turns. It must not depend on the broker, or an outage restarts every worker."""
        late = time.monotonic() - self._beat
        ailment = f"the event loop was held up for {late:.0f} s" if late >= _HUNG_SECONDS else self._health.ailment
        return _json({"status": "hung", "reason": ailment}, 503) if ailment else _json({"status": "alive"}, 200)

    async def _readyz(self, _request: web.Request) -> web.Response:
        """Answer whether partitions are assigned and recovered, the progress of recovery, and what is wrong."""
        ready, problems = self._health.is_ready, self._health.problems
        body = {
            "status": "ready" if ready else "wrong" if problems else "recovering",
            "problems": problems,
            "recovery_progress": round(self._health.recovery_progress, 4),
            "partitions": self._health.states(),
        }
        return _json(body, 200 if ready else 503)


def advertised_url(settings: Settings, address: str) -> str:
    """Return where other workers reach the server.

    Args:
        settings: they may say it.
        address: where the server listens; on all addresses of this host, its name stands for them.
    """
    parts = urlsplit(address)
    if settings.advertised_url:
        return settings.advertised_url
    if ipaddress.ip_address(parts.hostname or "").is_unspecified:
        return f"http://{socket.gethostname()}:{parts.port}"
    return address


async def _add_headers(_request: web.Request, response: web.StreamResponse) -> None:
    for name, value in _HEADERS.items():
        response.headers.setdefault(name, value)


def _json(body: dict[str, Any], status: int) -> web.Response:
    return web.Response(
        body=orjson.dumps(body) + b"\n",
        status=status,
        content_type="application/json",
    )
