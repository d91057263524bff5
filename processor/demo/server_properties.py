"""The server properties of the embedded Kafka, with its listeners, certificates and users."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

HOST: Final = "127.0.0.1"
PLAIN: Final = "PLAINTEXT"
_CONTROLLER: Final = "CONTROLLER"
_USER_WORD: Final = re.compile(r"[A-Za-z0-9_-]+")

_TEN_MEBIBYTES: Final = str(10 * 1024 * 1024)
_PROPERTIES: Final[Mapping[str, str]] = {
    "process.roles": "broker,controller",
    "node.id": "1",
    "controller.listener.names": _CONTROLLER,
    "inter.broker.listener.name": PLAIN,
    "auto.create.topics.enable": "false",
    "message.max.bytes": _TEN_MEBIBYTES,
    "replica.fetch.max.bytes": _TEN_MEBIBYTES,
    # One node holds every topic that Kafka makes for itself.
    "default.replication.factor": "1",
    "min.insync.replicas": "1",
    "offsets.topic.replication.factor": "1",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "share.coordinator.state.topic.replication.factor": "1",
    "share.coordinator.state.topic.min.isr": "1",
    # The defaults of 50 partitions make the first consumer and the first transaction wait.
    "offsets.topic.num.partitions": "8",
    "transaction.state.log.num.partitions": "8",
    "share.coordinator.state.topic.num.partitions": "1",
    "group.initial.rebalance.delay.ms": "0",
    "group.min.session.timeout.ms": "1000",
    # The controller refuses a restarted broker for as long as it believes in the killed one: 9 s by default.
    "broker.heartbeat.interval.ms": "500",
    "broker.session.timeout.ms": "3000",
    # The default is a quarter of the heap.
    "log.cleaner.dedupe.buffer.size": str(32 * 1024 * 1024),
}

SecurityProtocol = Literal["PLAINTEXT", "SSL", "SASLPLAINTEXT", "SASL_SSL"]


@dataclass(frozen=True)
class Listener:
    """An address on which the broker listens besides the plain one.

    The certificate chain, the private key (PKCS#8, not encrypted) and the authorities are PEM texts; only SSL and
    SASL_SSL look at them. Where `client_authorities` is given, a client must show a certificate that one of them
    signed. The two SASL protocols offer PLAIN, SCRAM-SHA-256 and SCRAM-SHA-512 to every user of the broker.
    """

    name: str
    security_protocol: SecurityProtocol
    port: int | None = None
    certificate_chain: str = ""
    private_key: str = ""
    client_authorities: str = ""


def checked_users(users: Mapping[str, str]) -> Mapping[str, str]:
    """Return users with their passwords, if the properties can carry them.

    Raises:
        ValueError: they cannot.
    """
    for word in (*users, *users.values()):
        if not _USER_WORD.fullmatch(word):
            raise ValueError(f"user names and passwords of the embedded Kafka match {_USER_WORD.pattern}: {word!r}")
    return dict(users)


def server_properties(
    listeners: Sequence[Listener], ports: Mapping[str, int], controller_port: int, users: Mapping[str, str]
) -> dict[str, str]:
    """Return the properties of a broker that listens on the ports of its listeners."""
    addresses = [f"{listener.name}://{HOST}:{ports[listener.name]}" for listener in listeners]
    protocols = [f"{listener.name}:{listener.security_protocol}" for listener in listeners]
    properties = {
        **_PROPERTIES,
        "controller.quorum.voters": f"{_PROPERTIES['node.id']}@{HOST}:{controller_port}",
        "listeners": ",".join([*addresses, f"{_CONTROLLER}://{HOST}:{controller_port}"]),
        "advertised.listeners": ",".join(addresses),
        "listener.security.protocol.map": ",".join([*protocols, f"{_CONTROLLER}:PLAINTEXT"]),
    }
    for listener in listeners:
        for key, value in (_tls_properties(listener) | _sasl_properties(listener, users)).items():
            properties[f"listener.name.{listener.name.lower()}.{key}"] = value
    return properties


def _tls_properties(listener: Listener) -> dict[str, str]:
    if not listener.security_protocol.endswith("SSL"):
        return {}
    own = {
        "ssl.keystore.type": "PEM",
        "ssl.keystore.certificate.chain": listener.certificate_chain,
        "ssl.keystore.key": listener.private_key,
    }
    if not listener.client_authorities:
        return own
    trusted = {
        "ssl.truststore.type": "PEM",
        "ssl.truststore.certificates": listener.client_authorities,
        "ssl.client.auth": "required",
    }
    return own | trusted


def _sasl_properties(listener: Listener, users: Mapping[str, str]) -> dict[str, str]:
    if not listener.security_protocol.startswith("SASL_"):
        return {}
    security = "org.apache.kafka.common.security"
    passwords = " ".join(f'user_{name}="{password}"' for name, password in users.items())
    return {
        "sasl.enabled.mechanisms": "PLAIN,SCRAM-SHA-256,SCRAM-SHA-512",
        "plain.sasl.jaas.config": f"{security}.plain.PlainLoginModule required {passwords};",
        "scram-sha-256.sasl.jaas.config": f"{security}.scram.ScramLoginModule required;",
        "scram-sha-512.sasl.jaas.config": f"{security}.scram.ScramLoginModule required;",
    }
