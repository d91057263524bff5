"""SparkPost as it calls back: an array of `{"msys": {class: event}}`, times and ids in texts of digits."""

from __future__ import annotations

from datetime import datetime
from random import Random

import orjson

from processor.demo.simulate.lives import Life, Message, Provider, Report, Step
from processor.demo.simulate.mailboxes import REPLIES, address, domain_of, reply_to

_MINUTE = 60.0
_HOUR = 60 * _MINUTE

_INJECTION = Step("injection", (0.0, 0.5))
_DELIVERY = Step("delivery", (1.0, 12.0))
_BUSY = Step("delay", (2.0, 10.0), "busy")
_FULL = Step("delay", (5 * _MINUTE, 15 * _MINUTE), "mailbox_full")
_SOON = (1.0, 8.0)

LIVES: tuple[Life, ...] = (
    Life(93.6, (_INJECTION, _DELIVERY)),
    Life(1.6, (_INJECTION, _BUSY, _DELIVERY)),
    Life(0.5, (_INJECTION, _FULL, _FULL, _DELIVERY)),
    Life(1.5, (_INJECTION, Step("bounce", _SOON, "user_unknown"))),
    Life(0.2, (_INJECTION, Step("bounce", _SOON, "disabled"))),
    Life(0.4, (_INJECTION, Step("bounce", _SOON, "refused"))),
    Life(0.5, (_INJECTION, _FULL, _FULL, Step("bounce", (2 * _HOUR, 3 * _HOUR), "expired"))),
    Life(0.3, (_INJECTION, _DELIVERY, Step("out_of_band", (_MINUTE, _HOUR), "user_unknown"))),
    Life(0.6, (Step("generation_rejection", (0.0, 0.5), "suppressed"),)),
    Life(0.2, (Step("generation_failure", (0.0, 0.5), "rendering"),)),
    Life(0.3, (_INJECTION, _DELIVERY, Step("spam_complaint", (10 * _MINUTE, 4 * _HOUR)))),
)

#: What SparkPost itself says: code and text.
OWN_REPLIES: dict[str, tuple[str, str]] = {
    "expired": ("554", "554 5.4.7 [internal] message timeout (last transfail: 452 4.2.2 mailbox is full)"),
    "suppressed": ("554", "554 5.7.1 recipient address suppressed due to customer policy"),
    "rendering": ("554", "Error while rendering part html: line 4: substitution value 'firstName' did not exist"),
}

#: The bounce class of each cause.
CLASSES: dict[str, str] = {
    "busy": "70",
    "mailbox_full": "22",
    "user_unknown": "10",
    "disabled": "10",
    "refused": "51",
    "expired": "24",
    "suppressed": "25",
}

#: Event -> the class that it is wrapped in; all others are message events.
_WRAPPERS = {
    "open": "track_event",
    "click": "track_event",
    "generation_failure": "gen_event",
    "generation_rejection": "gen_event",
}


def identify(rng: Random, _created: datetime, number: int) -> str:
    """Make a transmission id: a number greater than 2^53."""
    return str(60_000_000_000_000_000 + rng.randrange(10**7) * 10**9 + number)


def write(rng: Random, message: Message, report: Report) -> bytes:
    """Write one batch of one event."""
    recipient = report.recipients[0]
    event: dict[str, object] = {
        "type": report.native,
        "campaign_id": message.campaign.label,
        "customer_id": "1",
        "event_id": str(92_000_000_000_000_000 + rng.randrange(10**15)),
        "friendly_from": "news@mail.example.com",
        "ip_pool": "shared",
        "message_id": f"{message.number:010x}ec{rng.getrandbits(32):08x}",
        "msg_from": "bounces@mail.example.com",
        "rcpt_meta": message.tags,
        "rcpt_tags": [],
        "rcpt_to": recipient.lower(),
        "raw_rcpt_to": recipient,
        "routing_domain": domain_of(recipient),
        "subject": message.campaign.label,
        "template_id": f"campaign-{message.campaign.number}",
        "timestamp": str(int(report.time.timestamp())),
        "transmission_id": message.provider_message_id,
    }
    if report.cause:
        code, text = _reply(report)
        event |= {"error_code": code, "raw_reason": text, "reason": text.replace(recipient, "...@...")}
    if report.cause in CLASSES:
        event["bounce_class"] = CLASSES[report.cause]
    return orjson.dumps([{"msys": {_WRAPPERS.get(report.native, "message_event"): event}}])


def _reply(report: Report) -> tuple[str, str]:
    if report.cause in REPLIES:
        reply = reply_to(report.cause, report.recipients[0], "")
        return str(reply.code), str(reply)
    return OWN_REPLIES[report.cause]


SPARKPOST = Provider(
    name="sparkpost",
    topic="mta",
    campaigns=1,
    lives=LIVES,
    engagement={
        "delivery": (
            Step("open", (30.0, 6 * _HOUR)),
            Step("click", (40.0, 6 * _HOUR)),
        )
    },
    contradictions={
        # Whole seconds only, so what contradicts comes well after, or nobody could say what came last.
        # Both "sent" and "never sent: suppressed".
        ("delivery", ""): Step("generation_rejection", (2 * _MINUTE, 5 * _MINUTE), "suppressed"),
        ("generation_rejection", "suppressed"): Step("delivery", (2 * _MINUTE, 5 * _MINUTE)),
        ("bounce", "user_unknown"): Step("delivery", (2 * _MINUTE, 5 * _MINUTE)),
    },
    unknown="archived",
    carries_ids=True,
    tells_time=True,
    keyed=False,
    batched=0.0,
    parted=0.0,
    identify=identify,
    address=address,
    write=write,
)
