"""The whole path - topics, worker, publishing, reading - on brokers that ask who one is."""

from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import trustme
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from processor.demo.broker import EmbeddedKafka, Listener
from processor.demo.simulate import canonical_events
from processor.engine import clients
from tests.engine.harness import Trial, settings_for_a_trial

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

USER, PASSWORD = "alice", "alice-secret"


class Secured(NamedTuple):
    """A broker with a listener of each kind, and the files that a client needs."""

    broker: EmbeddedKafka
    authority: Path
    certificate: Path
    key: Path


def pkcs8(pem: bytes, lock: KeySerializationEncryption | None = None) -> str:
    """Write a key in the form that Java reads."""
    key = load_pem_private_key(pem, password=None)
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, lock or NoEncryption()).decode()


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    authority, folder = trustme.CA(), tmp_path_factory.mktemp("certificates")
    server, client = authority.issue_cert("127.0.0.1"), authority.issue_cert("worker@example.com")
    chain = "".join(blob.bytes().decode() for blob in server.cert_chain_pems)
    key, trusted = pkcs8(server.private_key_pem.bytes()), authority.cert_pem.bytes().decode()
    listeners = [
        Listener("MUTUAL", "SSL", None, chain, key, trusted),
        Listener("LOGIN", "SASL_PLAINTEXT"),
        Listener("LOGIN_TLS", "SASL_SSL", None, chain, key),
    ]
    files = Secured(
        EmbeddedKafka(listeners=listeners, users={USER: PASSWORD}),
        *(folder / name for name in ("ca.pem", "client.pem", "client.key")),
    )
    authority.cert_pem.write_to_path(files.authority)
    files.certificate.write_bytes(b"".join(blob.bytes() for blob in client.cert_chain_pems))
    files.key.write_text(pkcs8(client.private_key_pem.bytes(), BestAvailableEncryption(PASSWORD.encode())))
    with files.broker:
        yield files


def login(mechanism: str, password: str = PASSWORD) -> dict[str, Any]:
    return {"sasl_mechanism": mechanism, "sasl_username": USER, "sasl_password": password}


def settings(secured: Secured, listener: str, protocol: str, **options: Any) -> Any:
    address = secured.broker.address(listener)
    return settings_for_a_trial(address, partitions=2, security_protocol=protocol, **options)


def plain_login(secured: Secured) -> Any:
    return settings(secured, "LOGIN", "SASL_PLAINTEXT", **login("PLAIN"))


def scram_256_over_tls(secured: Secured) -> Any:
    return settings(secured, "LOGIN_TLS", "SASL_SSL", tls_ca_file=secured.authority, **login("SCRAM-SHA-256"))


def scram_512_over_tls(secured: Secured) -> Any:
    return settings(secured, "LOGIN_TLS", "SASL_SSL", tls_ca_file=secured.authority, **login("SCRAM-SHA-512"))


def client_certificate(secured: Secured) -> Any:
    files = {
        "tls_ca_file": secured.authority,
        "tls_certificate_file": secured.certificate,
        "tls_key_file": secured.key,
        "tls_key_password": PASSWORD,
    }
    return settings(secured, "MUTUAL", "SSL", **files)


WAYS = (plain_login, scram_256_over_tls, scram_512_over_tls, client_certificate)


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
async def test_events_become_rows(secured, tmp_path, way):
    start = datetime.now(timezone.utc) - timedelta(minutes=5)
    async with Trial(way(secured), tmp_path) as trial:
        worker = await trial.start_worker()
        await trial.publish_events(canonical_events(7, 200, start))
        await trial.settled()
        await trial.assert_rows_are_those_of_the_offline_fold()
        assert len(await trial.rows()) == 200
        assert await worker.stop() == 0
        assert PASSWORD not in worker.log_text()


async def test_a_wrong_password_is_refused(secured, tmp_path):
    chosen = settings(secured, "LOGIN", "SASL_PLAINTEXT", **login("SCRAM-SHA-512", "guessed"))
    with pytest.raises(clients.KafkaError):
        await Trial(chosen, tmp_path).__aenter__()
