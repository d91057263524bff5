"""Ask Amazon SNS for certificates, and call the addresses that confirm subscriptions.

Whoever asks has judged the address first: its host is one of SNS, and the topic is ours (`verifiers/sns.py`).
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable

import aiohttp

from processor.logs import get_logger

log = get_logger(__name__)

#: Seconds that SNS has; it waits 15 s for us.
_SECONDS = 5.0
#: Octets of an answer, and how many certificates are remembered: there is one for each region, and a new one each year.
_MAX_ANSWER = 64 * 1024
_MAX_REMEMBERED = 64
#: Certificates that are asked for at the same time.
_MAX_ASKING = 4


class UnavailableError(Exception):
    """SNS has not answered as it should: the call is to come again."""


class Sns:
    """Asks SNS.

    Args:
        connector: makes what connects.
    """

    def __init__(self, connector: Callable[[], aiohttp.BaseConnector] = aiohttp.TCPConnector) -> None:
        self._connector = connector
        self._session: aiohttp.ClientSession | None = None
        self._certificates: OrderedDict[str, str] = OrderedDict()
        self._asking: dict[str, asyncio.Task[str]] = {}

    async def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()

    async def certificate(self, url: str) -> str:
        """Return a certificate (PEM); it is asked for once, and by one of many at a time.

        Raises:
            UnavailableError: there is none now. That is not remembered.
        """
        known = self._certificates.get(url)
        if known is not None:
            self._certificates.move_to_end(url)
            return known
        asking = self._asking.get(url)
        if asking is None:
            if len(self._asking) >= _MAX_ASKING:
                raise UnavailableError("too many certificates at a time")
            asking = self._asking[url] = asyncio.create_task(self._ask_certificate(url))
            asking.add_done_callback(lambda _: self._asking.pop(url, None))
        # One who leaves does not take the answer from the others.
        text = await asyncio.shield(asking)
        self._certificates[url] = text
        if len(self._certificates) > _MAX_REMEMBERED:
            self._certificates.popitem(last=False)
        return text

    async def confirm(self, url: str) -> None:
        """Confirm a subscription.

        Raises:
            UnavailableError: it is not confirmed.
        """
        await self._ask(url)

    async def _ask_certificate(self, url: str) -> str:
        from processor.gateway.verifiers import public_keys  # noqa: PLC0415 - most gateways need no public key

        text = await self._ask(url)
        if not public_keys.is_certificate(text):
            # Remembered, it would refuse whatever SNS sends.
            raise UnavailableError("SNS answers what is no certificate")
        return text

    async def _ask(self, url: str) -> str:
        if self._session is None:
            # What goes out may have to go by a proxy of the operator's.
            self._session = aiohttp.ClientSession(
                connector=self._connector(), timeout=aiohttp.ClientTimeout(total=_SECONDS), trust_env=True
            )
        try:
            # A redirect could lead anywhere.
            async with self._session.get(url, allow_redirects=False) as response:
                if response.status != 200:
                    raise UnavailableError(f"SNS answers {response.status}")
                return (await _whole(response)).decode()
        except (aiohttp.ClientError, OSError, asyncio.TimeoutError, ValueError) as error:
            raise UnavailableError(f"SNS cannot be asked: {error!r}") from None


async def _whole(response: aiohttp.ClientResponse) -> bytes:
    """Return a body, whose pieces come one by one."""
    octets = bytearray()
    async for piece in response.content.iter_any():
        octets += piece
        if len(octets) > _MAX_ANSWER:
            raise UnavailableError(f"SNS answers more than {_MAX_ANSWER} octets")
    return bytes(octets)
