"""Measure what the feed of addresses costs, without a broker: the fold with and without it, and the stage itself.

CPU time, of chunks that are folded in turn with and without the feed, so that a busy machine changes it little.
"""

from __future__ import annotations

import argparse
import time
from collections import defaultdict
from statistics import median

from benchmarks.index import PARTITIONS, Read, calm_garbage_collector, chunks_of, folds
from processor.domain.moment import from_seconds, to_millis
from processor.engine.stage import Outbox, Partitioning, Positions, Work
from processor.metrics import Metrics
from processor.settings import Settings
from processor.stages import addresses
from processor.watch.board import Board
from processor.wire.topics import ADDRESSES, RECIPIENTS, TOPICS

_FEED = Settings(addresses_key="a-secret-of-the-senders")
#: Records of the fold that one transaction of the stage takes.
_AT_A_TIME = 8


def _take(work: Work, chunk: list[Read], number: int) -> tuple[float, Outbox]:
    started = time.process_time()
    outbox = Outbox(to_millis(from_seconds(time.time())))
    work.process(chunk, outbox)
    work.committed(Positions(number + 1, number + 1))
    return time.process_time() - started, outbox


def measure(messages: int) -> dict[str, float]:
    """Return what so many messages cost."""
    chunks = list(chunks_of(messages))
    calm_garbage_collector()
    without, with_feed = folds(Settings())[0], folds(_FEED)[0]
    plain, ratios = [], []
    seen: dict[int, list[Read]] = defaultdict(list)
    for number, chunk in enumerate(chunks):
        spent = {}
        for work in (without, with_feed) if number % 2 else (with_feed, without):
            spent[id(work)], outbox = _take(work, chunk, number)
            for (topic, partition), records in outbox.records.items():
                if topic == _FEED.topic(RECIPIENTS):
                    seen[partition] += [Read(0, stamp, key, value) for stamp, key, value, _ in records]
        plain.append(spent[id(without)] / len(chunk))
        ratios.append(spent[id(with_feed)] / spent[id(without)])
    events = sum(map(len, chunks))
    stage, written, size = _stage(seen)
    return {
        "fold without, microseconds an event": median(plain) * 1e6,
        "fold with, more": median(ratios) - 1,
        "stage, microseconds an event": stage / events * 1e6,
        "records of addresses.v1 an event": written / events,
        "bytes of such a record": size / max(1, written),
    }


def _stage(seen: dict[int, list[Read]]) -> tuple[float, int, int]:
    """Return the seconds that the stage takes, and the records and bytes that it writes."""
    metrics = Metrics(["addresses"])
    declared = addresses.stage(_FEED, metrics, Board(metrics))
    counts = {_FEED.topic(topic): PARTITIONS for topic in TOPICS}
    spent, written, size = 0.0, 0, 0
    for partition, records in seen.items():
        work = declared.start_work(Partitioning(_FEED.topic(RECIPIENTS), partition, counts, "cluster"))
        for start in range(0, len(records), _AT_A_TIME):
            seconds, outbox = _take(work, records[start : start + _AT_A_TIME], start)
            spent += seconds
            out = outbox.records[_FEED.topic(ADDRESSES), partition]
            written += len(out)
            size += sum(len(key or b"") + len(value or b"") for _, key, value, _ in out)
    return spent, written, size


def main() -> None:
    """Measure, and print what it is."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=300_000)
    for name, value in measure(parser.parse_args().messages).items():
        print(f"{name}: {value:.3f}")


if __name__ == "__main__":
    main()
