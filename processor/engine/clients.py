"""Make every Kafka client, so that security and names are defined in one place."""

from __future__ import annotations

import ssl
from collections.abc import Iterable
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaConnectionError, KafkaError
from aiokafka.structs import OffsetAndMetadata

from processor.engine.publishing import Publisher
from processor.engine.transactions import TransactionalProducer
from processor.settings import Settings
from processor.wire.topics import INPUT_MAX_BYTES, OUTPUT_MAX_BYTES

__all__ = ["KafkaConnectionError", "KafkaError", "admin", "connection", "group_consumer", "producer", "reader"]

#: Bytes of one fetch from one partition, and of one batch that we write: some thousand records.
_FETCH_BYTES = 1024 * 1024
_BATCH_BYTES = 1024 * 1024


def connection(settings: Settings) -> dict[str, Any]:
    """Return the connection arguments of every aiokafka client.

    Raises:
        OSError, ssl.SSLError: the certificate files of the settings cannot be used.
    """
    options: dict[str, Any] = {
        "bootstrap_servers": settings.brokers,
        "client_id": settings.app_id,
        "security_protocol": settings.security_protocol,
    }
    if settings.uses_tls:
        options["ssl_context"] = _ssl_context(settings)
    if settings.uses_sasl:
        options["sasl_mechanism"] = settings.sasl_mechanism
        options["sasl_plain_username"] = settings.sasl_username
        options["sasl_plain_password"] = settings.sasl_password
    return options


def _ssl_context(settings: Settings) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=settings.tls_ca_file)
    context.check_hostname = settings.tls_check_hostname
    if settings.tls_certificate_file is not None:
        context.load_cert_chain(settings.tls_certificate_file, settings.tls_key_file, settings.tls_key_password or None)
    return context


#: Members learn from the answer to a heartbeat that one joins or leaves, and until all have learned it nobody works on.
_HEARTBEAT_MS = 200


def group_consumer(settings: Settings, assignor: Any, **options: Any) -> AIOKafkaConsumer:
    """Make the consumer for the stages' input: reads committed records only, and does not commit offsets itself."""
    session_ms = int(settings.session_timeout * 1000)
    return AIOKafkaConsumer(
        **connection(settings),
        group_id=settings.app_id,
        partition_assignment_strategy=[assignor],
        enable_auto_commit=False,
        # Records that have expired unread are passed over where that is told (membership/consumer.py).
        auto_offset_reset="none",
        isolation_level="read_committed",
        # Faust's loop polls without pause; how long a chunk takes says nothing about the member's health.
        max_poll_interval_ms=24 * 60 * 60 * 1000,
        max_partition_fetch_bytes=_FETCH_BYTES,
        fetch_max_bytes=32 * _FETCH_BYTES,
        fetch_max_wait_ms=250,
        request_timeout_ms=max(40_000, session_ms + 5_000),
        session_timeout_ms=session_ms,
        heartbeat_interval_ms=_HEARTBEAT_MS,
        rebalance_timeout_ms=60_000,
        # After a broker's restart the leader assigns by what it knows of the topics: that must not be old.
        metadata_max_age_ms=5_000,
        **options,
    )


def reader(settings: Settings, **options: Any) -> AIOKafkaConsumer:
    """Make a consumer without a group that reads committed records of given partitions."""
    return AIOKafkaConsumer(
        **connection(settings),
        group_id=None,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        isolation_level="read_committed",
        max_partition_fetch_bytes=4 * _FETCH_BYTES,
        **options,
    )


def shared_reader(settings: Settings) -> AIOKafkaConsumer:
    """Make a reader whose partitions change: brokers answer one request after the other, so none may wait for long."""
    return reader(settings, fetch_max_wait_ms=50)


def uncommitted_reader(settings: Settings) -> AIOKafkaConsumer:
    """Make a consumer without a group that also sees records of open transactions."""
    return AIOKafkaConsumer(**connection(settings), group_id=None, enable_auto_commit=False)


def transactional_producer(settings: Settings, transactional_id: str) -> TransactionalProducer:
    """Make the producer of a transactional id; its start fences every older one with the same id."""
    return TransactionalProducer(
        **connection(settings),
        transactional_id=transactional_id,
        transaction_timeout_ms=int(settings.commit_timeout * 1000) + 10_000,
        max_batch_size=_BATCH_BYTES,
        max_request_size=OUTPUT_MAX_BYTES,
        request_timeout_ms=int(settings.commit_timeout * 1000),
    )


async def abort_in(
    producer: AIOKafkaProducer, places: Iterable[TopicPartition], tp: TopicPartition, group: str
) -> None:
    """Begin and abort an empty transaction, which ends any transaction that its producer has left open.

    Args:
        producer: a transactional one, started.
        places: partitions that the open transaction may have written to.
        tp: the partition whose offset the open transaction may hold.
        group: the consumer group of that offset, as the member that the partition belongs to.

    Raises:
        KafkaError: among others that the membership is over; then the places are as they were.
    """
    await producer.begin_transaction()
    # First: whoever is refused must not touch what is another member's by now; and whoever becomes its owner once this
    # is accepted waits for the end of it.
    await producer.send_offsets_to_transaction({tp: OffsetAndMetadata(0, "")}, group)
    for place in places:
        producer._txn_manager.maybe_add_partition_to_txn(place)
    # The places join before it ends.
    await producer.abort_transaction()


async def commit_in(producer: AIOKafkaProducer, places: Iterable[TopicPartition]) -> None:
    """Begin and commit an empty transaction: what its producer has left undecided in some places is committed.

    Args:
        producer: a transactional one, started.
        places: the partitions.
    """
    await producer.begin_transaction()
    for place in places:
        producer._txn_manager.maybe_add_partition_to_txn(place)
    await producer.commit_transaction()


def producer(settings: Settings, *, max_bytes: int = INPUT_MAX_BYTES, **options: Any) -> Publisher:
    """Make an idempotent producer for publishing outside of transactions; no record is larger than `max_bytes`."""
    return Publisher(
        **connection(settings),
        max_batch_size=_BATCH_BYTES,
        max_request_size=max_bytes,
        linger_ms=5,
        **options,
    )


def admin(settings: Settings) -> AIOKafkaAdminClient:
    """Make an administration client."""
    return AIOKafkaAdminClient(**connection(settings))
