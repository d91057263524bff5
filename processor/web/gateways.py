"""The reports of all gateways, asked for at the addresses that `DELIVERY_GATEWAYS` names (ADR 0024)."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable, Mapping
from urllib.parse import urlsplit

import aiohttp
import msgspec
from aiohttp import hdrs
from yarl import URL

from processor.logs import get_logger
from processor.views.gateways import GatewayReport

log = get_logger(__name__)

#: Where a gateway's admin server reports.
REPORT_PATH = "/report"

#: Seconds for which reports count as fresh; for which they may still be given while a gateway is slow to answer; and
#: to wait for it before they are.
_FRESH_SECONDS = 1.0
_USABLE_SECONDS = 10.0
_WAIT_SECONDS = 0.1
#: Seconds that a gateway may take to answer, and to take a connection.
_PATIENCE_SECONDS = 2.0
_CONNECT_SECONDS = 1.0

#: Octets of an answer: some hundreds a route.
_ANSWER_MAX_BYTES = 2**20
#: Addresses of one name that are asked.
_MAX_ADDRESSES = 32

_decode_report = msgspec.json.Decoder(GatewayReport).decode

Reports = Mapping[str, GatewayReport | None]


class Gateways:
    """Asks all gateways for their reports, at most once a second; concurrent callers share one answer.

    Args:
        urls: of their admin servers. A name with several addresses stands for several gateways.
        clock: gives seconds that only increase.
    """

    def __init__(self, urls: tuple[str, ...], clock: Callable[[], float] = time.monotonic) -> None:
        self._urls = urls
        self._clock = clock
        self._reports: Reports | None = None
        self._asked_at = float("-inf")
        self._asking: asyncio.Task[Reports] | None = None
        self._session: aiohttp.ClientSession | None = None
        #: Gateways that did not answer when they were asked last, so that each is logged once.
        self._away: set[str] = set()

    async def close(self) -> None:
        """Ask no more, and close all connections."""
        if self._asking is not None:
            self._asking.cancel()
            await asyncio.wait({self._asking})
        if self._session is not None:
            await self._session.close()

    async def reports(self) -> Reports:
        """Return the report of each gateway, by URL; None: it does not answer."""
        if not self._urls:
            return {}
        age = self._clock() - self._asked_at
        if self._reports is not None and age < _FRESH_SECONDS:
            return self._reports
        if self._asking is None:
            self._asking = asyncio.ensure_future(self._ask_all())
        asking = self._asking
        if self._reports is not None and age < _USABLE_SECONDS:
            await asyncio.wait({asking}, timeout=_WAIT_SECONDS)
            return self._reports
        # A caller that leaves must not end the question for the others.
        return await asyncio.shield(asking)

    async def _ask_all(self) -> Reports:
        try:
            urls = [url for found in await asyncio.gather(*map(_addresses, self._urls)) for url in found]
            told = await asyncio.gather(*map(self._ask, urls))
            self._reports = dict(zip(urls, told, strict=True))
            self._asked_at = self._clock()
            return self._reports
        finally:
            self._asking = None

    async def _ask(self, url: str) -> GatewayReport | None:
        try:
            report = _decode_report(await self._get(url))
        except (aiohttp.ClientError, asyncio.TimeoutError, OSError, ValueError, RecursionError) as error:
            if url not in self._away:
                self._away.add(url)
                log.warning("gateway_not_heard", url=url, error=f"{type(error).__name__}: {error}"[:300])
            return None
        self._away.discard(url)
        return report

    async def _get(self, url: str) -> bytes:
        """Ask one gateway.

        Raises:
            ValueError: it answers otherwise than a gateway does.
        """
        if self._session is None:
            self._session = aiohttp.ClientSession(
                timeout=aiohttp.ClientTimeout(total=_PATIENCE_SECONDS, sock_connect=_CONNECT_SECONDS),
                # Answers come uncompressed: what arrives is as large as it says.
                headers={hdrs.ACCEPT_ENCODING: "identity"},
                auto_decompress=False,
                cookie_jar=aiohttp.DummyCookieJar(),
            )
        async with self._session.get(URL(url + REPORT_PATH, encoded=True), allow_redirects=False) as response:
            answer = bytearray()
            async for part in response.content.iter_any():
                answer += part
                if len(answer) > _ANSWER_MAX_BYTES:
                    response.close()
                    raise ValueError(f"more than {_ANSWER_MAX_BYTES} octets")
            if response.status != 200:
                raise ValueError(f"status {response.status}")
            return bytes(answer)


async def _addresses(url: str) -> list[str]:
    """Return a URL for each address of its host: of a service with several gateways, each is one.

    A host that cannot be resolved now, or has one address, is asked by its name; https too, for its certificate.
    """
    parts = urlsplit(url)
    if parts.scheme != "http" or parts.hostname is None:
        return [url]
    port = parts.port or 80
    try:
        found = await asyncio.get_running_loop().getaddrinfo(parts.hostname, port, type=socket.SOCK_STREAM)
    except OSError:
        return [url]
    families = {family for family, *_ in found}
    # The same gateway has an address in each family.
    family = socket.AF_INET if socket.AF_INET in families else socket.AF_INET6
    hosts = sorted({str(address[0]) for each, *_, address in found if each == family})[:_MAX_ADDRESSES]
    if len(hosts) < 2:
        return [url]
    return [f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}" for host in hosts]
