"""Take the bodies of requests, in bounded time; at the limit of connections, answer probes only."""

from __future__ import annotations

import asyncio

from aiohttp import web
from aiohttp.typedefs import Middleware

from processor.serving import connections as limits
from processor.serving.connections import Connections
from processor.web.problems import BAD_REQUEST, TOO_MANY_CONNECTIONS, Handler, Kind, ProblemError

#: Paths of the probes of an orchestrator.
PROBES = frozenset({"/livez", "/readyz"})


def take_bodies(connections: Connections) -> Middleware:
    """Return the middleware that takes a request's body before anything else looks at the request."""

    @web.middleware
    async def take(request: web.Request, handler: Handler) -> web.StreamResponse:
        with connections.serving(request.protocol) as connection:
            if connection.is_of_reserve and request.path not in PROBES:
                return _last(TOO_MANY_CONNECTIONS, f"{connections.limit} connections are open")
            problem = await _take_body(request) if request.body_exists else None
            if problem is not None:
                return _last(BAD_REQUEST, problem)
            connections.answer(connection)
            return await handler(request)

    return take


async def _take_body(request: web.Request) -> str | None:
    """Read a body into its request; give what is wrong with it, or None."""
    try:
        await asyncio.wait_for(request.read(), limits.REQUEST_SECONDS)
    except asyncio.TimeoutError:
        return f"the body took longer than {limits.REQUEST_SECONDS:g} s"
    except (ConnectionError, web.RequestPayloadError):
        return "the body has no end"
    return None


def _last(kind: Kind, detail: str) -> web.Response:
    """Make the last response of a connection."""
    response = ProblemError(kind, detail).response()
    response.force_close()
    return response
