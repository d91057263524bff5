"""Resend as it calls back: one JSON object an event, what it is about in `data`."""

from __future__ import annotations

from datetime import datetime
from random import Random
from typing import NamedTuple
from uuid import UUID

import orjson

from processor.demo.simulate.lives import Life, Message, Provider, Report, Step
from processor.demo.simulate.mailboxes import REPLIES, address, reply_to

_MINUTE = 60.0
_HOUR = 60 * _MINUTE

_SENT = Step("email.sent", (0.0, 0.5))
_DELIVERED = Step("email.delivered", (1.0, 12.0))
_DELAYED = Step("email.delivery_delayed", (5 * _MINUTE, 15 * _MINUTE))
_SOON = (1.0, 8.0)

LIVES: tuple[Life, ...] = (
    Life(93.6, (_SENT, _DELIVERED)),
    Life(0.4, (Step("email.scheduled", (0.0, 0.5)), _SENT._replace(after=(10 * _MINUTE, _HOUR)), _DELIVERED)),
    Life(1.6, (_SENT, _DELAYED, _DELIVERED)),
    Life(1.5, (_SENT, Step("email.bounced", _SOON, "user_unknown"))),
    Life(0.4, (_SENT, Step("email.bounced", _SOON, "refused"))),
    Life(0.6, (_SENT, _DELAYED, Step("email.bounced", (_HOUR, 3 * _HOUR), "mailbox_full"))),
    Life(0.3, (_SENT, Step("email.bounced", _SOON, "suppressed"))),
    Life(0.5, (_SENT, Step("email.suppressed", _SOON))),
    Life(0.3, (Step("email.failed", (0.0, 0.5)),)),
    Life(0.3, (_SENT, _DELIVERED, Step("email.bounced", (_MINUTE, _HOUR), "user_unknown"))),
    Life(0.3, (_SENT, _DELIVERED, Step("email.complained", (10 * _MINUTE, 4 * _HOUR)))),
)


class _Bounce(NamedTuple):
    """What Resend makes of a failure."""

    type: str
    subtype: str
    message: str


BOUNCES: dict[str, _Bounce] = {
    "user_unknown": _Bounce("Permanent", "General", "The recipient's email provider sent a hard bounce message."),
    "refused": _Bounce(
        "Transient",
        "ContentRejected",
        "The recipient's email provider sent a bounce message because the message you sent contains content that the"
        " provider doesn't allow.",
    ),
    "mailbox_full": _Bounce(
        "Transient",
        "MailboxFull",
        "The recipient's email provider sent a bounce message because the recipient's inbox was full.",
    ),
    "suppressed": _Bounce(
        "Permanent",
        "Suppressed",
        "Resend has suppressed sending to this address because it has a recent history of producing hard bounces.",
    ),
}

#: What else an event tells, by its type.
_DETAILS: dict[str, dict[str, object]] = {
    "email.suppressed": {
        "suppressed": {
            "message": "The recipient's email address is on the suppression list of your account.",
            "type": "OnAccountSuppressionList",
        }
    },
    "email.failed": {"failed": {"reason": "reached_daily_quota"}},
    "email.clicked": {"click": {"link": "https://www.example.com/offers", "ipAddress": "198.51.100.77"}},
}


def identify(rng: Random, _created: datetime, number: int) -> str:
    """Make an email id: a UUID."""
    return str(UUID(int=rng.getrandbits(96) << 32 | number & 0xFFFFFFFF, version=4))


def write(_rng: Random, message: Message, report: Report) -> bytes:
    """Write one webhook; tags are a list where the account is of an older version."""
    tags: object = message.tags
    if message.campaign.variant:
        tags = [{"name": name, "value": value} for name, value in message.tags.items()]
    data: dict[str, object] = {
        "broadcast_id": str(UUID(int=message.campaign.number, version=4)),
        "created_at": message.created.isoformat(timespec="microseconds"),
        "email_id": message.provider_message_id,
        "from": "News <news@mail.example.com>",
        "to": report.recipients,
        "subject": message.campaign.label,
        "tags": tags,
        **_DETAILS.get(report.native, {}),
    }
    if report.native == "email.bounced":
        data["bounce"] = _bounce(report)
    time = report.time.isoformat(timespec="milliseconds")[:23] + "Z"
    return orjson.dumps({"type": report.native, "created_at": time, "data": data})


def _bounce(report: Report) -> dict[str, object]:
    bounce = BOUNCES[report.cause]
    told: dict[str, object] = {"message": bounce.message, "subType": bounce.subtype, "type": bounce.type}
    if report.cause in REPLIES:
        told["diagnosticCode"] = [f"smtp; {reply_to(report.cause, report.recipients[0], '')}"]
    return told


RESEND = Provider(
    name="resend",
    topic="mta",
    campaigns=1,
    lives=LIVES,
    engagement={
        "email.delivered": (
            Step("email.opened", (30.0, 6 * _HOUR)),
            Step("email.clicked", (40.0, 6 * _HOUR)),
        )
    },
    contradictions={
        # Both "sent" and "never sent: suppressed".
        ("email.delivered", ""): Step("email.suppressed", (1.0, 30.0)),
        ("email.suppressed", ""): Step("email.delivered", (1.0, 30.0)),
        ("email.bounced", "user_unknown"): Step("email.delivered", (1.0, 60.0)),
    },
    unknown="email.archived",
    carries_ids=True,
    tells_time=True,
    keyed=True,
    batched=0.0,
    parted=0.0,
    identify=identify,
    address=address,
    write=write,
)
