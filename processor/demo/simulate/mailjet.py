"""Mailjet as it calls back: one JSON object an event, or an array of them where grouping is switched on."""

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

_SENT = Step("sent", (1.0, 15.0), "accepted")
_GREYLISTED = Step("bounce", (1.0, 10.0), "greylisted")
_SOON = (1.0, 8.0)

LIVES: tuple[Life, ...] = (
    Life(94.0, (_SENT,)),
    Life(1.6, (_GREYLISTED, _SENT._replace(after=(5 * _MINUTE, 30 * _MINUTE)))),
    Life(1.6, (Step("bounce", _SOON, "user_unknown"),)),
    Life(0.2, (Step("bounce", _SOON, "disabled"),)),
    Life(0.4, (Step("bounce", _SOON, "refused"),)),
    Life(0.6, (Step("bounce", (_HOUR, 5 * _HOUR), "mailbox_full"),)),
    Life(0.5, (Step("blocked", (0.0, 1.0), "preblocked"),)),
    Life(0.2, (Step("blocked", (0.0, 1.0), "duplicate"),)),
    Life(0.2, (Step("blocked", (0.0, 1.0), "rendering"),)),
    Life(0.3, (_SENT, Step("bounce", (_MINUTE, _HOUR), "user_unknown"))),
    Life(0.2, (_SENT, Step("spam", (10 * _MINUTE, 4 * _HOUR)))),
)


class _Error(NamedTuple):
    """What Mailjet makes of a failure."""

    related_to: str
    error: str
    hard: bool = False


ERRORS: dict[str, _Error] = {
    "user_unknown": _Error("recipient", "user unknown", hard=True),
    "disabled": _Error("recipient", "mailbox inactive", hard=True),
    "mailbox_full": _Error("recipient", "quota exceeded"),
    "greylisted": _Error("domain", "greylisted"),
    "refused": _Error("spam", "policy issue"),
    "preblocked": _Error("mailjet", "preblocked"),
    "duplicate": _Error("mailjet", "duplicate in campaign"),
    "rendering": _Error("content", "error in template language"),
}


def identify(rng: Random, _created: datetime, number: int) -> str:
    """Make a message id: an integer greater than 2^53."""
    return str(90_000_000_000_000_000 + rng.randrange(10**7) * 10**9 + number)


def write(rng: Random, message: Message, report: Report) -> bytes:
    """Write one event, in an array where the campaign's account groups them."""
    event: dict[str, object] = {
        "event": report.native,
        "time": int(report.time.timestamp()),
        "MessageID": int(message.provider_message_id),
        "Message_GUID": str(UUID(int=rng.getrandbits(128), version=4)),
        "email": report.recipients[0],
        "mj_campaign_id": message.campaign.number,
        "mj_contact_id": message.number,
        "customcampaign": message.campaign.label,
        "CustomID": "",
        "Payload": orjson.dumps(message.tags).decode() if message.tags else "",
    }
    if report.native == "sent":
        event["smtp_reply"] = str(reply_to("accepted", report.recipients[0], f"{rng.getrandbits(40):010x}"))
    elif report.native in {"bounce", "blocked"}:
        event |= _error(report)
    return orjson.dumps([event] if message.campaign.variant else event)


def _error(report: Report) -> dict[str, object]:
    told = ERRORS[report.cause]
    error: dict[str, object] = {"error_related_to": told.related_to, "error": told.error}
    if report.native == "bounce":
        error |= {"blocked": told.hard, "hard_bounce": told.hard, "comment": ""}
        if report.cause in REPLIES:
            error["comment"] = str(reply_to(report.cause, report.recipients[0], ""))
    return error


MAILJET = Provider(
    name="mailjet",
    topic="mta",
    campaigns=1,
    lives=LIVES,
    engagement={
        "sent": (
            Step("open", (30.0, 6 * _HOUR)),
            Step("click", (40.0, 6 * _HOUR)),
        )
    },
    contradictions={
        # Whole seconds only, so what contradicts comes well after, or nobody could say what came last.
        # Both "sent" and "never sent: blocked".
        ("sent", "accepted"): Step("blocked", (2 * _MINUTE, 5 * _MINUTE), "preblocked"),
        ("blocked", "preblocked"): Step("sent", (2 * _MINUTE, 5 * _MINUTE), "accepted"),
        ("bounce", "user_unknown"): Step("sent", (2 * _MINUTE, 5 * _MINUTE), "accepted"),
    },
    unknown="archived",
    carries_ids=True,
    tells_time=True,
    keyed=True,
    batched=0.0,
    parted=0.0,
    identify=identify,
    address=address,
    write=write,
)
