"""Quix Streams with the same fold: its own state store and changelog, exactly once.

It writes the row to its state (and so to the state's changelog) and as JSON, with the former status, to the topic of
messages. It leaves out counts: its state is by message, and counting by delivery would take a second topic to
repartition over, which would halve its speed.
"""

from __future__ import annotations

import os

from quixstreams import Application
from quixstreams.models import TopicConfig

from processor.domain.fold import Verdict, fold
from processor.wire.events import decode_event
from processor.wire.rows import encode_row, pack_row, unpack_row


def fold_event(value: bytes, state) -> bytes | None:
    """Fold one event into its message's row; return the row as it is published, or None."""
    event, node, time = decode_event(value, None)
    packed = state.get_bytes("row")
    before = None if packed is None else unpack_row(packed)
    row, verdict = fold(before, event, node, time)
    if verdict is Verdict.DUPLICATE:
        return None
    state.set_bytes("row", pack_row(row))
    return encode_row(event.message_id, row, before)


def main() -> None:
    application = Application(
        broker_address=os.environ["BENCH_BROKERS"],
        consumer_group=os.environ["BENCH_GROUP"],
        processing_guarantee="exactly-once",
        auto_offset_reset="earliest",
        state_dir=os.environ["BENCH_DATA"],
        auto_create_topics=True,
        topic_create_timeout=30,
        loglevel="ERROR",
        consumer_extra_config={"isolation.level": "read_committed"},
        producer_extra_config={"queue.buffering.max.messages": 1_000_000, "linger.ms": 20},
    )
    shape = TopicConfig(num_partitions=int(os.environ["BENCH_PARTITIONS"]), replication_factor=1)
    raw = {"key_deserializer": "bytes", "value_deserializer": "bytes", "config": shape}
    written = {"key_serializer": "bytes", "value_serializer": "bytes", "config": shape}
    events = application.topic(os.environ["BENCH_TOPIC"], **raw)
    messages = application.topic(os.environ["BENCH_MESSAGES"], **written)
    rows = application.dataframe(events).apply(fold_event, stateful=True)
    rows.filter(lambda row: row is not None).to_topic(messages)
    application.run()


if __name__ == "__main__":
    main()
