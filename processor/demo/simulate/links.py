"""Links of simulated text messages to the provider's ids, as whoever sends them publishes them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from random import Random

import orjson

from processor.demo.simulate.disorder import Disorder, Record
from processor.demo.simulate.lives import Campaign, Message, Provider

#: Seconds of life from the hand-over until the sender tells it: at once, or when its batch job runs.
_SOON, _LATE = (0.05, 1.0), (120.0, 3_600.0)

#: Every so many of the campaigns whose ids do not travel, one whose sender tells nothing.
_SILENT = 4


class Links:
    """Tells of text messages whose receipts know only the provider's id: by links, or by events with both ids."""

    def __init__(self, rng: Random, speed: float, disorder: Disorder) -> None:
        self._rng, self._speed, self._disorder = rng, speed, disorder

    def hand_over(self, provider: Provider, message: Message) -> Iterator[Record]:
        """Yield what is told of a message that is handed over: nothing where its own ids travel."""
        campaign = message.campaign
        if provider.topic != "sms" or campaign.tagged or len(message.recipients) > 1 or _is_silent(campaign):
            return
        is_late = self._rng.random() < self._disorder.late
        after = timedelta(seconds=self._rng.uniform(*(_LATE if is_late else _SOON)) / self._speed)
        make = submit_record if campaign.variant else link_record
        record = make(provider.name, message.provider_message_id, message.id, campaign.id, message.created)
        record = record._replace(due=message.created + after, disorder="late" if is_late else None)
        yield record
        if self._rng.random() < self._disorder.duplicate:
            yield record._replace(due=record.due + after, disorder="duplicate")


def _is_silent(campaign: Campaign) -> bool:
    return campaign.number % _SILENT == 0


def link_record(  # noqa: PLR0913, PLR0917 - what a link tells
    provider: str,
    provider_message_id: str,
    message_id: str,
    delivery_id: str,
    time: datetime,
    part: tuple[int, int] | None = None,
) -> Record:
    """Return a link, due at its own time."""
    value: dict[str, object] = {
        "time": time.isoformat(),
        "provider": provider,
        "provider_message_id": provider_message_id,
        "message_id": message_id,
        "delivery_id": delivery_id,
    }
    if part is not None:
        value |= {"part": part[0], "parts": part[1]}
    return Record(time, "links", provider_message_id.encode(), orjson.dumps(value), ())


def submit_record(provider: str, provider_message_id: str, message_id: str, delivery_id: str, time: datetime) -> Record:
    """Return the event that a message was handed over, with both ids, due at its own time."""
    value = {
        "time": time.isoformat(),
        "message_id": message_id,
        "delivery_id": delivery_id,
        "channel": "sms",
        "status": "sent_to_provider",
        "provider": provider,
        "provider_message_id": provider_message_id,
    }
    return Record(time, "events", message_id.encode(), orjson.dumps(value), ())
