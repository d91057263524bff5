"""Settings: environment variables, all validated at once; each problem is named with its remedy.

`Settings` holds the defaults, `FIELDS` the parser (parsers.py) and the help of each; docs/settings.md is generated from
both.
"""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Any, NamedTuple

from processor.domain.status import Channel, Status
from processor.domain.traits import STUCK_AFTER, SuccessFrom
from processor.settings import parsers
from processor.users import Role
from processor.wire.topics import Topic

PREFIX = "DELIVERY_"

#: Names under our prefix that are not settings of the processor: those of the Makefile and of the tests.
FOREIGN_NAMES = frozenset({"DELIVERY_TEST_SEED"})

SECURITY_PROTOCOLS = ("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL")
SASL_MECHANISMS = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")
UNLINKED = ("show", "hold")
MESSAGE_ID_COVERS = ("recipient", "send")
STORES = ("memory", "rocksdb")
LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")
LOG_FORMATS = ("auto", "json", "console")


class SettingsError(Exception):
    """Settings are wrong. `problems` names each with its remedy."""

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(self.problems))


@dataclass(frozen=True)
class Settings:
    """The settings with their defaults; FIELDS has the help of each."""

    brokers: str = "localhost:9092"
    app_id: str = "delivery-status"
    topic_prefix: str = "delivery."
    shadow_of: str = ""
    partitions: int = 8
    replication_factor: int = -1
    provider_by_topic: Mapping[str, str] | None = None
    message_id_names: tuple[str, ...] = ("message_id",)
    delivery_id_names: tuple[str, ...] = ("delivery_id",)
    attempt_names: tuple[str, ...] = ("attempt",)
    message_id_covers: str = "recipient"
    smpp_receipts_by_text: bool = False
    smpp_id_notations: Mapping[str, str] | None = None
    http_host: str = "127.0.0.1"
    http_port: int = 8080
    http_allowed_hosts: tuple[str, ...] = ()
    trusted_proxies: tuple[IPv4Network | IPv6Network, ...] = ()
    advertised_url: str = ""
    gateways: tuple[str, ...] = ()
    read_token: str = field(default="", repr=False)
    write_token: str = field(default="", repr=False)
    internal_token: str = field(default="", repr=False)
    users_file: Path | None = None
    user_proxies: tuple[IPv4Network | IPv6Network, ...] = ()
    user_roles: Mapping[str, Role] | None = None
    sign_out_url: str = ""
    security_protocol: str = "PLAINTEXT"
    sasl_mechanism: str = "PLAIN"
    sasl_username: str = ""
    sasl_password: str = field(default="", repr=False)
    tls_ca_file: Path | None = None
    tls_certificate_file: Path | None = None
    tls_key_file: Path | None = None
    tls_key_password: str = field(default="", repr=False)
    tls_check_hostname: bool = True
    store: str = "memory"
    store_path: str = "delivery-store"
    store_cache_mib: int = 256
    index: tuple[str, ...] = parsers.INDEXES
    unlinked: str = "show"
    link_wait: float = 7 * 86_400.0
    retention: float = 30 * 86_400.0
    addresses_key: str = field(default="", repr=False)
    chunk_records: int = 4_000
    max_record_bytes: int = 1_000_000
    concurrency_limit: int = 10
    success_from: str = "taken"
    session_timeout: float = 10.0
    commit_timeout: float = 30.0
    stall_timeout: float = 120.0
    stuck_after: Mapping[tuple[Channel, Status], float] = field(default_factory=lambda: dict(STUCK_AFTER))
    trace: bool = False
    log_level: str = "INFO"
    log_format: str = "auto"
    commit: str = "unknown"

    @property
    def workers_token(self) -> str:
        """The shared secret that signs requests between workers; empty: there is none."""
        return self.internal_token or self.write_token

    @property
    def asks_who_reads(self) -> bool:
        """Whether reading needs a token, or a proxy's word, on this machine too."""
        return bool(self.read_token or self.users_file or self.user_roles)

    @property
    def uses_tls(self) -> bool:
        """Whether connections to the brokers are encrypted."""
        return self.security_protocol in {"SSL", "SASL_SSL"}

    @property
    def uses_sasl(self) -> bool:
        """Whether connections to the brokers authenticate with SASL."""
        return self.security_protocol.startswith("SASL_")

    def topic(self, topic: Topic) -> str:
        """Return the full name of a topic, with the prefix of this installation or of the live one."""
        return (self.shadow_of if topic.is_live else self.topic_prefix) + topic.name


class Field(NamedTuple):
    """One setting: its parser and its help."""

    parse: Callable[[str], Any]
    meaning: str
    is_secret: bool = False
    #: Whether it affects the result of an event, so that all workers of a group must agree on it.
    is_shared: bool = False


FIELDS: dict[str, Field] = {
    "brokers": Field(parsers.brokers, "Bootstrap brokers of Kafka, `host:port` separated by commas."),
    "app_id": Field(
        parsers.text, "Consumer group and prefix of every transactional id; workers that share work share it."
    ),
    "topic_prefix": Field(parsers.topic_prefix, "Prefix of the names of all topics.", is_shared=True),
    "shadow_of": Field(
        parsers.topic_prefix,
        "Prefix of the live topics, if this worker is their *shadow*: it reads what others publish there, and writes "
        "nothing there. Empty: it is no shadow.",
        is_shared=True,
    ),
    "partitions": Field(
        parsers.whole(1, 10_000), "Partitions of each topic that `topics create` creates; cannot be changed later."
    ),
    "replication_factor": Field(
        parsers.whole(-1, 100), "Replicas of each topic that `topics create` creates; -1: the broker's default."
    ),
    "provider_by_topic": Field(
        parsers.pairs,
        "Provider of records without the header `provider`, by topic: `delivery.mta.v1=kumomta`.",
        is_shared=True,
    ),
    "message_id_names": Field(parsers.names, "Names of your message id in providers' metadata.", is_shared=True),
    "delivery_id_names": Field(parsers.names, "Names of your delivery id in providers' metadata.", is_shared=True),
    "attempt_names": Field(
        parsers.names, "Names of your attempt number, 1 to 99, in providers' metadata.", is_shared=True
    ),
    "message_id_covers": Field(
        parsers.one_of(*MESSAGE_ID_COVERS),
        "Whether your message id identifies one `recipient` or a whole `send`.",
        is_shared=True,
    ),
    "smpp_receipts_by_text": Field(
        parsers.yes_no,
        "Whether to recognize receipts by their text alone, although esm_class says that the deliver_sm is a message.",
        is_shared=True,
    ),
    "smpp_id_notations": Field(
        parsers.notations,
        "SMS centres whose receipts have ids in another notation than their submit_sm_resp, by account: "
        "`north=decimal/hex` if submit_sm_resp has decimal and receipts have hex; without an account, like "
        "`hex/decimal`, it applies to records without the header `account`.",
        is_shared=True,
    ),
    "http_host": Field(parsers.text, "Address that the HTTP server (page, API, metrics, health) binds to."),
    "http_port": Field(parsers.whole(0, 65_535), "Port of the HTTP server; 0: any free port, which the log names."),
    "http_allowed_hosts": Field(
        parsers.hosts,
        "Host names to answer to, besides addresses, localhost, this host's name and the one of "
        "DELIVERY_ADVERTISED_URL: `status.example.com,.svc.cluster.local`; `*`: any.",
    ),
    "trusted_proxies": Field(
        parsers.networks,
        "Addresses or networks of proxies whose X-Forwarded-Proto and X-Forwarded-For are trusted: `10.0.0.0/8`.",
    ),
    "advertised_url": Field(
        parsers.origin,
        "URL at which other workers reach this one, `http://host:port`; empty: the address, or this host's name.",
    ),
    "gateways": Field(
        parsers.origins,
        "Addresses of the gateways' admin servers, for the page's section on providers' calls: "
        "`http://gateway:8082`; a name with several addresses stands for several gateways.",
    ),
    "read_token": Field(
        parsers.token, "Token required to read page and API; without one, only this machine may read.", is_secret=True
    ),
    "write_token": Field(
        parsers.token,
        "Token required to cancel and control deliveries and to see whole recipients; without one, nobody may.",
        is_secret=True,
    ),
    "internal_token": Field(
        parsers.token,
        "Shared secret that signs requests between workers, equal on all; empty: the write token.",
        is_secret=True,
    ),
    "users_file": Field(
        parsers.users_file,
        "File with the users: names, roles and hashes of their tokens (docs/security.md). It is read again when it "
        "changes.",
    ),
    "user_proxies": Field(
        parsers.networks,
        "Addresses or networks of proxies that sign users in, and whose X-Forwarded-User and X-Forwarded-Groups are "
        "believed: `10.0.0.7`; with DELIVERY_USER_ROLES.",
    ),
    "user_roles": Field(
        parsers.user_roles,
        "Roles of the groups that these proxies name: `support=reader,leads=unmasked_reader,ops=operator`; `*`: of "
        "whoever is signed in.",
    ),
    "sign_out_url": Field(
        parsers.link, "Where these users sign out at the proxy, for a link of the page: `/oauth2/sign_out`, or a URL."
    ),
    "security_protocol": Field(parsers.one_of(*SECURITY_PROTOCOLS), f"One of {', '.join(SECURITY_PROTOCOLS)}."),
    "sasl_mechanism": Field(parsers.one_of(*SASL_MECHANISMS), f"One of {', '.join(SASL_MECHANISMS)}."),
    "sasl_username": Field(parsers.optional_text, "SASL user name for the brokers."),
    "sasl_password": Field(parsers.optional_text, "SASL password for the brokers.", is_secret=True),
    "tls_ca_file": Field(parsers.file, "CA certificates (PEM) to trust; empty: the system's."),
    "tls_certificate_file": Field(parsers.file, "Client certificate chain (PEM), if brokers require one."),
    "tls_key_file": Field(parsers.file, "Private key (PEM) of the client certificate, if it is not in the same file."),
    "tls_key_password": Field(parsers.optional_text, "Password of the private key.", is_secret=True),
    "tls_check_hostname": Field(parsers.yes_no, "Whether a broker's certificate must match its host name."),
    "store": Field(
        parsers.one_of(*STORES),
        "Where rows are kept besides Kafka: `memory`, or `rocksdb` if they do not fit into memory.",
    ),
    "store_path": Field(parsers.text, "Folder of the rocksdb store, with one folder for each partition."),
    "store_cache_mib": Field(parsers.whole(8, 1_048_576), "Memory limit of the rocksdb store in this process, in MiB."),
    "index": Field(
        parsers.indexes,
        "What messages are listed and found by: `delivery` (with status and time), `recipient`, `provider_message_id`; "
        "`none`: by their ids only.",
    ),
    "unlinked": Field(
        parsers.one_of(*UNLINKED),
        "What happens to a receipt that has only the provider's id until its link arrives: `show` it under that id, or "
        "`hold` it back.",
        is_shared=True,
    ),
    "link_wait": Field(
        parsers.duration,
        "How long such a receipt waits for its link: `7d`; 0: it does not wait, and links have no effect.",
        is_shared=True,
    ),
    "retention": Field(
        parsers.duration,
        "How long a message with a final status is kept after its last event, by event time: `30d`; 0: for ever.",
        is_shared=True,
    ),
    "addresses_key": Field(
        parsers.token,
        "Secret that addresses are hashed under in the feed of quarantined addresses; whoever reads the feed needs it. "
        "Empty: there is no feed.",
        is_secret=True,
        is_shared=True,
    ),
    "chunk_records": Field(parsers.whole(1, 100_000), "Maximum number of records of one partition in one transaction."),
    "max_record_bytes": Field(
        parsers.whole(1_000, 3_500_000), "Maximum size of a record; a larger one becomes a dead letter.", is_shared=True
    ),
    "concurrency_limit": Field(
        parsers.whole(1, 1_000_000),
        "Deliveries that your sending system runs at the same time; explains why others are pending.",
    ),
    "success_from": Field(
        parsers.one_of(*[each.value for each in SuccessFrom]),
        "From where on a message is a success: `taken` into account by the provider, as Adobe counts, or `sent`. What "
        "is processed is the same.",
    ),
    "session_timeout": Field(
        parsers.seconds(6, 300), "Seconds without a heartbeat after which a worker's partitions are assigned to others."
    ),
    "commit_timeout": Field(
        parsers.seconds(1, 600), "Seconds after which a transaction is aborted and its partition reopened."
    ),
    "stall_timeout": Field(
        parsers.seconds(1, 3_600),
        "Seconds with lag and without a commit, or out of the group, after which the worker ends itself.",
    ),
    "stuck_after": Field(
        parsers.stuck_after,
        "Time in a status after which a message is stuck: `email.pending=90m,sms.sent=off`; others keep "
        "their defaults.",
    ),
    "trace": Field(
        parsers.yes_no,
        "Whether `traceparent` and `tracestate` headers are copied from payloads to events and from events to rows.",
    ),
    "log_level": Field(parsers.one_of(*LOG_LEVELS), f"One of {', '.join(LOG_LEVELS)}."),
    "log_format": Field(parsers.one_of(*LOG_FORMATS), "`json`, `console`, or `auto`: console on a terminal."),
    "commit": Field(
        parsers.commit,
        "Commit that the program was built from, for `delivery_build_info`; the image sets it. `unknown`: that of the "
        "package, or of the clone that it runs in.",
    ),
}


def load(environment: Mapping[str, str]) -> Settings:
    """Read the settings from an environment.

    A variable that is set to nothing counts as not set. A secret may be given as the content of a file that
    `NAME_FILE` names.

    Raises:
        SettingsError: with every problem at once.
    """
    problems: list[_Problem] = []
    values: dict[str, Any] = {}
    for name, text in _given(environment, problems).items():
        try:
            values[name] = FIELDS[name].parse(text)
        except ValueError as error:
            shown = "" if FIELDS[name].is_secret else f" is {text!r}, but"
            problems.append(_Problem({name}, f"{PREFIX}{name.upper()}{shown} {error}"))
    wrong = {name for problem in problems for name in problem.names}
    settings = Settings(**values)
    # A conflict with the default that stands in for a wrong value is none.
    problems.extend(conflict for conflict in _conflicts(settings) if wrong.isdisjoint(conflict.names))
    if problems:
        raise SettingsError(problem.text for problem in problems)
    return settings


class _Problem(NamedTuple):
    """A problem, and the settings that it concerns."""

    names: set[str]
    text: str


def _given(environment: Mapping[str, str], problems: list[_Problem]) -> dict[str, str]:
    given: dict[str, str] = {}
    for variable, text in sorted(environment.items()):
        if not variable.startswith(PREFIX) or variable in FOREIGN_NAMES or not text:
            continue
        name = variable.removeprefix(PREFIX).lower()
        secret = name.removesuffix("_file")
        if name in FIELDS:
            given[name] = text
        elif secret not in FIELDS or not FIELDS[secret].is_secret:
            problems.append(_Problem(set(), f"{variable} is no setting{_hint(name)}"))
        elif secret in given:
            detail = f"{PREFIX}{secret.upper()} and {variable} are both set, but only one may be"
            problems.append(_Problem({secret}, detail))
        else:
            try:
                given[secret] = _secret(text)
            except ValueError as error:
                problems.append(_Problem({secret}, f"{variable} {error}"))
    return given


def _secret(path: str) -> str:
    # No text here shows the path: it is the secret if the two variables were confused.
    try:
        secret = Path(path).read_text(encoding="utf-8").rstrip("\r\n")
    except OSError as error:
        raise ValueError(f"names a file that cannot be read: {error.strerror}") from None
    except ValueError:
        raise ValueError("names a file that is not text in UTF-8") from None
    if not secret:
        raise ValueError("names a file that is empty")
    return secret


def _hint(name: str) -> str:
    near = difflib.get_close_matches(name, FIELDS, n=1)
    return f"; did you mean {PREFIX}{near[0].upper()}?" if near else "; docs/settings.md has all of them"


def _conflicts(settings: Settings) -> Iterable[_Problem]:
    if settings.uses_sasl and not (settings.sasl_username and settings.sasl_password):
        yield _Problem(
            {"security_protocol", "sasl_username", "sasl_password"},
            f"DELIVERY_SECURITY_PROTOCOL is {settings.security_protocol!r}, so DELIVERY_SASL_USERNAME and "
            "DELIVERY_SASL_PASSWORD (or DELIVERY_SASL_PASSWORD_FILE) must be set",
        )
    if not settings.uses_sasl and settings.sasl_username:
        yield _Problem(
            {"security_protocol"},
            "DELIVERY_SASL_USERNAME is set, so DELIVERY_SECURITY_PROTOCOL must be SASL_SSL or SASL_PLAINTEXT",
        )
    if not settings.uses_tls and (settings.tls_ca_file or settings.tls_certificate_file):
        yield _Problem(
            {"security_protocol"},
            "DELIVERY_TLS_CA_FILE or _CERTIFICATE_FILE is set, so DELIVERY_SECURITY_PROTOCOL must be SSL or SASL_SSL",
        )
    if settings.tls_key_file and not settings.tls_certificate_file:
        yield _Problem(
            {"tls_certificate_file"}, "DELIVERY_TLS_KEY_FILE is set, so DELIVERY_TLS_CERTIFICATE_FILE must be set"
        )
    if settings.read_token and settings.read_token in {settings.write_token, settings.internal_token}:
        yield _Problem(
            {"read_token", "write_token", "internal_token"},
            "DELIVERY_READ_TOKEN must differ from DELIVERY_WRITE_TOKEN and DELIVERY_INTERNAL_TOKEN, "
            "or readers could write",
        )
    if bool(settings.user_proxies) is not bool(settings.user_roles):
        yield _Problem(
            {"user_proxies", "user_roles"},
            "DELIVERY_USER_PROXIES and DELIVERY_USER_ROLES must both be set, or neither: who signs users in, and what "
            "their groups may do",
        )
    yield from _shadow_conflicts(settings)
    if settings.stall_timeout <= settings.commit_timeout:
        yield _Problem(
            {"stall_timeout", "commit_timeout"},
            f"DELIVERY_STALL_TIMEOUT ({settings.stall_timeout:g}) must be above "
            f"DELIVERY_COMMIT_TIMEOUT ({settings.commit_timeout:g}), or a slow transaction ends the worker",
        )


def _shadow_conflicts(settings: Settings) -> Iterable[_Problem]:
    """Yield what would let a shadow pass for the live one."""
    if not settings.shadow_of:
        return
    if settings.shadow_of == settings.topic_prefix:
        yield _Problem(
            {"shadow_of", "topic_prefix"},
            f"DELIVERY_SHADOW_OF and DELIVERY_TOPIC_PREFIX are both {settings.topic_prefix!r}: set "
            "DELIVERY_TOPIC_PREFIX to a prefix of the shadow's own, or it would write to the live topics",
        )
    if settings.app_id == Settings.app_id:
        yield _Problem(
            {"shadow_of", "app_id"},
            f"DELIVERY_SHADOW_OF is set, and DELIVERY_APP_ID is {settings.app_id!r}, by default that of live workers: "
            "set it to a group of the shadow's own, like 'delivery-status-shadow'",
        )


def shared(settings: Settings) -> dict[str, str]:
    """Return the settings that all workers of a group must agree on, as texts that are equal if the values are.

    Of a secret it is a digest.
    """
    found = {name: _as_text(getattr(settings, name)) for name, entry in FIELDS.items() if entry.is_shared}
    return {name: _digest(text) if FIELDS[name].is_secret and text else text for name, text in found.items()}


def _digest(secret: str) -> str:
    return f"sha256:{hashlib.sha256(secret.encode()).hexdigest()}"


def _as_text(value: object) -> str:
    if isinstance(value, Mapping):
        return ",".join(f"{key}={value[key]}" for key in sorted(value))
    if isinstance(value, tuple):
        return ",".join(value)
    if isinstance(value, float):
        return f"{value:.15g}"
    return "" if value is None else str(value)


def markdown_table() -> str:
    """Return the table of settings in docs/settings.md."""
    lines = ["| variable | default | meaning |", "|---|---|---|"]
    defaults = Settings()
    for name, entry in FIELDS.items():
        meaning = f"{entry.meaning} The same on all workers." if entry.is_shared else entry.meaning
        lines.append(f"| `{PREFIX}{name.upper()}` | {_shown(getattr(defaults, name))} | {meaning} |")
    return "\n".join(lines) + "\n"


def _shown(default: object) -> str:
    if default is None or default == "":
        return ""
    if isinstance(default, bool):
        return f"`{str(default).lower()}`"
    if isinstance(default, tuple):
        return f"`{','.join(default)}`"
    if isinstance(default, Mapping):
        hours = (f"{channel.value}.{status.value}={after / 3_600:g}h" for (channel, status), after in default.items())
        return f"`{','.join(hours)}`"
    if isinstance(default, float):
        days = default / 86_400
        return f"`{days:g}d`" if days >= 1 else f"`{default:g}`"
    return f"`{default}`"
