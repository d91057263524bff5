"""The gateway's HTTP servers: the public one, which providers call, and the one for its operators."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from functools import partial
from ssl import SSLContext
from typing import Any

import msgspec
import orjson
from aiohttp import hdrs, web

from processor.gateway.bodies import Bodies, TooLargeError, TooManyError
from processor.gateway.dialects import Answer, probe_of
from processor.gateway.endpoints import Endpoint, Endpoints
from processor.gateway.receiver import Receiver
from processor.gateway.verifiers import Call, choose, headers_of
from processor.logs import get_logger
from processor.metrics import GatewayMetrics
from processor.serving.connections import Connection, Connections, Site, connection_limit
from processor.serving.proxies import Proxies
from processor.serving.scrape import Scrape
from processor.views.gateways import GatewayReport

log = get_logger(__name__)

#: aiohttp logs a traceback, with the address, for every request that is no HTTP. Our own faults are logged where they
#: are answered; addresses may hold secrets.
_SILENT = logging.Logger("aiohttp", logging.CRITICAL + 1)  # noqa: LOG001 - it is nobody else's to configure

#: Octets of a request's first line, and of a header; and how many headers there may be.
_MAX_LINE = 16 * 1024
_MAX_FIELD = 16 * 1024
_MAX_HEADERS = 100

#: Octets of a body whose caller is only known from it.
_MAX_UNKNOWN = 5 * 2**20

#: Seconds for which a connection may wait for its next call: longer than proxies keep theirs, which would else send a
#: call by one that is just being closed.
_IDLE_SECONDS = 300.0

#: Seconds that calls may take when the server stops, and between two looks for connections whose time is up.
_LAST_SECONDS = 10.0
_LOOK_SECONDS = 1.0

#: Seconds by which such a look may be late before the process counts as hung.
_HUNG_SECONDS = 30.0

_NO_ROUTE = Answer(404)
_TOO_LARGE = Answer(413)


class PublicServer:
    """Serves the addresses that providers call, and nothing else.

    Args:
        endpoints: what there is.
        receiver: of calls.
        public_url: what providers were told.
        proxies: whose word about clients counts.
        most: connections at a time.
    """

    def __init__(self, endpoints: Endpoints, receiver: Receiver, public_url: str, proxies: Proxies, most: int) -> None:
        self._endpoints, self._receiver, self._proxies = endpoints, receiver, proxies
        scheme, _, rest = public_url.partition("://")
        host, slash, path = rest.partition("/")
        self._origin, self._prefix = f"{scheme}://{host}", slash + path
        # Kafka and the spool need few files.
        self._connections = Connections(connection_limit(most, part=2), _IDLE_SECONDS)
        self._bodies = Bodies(self._connections)
        self._runner: web.ServerRunner | None = None
        self._looking: asyncio.Task[None] | None = None
        self._looked = time.monotonic()

    async def start(self, host: str, port: int, tls: SSLContext | None) -> int:
        """Bind and serve; return the port.

        Raises:
            OSError: the address cannot be bound.
        """
        server = web.Server(
            self._serve,
            access_log=None,
            logger=_SILENT,
            max_line_size=_MAX_LINE,
            max_field_size=_MAX_FIELD,
            max_headers=_MAX_HEADERS,
            # What is signed is the body as it came.
            auto_decompress=False,
        )
        self._runner = web.ServerRunner(server, shutdown_timeout=_LAST_SECONDS)
        await self._runner.setup()
        try:
            await Site(self._runner, host, port, self._connections, tls).start()
        except OSError:
            await self._runner.cleanup()
            raise
        self._looking = asyncio.create_task(self._look())
        bound: int = self._runner.addresses[0][1]
        return bound

    async def stop(self) -> None:
        """Accept no more calls, and answer those that are there."""
        if self._runner is not None:
            await self._runner.cleanup()
        if self._looking is not None:
            self._looking.cancel()

    @property
    def late(self) -> float:
        """Seconds by which the event loop is late; about 0 while it turns."""
        return max(0.0, time.monotonic() - self._looked - _LOOK_SECONDS)

    async def _look(self) -> None:
        while True:
            self._looked = time.monotonic()
            self._connections.close_late()
            await asyncio.sleep(_LOOK_SECONDS)

    async def _serve(self, request: web.BaseRequest) -> web.StreamResponse:
        with self._connections.serving(request.protocol) as connection:
            if request.content.is_eof():
                # All of it has come with its head, as most do.
                self._connections.answer(connection)
            target = request.raw_path
            path, _, _ = target.partition("?")
            is_whole = bool(self._prefix) and path.startswith(self._prefix + "/")
            endpoint = self._endpoints.find(path.removeprefix(self._prefix) if is_whole else path)
            if endpoint is None:
                return _response(_NO_ROUTE)
            url = self._origin + ("" if is_whole else self._prefix) + target
            try:
                answer = await self._answer(endpoint, request, connection, url)
            except ConnectionError:
                # Nobody is there to be answered.
                raise
            except Exception:
                # No address: it may hold a secret, or name a recipient.
                log.exception("webhook_failed", route=endpoint.route.path)
                answer = endpoint.dialect.again
            response = _response(answer)
            if connection.is_of_reserve:
                response.force_close()
            return response

    async def _answer(self, endpoint: Endpoint, request: web.BaseRequest, connection: Connection, url: str) -> Answer:
        dialect = endpoint.dialect
        if request.method not in dialect.methods:
            allowed = Answer(405, headers=(("Allow", ", ".join(dialect.methods)),))
            return probe_of(dialect, request.method) or allowed
        call = Call(request.method, url, headers_of(request.headers.items()), b"")
        client = partial(self._proxies.address, request)
        if connection.is_of_reserve:
            return self._receiver.unread(endpoint, call, "again", dialect.again)
        scheme = choose(endpoint.schemes, call)
        if refusal := self._receiver.refusal(endpoint, scheme, call, client):
            return refusal
        limit = dialect.max_body if scheme.is_by_head else min(dialect.max_body, _MAX_UNKNOWN)
        try:
            body = await self._bodies.take(request, connection, limit)
        except TooLargeError:
            return self._receiver.unread(endpoint, call, "malformed", _TOO_LARGE)
        except TooManyError:
            return self._receiver.unread(endpoint, call, "again", dialect.again)
        self._connections.answer(connection)
        return await self._receiver.receive(endpoint, scheme, Call(call.method, url, call.headers, body), client)


def _response(answer: Answer) -> web.Response:
    headers = dict(answer.headers)
    if answer.body:
        headers[hdrs.CONTENT_TYPE] = answer.content_type
    return web.Response(status=answer.status, body=answer.body or None, headers=headers or None)


class AdminServer:
    """Serves /livez, /readyz, /metrics and /report, at an address of their own.

    Args:
        metrics: what /metrics shows.
        late: gives the seconds by which the event loop is late.
        problems: gives what is wrong, each with its remedy.
        report: gives what workers show of this gateway.
    """

    def __init__(
        self,
        metrics: GatewayMetrics,
        late: Callable[[], float],
        problems: Callable[[], list[str]],
        report: Callable[[], GatewayReport],
    ) -> None:
        self._late, self._problems, self._report = late, problems, report
        application = web.Application()
        application.router.add_get("/livez", self._livez)
        application.router.add_get("/readyz", self._readyz)
        application.router.add_get("/metrics", Scrape(metrics.registry).answer)
        application.router.add_get("/report", self._tell)
        self._runner = web.AppRunner(application, access_log=None, logger=_SILENT)

    async def start(self, host: str, port: int) -> int:
        """Bind and serve; return the port.

        Raises:
            OSError: the address cannot be bound.
        """
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, host, port).start()
        except OSError:
            await self._runner.cleanup()
            raise
        bound: int = self._runner.addresses[0][1]
        return bound

    async def stop(self) -> None:
        """Stop serving."""
        await self._runner.cleanup()

    async def _livez(self, _request: web.Request) -> web.Response:
        """Answer whether the event loop turns. Kafka does not matter, or an outage would restart every gateway."""
        late = self._late()
        if late >= _HUNG_SECONDS:
            return _json({"status": "hung", "reason": f"the event loop was held up for {late:.0f} s"}, 503)
        return _json({"status": "alive"}, 200)

    async def _readyz(self, _request: web.Request) -> web.Response:
        """Answer whether calls can be taken, and what is wrong."""
        problems = self._problems()
        return _json({"status": "wrong" if problems else "ready", "problems": problems}, 503 if problems else 200)

    async def _tell(self, _request: web.Request) -> web.Response:
        body = msgspec.json.encode(self._report())
        return web.Response(body=body, content_type="application/json")


def _json(body: dict[str, Any], status: int) -> web.Response:
    return web.Response(body=orjson.dumps(body) + b"\n", status=status, content_type="application/json")
