"""Brevo as it calls back: one JSON object an event, its one good time in milliseconds beside three of local time."""

from __future__ import annotations

from datetime import datetime, timedelta
from random import Random

import orjson

from processor.demo.simulate.lives import Life, Message, Provider, Report, Step
from processor.demo.simulate.mailboxes import REPLIES, address, reply_to
from processor.domain.moment import to_microseconds

_MINUTE = 60.0
_HOUR = 60 * _MINUTE

_REQUEST = Step("request", (0.0, 0.5))
_DELIVERED = Step("delivered", (1.0, 12.0))
_DEFERRED = Step("deferred", (2.0, 10.0), "busy")
_SOON = (1.0, 8.0)

LIVES: tuple[Life, ...] = (
    Life(93.8, (_REQUEST, _DELIVERED)),
    Life(1.8, (_REQUEST, _DEFERRED, _DELIVERED)),
    Life(1.5, (_REQUEST, Step("hard_bounce", _SOON, "user_unknown"))),
    Life(0.2, (_REQUEST, Step("hard_bounce", _SOON, "disabled"))),
    Life(0.6, (_REQUEST, _DEFERRED, Step("soft_bounce", (_HOUR, 3 * _HOUR), "mailbox_full"))),
    Life(0.4, (_REQUEST, Step("soft_bounce", _SOON, "refused"))),
    Life(0.2, (_REQUEST, Step("invalid_email", (0.5, 3.0), "invalid"))),
    Life(0.7, (_REQUEST, Step("blocked", (0.0, 1.0), "blocklisted"))),
    Life(0.2, (_REQUEST, Step("error", (0.5, 3.0), "connection"))),
    Life(0.3, (_REQUEST, _DELIVERED, Step("hard_bounce", (_MINUTE, _HOUR), "user_unknown"))),
    Life(0.2, (_REQUEST, _DELIVERED, Step("spam", (10 * _MINUTE, 4 * _HOUR)))),
)

#: What Brevo itself says.
OWN_REASONS: dict[str, str] = {
    "": "sent",
    "invalid": "The email address is not valid",
    "blocklisted": "blocked : due to blacklist user",
    "connection": "Error connecting: connection timed out",
}

_ACCOUNT = 814119
#: The account's zone is an hour ahead, and its seconds count from there.
_ACCOUNT_ZONE = timedelta(hours=1)


def identify(rng: Random, created: datetime, number: int) -> str:
    """Make a message id, without its angle brackets."""
    return f"{created:%Y%m%d%H%M}.{rng.randrange(100):02d}{number:09d}@smtp-relay.mailin.fr"


def write(_rng: Random, message: Message, report: Report) -> bytes:
    """Write one event; our own ids travel in a header that Brevo repeats."""
    local = report.time + _ACCOUNT_ZONE
    event: dict[str, object] = {
        "event": report.native,
        "email": report.recipients[0],
        "id": _ACCOUNT,
        "date": local.strftime("%Y-%m-%d %H:%M:%S"),
        "ts": int(local.timestamp()),
        "message-id": f"<{message.provider_message_id}>",
        "ts_event": int(local.timestamp()),
        "subject": message.campaign.label,
        "sending_ip": "192.0.2.10",
        "ts_epoch": to_microseconds(report.time) // 1000,
        "template_id": message.campaign.number,
        "tags": [message.campaign.label],
        "reason": _reason(report),
    }
    if message.tags:
        event["X-Mailin-custom"] = _custom(message)
    return orjson.dumps(event)


def _reason(report: Report) -> str:
    if report.cause in REPLIES:
        return str(reply_to(report.cause, report.recipients[0], ""))
    return OWN_REASONS[report.cause]


def _custom(message: Message) -> str:
    """Write our own ids in one of the two ways in which senders write this header."""
    if message.campaign.variant:
        return orjson.dumps(message.tags).decode()
    return "|".join(f"{name}:{value}" for name, value in message.tags.items())


BREVO = Provider(
    name="brevo",
    topic="mta",
    campaigns=1,
    lives=LIVES,
    engagement={
        "delivered": (
            Step("unique_opened", (30.0, 6 * _HOUR)),
            Step("click", (40.0, 6 * _HOUR)),
        )
    },
    contradictions={
        # Both "sent" and "never sent: blocked".
        ("delivered", ""): Step("blocked", (1.0, 30.0), "blocklisted"),
        ("blocked", "blocklisted"): Step("delivered", (1.0, 30.0)),
        ("hard_bounce", "user_unknown"): Step("delivered", (1.0, 60.0)),
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
