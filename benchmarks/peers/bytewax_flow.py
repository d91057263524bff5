"""Bytewax with the same fold: a stateful map over Kafka, rows as JSON with the former status to the topic of messages.

It has no changelog and no transactions; without its recovery store, as here, the state lives as long as the process.
It leaves out counts. The offsets that it commits are librdkafka's automatic ones: they only show how far it has read.
"""

from __future__ import annotations

import os

import bytewax.operators as op
from bytewax.connectors.kafka import KafkaSinkMessage
from bytewax.connectors.kafka import operators as kop
from bytewax.dataflow import Dataflow
from bytewax.testing import cluster_main
from confluent_kafka import OFFSET_BEGINNING

from processor.domain.fold import Verdict, fold
from processor.wire.events import decode_event
from processor.wire.rows import encode_row, pack_row, unpack_row

BROKERS = [os.environ["BENCH_BROKERS"]]
READING = {
    "group.id": os.environ["BENCH_GROUP"],
    "enable.auto.commit": "true",
    "auto.commit.interval.ms": "100",
    "isolation.level": "read_committed",
}
WRITING = {"partitioner": "murmur2_random", "queue.buffering.max.messages": "1000000", "linger.ms": "20"}


def fold_event(packed: bytes | None, value: bytes) -> tuple[bytes, bytes | None]:
    """Fold one event into its message's row; return the new state and the row as it is published, or None."""
    event, node, time = decode_event(value, None)
    before = None if packed is None else unpack_row(packed)
    row, verdict = fold(before, event, node, time)
    if packed is not None and verdict is Verdict.DUPLICATE:
        return packed, None
    return pack_row(row), encode_row(event.message_id, row, before)


def publish(keyed: tuple[str, bytes | None]) -> KafkaSinkMessage | None:
    """Make the record of a row."""
    key, row = keyed
    return None if row is None else KafkaSinkMessage(key.encode(), row)


flow = Dataflow("fold")
source = kop.input(
    "events",
    flow,
    brokers=BROKERS,
    topics=[os.environ["BENCH_TOPIC"]],
    tail=True,
    starting_offset=OFFSET_BEGINNING,
    add_config=READING,
    batch_size=2_000,
)
keyed = op.map("keyed", source.oks, lambda message: (message.key.decode(), message.value))
folded = op.stateful_map("fold", keyed, fold_event)
kop.output(
    "messages",
    op.filter_map("publish", folded, publish),
    brokers=BROKERS,
    topic=os.environ["BENCH_MESSAGES"],
    add_config=WRITING,
)

if __name__ == "__main__":
    cluster_main(flow, [], 0)
