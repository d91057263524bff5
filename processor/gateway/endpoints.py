"""The addresses that are served: of each its dialect, what it trusts, and where its records go."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from processor.gateway.config import Config, ConfigError, Route, read_secret
from processor.gateway.dialects import DIALECTS, Dialect
from processor.gateway.verifiers import SHARED, SIGNATURES, Scheme, Trust, secret_fault
from processor.logs import get_logger
from processor.metrics import Provider
from processor.providers import ADAPTERS
from processor.settings import Settings
from processor.wire.topics import RAW_TOPICS

log = get_logger(__name__)


class Endpoint(NamedTuple):
    """One route, as it is served."""

    route: Route
    provider: Provider
    dialect: Dialect
    schemes: tuple[Scheme, ...]
    #: The full name of the topic of its records.
    topic: str
    #: Headers of its records that are the same for all.
    headers: tuple[tuple[str, bytes], ...]
    #: With the secrets as they were read last.
    trust: Trust


class Endpoints:
    """All routes of a file, by their paths.

    Raises:
        ConfigError: a secret cannot be read.
    """

    def __init__(self, config: Config, settings: Settings, environment: Mapping[str, str]) -> None:
        self._config, self._environment = config, environment
        self._by_path = {route.path: _endpoint(route, settings, self._trust_of(route)) for route in config.routes}

    def find(self, path: str) -> Endpoint | None:
        """Return what is served at a path, which is compared as it came."""
        return self._by_path.get(path)

    def __iter__(self) -> Iterator[Endpoint]:
        return iter(self._by_path.values())

    def read_secrets(self) -> None:
        """Read all secrets again; those of a route that cannot be read stay as they were."""
        for path, endpoint in self._by_path.items():
            try:
                trust = self._trust_of(endpoint.route)
            except ConfigError as error:
                log.warning("secret_unreadable", route=path, reason=str(error))
                continue
            if trust.secrets != endpoint.trust.secrets:
                log.info("secrets_read", route=path, secrets=len(trust.secrets))
                self._by_path[path] = endpoint._replace(trust=trust)

    def _trust_of(self, route: Route) -> Trust:
        secrets = []
        for reference in route.secrets:
            secret = read_secret(reference, self._config.folder, self._environment)
            fault = secret_fault(route.provider, route.verify, secret)
            if fault:
                raise ConfigError([fault])
            secrets.append(secret)
        return Trust(secrets=tuple(secrets), max_age=route.max_age, topics=route.topics)


def _endpoint(route: Route, settings: Settings, trust: Trust) -> Endpoint:
    headers = [("provider", route.provider.encode())]
    if route.account:
        headers.append(("account", route.account.encode()))
    return Endpoint(
        route=route,
        provider=Provider(route.provider),
        dialect=DIALECTS[route.provider],
        schemes=SIGNATURES[route.provider] if route.verify == "signature" else (SHARED[route.verify],),
        topic=settings.topic(RAW_TOPICS[ADAPTERS[route.provider].channel]),
        headers=tuple(headers),
        trust=trust,
    )
