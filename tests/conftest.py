"""Fixtures that more than one folder of tests needs."""

import os
from collections.abc import Iterator

import pytest

from processor.demo.broker import EmbeddedKafka

# Asserts of the harness speak as those of tests do; it must be said before anything imports it.
pytest.register_assert_rewrite("tests.engine.harness")


@pytest.fixture(scope="session")
def kafka_broker() -> Iterator[EmbeddedKafka]:
    """Give the embedded Kafka that all tests share; a test that stops or breaks a broker starts its own."""
    with EmbeddedKafka() as broker:
        yield broker


@pytest.fixture(scope="session")
def brokers(request: pytest.FixtureRequest) -> str:
    """Give the bootstrap servers to test against: those of DELIVERY_BROKERS, else the shared embedded Kafka's."""
    given = os.environ.get("DELIVERY_BROKERS")
    return given or request.getfixturevalue("kafka_broker").bootstrap_servers
