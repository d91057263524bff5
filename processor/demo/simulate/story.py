"""One message with a name, to look for."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from random import Random

from processor.demo.simulate.controls import control_record
from processor.demo.simulate.disorder import Record
from processor.demo.simulate.kumomta import KUMOMTA
from processor.demo.simulate.lives import Campaign, Message, Report

#: The message that fails, and its delivery's number.
FAILED_MESSAGE = "order-4711"
_DELIVERY = 902

#: Its life: what KumoMTA logs, why, and how many seconds before the start.
_LIFE = (("Reception", "", 95.0), ("TransientFailure", "busy", 90.0), ("Bounce", "user_unknown", 20.0))


def failed_message(start: datetime) -> Iterator[Record]:
    """Yield the life of a message whose recipient does not exist, all due at `start`."""
    rng = Random(_DELIVERY)  # noqa: S311 - a simulation must be repeatable, not secret
    created = start - timedelta(seconds=_LIFE[0][2])
    campaign = Campaign(_DELIVERY, f"DM{_DELIVERY}", "Your order has shipped", KUMOMTA.name, 1, True, False)
    recipients = ("anna.svensson@example.org",)
    message = Message(campaign, FAILED_MESSAGE, 0, KUMOMTA.identify(rng, created, 0), recipients, created)
    facts = {"label": campaign.label, "campaign": "order-shipped", "channel": "email", "planned": campaign.planned}
    yield control_record(campaign.id, start, "register", created, **facts)
    yield control_record(campaign.id, start, "start", created)
    yield control_record(campaign.id, start, "finish", created)
    headers = (("provider", KUMOMTA.name.encode()),)
    for position, (native, cause, before) in enumerate(_LIFE):
        report = Report(native, cause, start - timedelta(seconds=before), position, recipients)
        value = KUMOMTA.write(rng, message, report)
        yield Record(start, KUMOMTA.topic, message.provider_message_id.encode(), value, headers)
