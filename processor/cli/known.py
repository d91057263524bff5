"""Read what is known of deliveries from the topics of counts and deliveries."""

from __future__ import annotations

import time

from processor.domain.moment import Micros
from processor.domain.traits import SuccessFrom
from processor.engine.records import Stored
from processor.engine.streams import read_to_end
from processor.settings import Settings
from processor.views.deliveries import Deliveries
from processor.wire.topics import COUNTS, DELIVERIES


async def known_deliveries(settings: Settings) -> Deliveries:
    """Read the state of all deliveries."""
    deliveries = Deliveries(settings.concurrency_limit, present(), SuccessFrom(settings.success_from))
    for topic in (COUNTS, DELIVERIES):
        latest: dict[bytes | None, Stored] = {}
        async for record in read_to_end(settings, settings.topic(topic)):
            latest[record.key] = record
        deliveries.take(topic, latest.values())
    return deliveries


def present() -> Micros:
    """Return the present time, in microseconds."""
    return Micros(time.time_ns() // 1000)
