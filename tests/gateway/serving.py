"""A gateway as a process of its own, and calls as they come over the network."""

import io
import json
from pathlib import Path
from typing import Any

import aiohttp
from yarl import URL

from processor.gateway.verifiers import Call
from tests.engine.harness import Trial, WorkerProcess

PUBLIC_URL = "https://hooks.example.com"


def written(folder: Path, routes: str, **keys: Any) -> Path:
    """Write a gateway's file: at any free ports, but for what is said of it."""
    file = folder / "gateway.toml"
    told = {"listen": "127.0.0.1:0", "admin": "127.0.0.1:0", "public_url": PUBLIC_URL, **keys}
    lines = [f"{name} = {json.dumps(value)}" for name, value in told.items()]
    file.write_text("\n".join([*lines, routes]), encoding="utf-8")
    return file


class GatewayProcess(WorkerProcess):
    """`delivery-status gateway` as a process of its own; as a worker, it tells where it listens."""

    def __init__(self, trial: Trial, folder: Path, routes: str, **keys: Any) -> None:
        file = written(folder, routes, **keys)
        self.arguments = ("gateway", "--config", str(file))
        super().__init__(trial.environment, folder / f"gateway-{len(trial.workers)}.log")
        trial.workers.append(self)

    async def _port(self, name: str) -> int:
        async def started() -> list[dict[str, Any]]:
            assert self.exit_code is None, self.log_text()
            return self.log("gateway_started")

        return int((await Trial.eventually(started, "the gateway serves"))[0][name])

    async def address(self) -> str:
        return f"http://127.0.0.1:{await self._port('admin_port')}"

    async def public_address(self) -> str:
        return f"http://127.0.0.1:{await self._port('port')}"

    async def ready(self) -> None:
        """Wait until it serves, and Kafka has been seen."""

        async def is_connected() -> list[dict[str, Any]]:
            assert self.exit_code is None, self.log_text()
            return self.log("outlet_connected")

        await self._port("port")
        await Trial.eventually(is_connected, "the gateway is connected")


class Caller:
    """Calls a gateway as providers do, through a proxy that leaves the address as it is."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._session = aiohttp.ClientSession(auto_decompress=False)

    async def __aenter__(self) -> "Caller":  # noqa: PYI034 - Self is not in Python 3.10
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._session.close()

    async def call(self, call: Call) -> tuple[int, bytes, Any]:
        """Send a call; give status, body and headers of the answer."""
        target = URL(self.address + call.url.removeprefix(PUBLIC_URL), encoded=True)
        headers = [(name, value) for name, values in call.headers.items() for value in values]
        # A large body as bytes would be warned of.
        body = io.BytesIO(call.body) if len(call.body) > 2**20 else call.body or None
        async with self._session.request(
            call.method, target, headers=headers, data=body, skip_auto_headers=("Content-Type",)
        ) as response:
            return response.status, await response.read(), response.headers
