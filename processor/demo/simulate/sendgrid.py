"""SendGrid as it calls back: a JSON array of events; here one at a time, for a batch only joins what lives apart."""

from __future__ import annotations

import base64
from datetime import datetime
from random import Random
from typing import NamedTuple

import orjson

from processor.demo.simulate.lives import Life, Message, Provider, Report, Step
from processor.demo.simulate.mailboxes import HOSTS, REPLIES, address, domain_of, reply_to
from processor.domain.moment import to_microseconds

_MINUTE = 60.0
_HOUR = 60 * _MINUTE

_PROCESSED = Step("processed", (0.0, 1.0))
_DELIVERED = Step("delivered", (1.0, 15.0), "accepted")
_BUSY = Step("deferred", (1.0, 10.0), "busy")
_FULL = Step("deferred", (1.0, 10.0), "mailbox_full")
_LATER = (10 * _MINUTE, 30 * _MINUTE)

LIVES: tuple[Life, ...] = (
    Life(93.8, (_PROCESSED, _DELIVERED)),
    Life(1.6, (_PROCESSED, _BUSY, _DELIVERED._replace(after=_LATER))),
    Life(0.5, (_PROCESSED, _FULL, _FULL._replace(after=_LATER), _DELIVERED._replace(after=_LATER))),
    Life(1.5, (_PROCESSED, Step("bounce", (1.0, 8.0), "user_unknown"))),
    Life(0.2, (_PROCESSED, Step("bounce", (1.0, 8.0), "disabled"))),
    Life(0.5, (_PROCESSED, Step("bounce", (1.0, 8.0), "refused"))),
    Life(0.3, (_PROCESSED, _BUSY, _BUSY._replace(after=_LATER), Step("bounce", (2 * _HOUR, 3 * _HOUR), "expired"))),
    Life(0.3, (_PROCESSED, _DELIVERED, Step("bounce", (_MINUTE, _HOUR), "user_unknown"))),
    Life(0.5, (_PROCESSED, Step("dropped", (0.0, 0.5), "bounced_before"))),
    Life(0.3, (_PROCESSED, Step("dropped", (0.0, 0.5), "unsubscribed"))),
    Life(0.2, (_PROCESSED, Step("dropped", (0.0, 0.5), "spam"))),
    Life(0.3, (_PROCESSED, _DELIVERED, Step("spamreport", (10 * _MINUTE, 4 * _HOUR)))),
)

#: Why SendGrid itself drops a message.
DROPS: dict[str, str] = {
    "bounced_before": "Bounced Address",
    "unsubscribed": "Unsubscribed Address",
    "spam": "Spam Reporting Address",
}


class _Bounce(NamedTuple):
    """What SendGrid makes of a refusal."""

    type: str
    classification: str


BOUNCES: dict[str, _Bounce] = {
    "user_unknown": _Bounce("bounce", "Invalid Address"),
    "disabled": _Bounce("bounce", "Mailbox Unavailable"),
    "refused": _Bounce("blocked", "Reputation"),
    "expired": _Bounce("expired", "Technical"),
}


def identify(rng: Random, _created: datetime, number: int) -> str:
    """Make an id as the API gives it: 16 bytes in URL-safe base64, without padding."""
    unique = (rng.getrandbits(96) << 32 | number & 0xFFFFFFFF).to_bytes(16, "big")
    return base64.urlsafe_b64encode(unique).decode().rstrip("=")


def write(rng: Random, message: Message, report: Report) -> bytes:
    """Write one POST; custom arguments, where our own ids travel, are merged into the event."""
    recipient = report.recipients[0]
    event: dict[str, object] = {
        "email": recipient,
        "event": report.native,
        "timestamp": to_microseconds(report.time) // 1_000_000,
        "category": [message.campaign.label],
        "sg_event_id": base64.urlsafe_b64encode(rng.randbytes(18)).decode(),
        "sg_message_id": f"{message.provider_message_id}.recvd-6b8bcf4d5c-{message.number % 90 + 10}-690DA500-17.0",
        "smtp-id": f"<{message.provider_message_id}@geopod-ismtpd-{message.number % 40}>",
    }
    reply = reply_to(report.cause, recipient, f"{rng.getrandbits(40):010x}") if report.cause in REPLIES else None
    if report.native == "delivered":
        event |= {"response": str(reply), "ip": "192.0.2.10", "tls": 1}
    elif report.native == "deferred":
        event |= {"response": str(reply), "attempt": str(report.position), "domain": domain_of(recipient)}
    elif report.native == "bounce":
        event |= _bounce(report, str(reply) if reply else "delivery time expired", reply.enhanced if reply else "4.4.7")
        if report.position > 1:
            # What a report in a mail told has no session, and so no smtp-id.
            del event["smtp-id"]
    elif report.native == "dropped":
        event |= {"reason": DROPS[report.cause], "status": "5.0.0"}
    elif report.native == "click":
        event["url"] = f"https://www.example.com/offers/{message.campaign.number}"
    return orjson.dumps([event | message.tags])


def _bounce(report: Report, reason: str, status: str) -> dict[str, object]:
    bounce = BOUNCES[report.cause]
    return {
        "type": bounce.type,
        "bounce_classification": bounce.classification,
        "reason": reason,
        "status": status,
        "ip": HOSTS[domain_of(report.recipients[0])].address,
    }


SENDGRID = Provider(
    name="sendgrid",
    topic="mta",
    campaigns=1,
    lives=LIVES,
    engagement={"delivered": (Step("open", (30.0, 6 * _HOUR)), Step("click", (40.0, 6 * _HOUR)))},
    contradictions={
        # Both delivered and never tried. Minutes apart, for the times are whole seconds, also where life runs faster.
        ("delivered", "accepted"): Step("dropped", (2 * _MINUTE, 9 * _MINUTE), "bounced_before"),
        ("dropped", "bounced_before"): Step("delivered", (2 * _MINUTE, 9 * _MINUTE), "accepted"),
        ("bounce", "user_unknown"): Step("delivered", (2 * _MINUTE, 9 * _MINUTE), "accepted"),
    },
    unknown="rerouted",
    carries_ids=True,
    tells_time=True,
    keyed=False,
    batched=0.0,
    parted=0.0,
    identify=identify,
    address=address,
    write=write,
)
