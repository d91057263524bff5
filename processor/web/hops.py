"""Signatures of requests between workers, made with the secret that they share.

A signature is for one request to one worker at one time: it is worth nothing for another request, to another worker,
or when it is sent again.
"""

from __future__ import annotations

import hmac
import re
import secrets
import time
from collections.abc import Callable
from hashlib import sha256
from typing import NamedTuple

from aiohttp import web

from processor.serving.proxies import was_handed_on
from processor.settings import Settings
from processor.web.hosts import host_of, is_loopback
from processor.web.problems import FORBIDDEN, ProblemError

#: The header that marks a request of another worker, and the seconds for which its signature is valid.
HOP_HEADER = "Delivery-Hop"
_HOP_SECONDS = 60

_UNSIGNED = "unsigned"
_SIGNED = re.compile(r"t=([0-9]{1,12}),n=([0-9a-f]{32}),v2=([0-9a-f]{64})")


class _Question(NamedTuple):
    """What is signed: the request, and the worker that it is sent to."""

    method: str
    #: The URL of the worker that is asked, as the group has it.
    url: str
    #: With its query, as it is sent.
    path: str
    body: bytes


class Hops:
    """Signs the requests of this worker, and verifies those of others.

    Args:
        settings: those of the worker.
        url: gives the URL at which the others reach this worker. A signature is for the worker of one URL.
    """

    def __init__(self, settings: Settings, url: Callable[[], str]) -> None:
        self._key = settings.workers_token.encode()
        #: Without any token, and bound to this machine only, its other processes are believed.
        self._believes_this_machine = is_loopback(settings.http_host) and not (self._key or settings.asks_who_reads)
        self._url = url
        #: Nonces of accepted signatures, and when these expire.
        self._taken: dict[str, float] = {}

    @property
    def signs(self) -> bool:
        """Whether hops are signed; unsigned ones stay on this machine."""
        return bool(self._key)

    def sign(self, url: str, path: str, method: str = "GET", body: bytes = b"") -> dict[str, str]:
        """Return the headers of a hop to the worker of a URL; `path` is with its query, as it is sent."""
        if not self._key:
            return {HOP_HEADER: _UNSIGNED}
        now, nonce, question = str(int(time.time())), secrets.token_hex(16), _Question(method, url, path, body)
        return {HOP_HEADER: f"t={now},n={nonce},v2={self._signature(now, nonce, question)}"}

    async def check(self, request: web.Request) -> bool:
        """Verify a request of another worker.

        Returns:
            Whether it is signed, and so may have whole recipients.

        Raises:
            ProblemError: it does not come from a worker of ours.
        """
        given = ",".join(request.headers.getall(HOP_HEADER, ()))
        if not self._key:
            self._check_unsigned(request, given)
            return False
        question = _Question(request.method, self._url(), request.raw_path, await request.read())
        found = _SIGNED.fullmatch(given)
        if found is None or not hmac.compare_digest(found[3], self._signature(found[1], found[2], question)):
            detail = (
                "the hop is not signed for this worker with its DELIVERY_INTERNAL_TOKEN (else DELIVERY_WRITE_TOKEN)"
            )
            raise ProblemError(FORBIDDEN, detail)
        if abs(time.time() - int(found[1])) > _HOP_SECONDS:
            raise ProblemError(FORBIDDEN, f"the workers' clocks differ by more than {_HOP_SECONDS} s")
        self._take(found[2])
        return True

    def _check_unsigned(self, request: web.Request, given: str) -> None:
        is_of_this_machine = (
            is_loopback(request.remote or "")
            and is_loopback(host_of(request) or "")
            # A proxy on this machine forwards requests of anybody.
            and not was_handed_on(request)
        )
        if not (given == _UNSIGNED and self._believes_this_machine and is_of_this_machine):
            detail = "workers need DELIVERY_INTERNAL_TOKEN (or DELIVERY_WRITE_TOKEN), the same on all, unless all of "
            raise ProblemError(FORBIDDEN, detail + "them are bound to this machine's loopback and no token is set")

    def _take(self, nonce: str) -> None:
        """Accept a signature once."""
        now = time.monotonic()
        # The oldest come first.
        while self._taken and self._taken[first := next(iter(self._taken))] < now:
            del self._taken[first]
        if nonce in self._taken:
            raise ProblemError(FORBIDDEN, "this hop has been here before")
        # A signature from a clock that is ahead is valid for longer.
        self._taken[nonce] = now + 2 * _HOP_SECONDS

    def _signature(self, now: str, nonce: str, question: _Question) -> str:
        text = "\n".join(("delivery-status hop", now, nonce, *question[:3], sha256(question.body).hexdigest()))
        return hmac.new(self._key, text.encode("utf-8", "surrogateescape"), sha256).hexdigest()
