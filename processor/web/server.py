"""Metrics and health over HTTP. The server is up before anything else, and never asks the broker."""

from __future__ import annotations

import asyncio
import time
from typing import Any, Protocol

import orjson
from aiohttp import web
from prometheus_client.aiohttp import make_aiohttp_handler

from processor.metrics import Metrics
from processor.settings import Settings

#: How late the event loop's own heart beat may be before the worker counts as hung.
_HEART_BEAT_SECONDS = 1.0
_HUNG_SECONDS = 30.0


class Health(Protocol):
    """What the server asks a worker."""

    @property
    def is_ready(self) -> bool:
        """Whether partitions were assigned and all of them have recovered."""

    @property
    def recovery_progress(self) -> float:
        """How much of the changelogs has been read, from 0 to 1."""

    def states(self) -> dict[str, int]:
        """Count the worker's partitions by state."""


class Server:
    """Serves /metrics, /livez and /readyz of one worker."""

    def __init__(self, settings: Settings, metrics: Metrics, health: Health) -> None:
        self._settings = settings
        self._health = health
        self._beat = time.monotonic()
        self._heart: asyncio.Task[None] | None = None
        application = web.Application()
        application.router.add_get("/metrics", make_aiohttp_handler(registry=metrics.registry))
        application.router.add_get("/livez", self._livez)
        application.router.add_get("/readyz", self._readyz)
        self._runner = web.AppRunner(application, access_log=None)

    async def start(self) -> str:
        """Bind and serve; give the address.

        Raises:
            OSError: the address cannot be bound.
        """
        await self._runner.setup()
        site = web.TCPSite(self._runner, self._settings.http_host, self._settings.http_port)
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
            await asyncio.sleep(_HEART_BEAT_SECONDS)

    async def _livez(self, _request: web.Request) -> web.Response:
        """Answer whether the process turns: it must not depend on the broker, or its outage restarts every worker."""
        late = time.monotonic() - self._beat
        return _json({"status": "alive" if late < _HUNG_SECONDS else "hung"}, 200 if late < _HUNG_SECONDS else 503)

    async def _readyz(self, _request: web.Request) -> web.Response:
        """Answer whether partitions are assigned and recovered, and how far recovery is."""
        ready = self._health.is_ready
        body = {
            "status": "ready" if ready else "recovering",
            "recovery_progress": round(self._health.recovery_progress, 4),
            "partitions": self._health.states(),
        }
        return _json(body, 200 if ready else 503)


def _json(body: dict[str, Any], status: int) -> web.Response:
    return web.Response(
        body=orjson.dumps(body) + b"\n",
        status=status,
        content_type="application/json",
        headers={"Cache-Control": "no-store"},
    )
