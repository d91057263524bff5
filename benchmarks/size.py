"""Measure what a message takes on the broker's disk: python benchmarks/size.py [--messages 20000]

One worker folds canonical events; then the segments of each topic are weighed. `messages (last rows)` is what
compaction leaves of `messages`. The figures are those of `processor/cli/sizing.py`.
"""

from __future__ import annotations

import argparse
import asyncio
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

import load
from aiokafka import TopicPartition
from aiokafka.errors import KafkaError

from processor.demo.broker import EmbeddedKafka
from processor.engine import clients
from processor.engine.admin import create_topics
from processor.settings import Settings


def weight_of(folder: Path, topic: str) -> int:
    """Return the bytes of the segments of all partitions of a topic; indexes are preallocated, and left out."""
    return sum(path.stat().st_size for path in folder.glob(f"{topic}-*/*.log"))


async def fold_all(settings: Settings) -> None:
    """Run a worker until it has committed all events."""
    environment = {"DELIVERY_BROKERS": settings.brokers, "DELIVERY_TOPIC_PREFIX": settings.topic_prefix}
    environment |= {"DELIVERY_HTTP_PORT": "0", "PATH": "/usr/bin:/bin", "PYTHONPATH": ":".join(sys.path)}
    worker = subprocess.Popen(  # noqa: ASYNC220 - it runs beside this.
        [sys.executable, "-m", "processor", "worker"], env=environment, stderr=subprocess.DEVNULL
    )
    tps = [TopicPartition(settings.topic_prefix + "events.v1", each) for each in range(settings.partitions)]
    admin, reader = clients.admin(settings), clients.reader(settings)
    await admin.start()
    await reader.start()
    try:
        ends = await reader.end_offsets(tps)
        while True:
            await asyncio.sleep(1)
            # A broker that has just started has no group yet.
            with suppress(KafkaError):
                found = await admin.list_consumer_group_offsets(settings.app_id, partitions=tps)
                if all(tp in found and found[tp].offset == ends[tp] for tp in tps):
                    return
    finally:
        await reader.stop()
        await admin.close()
        worker.terminate()
        worker.wait()


async def main(messages: int) -> None:
    """Measure, and print a line for each topic."""
    with tempfile.TemporaryDirectory() as folder, EmbeddedKafka(Path(folder)) as broker:
        folded, compacted = (Settings(brokers=broker.bootstrap_servers, topic_prefix=each) for each in ("a.", "b."))
        for settings in (folded, compacted):
            await create_topics(settings)
        events = await load.fill_events(folded, messages)
        await fold_all(folded)
        await load.fill_rows(compacted, messages)
        print(f"{events / messages:.2f} events a message; bytes a message:")
        data = broker.directory / "data"
        for topic in ("events", "messages", "counts", "rejected", "dead", "receipts", "correlations"):
            print(f"{topic:25} {weight_of(data, f'a.{topic}.v1') / messages:8.1f}")
        print(f"{'messages (last rows)':25} {weight_of(data, 'b.messages.v1') / messages:8.1f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Measure what a message takes on the broker's disk.")
    parser.add_argument("--messages", type=int, default=20_000)
    asyncio.run(main(parser.parse_args().messages))
