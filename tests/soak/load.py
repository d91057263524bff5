"""The soak's load, as a process of its own: python -m tests.soak.load RATE MESSAGES.

Publishes the events of so many messages round and round until SIGTERM, so many a second by the clock: after the first
round every event is a duplicate, so that nothing in a worker has a reason to grow. The messages are some days old:
none comes to be stuck, or is removed, while the soak runs. On the last line of standard output it says how many events
it published.
"""

import asyncio
import sys
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from itertools import cycle

import orjson

from processor.demo.simulate import canonical_events
from tests.chaos.load import Keyed, publish

#: Older than what is stuck soonest and latest, and younger than what retention removes.
AGE = timedelta(days=5)

DELIVERIES = 50


def stream(messages: int) -> Iterator[Keyed]:
    """Give keys and values without end."""
    start = datetime.now(timezone.utc) - AGE
    events = canonical_events(1, messages, start, deliveries=DELIVERIES)
    return cycle([(orjson.loads(event)["message_id"].encode(), event) for event in events])


if __name__ == "__main__":
    sys.stdout.write(f"{asyncio.run(publish(float(sys.argv[1]), stream(int(sys.argv[2]))))}\n")
