"""Fake providers: they call as each signs, and call again as the documentation of each says."""

import asyncio
import itertools
import time
from collections import defaultdict
from collections.abc import Callable
from datetime import datetime, timezone
from typing import NamedTuple

import aiohttp

from processor.demo.simulate import single_report
from processor.gateway import private_keys
from processor.gateway.dialects import DIALECTS
from processor.gateway.signing import Once, call_with, sign
from processor.gateway.verifiers import SIGNATURES, Call
from tests.gateway.serving import PUBLIC_URL, Caller

MINUTE, HOUR = 60.0, 3600.0


def _doubling(first: float, longest: float, total: float) -> list[float]:
    pauses = [first]
    while sum(pauses) < total:
        pauses.append(min(2 * pauses[-1], longest))
    return pauses


def _success(status: int) -> bool:
    return 200 <= status < 300


def _client_error(*but: int) -> Callable[[int], bool]:
    return lambda status: 400 <= status < 500 and status not in but


class Policy(NamedTuple):
    """What a provider does when it is not answered as it wants."""

    #: Seconds between its attempts.
    pauses: list[float]
    #: Seconds that it waits for an answer.
    timeout: float = 10.0
    taken: Callable[[int], bool] = _success
    #: The answers after which it gives up.
    ends: Callable[[int], bool] = lambda _: False


#: As the providers' documentation says; of some it says nothing of retries: these try once.
POLICIES = {
    "aws_eum_sms": Policy(_doubling(1, 120, 2 * HOUR), 180, lambda status: status == 200, lambda status: status == 413),
    "aws_sns_sms": Policy(_doubling(1, 120, 2 * HOUR), 180, lambda status: status == 200, lambda status: status == 413),
    "bandwidth": Policy(_doubling(MINUTE, HOUR, 24 * HOUR)),
    "brevo": Policy([10 * MINUTE, HOUR, 2 * HOUR, 8 * HOUR], ends=lambda status: status != 429),
    "firetext": Policy([]),
    "infobip": Policy([]),
    "jasmin": Policy([30, 30, 30], 30, lambda status: status < 400),
    "kannel": Policy([]),
    "kumomta": Policy(_doubling(MINUTE, 20 * MINUTE, 24 * HOUR), ends=lambda status: status >= 500 and status != 503),
    # `delivered` is never repeated.
    "mailgun": Policy([]),
    "mailjet": Policy([30] * 2880, taken=lambda status: status == 200),
    "messagebird": Policy(_doubling(MINUTE, HOUR, 8 * HOUR)),
    "mmg": Policy([]),
    "plivo": Policy([60, 120, 240], taken=lambda status: status == 200),
    "postmark": Policy(
        [minutes * MINUTE for minutes in (1, 5, 10, 10, 10, 15)],
        taken=lambda status: status == 200,
        ends=_client_error(408, 429),
    ),
    "powermta": Policy([30.0] * 10_000),
    "resend": Policy([5, 5 * MINUTE, 30 * MINUTE, 2 * HOUR, 5 * HOUR, 10 * HOUR, 10 * HOUR], 15),
    "sendgrid": Policy(_doubling(MINUTE, HOUR, 24 * HOUR)),
    "ses": Policy(_doubling(1, 120, 2 * HOUR), 180, lambda status: status == 200, lambda status: status == 413),
    "sinch": Policy(_doubling(5, 81_920, 24 * HOUR), ends=_client_error(429)),
    "sparkpost": Policy(_doubling(MINUTE, HOUR, 8 * HOUR)),
    "telnyx": Policy([1, 1], 2.0),
    # As docs/gateway.md asks for in the fragment of the address; all of them fall within 15 s.
    "twilio": Policy([0.5] * 5, 15),
    "vonage": Policy(
        _doubling(5, 15 * MINUTE, 24 * HOUR), taken=lambda status: 200 <= status <= 205, ends=_client_error(429)
    ),
}

_PAIRS = {"sendgrid": private_keys.new_elliptic(), "telnyx": private_keys.new_ed25519()}
_SECRETS = {"resend": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "kannel": "key=s3cret"}


def secret_of(provider: str) -> str:
    """Give what a route of a provider has."""
    return _PAIRS[provider][1] if provider in _PAIRS else _SECRETS.get(provider, "user:s3cret")


def key_of(provider: str) -> str:
    """Give what a provider signs with."""
    return _PAIRS[provider][0] if provider in _PAIRS else secret_of(provider)


def way_of(provider: str) -> str:
    return "signature" if provider in SIGNATURES else "basic"


def route_of(provider: str, **more: str) -> str:
    told = {"provider": provider, "verify": way_of(provider), **more}
    lines = [f'{name} = "{value}"' for name, value in told.items()]
    return "\n".join(["[[routes]]", *lines, f"secrets = ['value:{secret_of(provider)}']", ""])


_numbers = itertools.count()


def signed_call(provider: str, query: str, address: str = "", payload: str = "") -> Call:
    """Give a call of now, with a query in its address."""
    told = payload.encode() or single_report(provider, None, f"m-{query}", datetime.now(timezone.utc)).payload
    call = call_with(provider, f"{address or f'{PUBLIC_URL}/hooks/{provider}'}?{query}", told)
    return sign(provider, way_of(provider), key_of(provider), call, Once(int(time.time()), f"n{next(_numbers)}"))


class Provider:
    """One provider, which reports of something every now and then.

    Args:
        scale: how many of its seconds are one of ours, as far as its pauses go.
    """

    def __init__(self, name: str, caller: Caller, scale: float) -> None:
        self.name, self._caller, self._scale = name, caller, scale
        self._policy = POLICIES[name]
        #: The numbers of calls that were answered as taken, and of those that it has given up.
        self.taken: list[str] = []
        self.given_up: list[str] = []
        self.answers: dict[int, int] = defaultdict(int)
        self._calls: set[asyncio.Task[None]] = set()

    async def report(self, pause: float) -> None:
        """Report, until cancelled; then end what is being repeated."""
        for number in itertools.count():
            call = asyncio.create_task(self._tell(f"call={self.name}-{number}"))
            self._calls.add(call)
            call.add_done_callback(self._calls.discard)
            await asyncio.sleep(pause)

    async def finish(self) -> None:
        """Wait until every call was taken, or given up."""
        if self._calls:
            await asyncio.gather(*self._calls)

    async def _tell(self, query: str) -> None:
        for pause in (*self._policy.pauses, None):
            # Who signs a time signs every attempt anew.
            status, body = await self._attempt(signed_call(self.name, query))
            if self._policy.taken(status) and DIALECTS[self.name].taken.body in (b"", body):
                self.taken.append(query)
                return
            if pause is None or (status and self._policy.ends(status)):
                break
            await asyncio.sleep(pause / self._scale)
        self.given_up.append(query)

    async def _attempt(self, call: Call) -> tuple[int, bytes]:
        """Give status and body of the answer; status 0: there was none."""
        try:
            status, body, _ = await asyncio.wait_for(self._caller.call(call), self._policy.timeout)
        except (aiohttp.ClientError, OSError, asyncio.TimeoutError):
            status, body = 0, b""
        self.answers[status] += 1
        return status, body
