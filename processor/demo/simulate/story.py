"""Simulate messages with known ids, for people to look up."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from random import Random

from processor.demo.simulate.controls import control_record
from processor.demo.simulate.disorder import Record
from processor.demo.simulate.kumomta import KUMOMTA
from processor.demo.simulate.links import link_record, submit_record
from processor.demo.simulate.lives import Campaign, Message, Report
from processor.demo.simulate.twilio import TWILIO

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


#: The text message whose receipt comes before anybody tells that it was sent, and Twilio's id of it.
EARLY_RECEIPT, EARLY_SID = "pickup-4712", "SM00000000000000000000000000004712"

#: The text message of three parts, each with an id of its own at the provider.
LONG_TEXT, _PARTS = "terms-4713", 3

_SMS_DELIVERY = 903

#: Seconds after the receipt at which the sender tells that it sent the message.
_TOLD_LATER = 30.0


def early_receipt(start: datetime) -> Iterator[Record]:
    """Yield a text message that is known by its receipt first: a row of its own, until the sender tells whose it is."""
    campaign = _sms_campaign(EARLY_RECEIPT)
    sent = start - timedelta(seconds=40.0)
    yield _receipt(campaign, EARLY_RECEIPT, EARLY_SID, "delivered", start)
    told = submit_record(TWILIO.name, EARLY_SID, EARLY_RECEIPT, campaign.id, sent)
    yield told._replace(due=start + timedelta(seconds=_TOLD_LATER))


def long_text(start: datetime) -> Iterator[Record]:
    """Yield a text message of three parts: linked part by part, and received when the last one is."""
    campaign = _sms_campaign(LONG_TEXT)
    sent = start - timedelta(seconds=60.0)
    for part in range(1, _PARTS + 1):
        link = link_record(TWILIO.name, _sid(part), LONG_TEXT, campaign.id, sent, (part, _PARTS))
        yield link._replace(due=start)
    for part in range(1, _PARTS + 1):
        due = start + timedelta(seconds=10.0 * part)
        yield _receipt(campaign, LONG_TEXT, _sid(part), "delivered", due)


def _sid(part: int) -> str:
    return f"SM0000000000000000000000000047130{part}"


def _sms_campaign(message_id: str) -> Campaign:
    number = _SMS_DELIVERY + (message_id == LONG_TEXT)
    return Campaign(number, f"DM{number}", message_id, TWILIO.name, 1, tagged=False, variant=False)


def _receipt(campaign: Campaign, message_id: str, sid: str, native: str, due: datetime) -> Record:
    rng = Random(campaign.number)  # noqa: S311 - a simulation must be repeatable, not secret
    recipients = ("+46701740605",)
    message = Message(campaign, message_id, 0, sid, recipients, due)
    value = TWILIO.write(rng, message, Report(native, "", due, 1, recipients))
    return Record(due, TWILIO.topic, sid.encode(), value, (("provider", TWILIO.name.encode()),))
