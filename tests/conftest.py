"""Fixtures that more than one folder of tests needs, and the order of the files."""

import gc
import os
from collections.abc import Iterator
from typing import Any

import hypothesis
import pytest
import structlog

from tests.examples import examples
from tests.sharing import SharedBroker, ask_for_broker, broker_in_memory, use_known_classes

# Asserts of the harness speak as those of tests do; it must be said before anything imports it.
pytest.register_assert_rewrite("tests.engine.harness")

use_known_classes()

# No machine is too busy for a property. One that does not say on how many examples it is tried is tried on 100.
hypothesis.settings.register_profile(
    "patient",
    max_examples=examples(100),
    deadline=None,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile("patient")


_configure = structlog.configure


def _uncached(**settings: Any) -> None:
    _configure(**{**settings, "cache_logger_on_first_use": False})


# A command that a test runs in this process configures the logs: a cached logger would be deaf to `capture_logs`.
structlog.configure = _uncached


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown() -> None:
    """Undo what a command has configured. A fixture for each test would cost as much as many of the tests."""
    if structlog.is_configured():
        structlog.reset_defaults()


_SHARED = pytest.StashKey[SharedBroker]()


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Tell a process of xdist, which is about to start, where to ask for the broker that all of them share."""
    if _SHARED not in node.config.stash:
        node.config.stash[_SHARED] = SharedBroker()
    node.workerinput["broker"] = node.config.stash[_SHARED].address


def pytest_unconfigure(config: pytest.Config) -> None:
    """End the broker with the run."""
    if shared := config.stash.get(_SHARED, None):
        shared.close()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let files that wait for brokers come first, then the slow: many short ones keep all processes busy to the end."""
    waiting = {item.path for item in items if item.get_closest_marker("kafka") or item.get_closest_marker("browser")}
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: (item.path not in waiting, item.path not in slow))


def pytest_collection_finish() -> None:
    """Let the garbage collector pass over ten thousand tests, which stay to the end whatever it finds.

    And let it look for more less often: on Python's own schedule it takes a sixth of the time.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 10, 10)


@pytest.fixture(scope="session")
def kafka_broker(request: pytest.FixtureRequest) -> Iterator[str]:
    """Give the address of the embedded Kafka of this run; a test that stops or breaks a broker starts its own."""
    if hasattr(request.config, "workerinput"):
        yield ask_for_broker(request.config.workerinput["broker"])
    else:
        with broker_in_memory() as broker:
            yield broker.bootstrap_servers


@pytest.fixture(scope="session")
def brokers(request: pytest.FixtureRequest) -> str:
    """Give the bootstrap servers to test against: those of DELIVERY_BROKERS, else the embedded Kafka's."""
    return os.environ.get("DELIVERY_BROKERS") or request.getfixturevalue("kafka_broker")
