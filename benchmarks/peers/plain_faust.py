"""Plain Faust, as its documentation shows it: an agent over a topic, a table, the same fold. At least once.

It writes the packed row to its table (and so to the table's changelog); it leaves out the JSON row with the former
status, counts and the evidence of rejections.
"""

from __future__ import annotations

import os
import sys

import faust

from processor.domain.fold import Verdict, fold
from processor.wire.events import decode_event
from processor.wire.rows import pack_row, unpack_row

app = faust.App(
    os.environ["BENCH_GROUP"],
    broker=f"aiokafka://{os.environ['BENCH_BROKERS']}",
    store="memory://",
    topic_disable_leader=True,
    topic_partitions=int(os.environ["BENCH_PARTITIONS"]),
    topic_replication_factor=1,
    web_enabled=False,
    datadir=os.environ["BENCH_DATA"],
    stream_wait_empty=False,
    broker_max_poll_records=4000,
)
events = app.topic(
    os.environ["BENCH_TOPIC"], key_serializer="raw", value_serializer="raw", key_type=bytes, value_type=bytes
)
rows = app.Table(
    "rows",
    partitions=int(os.environ["BENCH_PARTITIONS"]),
    schema=faust.Schema(key_type=bytes, value_type=bytes, key_serializer="raw", value_serializer="raw"),
)


@app.agent(events)
async def fold_events(stream):
    async for value in stream:
        event, node, time = decode_event(value, None)
        key = event.message_id.encode()
        packed = rows.get(key)
        row, verdict = fold(None if packed is None else unpack_row(packed), event, node, time)
        if verdict is not Verdict.DUPLICATE:
            rows[key] = pack_row(row)


if __name__ == "__main__":
    sys.argv = ["plain_faust", "worker", "-l", "error", "--without-web"]
    app.main()
