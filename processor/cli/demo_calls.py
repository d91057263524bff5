"""The demo's gateway, and the simulated providers that call it, each call signed as that provider signs."""

from __future__ import annotations

import asyncio
import os
import secrets
import socket
import time
from pathlib import Path
from random import Random

import aiohttp
from yarl import URL

from processor.demo.simulate import Record
from processor.engine.bounds import end
from processor.gateway.config import load
from processor.gateway.private_keys import new_elliptic
from processor.gateway.running import Gateway
from processor.gateway.signing import Once, call_with, sign
from processor.gateway.verifiers import Call
from processor.settings import Settings

#: Who calls; the others' reports are published as they are. Mailgun and those of the faults are not among them: what
#: is told of them here is told of Kafka.
CALLERS = ("resend", "sendgrid", "sinch", "twilio", "vonage")

_HOST, _PORT, _ADMIN_PORT = "127.0.0.1", 8081, 8082

#: Calls at a time, and in how many one is a stranger's, who does not know the secret.
_AT_A_TIME = 20
_STRANGERS = 0.002

#: Seconds after which a call that was not taken is made again; more often than so many times, none is.
_AGAIN_SECONDS = (1.0, 5.0, 20.0)
#: Seconds that are waited for calls in hand at the end.
_LAST_SECONDS = 10.0


class Calls:
    """A gateway of the demo's own, in this process, and calls to it.

    Args:
        settings: where the brokers are, and what topics are called.
        folder: for its file and its spool; the caller's to remove.
        seed: of what strangers do.
    """

    def __init__(self, settings: Settings, folder: Path, seed: int) -> None:
        self._settings = settings
        self.file = folder / "gateway.toml"
        self._rng = Random(f"{seed} calls")  # noqa: S311 - a simulation must be repeatable, not secret
        self._secrets = {provider: secrets.token_hex(16) for provider in CALLERS}
        self._secrets["resend"] = f"whsec_{secrets.token_hex(16)}"
        # Who has the private key signs; the route knows the public one.
        self._secrets["sendgrid"], self._public_key = new_elliptic()
        self._slots = asyncio.Semaphore(_AT_A_TIME)
        self._calling: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Write the gateway's file, and serve."""
        port, admin_port = _free(_PORT), _free(_ADMIN_PORT)
        self.address, self.admin = f"http://{_HOST}:{port}", f"http://{_HOST}:{admin_port}"
        lines = [
            f'listen = "{_HOST}:{port}"',
            f'admin = "{_HOST}:{admin_port}"',
            f'public_url = "{self.address}"',
        ]
        for provider in CALLERS:
            secret = self._public_key if provider == "sendgrid" else self._secrets[provider]
            lines += ["", "[[routes]]", f'provider = "{provider}"', f'secrets = ["value:{secret}"]']
        self.file.write_text("\n".join(lines) + "\n", encoding="utf-8")
        self._gateway = Gateway(load(self.file, os.environ), self._settings, os.environ)
        await self._gateway.start()
        self._session = aiohttp.ClientSession()

    async def settle(self) -> None:
        """Wait for the calls in hand, but not for long."""
        if self._calling:
            await asyncio.wait(self._calling, timeout=_LAST_SECONDS)

    async def stop(self) -> None:
        """Call no more, and stop the gateway."""
        await end(self._calling)
        await self._session.close()
        await self._gateway.stop()

    def takes(self, record: Record) -> bool:
        """Return whether a record is brought by a call: not what has been broken on its way, for nobody signs that."""
        return _provider(record) in CALLERS and record.disorder not in {"garbage", "truncated"}

    def call(self, record: Record) -> None:
        """Call with a record's payload, soon; calls may overtake each other, as they do."""
        calling = asyncio.ensure_future(self._call(_provider(record), record.value))
        self._calling.add(calling)
        calling.add_done_callback(self._calling.discard)

    async def _call(self, provider: str, payload: bytes) -> None:
        async with self._slots:
            if self._rng.random() < _STRANGERS:
                stranger = new_elliptic()[0] if provider == "sendgrid" else "whsec_c3RyYW5nZXI="
                await self._send(self._signed(provider, stranger, payload))
            for pause in (*_AGAIN_SECONDS, None):
                # Each time it is signed anew.
                if await self._send(self._signed(provider, self._secrets[provider], payload)) or pause is None:
                    return
                await asyncio.sleep(pause)

    def _signed(self, provider: str, secret: str, payload: bytes) -> Call:
        call = call_with(provider, f"{self.address}/hooks/{provider}", payload)
        return sign(provider, "signature", secret, call, Once(int(time.time()), secrets.token_hex(16)))

    async def _send(self, call: Call) -> bool:
        """Send a call; return whether it need not come again."""
        headers = {name: value for name, values in call.headers.items() for value in values}
        try:
            async with self._session.request(
                call.method, URL(call.url, encoded=True), headers=headers, data=call.body or None
            ) as response:
                return response.status < 500
        except aiohttp.ClientError:
            return False


def _provider(record: Record) -> str:
    return dict(record.headers).get("provider", b"").decode()


def _free(port: int) -> int:
    """Return a port if it is free, else any that is: a demo should not fail for it."""
    with socket.socket() as trial:
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trial.bind((_HOST, port))
        except OSError:
            trial.bind((_HOST, 0))
        found: int = trial.getsockname()[1]
        return found
