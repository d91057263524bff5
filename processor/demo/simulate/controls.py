"""Control records of simulated deliveries, as whoever plans the sends publishes them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from random import Random
from typing import Any

import orjson

from processor.demo.simulate.disorder import Disorder, Record
from processor.demo.simulate.lives import Campaign, Message, Provider

_CHANNELS = {"mta": "email", "sms": "sms"}

#: Seconds of life before its first message at which a campaign is registered, and is given its date.
_REGISTERED, _SCHEDULED = 86_400.0, 72_000.0
#: Seconds of life by which a control record that is late comes later, at most.
_LATE = 120.0


class Controls:
    """Watches messages being handed over, and tells when a campaign begins and ends.

    Only of campaigns whose own ids travel with their messages: of the others nobody could tell what came of them.
    """

    def __init__(self, rng: Random, speed: float, disorder: Disorder) -> None:
        self._rng, self._speed, self._disorder = rng, speed, disorder
        self._handed_over: dict[str, int] = {}

    def hand_over(self, provider: Provider, message: Message) -> Iterator[Record]:
        """Yield what is told while a message is handed over: of most, nothing."""
        campaign = message.campaign
        if not campaign.tagged:
            return
        number = self._handed_over.pop(campaign.id, 0) + 1
        told = list(self._begin(provider, message)) if number == 1 else []
        if number == campaign.planned:
            told.append(control_record(campaign.id, message.created, "finish", message.created))
        else:
            self._handed_over[campaign.id] = number
        for record in told:
            yield from self._disturb(record)

    def _begin(self, provider: Provider, message: Message) -> Iterator[Record]:
        campaign, due = message.campaign, message.created
        facts = {
            "label": campaign.label,
            "campaign": _slug(campaign),
            "channel": _CHANNELS[provider.topic],
            "planned": campaign.planned,
        }
        yield control_record(campaign.id, due, "register", due - self._life(_REGISTERED), **facts)
        yield control_record(campaign.id, due, "schedule", due - self._life(_SCHEDULED), scheduled_at=due.isoformat())
        yield control_record(campaign.id, due, "start", due)

    def _disturb(self, record: Record) -> Iterator[Record]:
        """Yield a record, perhaps late, and perhaps twice."""
        if self._rng.random() < self._disorder.late:
            record = record._replace(due=record.due + self._life(self._rng.uniform(0, _LATE)), disorder="late")
        yield record
        if self._rng.random() < self._disorder.duplicate:
            again = record.due + self._life(self._rng.uniform(0, _LATE))
            yield record._replace(due=again, disorder="duplicate")

    def _life(self, seconds: float) -> timedelta:
        return timedelta(seconds=seconds / self._speed)


def _slug(campaign: Campaign) -> str:
    name = campaign.label.removesuffix(f" {campaign.number}")
    return "-".join(name.lower().replace(",", "").split())


def control_record(delivery_id: str, due: datetime, action: str, time: datetime, **facts: Any) -> Record:
    """Return the record that tells of an action, due at `due`, done at `time`."""
    control = {"time": time.isoformat(), "delivery_id": delivery_id, "action": action, **facts}
    return Record(due, "control", delivery_id.encode(), orjson.dumps(control), ())


def waiting_deliveries(start: datetime, *, messages: int = 120, first_delivery: int = 900) -> Iterator[Record]:
    """Yield deliveries that do not get anywhere, as control records and canonical events, all due at `start`.

    The first has a date three hours ahead. The second was started, and its messages are pending: when as many others
    run as may, the limit holds it.

    Args:
        start: when; aware.
        messages: how many messages of the second are pending.
        first_delivery: the number in the first one's id.
    """
    now = start.astimezone(timezone.utc)
    early = now - timedelta(hours=1)
    dated, held = f"DM{first_delivery}", f"DM{first_delivery + 1}"
    date = (now + timedelta(hours=3)).isoformat()
    dated_facts = {"label": "Christmas letter", "campaign": "christmas", "channel": "email", "planned": 25_000}
    yield control_record(dated, now, "register", early, **dated_facts)
    yield control_record(dated, now, "schedule", early, scheduled_at=date)
    held_facts = {
        "label": "Flash sale, tonight only",
        "campaign": "flash-sale",
        "channel": "email",
        "planned": messages,
    }
    yield control_record(held, now, "register", early, **held_facts)
    yield control_record(held, now, "start", now)
    for number in range(messages):
        event = {
            "time": now.isoformat(),
            "message_id": f"{held}-{number:06d}",
            "delivery_id": held,
            "channel": "email",
            "status": "pending",
            "recipient": f"guest{number:06d}@example.com",
        }
        yield Record(now, "events", event["message_id"].encode(), orjson.dumps(event), ())
