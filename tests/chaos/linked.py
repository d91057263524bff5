"""Load of text messages whose receipts know only the provider's id: python -m tests.chaos.linked RATE SEED.

Each message is handed over by an event of ours, which has both ids, or is followed by a link; its two receipts are
payloads of Twilio's. The four come in any order, one in ten of them up to twenty seconds later, one in twenty of them
twice. On SIGTERM what is due later is published, too. On the last line of standard output it says how many messages
there were.
"""

import asyncio
import logging
import os
import random
import signal
import sys
import time
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from heapq import heappop, heappush
from urllib.parse import urlencode

import orjson

from processor.engine import clients
from processor.settings import Settings, load
from processor.wire.topics import EVENTS, LINKS, SMS

TICK = 0.1

#: How the ids of these messages begin, and those of the rows that show their receipts until they are linked.
PREFIX, PROVISIONAL = b"linked-", b"twilio:SMlinked"

#: Topic, key, value, headers.
Published = tuple[str, bytes | None, bytes, list[tuple[str, bytes]]]


def message(settings: Settings, number: int) -> Iterator[Published]:
    """Give all that is published of one message."""
    sent_at = (datetime.now(timezone.utc) - timedelta(minutes=5)).isoformat()
    message_id, native_id = f"linked-{number}", f"SMlinked{number:026}"
    ids = {"message_id": message_id, "provider": "twilio", "provider_message_id": native_id}
    sent = {"time": sent_at, "message_id": message_id, "channel": "sms", "status": "sent_to_provider"}
    if number % 2:
        sent |= ids
    else:
        yield settings.topic(LINKS), native_id.encode(), orjson.dumps({"time": sent_at, **ids}), []
    yield settings.topic(EVENTS), message_id.encode(), orjson.dumps(sent), []
    for status in ("sent", "delivered"):
        form = urlencode({"MessageSid": native_id, "MessageStatus": status, "To": "+46701740605"})
        yield settings.topic(SMS), None, form.encode(), [("provider", b"twilio")]


def disordered(chance: random.Random, records: list[Published]) -> Iterator[tuple[float, Published]]:
    """Give records in any order, each with the seconds after which it is published."""
    chance.shuffle(records)
    for record in records:
        yield chance.uniform(0, 20) if chance.random() < 1 / 10 else 0.0, record
        if chance.random() < 1 / 20:
            yield chance.uniform(0, 20), record


async def publish(rate: float, seed: int) -> int:
    settings, chance = load(os.environ), random.Random(seed)
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    due: list[tuple[float, int, Published]] = []
    messages, ordinal, began = 0, 0, time.monotonic()
    async with clients.producer(settings) as producer:
        while not (is_last := ended.is_set()) or due:
            now = time.monotonic()
            while not is_last and messages < (now - began) * rate:
                for after, record in disordered(chance, list(message(settings, messages))):
                    heappush(due, (now + after, ordinal, record))
                    ordinal += 1
                messages += 1
            sent = []
            while due and (is_last or due[0][0] <= now):
                topic, key, value, headers = heappop(due)[2]
                sent.append(await producer.send(topic, value, key=key, headers=headers))
            for future in sent:
                await future
            if not is_last:
                await asyncio.sleep(TICK)
    return messages


if __name__ == "__main__":
    # That the broker is away is what is tried.
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    sys.stdout.write(f"{asyncio.run(publish(float(sys.argv[1]), int(sys.argv[2])))}\n")
