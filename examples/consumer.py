"""Follow the changes of status from where you were: what to build an integration on.

    python examples/consumer.py --brokers localhost:9092 --offsets offsets.json

Each line that it writes is a change. The offsets are stored after the change was dealt with, so a change is dealt with
at least once: `message_id` and `since` tell whether it was dealt with before. Whoever keeps what they make of changes
in a database stores the offset there, in the same transaction, and deals with each exactly once.
"""

import argparse
import asyncio
import json
from pathlib import Path

from processor.client import Change, Reader


def deal_with(change: Change) -> None:
    """Do with a change what your system needs; here, write a line."""
    if change.row is None:
        print(change.message_id, f"moved to {change.moved_to}" if change.moved_to else "forgotten", flush=True)
        return
    before = change.row.previous.status.value if change.row.previous else "new"
    print(change.message_id, before, "->", change.row.status.value, change.row.since.isoformat(), flush=True)


def stored(offsets: Path) -> dict[int, int]:
    """Read where to go on, by partition."""
    if not offsets.exists():
        return {}
    return {int(partition): offset for partition, offset in json.loads(offsets.read_text()).items()}


def store(offsets: Path, start: dict[int, int]) -> None:
    """Replace the file as a whole, so that a crash leaves the old one or the new one."""
    new = offsets.with_suffix(".new")
    new.write_text(json.dumps(start))
    new.replace(offsets)


async def follow(brokers: str, prefix: str, offsets: Path) -> None:
    """Deal with each change, and remember it."""
    start = stored(offsets)
    async for change in Reader(brokers, prefix=prefix).changes(start):
        deal_with(change)
        start[change.partition] = change.offset + 1
        store(offsets, start)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Follow the changes of status.")
    parser.add_argument("--brokers", default="localhost:9092")
    parser.add_argument("--prefix", default="delivery.")
    parser.add_argument("--offsets", type=Path, required=True, help="a file to keep the offsets in")
    arguments = parser.parse_args()
    asyncio.run(follow(arguments.brokers, arguments.prefix, arguments.offsets))
