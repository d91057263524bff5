"""Records of the counts and the deliveries topic, and the deliveries that they make, for tests of the views."""

import json
from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any, NamedTuple

from processor.domain.delivery import Delivery, join
from processor.domain.moment import Micros, to_microseconds, to_rfc3339
from processor.domain.status import Status
from processor.views.deliveries import Deliveries
from processor.wire.control import decode_control
from processor.wire.deliveries import encode_delivery
from processor.wire.history import Width, history_key
from processor.wire.topics import COUNTS, DELIVERIES

NOW = to_microseconds(datetime(2026, 11, 23, 8, tzinfo=timezone.utc))
SECOND = 1_000_000
MINUTE, HOUR, DAY = 60 * SECOND, 3_600 * SECOND, 86_400 * SECOND

#: How many deliveries may run.
LIMIT = 2


class Record(NamedTuple):
    key: bytes | None
    value: bytes | None
    timestamp: int = NOW // 1000
    offset: int = 0
    headers: tuple[tuple[str, bytes], ...] = ()


def counts(
    statuses: Mapping[str, int] | None = None,
    delivery_id: str = "DM1",
    partition: int = 0,
    at: int = NOW,
    **maps: Any,
) -> Record:
    """A counts record, written at a moment; what is not given is 0 or absent."""
    every = {status.value: (statuses or {}).get(status.value, 0) for status in Status}
    value = {"delivery_id": delivery_id, "partition": partition, "messages": sum(every.values()), "statuses": every}
    return Record(f"{delivery_id}|{partition}".encode(), json.dumps({**value, **maps}).encode(), at // 1000)


def sample(
    at: Micros, deliveries: Mapping[str, Mapping[str, Mapping[str, int]]], width=Width.MINUTE, partition=0
) -> Record:
    """A sample of the span of time that holds a moment."""
    start = width.start(at // 1_000)
    value = {
        "partition": partition,
        "width": width.value,
        "time": to_rfc3339(start * 1_000),
        "deliveries": deliveries,
        "a field to come": 1,
    }
    return Record(history_key(partition, width, start), json.dumps(value).encode(), start + width.milliseconds)


def told(*actions: str, delivery_id: str = "DM1", at: int = NOW - HOUR, **facts: Any) -> Record:
    """A delivery record after these actions, a second apart, and these facts."""
    delivery: Delivery | None = None
    for number, action in enumerate(actions):
        control = {"time": to_rfc3339(at + number * SECOND), "delivery_id": delivery_id, "action": action, **facts}
        delivery = join(delivery, decode_control(json.dumps(control).encode(), None))
    assert delivery is not None
    return Record(delivery_id.encode(), encode_delivery(delivery_id, delivery))


def deliveries(*records: Record, since: int = NOW, limit: int = LIMIT) -> Deliveries:
    made = Deliveries(limit, since)
    for record in records:
        made.take(COUNTS if b"|" in (record.key or b"") else DELIVERIES, [record])
    return made
