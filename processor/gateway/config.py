"""The gateway's file: read, and checked as a whole, so that every fault is named at once.

Secrets are references: what they refer to is read anew whenever it is asked for, so that it can be changed.
"""

from __future__ import annotations

import difflib
import ipaddress
import re
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from processor.gateway.dialects import DIALECTS
from processor.gateway.verifiers import MAX_AGE, SHARED, SIGNATURES, secret_fault

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

#: The providers whose calls SNS may bring.
SNS_PROVIDERS = ("aws_eum_sms", "ses")
#: How a route may verify.
WAYS = ("signature", *SHARED)
#: What a call that is refused is answered.
REFUSALS = ("never", "again")
#: Why a provider has no route.
_NO_ROUTE = {"postfix": "it writes a log: `ingest` publishes it", "smpp": "it needs a session: an SMS gateway holds it"}

_ACCOUNT = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_TOPIC = re.compile(r"arn:aws[a-z-]*:sns:[a-z0-9-]+:[0-9]{12}:[A-Za-z0-9_.-]{1,256}")
_HOST = re.compile(r"(?P<host>\[[0-9A-Fa-f:.]+\]|[^\[\]:/\s]+):(?P<port>[0-9]{1,5})")
_MAX_PORT = 65_535


class ConfigError(Exception):
    """The file is wrong. `faults` names each, with its place."""

    def __init__(self, faults: Iterable[str]) -> None:
        self.faults = tuple(faults)
        super().__init__("\n".join(self.faults))


class Route(NamedTuple):
    """One provider's address, or one account's of it."""

    provider: str
    account: str = ""
    #: References: "file:PATH", "env:NAME" or "value:TEXT".
    secrets: tuple[str, ...] = ()
    verify: str = "signature"
    topics: tuple[str, ...] = ()
    #: Seconds that a signed time may be off.
    max_age: float = MAX_AGE
    #: What a call that is refused is answered: "again" while secrets are changed.
    refused: str = "never"
    #: Calls in a second; 0: any number.
    rate: float = 0

    @property
    def path(self) -> str:
        """The path of its address, behind that of the public one."""
        return f"/hooks/{self.provider}" + (f"/{self.account}" if self.account else "")


class Config(NamedTuple):
    """What the file says."""

    #: Where references to files begin.
    folder: Path
    host: str
    port: int
    #: Where operators look; providers never do.
    admin_host: str
    admin_port: int
    public_url: str
    spool: Path
    #: Records in a second that go from the spool to Kafka, beside new calls.
    replay_rate: float
    #: Calls at a time that have arrived whole, and connections.
    max_calls: int
    max_connections: int
    #: Files with a certificate chain and its key; None: a proxy speaks TLS.
    certificate: Path | None
    key: Path | None
    trusted_proxies: tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]
    routes: tuple[Route, ...]

    def address(self, route: Route) -> str:
        """Return the address of a route, as its provider is told it."""
        return self.public_url + route.path


def load(path: Path, environment: Mapping[str, str]) -> Config:
    """Read the file, and each secret once.

    Raises:
        ConfigError: with every fault of the file, and of its secrets.
    """
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError([f"it cannot be read: {error.strerror}"]) from None
    except ValueError as error:
        raise ConfigError([f"it is not TOML: {error}"]) from None
    faults: list[str] = []
    config = _config_of(_Table(table, "", faults), path.absolute().parent)
    for number, route in enumerate(config.routes, start=1):
        faults += _secret_faults(route, f"routes[{number}] ({route.provider}): ", config.folder, environment)
    faults += _tls_faults(config)
    if faults:
        raise ConfigError(faults)
    return config


def read_secret(reference: str, folder: Path, environment: Mapping[str, str]) -> str:
    """Read what a reference refers to, now.

    Raises:
        ConfigError: there is nothing.
    """
    kind, _, rest = reference.partition(":")
    try:
        found = {
            "file": lambda: (folder / rest).read_text(encoding="utf-8").strip(),
            "env": lambda: environment.get(rest, "").strip(),
            "value": lambda: rest,
        }[kind]()
    except KeyError:
        raise ConfigError(["a secret is none of file:PATH, env:NAME and value:TEXT"]) from None
    except (OSError, ValueError) as error:
        told = error.strerror if isinstance(error, OSError) else "it is no text"
        raise ConfigError([f"{reference} cannot be read: {told}"]) from None
    if not found:
        raise ConfigError([f"{reference if kind != 'value' else 'value:'} is empty"])
    return found


class _Table:
    """A table of the file: its values are taken by their names, and what is left over is a fault."""

    def __init__(self, table: Mapping[str, Any], place: str, faults: list[str]) -> None:
        self._left = dict(table)
        self._known: list[str] = []
        self._place = place
        self._faults = faults
        #: Names whose values have been named as faults, so that nothing that follows from it is.
        self.broken: set[str] = set()

    def fault(self, text: str) -> None:
        """Note a fault at this place."""
        self._faults.append(self._place + text)

    def _break(self, name: str, text: str) -> None:
        self.fault(f"{name} {text}")
        self.broken.add(name)

    def text(self, name: str, default: str = "", choices: tuple[str, ...] = ()) -> str:
        """Take a text; without a default it must be there."""
        self._known.append(name)
        value = self._left.pop(name, default)
        if not isinstance(value, str):
            self._break(name, "is no text")
            return default
        if choices and value not in choices:
            self.fault(f"{name} is {value!r:.60}, and none of {', '.join(choices)}")
            return default
        return value

    def texts(self, name: str) -> tuple[str, ...]:
        """Take a list of texts, which may be absent."""
        self._known.append(name)
        values = self._left.pop(name, [])
        if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
            self._break(name, "is no list of texts")
            return ()
        return tuple(values)

    def number(self, name: str, default: float, low: float, high: float, what: str) -> float:
        """Take a number of something, between two bounds."""
        self._known.append(name)
        value = self._left.pop(name, default)
        if type(value) not in (int, float) or not low <= value <= high:
            self.fault(f"{name} is no number of {what} from {low:g} to {high:g}")
            return default
        return float(value)

    def tables(self, name: str) -> Iterator[tuple[int, Mapping[str, Any]]]:
        """Take a list of tables, each with its number from 1."""
        self._known.append(name)
        values = self._left.pop(name, [])
        if not isinstance(values, list) or not all(isinstance(value, dict) for value in values):
            self._break(name, f"are no tables: each begins with [[{name}]]")
            return
        yield from enumerate(values, start=1)

    def under(self, place: str, table: Mapping[str, Any]) -> _Table:
        """Return a table inside this one."""
        return _Table(table, place, self._faults)

    def end(self) -> None:
        """Note each name that nobody has taken."""
        for name in self._left:
            near = difflib.get_close_matches(name, self._known, 1)
            self.fault(f"{name!r:.60} is not known" + (f": perhaps {near[0]}" if near else ""))


def _config_of(table: _Table, folder: Path) -> Config:
    host, port = _listen(table, "listen", "127.0.0.1:8081")
    admin_host, admin_port = _listen(table, "admin", "127.0.0.1:8082")
    config = Config(
        folder=folder,
        host=host,
        port=port,
        admin_host=admin_host,
        admin_port=admin_port,
        public_url=_public_url(table),
        spool=folder / table.text("spool", "gateway-spool.sqlite"),
        replay_rate=table.number("replay_rate", 2_000, 1, 1_000_000, "records in a second"),
        max_calls=int(table.number("max_calls", 2_000, 1, 100_000, "calls")),
        max_connections=int(table.number("max_connections", 2_000, 10, 100_000, "connections")),
        certificate=_file(table, "certificate", folder),
        key=_file(table, "key", folder),
        trusted_proxies=tuple(_networks(table)),
        routes=tuple(
            _route(table.under(f"routes[{number}] ({route.get('provider', '?')!s:.40}): ", route))
            for number, route in table.tables("routes")
        ),
    )
    table.end()
    if (config.certificate is None) != (config.key is None):
        table.fault("certificate and key belong together: one of them is missing")
    if not config.routes and "routes" not in table.broken:
        table.fault("no [[routes]]: nobody may call")
    twice = [path for path, times in Counter(route.path for route in config.routes).items() if times > 1]
    for path in twice:
        table.fault(f"more than one route {path}: one with several secrets, or an account each")
    return config


def _file(table: _Table, name: str, folder: Path) -> Path | None:
    text = table.text(name)
    return folder / text if text else None


def _listen(table: _Table, name: str, default: str) -> tuple[str, int]:
    text = table.text(name, default)
    found = _HOST.fullmatch(text)
    if name in table.broken:
        return "", 0
    if found is None or int(found["port"]) > _MAX_PORT:
        table.fault(f"{name} is {text!r:.60}, and no host:port")
        return "", 0
    return found["host"].strip("[]"), int(found["port"])


def _public_url(table: _Table) -> str:
    text = table.text("public_url")
    try:
        parts = urlsplit(text)
        fits = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        fits = False
    if "public_url" not in table.broken and (not fits or re.search(r"[?#@\s]", text)):
        table.fault("public_url is no address as providers were told it: https://host, with a path at most")
    return text.rstrip("/")


def _networks(table: _Table) -> Iterator[ipaddress.IPv4Network | ipaddress.IPv6Network]:
    for text in table.texts("trusted_proxies"):
        try:
            yield ipaddress.ip_network(text, strict=False)
        except ValueError:
            table.fault(f"trusted_proxies: {text!r:.60} is neither an address nor a network")


def _route(table: _Table) -> Route:
    provider = table.text("provider")
    signs = provider in SIGNATURES
    route = Route(
        provider=provider,
        account=table.text("account"),
        secrets=table.texts("secrets"),
        verify=table.text("verify", "signature", WAYS),
        topics=table.texts("topics"),
        max_age=table.number("max_age", MAX_AGE, 1, 30 * 86_400, "seconds"),
        refused=table.text("refused", "never", REFUSALS),
        rate=table.number("rate", 0, 0, 1_000_000, "calls in a second"),
    )
    table.end()
    if provider not in DIALECTS:
        table.fault(_NO_ROUTE.get(provider) or f"provider is none of {', '.join(DIALECTS)}")
        return route
    if route.account and not _ACCOUNT.fullmatch(route.account):
        table.fault("account is no name of letters, digits, '_', '.' and '-'")
    if not signs and route.verify == "signature":
        table.fault(f"{provider} signs nothing: verify is to be one of {', '.join(SHARED)}")
    _check_topics(table, route)
    if route.verify == "none" and route.secrets:
        table.fault("verify is none, but there are secrets: leave one of the two out")
    if route.verify != "none" and not (route.secrets or (route.topics and route.verify == "signature") or table.broken):
        table.fault('no secrets: whoever may call unverified is to be told so by verify = "none"')
    return route


def _check_topics(table: _Table, route: Route) -> None:
    if route.topics and route.provider not in SNS_PROVIDERS:
        table.fault(f"topics are of SNS: of {' and '.join(SNS_PROVIDERS)}")
    for topic in route.topics:
        if not _TOPIC.fullmatch(topic):
            table.fault(f"topics: {topic!r:.80} is no ARN of an SNS topic")


def _tls_faults(config: Config) -> Iterator[str]:
    if config.certificate is None or config.key is None:
        return
    from processor.gateway.tls import Tls  # noqa: PLC0415 - most files name none

    try:
        Tls(config.certificate, config.key)
    except OSError as error:
        yield f"certificate, key: they cannot be used: {error.strerror or error}"


def _secret_faults(route: Route, place: str, folder: Path, environment: Mapping[str, str]) -> Iterator[str]:
    for number, reference in enumerate(route.secrets, start=1):
        try:
            secret = read_secret(reference, folder, environment)
        except ConfigError as error:
            yield from (f"{place}secrets[{number}]: {fault}" for fault in error.faults)
            continue
        fault = secret_fault(route.provider, route.verify, secret)
        if fault:
            yield f"{place}secrets[{number}]: {fault}"
