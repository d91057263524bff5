"""Postmark as it calls back: one JSON object for each delivery or bounce, in times of seven fraction digits."""

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

_DELIVERY = Step("Delivery", (1.0, 12.0), "accepted")
_DELAY = Step("Bounce", (5 * _MINUTE, 15 * _MINUTE), "busy")
_SOON = (1.0, 8.0)

LIVES: tuple[Life, ...] = (
    Life(94.0, (_DELIVERY,)),
    Life(1.6, (_DELAY, _DELIVERY)),
    Life(1.6, (Step("Bounce", _SOON, "user_unknown"),)),
    Life(0.2, (Step("Bounce", _SOON, "disabled"),)),
    Life(0.4, (Step("Bounce", _SOON, "refused"),)),
    Life(0.6, (_DELAY, Step("Bounce", (_HOUR, 3 * _HOUR), "mailbox_full"))),
    Life(0.6, (Step("Bounce", _SOON, "deactivated"),)),
    Life(0.2, (Step("Bounce", (0.0, 0.5), "rendering"),)),
    Life(0.3, (_DELIVERY, Step("Bounce", (_MINUTE, _HOUR), "user_unknown"))),
    Life(0.2, (_DELIVERY, Step("SpamComplaint", (10 * _MINUTE, 4 * _HOUR)))),
)


class _Bounce(NamedTuple):
    """What Postmark calls a bounce."""

    type: str
    code: int
    name: str
    description: str


BOUNCES: dict[str, _Bounce] = {
    "user_unknown": _Bounce(
        "HardBounce",
        1,
        "Hard bounce",
        "The server was unable to deliver your message (ex: unknown user, mailbox not found).",
    ),
    "disabled": _Bounce(
        "HardBounce",
        1,
        "Hard bounce",
        "The server was unable to deliver your message (ex: unknown user, mailbox not found).",
    ),
    "busy": _Bounce(
        "Transient",
        2,
        "Message delayed",
        "The server could not temporarily deliver your message (ex: Message is delayed due to network troubles).",
    ),
    "mailbox_full": _Bounce(
        "SoftBounce",
        4096,
        "Soft bounce",
        "Unable to temporarily deliver message (i.e. mailbox full, account disabled, exceeds quota).",
    ),
    "refused": _Bounce("Blocked", 100006, "ISP block", "Blocked from this ISP due to content or blacklisting."),
    "deactivated": _Bounce(
        "ManuallyDeactivated", 100002, "Manually deactivated", "The email was manually deactivated."
    ),
    "rendering": _Bounce(
        "TemplateRenderingFailed",
        100010,
        "Template rendering failed",
        "An error occurred while rendering the template.",
    ),
    "": _Bounce("SpamComplaint", 100001, "Spam complaint", "The subscriber explicitly marked this message as spam."),
}

_SERVER = 23


def identify(rng: Random, _created: datetime, number: int) -> str:
    """Make a message id: a UUID."""
    return str(UUID(int=rng.getrandbits(96) << 32 | number & 0xFFFFFFFF, version=4))


def write(rng: Random, message: Message, report: Report) -> bytes:
    """Write one webhook."""
    record: dict[str, object] = {
        "RecordType": report.native,
        "ServerID": _SERVER,
        "MessageStream": "broadcast",
        "MessageID": message.provider_message_id,
        "Tag": message.campaign.label,
        "Metadata": message.tags,
    }
    if report.native in {"Bounce", "SpamComplaint"}:
        return orjson.dumps(record | _bounce(rng, message, report))
    name = "DeliveredAt" if report.native == "Delivery" else "ReceivedAt"
    record |= {"Recipient": report.recipients[0], name: _ticks(report.time)}
    if report.native == "Delivery":
        record["Details"] = f"smtp;{reply_to('accepted', report.recipients[0], f'{rng.getrandbits(40):010x}')}"
    elif report.native == "Click":
        record["OriginalLink"] = f"https://www.example.com/offers/{message.campaign.number}"
    return orjson.dumps(record)


def _bounce(rng: Random, message: Message, report: Report) -> dict[str, object]:
    bounce = BOUNCES[report.cause]
    recipient = report.recipients[0]
    return {
        "ID": rng.getrandbits(62),
        "Type": bounce.type,
        "TypeCode": bounce.code,
        "Name": bounce.name,
        "Description": bounce.description,
        "Details": f"smtp;{reply_to(report.cause, recipient, '')}" if report.cause in REPLIES else "",
        "Email": recipient,
        "From": "news@mail.example.com",
        "BouncedAt": _ticks(report.time),
        "DumpAvailable": True,
        "Inactive": bounce.type == "HardBounce",
        "CanActivate": True,
        "Subject": message.campaign.label,
    }


def _ticks(time: datetime) -> str:
    return time.isoformat(timespec="microseconds")[:26] + "0Z"


POSTMARK = Provider(
    name="postmark",
    topic="mta",
    campaigns=1,
    lives=LIVES,
    engagement={
        "Delivery": (
            Step("Open", (30.0, 6 * _HOUR)),
            Step("Click", (40.0, 6 * _HOUR)),
        )
    },
    contradictions={
        # Both "sent" and "never sent: deactivated".
        ("Delivery", "accepted"): Step("Bounce", (1.0, 30.0), "deactivated"),
        ("Bounce", "deactivated"): Step("Delivery", (1.0, 30.0), "accepted"),
        ("Bounce", "user_unknown"): Step("Delivery", (1.0, 60.0), "accepted"),
    },
    unknown="Archived",
    carries_ids=True,
    tells_time=True,
    keyed=True,
    batched=0.0,
    parted=0.0,
    identify=identify,
    address=address,
    write=write,
)
