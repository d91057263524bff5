"""What the engine relies on without having been promised it.

processor/engine overrides and uses members of Faust and aiokafka that are no public interface of theirs. An upgrade
that moves one of them fails here, by name, and not in production.
"""

import ast
import inspect
import re
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace

import faust
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.consumer import fetcher
from aiokafka.consumer.fetcher import Fetcher, FetchResult
from aiokafka.consumer.group_coordinator import GroupCoordinator
from aiokafka.consumer.subscription_state import Assignment, Subscription, SubscriptionState, TopicPartitionState
from aiokafka.producer import sender
from aiokafka.producer.message_accumulator import BatchBuilder, MessageAccumulator, MessageBatch
from aiokafka.producer.sender import Sender
from aiokafka.producer.transaction_manager import TransactionManager
from faust.assignor.partition_assignor import PartitionAssignor
from faust.transport import consumer as faust_consumer
from faust.transport.drivers import aiokafka as driver
from faust.types import ConsumerMessage
from mode import Service
from mode.threads import ServiceThread, WorkerThread

from processor.engine import publishing, records, transactions
from processor.engine.membership import app, assignor, consumer
from processor.wire.received import window
from tests.cases import every_case

ROOT = Path(__file__).parents[2]

#: What `fetcher.PartitionRecords` was before records.py put its own there.
PartitionRecords = records._PartitionRecords.__base__

#: What we override: whose, its name, and the parameters that it is called with.
OVERRIDDEN = [
    (driver.AIOKafkaConsumerThread, consumer.ChunkConsumerThread, "_create_worker_consumer", ["self", "transport"]),
    (driver.AIOKafkaConsumerThread, consumer.ChunkConsumerThread, "close", ["self"]),
    (driver.AIOKafkaConsumerThread, consumer.ChunkConsumerThread, "stop", ["self"]),
    (faust_consumer.Fetcher, consumer.ChunkFetcher, "_fetcher", None),
    (
        driver.ConsumerRebalanceListener,
        consumer.PinningListener,
        "on_partitions_assigned",
        ["self", "assigned"],
    ),
    (driver.Consumer, consumer.ChunkConsumer, "_new_consumer_thread", ["self"]),
    (driver.Consumer, consumer.ChunkConsumer, "getmany", ["self", "timeout"]),
    (driver.Consumer, consumer.ChunkConsumer, "perform_seek", ["self"]),
    (driver.Consumer, consumer.ChunkConsumer, "verify_all_partitions_active", ["self"]),
    (driver.Producer, consumer.ChunkProducer, "_settings_auth", ["self"]),
    (faust.App, app.App, "_new_transport", ["self"]),
    (faust.App, app.App, "_new_producer_transport", ["self"]),
    (faust.App, app.App, "on_first_start", ["self"]),
    (faust.Schema, consumer.ChunkSchema, "compile", None),
    (PartitionAssignor, assignor.Assignor, "metadata", ["self", "topics"]),
    (PartitionAssignor, assignor.Assignor, "assign", ["self", "cluster", "member_metadata"]),
    (PartitionAssignor, assignor.Assignor, "on_assignment", ["self", "assignment"]),
    (PartitionRecords, records._PartitionRecords, "__iter__", ["self"]),
    (PartitionRecords, records._PartitionRecords, "_unpack_records", ["self"]),
    (TransactionManager, transactions._TransactionManager, "begin_transaction", ["self"]),
    (TransactionManager, transactions._TransactionManager, "error_transaction", ["self", "exc"]),
    (Sender, transactions._Sender, "_do_add_partitions_to_txn", ["self", "tps"]),
    (Sender, transactions._Sender, "_do_add_offsets_to_txn", ["self", "group_id"]),
    (Sender, transactions._Sender, "_do_txn_offset_commit", ["self", "offsets", "group_id"]),
    (Sender, transactions._Sender, "_do_txn_commit", ["self", "commit_result"]),
    (Sender, transactions._Sender, "_find_coordinator", ["self", "coordinator_type", "coordinator_key"]),
    (sender.BaseHandler, transactions._NotingHandler, "do", ["self", "node_id"]),
    # Theirs calls it `resp`, by position.
    (sender.BaseHandler, transactions._NotingHandler, "handle_response", ["self", "response"]),
    (sender.EndTxnHandler, transactions._EndTxnHandler, "create_request", ["self"]),
    (sender.TxnOffsetCommitHandler, transactions._OffsetCommitHandler, "create_request", ["self"]),
    (TransactionManager, publishing._Numbers, "increment_sequence_number", ["self", "tp", "increment"]),
    (Sender, publishing._Sender, "_maybe_wait_for_pid", ["self"]),
    (Sender, publishing._Sender, "_send_produce_req", ["self", "node_id", "batches"]),
    (sender.SendProduceReqHandler, publishing._ProduceHandler, "create_request", ["self"]),
    (sender.SendProduceReqHandler, publishing._ProduceHandler, "_can_retry", ["self", "error", "batch"]),
]

#: What we use: methods and properties, and attributes that objects are given when they are made.
USED = [
    (driver.AIOKafkaConsumerThread, "_assignor"),
    (driver.AIOKafkaConsumerThread, "_consumer"),
    (driver.AIOKafkaConsumerThread, "_ensure_consumer"),
    (driver.AIOKafkaConsumerThread, "_thread"),
    (driver.AIOKafkaConsumerThread, "call_thread"),
    (driver.AIOKafkaConsumerThread, "thread_loop"),
    (driver.AIOKafkaConsumerThread, "consumer"),
    (PartitionAssignor, "_compress"),
    (PartitionAssignor, "_decompress"),
    (PartitionAssignor, "_get_client_metadata"),
    (driver.Consumer, "RebalanceListener"),
    (driver.Consumer, "_thread"),
    (driver.ConsumerRebalanceListener, "_thread"),
    (driver.Consumer, "_drain_messages"),
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
    (AIOKafkaAdminClient, "_client"),
    (AIOKafkaAdminClient, "_send_request"),
    (PartitionAssignor, "app"),
    (AIOKafkaConsumer, "_closed"),
    (AIOKafkaConsumer, "_coordinator"),
    (AIOKafkaConsumer, "_fetcher"),
    (AIOKafkaConsumer, "_subscription"),
    (GroupCoordinator, "generation"),
    (GroupCoordinator, "member_id"),
    (GroupCoordinator, "_error_consumed_fut"),
    (GroupCoordinator, "_pending_exception"),
    (GroupCoordinator, "check_errors"),
    (GroupCoordinator, "request_rejoin"),
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
    (TopicPartitionState, "await_reset"),
    (TopicPartitionState, "has_valid_position"),
    (AIOKafkaProducer, "client"),
    (AIOKafkaProducer, "create_batch"),
    (AIOKafkaProducer, "partitions_for"),
    (AIOKafkaProducer, "send_batch"),
    (AIOKafkaProducer, "send_offsets_to_transaction"),
    (AIOKafkaProducer, "_message_accumulator"),
    (AIOKafkaProducer, "_request_timeout_ms"),
    (AIOKafkaProducer, "_sender"),
    (AIOKafkaProducer, "_txn_manager"),
    (MessageAccumulator, "_txn_manager"),
    (MessageAccumulator, "flush_for_commit"),
    (MessageBatch, "get_data_buffer"),
    (MessageBatch, "record_count"),
    (Sender, "_find_coordinator"),
    (Sender, "sender_task"),
    (Sender, "_in_flight"),
    (Sender, "_message_accumulator"),
    (Sender, "_muted_partitions"),
    (Sender, "_txn_manager"),
    (sender.BaseHandler, "_sender"),
    (sender.BaseHandler, "_default_backoff"),
    (sender.EndTxnHandler, "_commit_result"),
    (sender.TxnOffsetCommitHandler, "_group_id"),
    (sender.TxnOffsetCommitHandler, "_offsets"),
    (sender.SendProduceReqHandler, "_batches"),
    (TransactionManager, "_pid_and_epoch"),
    (TransactionManager, "_pid_waiter"),
    (TransactionManager, "_sequence_numbers"),
    (TransactionManager, "_txn_consumer_group"),
    (TransactionManager, "_txn_partitions"),
    (TransactionManager, "complete_transaction"),
    (TransactionManager, "has_pid"),
    (TransactionManager, "is_empty_transaction"),
    (TransactionManager, "maybe_add_partition_to_txn"),
    (TransactionManager, "producer_epoch"),
    (TransactionManager, "producer_id"),
    (TransactionManager, "sequence_number"),
    (TransactionManager, "transactional_id"),
    (PartitionRecords, "_aborted_producers"),
    (PartitionRecords, "_consume_aborted_up_to"),
    (PartitionRecords, "_contains_abort_marker"),
    (PartitionRecords, "_isolation_level"),
    (PartitionRecords, "_records"),
    (PartitionRecords, "_records_iterator"),
    (PartitionRecords, "next_fetch_offset"),
    (BatchBuilder, "_builder"),
    (BatchBuilder, "_relative_offset"),
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


def test_the_pinned_version_of_aiokafka_is_the_one_that_is_installed():
    [pinned] = re.findall(r'"aiokafka==([^"]+)"', (ROOT / "pyproject.toml").read_text())
    assert version("aiokafka") == pinned == "0.14.0"


@pytest.mark.parametrize(
    ("theirs", "ours", "name", "expected"), OVERRIDDEN, ids=[f"{each[0].__name__}.{each[2]}" for each in OVERRIDDEN]
)
def test_what_we_override_is_there_and_is_called_as_ours_is(theirs, ours, name, expected):
    assert issubclass(ours, theirs)
    assert name in vars(ours), "we do not override it any more"
    if expected is not None:
        assert parameters(getattr(theirs, name)) == parameters(getattr(ours, name)) == expected


def test_what_we_use_is_there():
    with every_case() as case:
        for owner, name in USED:
            with case(f"{owner.__name__}.{name}"):
                assert has(owner, name)


def test_a_fetch_asks_whether_a_partition_is_wanted_and_nothing_else():
    """We give it a container that answers anew each time: membership is all that may be asked of it."""
    assert parameters(Fetcher.fetched_records)[:3] == ["self", "partitions", "timeout"]
    code = re.sub(r"#.*", "", inspect.getsource(Fetcher.fetched_records).split('"""')[-1])
    assert re.findall(r".*\bpartitions\b.*", code) == ["                if partitions and tp not in partitions:"]


def test_a_fetch_tells_which_record_has_expired_and_asks_for_no_other_by_itself():
    source = inspect.getsource(Fetcher)
    assert "err = Errors.OffsetOutOfRangeError({tp: fetch_offset})" in source
    assert source.count("if self._default_reset_strategy != OffsetResetStrategy.NONE:") == 2
    assert len(re.findall(r"await_reset\(", source)) == 3, "two where we forbid it, and one that nobody calls"
    assert "if not tp_state.awaiting_reset:" in inspect.getsource(Fetcher._update_fetch_positions)


def test_a_waiting_fetch_is_woken_by_notifying_its_waiter():
    assert parameters(Fetcher._notify) == ["self", "future"]


def test_faust_takes_its_consumer_and_producer_from_the_transport():
    assert issubclass(consumer.ChunkTransport, driver.Transport)
    assert driver.Transport.Consumer is driver.Consumer
    assert driver.Transport.Producer is driver.Producer
    assert "self.Consumer(" in inspect.getsource(driver.Transport.create_consumer)
    assert "self.Producer(" in inspect.getsource(driver.Transport.create_producer)


def test_faust_takes_its_fetcher_from_the_transport_and_starts_the_task_that_we_put_there():
    assert consumer.ChunkTransport.Fetcher is consumer.ChunkFetcher
    assert "self.transport.Fetcher" in inspect.getsource(faust.app.base)
    assert "_fetcher" in consumer.ChunkFetcher._tasks[consumer.ChunkFetcher._get_class_id()]


def test_a_thread_of_faust_is_stopped_by_its_service_and_says_when_it_has_ended():
    stop = inspect.getsource(ServiceThread.stop)
    assert "await super().stop()" in stop
    assert "self._thread.stop()" in stop
    assert "self.is_stopped.wait()" in inspect.getsource(WorkerThread.stop), "it blocks the loop"


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


def test_a_fetch_looks_its_records_up_by_the_name_that_we_took():
    assert PartitionRecords.__module__ == fetcher.__name__
    assert fetcher.PartitionRecords is records._PartitionRecords
    assert fetcher.MemoryRecords is records._Fetched
    makers = [
        method
        for _, method in inspect.getmembers(Fetcher, inspect.isfunction)
        if "PartitionRecords" in method.__code__.co_names
    ]
    assert makers, "no method looks it up as a global name"
    assert all(maker.__globals__ is vars(fetcher) for maker in makers)


def test_a_fetch_asks_its_records_for_each_in_turn_and_where_they_end():
    assert set(re.findall(r"_partition_records\.(\w+)", inspect.getsource(FetchResult))) == {"next_fetch_offset"}
    source = inspect.getsource(PartitionRecords._unpack_records)
    assert "consumer_record = self._consumer_record(tp, record)" in source
    assert "yield consumer_record" in source
    assert inspect.isgeneratorfunction(PartitionRecords._unpack_records)
    assert "self._records_iterator = self._unpack_records()" in inspect.getsource(PartitionRecords.__init__)


def test_a_producer_makes_its_parts_as_ours_are_made():
    source = inspect.getsource(AIOKafkaProducer.__init__)
    assert set(re.findall(r"^            (\w+)=", source.split("Sender(")[1], re.MULTILINE)) == {
        "acks",
        "txn_manager",
        "retry_backoff_ms",
        "message_accumulator",
        "request_timeout_ms",
    }
    assert parameters(TransactionManager.__init__) == ["self", "transactional_id", "transaction_timeout_ms"]
    # Whoever else held the manager would hold another one than ours.
    assert source.count("self._txn_manager") == source.count("self._txn_manager = ") + len(
        re.findall("txn_manager=self._txn_manager", source)
    )


def test_a_transaction_is_sent_by_the_four_methods_that_we_override_and_by_no_other():
    source = inspect.getsource(Sender._maybe_do_transactional_request)
    assert sorted(re.findall(r"self\.(_do_\w+)\(", source)) == [
        "_do_add_offsets_to_txn",
        "_do_add_partitions_to_txn",
        "_do_txn_commit",
        "_do_txn_offset_commit",
    ]


def test_whatever_a_producer_survives_is_told_to_the_method_that_we_override():
    """After it only an abort is left, which must end what has joined."""
    source = inspect.getsource(sender)
    assert len(re.findall(r"txn_manager\.error_transaction\(", source)) == 4
    assert "ABORTABLE_ERROR" not in source


def test_a_request_without_an_answer_never_reaches_its_handler():
    source = inspect.getsource(sender.BaseHandler.do)
    assert source.index("except KafkaError") < source.index("self.handle_response(resp)")


def test_a_batch_is_numbered_between_the_wait_for_a_producer_id_and_the_next_wait():
    """So no batch is numbered by a producer id that has been given up."""
    source = inspect.getsource(Sender._sender_routine)
    between = source.split("await self._maybe_wait_for_pid()")[1].split("await ")[0]
    assert "drain_by_nodes(" in between
    assert "_send_produce_req(" in between
    assert "async" not in inspect.getsource(MessageAccumulator.drain_by_nodes)


def test_only_a_batch_that_is_sent_for_the_first_time_is_numbered_by_aiokafka():
    source = inspect.getsource(MessageAccumulator._pop_batch)
    assert "not_retry = batch.retry_count == 0" in source
    assert "if self._txn_manager is not None and not_retry:" in source


def test_all_that_a_batch_can_fail_of_is_asked_whether_it_can_be_tried_again():
    source = inspect.getsource(sender.SendProduceReqHandler)
    assert source.count("batch.failure(") == source.count("not self._can_retry(") == 2


def producer(batch_size):
    """Give as much of a producer as batches need."""
    return SimpleNamespace(create_batch=lambda: BatchBuilder(batch_size, 0, is_transactional=1))


NOW = 1_795_420_800_100
WRITTEN = [
    (1_795_420_800_000, b"m-1", b"one", ()),
    (1_795_420_800_007, None, None, ()),
    (1_795_420_799_000, b"m-3", b"three", (("provider", b"kumomta"), ("empty", b""))),
]


def test_fetched_records_are_those_of_the_c_code_from_the_offset_that_was_asked_for():
    batch, done = records.fill_batch(producer(1 << 20), WRITTEN, 0, NOW, window(NOW))
    assert done == len(WRITTEN)
    buffer = fetcher.MemoryRecords(bytes(batch._build()))
    fetched = fetcher.PartitionRecords(TopicPartition("events", 0), buffer, None, 1, None, None, True, 0)
    found = list(fetched)
    assert {type(record).__module__ for record in found} == {"aiokafka.record._crecords.default_records"}
    read = [(each.offset, each.timestamp, each.key, each.value, tuple(each.headers)) for each in found]
    assert read == [(offset, *record) for offset, record in enumerate(WRITTEN)][1:]
    assert fetched.next_fetch_offset == len(WRITTEN)


def test_a_batch_that_we_fill_is_the_one_that_its_own_method_fills():
    ours, _ = records.fill_batch(producer(1 << 20), WRITTEN, 0, NOW, window(NOW))
    theirs = producer(1 << 20).create_batch()
    for timestamp, key, value, headers in WRITTEN:
        theirs.append(timestamp=timestamp, key=key, value=value, headers=list(headers))
    assert ours.record_count() == theirs.record_count() == len(WRITTEN)
    assert ours.size() == theirs.size()
    assert ours._build() == theirs._build()


def test_a_batch_refuses_a_record_only_when_it_holds_one():
    """Whatever is too large for every batch gets one of its own: nothing is left over for ever."""
    large = (1_795_420_800_000, b"m", b"x" * 5_000, ())
    small = (1_795_420_800_000, b"m", b"x", ())
    every = [large, small, small, large, large]
    done, counts = 0, []
    while done < len(every):
        batch, end = records.fill_batch(producer(1_000), every, done, NOW, window(NOW))
        assert batch.record_count() == end - done > 0
        counts.append(end - done)
        done = end
    assert counts == [1, 2, 1, 1]


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
