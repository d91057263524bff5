"""What the engine relies on without having been promised it.

processor/engine overrides and uses members of Faust and aiokafka that are no public interface of theirs. An upgrade
that moves one of them fails here, by name, and not in production.
"""

import ast
import inspect
import re
from importlib.metadata import version
from pathlib import Path

import faust
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.consumer.fetcher import Fetcher
from aiokafka.consumer.subscription_state import Assignment, Subscription, SubscriptionState, TopicPartitionState
from faust.transport import consumer as faust_consumer
from faust.transport.drivers import aiokafka as driver
from faust.types import ConsumerMessage
from mode import Service

from processor.engine import chunks, worker

ROOT = Path(__file__).parents[2]

#: What we override: whose, its name, and the parameters that it is called with.
OVERRIDDEN = [
    (driver.AIOKafkaConsumerThread, chunks.ChunkConsumerThread, "_create_worker_consumer", ["self", "transport"]),
    (driver.Consumer, chunks.ChunkConsumer, "_new_consumer_thread", ["self"]),
    (driver.Consumer, chunks.ChunkConsumer, "getmany", ["self", "timeout"]),
    (driver.Consumer, chunks.ChunkConsumer, "perform_seek", ["self"]),
    (driver.Producer, chunks.ChunkProducer, "_settings_auth", ["self"]),
    (faust.App, worker._App, "_new_transport", ["self"]),
    (faust.App, worker._App, "_new_producer_transport", ["self"]),
    (faust.App, worker._App, "on_first_start", ["self"]),
    (faust.Schema, chunks.ChunkSchema, "compile", None),
]

#: What we use: methods and properties, and attributes that objects are given when they are made.
USED = [
    (driver.AIOKafkaConsumerThread, "_assignor"),
    (driver.AIOKafkaConsumerThread, "_consumer"),
    (driver.AIOKafkaConsumerThread, "_ensure_consumer"),
    (driver.AIOKafkaConsumerThread, "call_thread"),
    (driver.AIOKafkaConsumerThread, "thread_loop"),
    (driver.AIOKafkaConsumerThread, "consumer"),
    (driver.Consumer, "_thread"),
    (driver.Consumer, "_read_offset"),
    (driver.Consumer, "flow_active"),
    (driver.Consumer, "can_resume_flow"),
    (driver.Consumer, "should_stop"),
    (driver.Consumer, "wait"),
    (faust.App, "_crashed"),
    (faust.App, "assignor"),
    (faust.App, "consumer"),
    (faust.App, "consumer_generation_id"),
    (faust.App, "crash_reason"),
    (faust.App, "create_event"),
    (faust.App, "on_partitions_assigned"),
    (faust.App, "on_partitions_revoked"),
    (AIOKafkaConsumer, "_closed"),
    (AIOKafkaConsumer, "_fetcher"),
    (AIOKafkaConsumer, "_subscription"),
    (Fetcher, "_closed"),
    (Fetcher, "_fetch_waiters"),
    (Fetcher, "_notify"),
    (Fetcher, "_subscriptions"),
    (Fetcher, "fetched_records"),
    (SubscriptionState, "fetch_context"),
    (SubscriptionState, "subscription"),
    (Subscription, "assignment"),
    (Assignment, "state_value"),
    (Assignment, "tps"),
    (TopicPartitionState, "_position"),
    (TopicPartitionState, "has_valid_position"),
    (AIOKafkaProducer, "client"),
    (AIOKafkaProducer, "create_batch"),
    (AIOKafkaProducer, "send_batch"),
    (AIOKafkaProducer, "send_offsets_to_transaction"),
]


def has(owner: type, name: str) -> bool:
    """Say whether a class has a member, or gives it to its objects."""
    if hasattr(owner, name):
        return True
    assigned = re.compile(rf"\bself\.{name}\b[^=\n]*=[^=]|^    {name}: ", re.MULTILINE)
    return any(assigned.search(inspect.getsource(each)) for each in owner.__mro__ if each is not object)


def parameters(function: object) -> list[str]:
    return list(inspect.signature(function).parameters)


def test_the_pinned_version_of_faust_is_the_one_that_is_installed():
    [pinned] = re.findall(r'"faust-streaming==([^"]+)"', (ROOT / "pyproject.toml").read_text())
    assert version("faust-streaming") == pinned == "0.15.3"


def test_the_version_of_aiokafka_is_held_to_the_one_whose_insides_we_know():
    assert '"aiokafka>=0.14,<0.15"' in (ROOT / "pyproject.toml").read_text()
    assert version("aiokafka").startswith("0.14.")


@pytest.mark.parametrize(
    ("theirs", "ours", "name", "expected"), OVERRIDDEN, ids=[f"{each[0].__name__}.{each[2]}" for each in OVERRIDDEN]
)
def test_what_we_override_is_there_and_is_called_as_ours_is(theirs, ours, name, expected):
    assert issubclass(ours, theirs)
    assert name in vars(ours), "we do not override it any more"
    if expected is not None:
        assert parameters(getattr(theirs, name)) == parameters(getattr(ours, name)) == expected


@pytest.mark.parametrize(("owner", "name"), USED, ids=[f"{owner.__name__}.{name}" for owner, name in USED])
def test_what_we_use_is_there(owner, name):
    assert has(owner, name)


def test_a_fetch_asks_whether_a_partition_is_wanted_and_nothing_else():
    """We give it a container that answers anew each time: membership is all that may be asked of it."""
    assert parameters(Fetcher.fetched_records)[:3] == ["self", "partitions", "timeout"]
    code = re.sub(r"#.*", "", inspect.getsource(Fetcher.fetched_records).split('"""')[-1])
    assert re.findall(r".*\bpartitions\b.*", code) == ["                if partitions and tp not in partitions:"]


def test_a_waiting_fetch_is_woken_by_notifying_its_waiter():
    assert parameters(Fetcher._notify) == ["self", "future"]


def test_faust_takes_its_consumer_and_producer_from_the_transport():
    assert issubclass(chunks.ChunkTransport, driver.Transport)
    assert driver.Transport.Consumer is driver.Consumer
    assert driver.Transport.Producer is driver.Producer
    assert "self.Consumer(" in inspect.getsource(driver.Transport.create_consumer)
    assert "self.Producer(" in inspect.getsource(driver.Transport.create_producer)


def test_faust_drops_messages_below_what_it_has_read_unless_that_is_none():
    """A chunk's offset is where it ends; `_read_offset` is set to None so that Faust lets every chunk through."""
    source = inspect.getsource(faust_consumer.Consumer._drain_messages)
    assert "getmany(timeout=" in source
    assert "get_read_offset = self._read_offset.__getitem__" in source
    assert "if r_offset is None or offset >= r_offset:" in source
    assert "if gap > 1 and r_offset:" in source


def test_faust_gives_a_crash_to_whoever_waits_for_it():
    source = inspect.getsource(Service)
    assert "self._crashed.set()" in source
    assert "_crash_reason" in source


def test_a_message_takes_the_parameters_that_a_chunk_is_wrapped_with():
    assert [name for name in parameters(ConsumerMessage) if not name.startswith("time_")] == [
        "topic",
        "partition",
        "offset",
        "timestamp",
        "timestamp_type",
        "headers",
        "key",
        "value",
        "checksum",
        "serialized_key_size",
        "serialized_value_size",
        "tp",
        "generation_id",
    ]


def test_every_private_member_of_others_that_the_engine_names_is_named_here():
    named = {name for _, _, name, _ in OVERRIDDEN} | {name for _, name in USED}
    used, own = set(), {"_replace"}  # Of named tuples, and public.
    for path in (ROOT / "processor" / "engine").rglob("*.py"):
        tree = ast.parse(path.read_text())
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and node.attr.startswith("_") and not node.attr.startswith("__"):
                used.add(node.attr)
                is_self = isinstance(node.value, ast.Name) and node.value.id == "self"
                if is_self and isinstance(node.ctx, ast.Store):
                    own.add(node.attr)
            elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                own.add(node.name)
    assert used - own <= named, f"name them above: {sorted(used - own - named)}"
