"""Run a gateway: everything that it consists of, put together."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import NamedTuple

from processor.domain.moment import Millis, to_micros
from processor.engine.bounds import closed, end
from processor.engine.outlet import Outlet
from processor.gateway.calls import Calls
from processor.gateway.config import Config
from processor.gateway.endpoints import Endpoints
from processor.gateway.keeper import Keeper
from processor.gateway.receiver import Limits, Receiver
from processor.gateway.server import AdminServer, PublicServer
from processor.gateway.shared_spool import SharedSpool
from processor.gateway.spool import Spool
from processor.gateway.subscriptions import Sns
from processor.gateway.tls import Tls
from processor.installed import commit
from processor.logs import get_logger
from processor.metrics import GatewayMetrics
from processor.serving.proxies import Proxies
from processor.settings import Settings
from processor.views.gateways import GatewayReport

log = get_logger(__name__)

#: Seconds between two readings of secrets and certificate.
_RENEW_SECONDS = 5.0


class Addresses(NamedTuple):
    """Where a gateway listens: ports, of which 0 in its file is any."""

    public: int
    admin: int


class Gateway:
    """A gateway.

    Args:
        config: its file.
        settings: where the brokers are, and what topics are called.
        environment: where secrets may be.
        subscriptions: asks SNS.

    Raises:
        ConfigError: a secret cannot be read.
    """

    def __init__(
        self, config: Config, settings: Settings, environment: Mapping[str, str], subscriptions: Sns | None = None
    ) -> None:
        self._config = config
        self.metrics = GatewayMetrics(commit(settings.commit))
        self._endpoints = Endpoints(config, settings, environment)
        self._spool = Spool(config.spool)
        self._outlet = Outlet(settings, sorted({endpoint.topic for endpoint in self._endpoints}))
        self._keeper = Keeper(self._outlet, SharedSpool(self._spool), config.replay_rate)
        self._calls = Calls(config.routes, self.metrics)
        self._sns = subscriptions or Sns()
        limits = Limits(settings.max_record_bytes, config.max_calls)
        receiver = Receiver(self._keeper, self._sns, self._calls, limits)
        proxies = Proxies(config.trusted_proxies)
        self._public = PublicServer(self._endpoints, receiver, config.public_url, proxies, config.max_connections)
        self._admin = AdminServer(self.metrics, lambda: self._public.late, self._problems, self._report)
        self._tls = None if config.certificate is None or config.key is None else Tls(config.certificate, config.key)
        self._works: list[asyncio.Task[None]] = []
        self.metrics.spool_bytes.set_function(lambda: self._spool.octets)
        self.metrics.spool_records.set_function(lambda: self._spool.records)
        self.metrics.spool_oldest.set_function(self._spool_age)

    async def start(self) -> Addresses:
        """Serve; whether or not Kafka is there.

        Raises:
            OSError: an address cannot be bound.
            SpoolError: the spool cannot be opened.
        """
        await self._keeper.open()
        self._works = [
            asyncio.create_task(work)
            for work in (self._outlet.run(), self._keeper.replay(), self._keeper.watch(), self._renew())
        ]
        addresses = Addresses(
            await self._public.start(
                self._config.host, self._config.port, None if self._tls is None else self._tls.context
            ),
            await self._admin.start(self._config.admin_host, self._config.admin_port),
        )
        log.info("gateway_started", port=addresses.public, admin_port=addresses.admin, spooled=self._spool.records)
        return addresses

    async def run(self, stop: asyncio.Event) -> None:
        """Serve, once started, until `stop` is set; raise what ended a part of it by itself."""
        stopping = asyncio.create_task(stop.wait())
        try:
            await asyncio.wait([*self._works, stopping], return_when=asyncio.FIRST_COMPLETED)
            for work in self._works:
                if work.done():
                    work.result()
        finally:
            await end([stopping])
            await self.stop()

    async def stop(self) -> None:
        """Answer the calls that are there, and stop; what is on disk stays there."""
        await closed("public server", self._public.stop(), 15.0)
        await end(self._works)
        await closed("spool", self._keeper.close())
        await closed("SNS", self._sns.close())
        await closed("admin server", self._admin.stop())
        log.info("gateway_stopped", spooled=self._spool.records)

    async def _renew(self) -> None:
        """Read secrets and certificate again and again, so that they can be changed without a restart."""
        while True:
            await asyncio.sleep(_RENEW_SECONDS)
            self._endpoints.read_secrets()
            if self._tls is not None:
                self._tls.renew()

    def _problems(self) -> list[str]:
        """Return what keeps calls from being taken: Kafka's absence does not, as long as the spool takes them."""
        return [f"the spool fails: {self._keeper.problem}"] if self._keeper.problem else []

    def _report(self) -> GatewayReport:
        oldest = self._spool.oldest_received
        return GatewayReport(self._calls.reports(), self._spool.records, to_micros(Millis(oldest)) if oldest else None)

    def _spool_age(self) -> float:
        oldest = self._spool.oldest_received
        return max(0.0, time.time() - oldest / 1000) if oldest else 0.0
