"""The gateway's HTTP servers: the public one, which providers call, and the one for its operators."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

import msgspec
import orjson
from aiohttp import hdrs, web
from prometheus_client.exposition import choose_encoder

from processor.gateway.dialects import Answer, probe_of
from processor.gateway.endpoints import Endpoint, Endpoints
from processor.gateway.receiver import Receiver
from processor.gateway.verifiers import Call, headers_of
from processor.logs import get_logger
from processor.metrics import GatewayMetrics
from processor.views.gateways import GatewayReport

log = get_logger(__name__)

#: aiohttp logs a traceback, with the address, for every request that is no HTTP. Our own faults are logged where they
#: are answered; addresses may hold secrets.
_SILENT = logging.Logger("aiohttp", logging.CRITICAL + 1)  # noqa: LOG001 - it is nobody else's to configure

#: Octets of a request's first line, and of a header; and how many headers there may be.
_MAX_LINE = 16 * 1024
_MAX_FIELD = 16 * 1024
_MAX_HEADERS = 100

#: Seconds for a body to arrive, and that calls may take when the server stops.
_BODY_SECONDS = 30.0
_LAST_SECONDS = 10.0

_NO_ROUTE = Answer(404)
_TOO_LARGE = Answer(413)
_TOO_SLOW = Answer(408)


class _Unread(Exception):  # noqa: N818 - an answer and no error
    """A body is not taken."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(str(answer.status))
        self.answer = answer


class PublicServer:
    """Serves the addresses that providers call, and nothing else.

    Args:
        endpoints: what there is.
        receiver: of calls.
        public_url: what providers were told.
    """

    def __init__(self, endpoints: Endpoints, receiver: Receiver, public_url: str) -> None:
        self._endpoints, self._receiver = endpoints, receiver
        scheme, _, rest = public_url.partition("://")
        host, slash, path = rest.partition("/")
        self._origin, self._prefix = f"{scheme}://{host}", slash + path
        self._runner: web.ServerRunner | None = None

    async def start(self, host: str, port: int) -> int:
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
        return await _started(self._runner, host, port)

    async def stop(self) -> None:
        """Accept no more calls, and answer those that are there."""
        if self._runner is not None:
            await self._runner.cleanup()

    async def _serve(self, request: web.BaseRequest) -> web.StreamResponse:
        target = request.raw_path
        path, _, _ = target.partition("?")
        is_whole = bool(self._prefix) and path.startswith(self._prefix + "/")
        endpoint = self._endpoints.find(path.removeprefix(self._prefix) if is_whole else path)
        if endpoint is None:
            return _response(_NO_ROUTE)
        try:
            answer = await self._answer(endpoint, request, self._origin + ("" if is_whole else self._prefix) + target)
        except Exception:
            # No address: it may hold a secret, or name a recipient.
            log.exception("webhook_failed", route=endpoint.route.path)
            answer = endpoint.dialect.again
        return _response(answer)

    async def _answer(self, endpoint: Endpoint, request: web.BaseRequest, url: str) -> Answer:
        dialect = endpoint.dialect
        probe = probe_of(dialect, request.method)
        if probe is not None:
            return probe
        if request.method not in dialect.methods:
            return Answer(405, headers=(("Allow", ", ".join(dialect.methods)),))
        try:
            body = await _body_of(request, dialect.max_body)
        except _Unread as unread:
            return unread.answer
        return await self._receiver.receive(
            endpoint, Call(request.method, url, headers_of(request.headers.items()), body)
        )


async def _body_of(request: web.BaseRequest, limit: int) -> bytes:
    if request.content_length is not None and request.content_length > limit:
        raise _Unread(_TOO_LARGE)
    if request.content.is_eof():
        # All of it has come with its head, as most do.
        body = request.content.read_nowait()
        if len(body) > limit:
            raise _Unread(_TOO_LARGE)
        return body
    try:
        return await asyncio.wait_for(_read(request, limit), _BODY_SECONDS)
    except asyncio.TimeoutError:
        raise _Unread(_TOO_SLOW) from None


async def _read(request: web.BaseRequest, limit: int) -> bytes:
    body = bytearray()
    while not request.content.at_eof():
        body += await request.content.readany()
        if len(body) > limit:
            raise _Unread(_TOO_LARGE)
    return bytes(body)


def _response(answer: Answer) -> web.Response:
    headers = dict(answer.headers)
    if answer.body:
        headers[hdrs.CONTENT_TYPE] = answer.content_type
    return web.Response(status=answer.status, body=answer.body or None, headers=headers)


class AdminServer:
    """Serves /livez, /readyz, /metrics and /report, at an address of their own.

    Args:
        metrics: what /metrics shows.
        problems: gives what is wrong, each with its remedy.
        report: gives what workers show of this gateway.
    """

    def __init__(
        self, metrics: GatewayMetrics, problems: Callable[[], list[str]], report: Callable[[], GatewayReport]
    ) -> None:
        self._metrics, self._problems, self._report = metrics, problems, report
        application = web.Application()
        application.router.add_get("/livez", self._livez)
        application.router.add_get("/readyz", self._readyz)
        application.router.add_get("/metrics", self._scrape)
        application.router.add_get("/report", self._tell)
        self._runner = web.AppRunner(application, access_log=None, logger=_SILENT)

    async def start(self, host: str, port: int) -> int:
        """Bind and serve; return the port.

        Raises:
            OSError: the address cannot be bound.
        """
        return await _started(self._runner, host, port)

    async def stop(self) -> None:
        """Stop serving."""
        await self._runner.cleanup()

    async def _livez(self, _request: web.Request) -> web.Response:
        """Answer that the event loop turns."""
        return _json({"status": "alive"}, 200)

    async def _readyz(self, _request: web.Request) -> web.Response:
        """Answer whether calls can be taken, and what is wrong."""
        problems = self._problems()
        return _json({"status": "wrong" if problems else "ready", "problems": problems}, 503 if problems else 200)

    async def _scrape(self, request: web.Request) -> web.Response:
        encode, content_type = choose_encoder(request.headers.get(hdrs.ACCEPT, ""))
        return web.Response(body=encode(self._metrics.registry), headers={hdrs.CONTENT_TYPE: content_type})

    async def _tell(self, _request: web.Request) -> web.Response:
        body = msgspec.json.encode(self._report())
        return web.Response(body=body, content_type="application/json")


async def _started(runner: web.BaseRunner, host: str, port: int) -> int:
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
    except OSError:
        await runner.cleanup()
        raise
    bound: int = runner.addresses[0][1]
    return bound


def _json(body: dict[str, Any], status: int) -> web.Response:
    return web.Response(body=orjson.dumps(body) + b"\n", status=status, content_type="application/json")
