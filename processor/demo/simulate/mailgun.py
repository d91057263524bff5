"""Mailgun as it calls back: one JSON object an event, with its signature beside it."""

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

_ACCEPTED = Step("accepted", (0.0, 0.5))
_DELIVERED = Step("delivered", (1.0, 12.0), "accepted")
_BUSY = Step("failed", (1.0, 10.0), "busy")
_FULL = Step("failed", (1.0, 10.0), "mailbox_full")
_LATER = (10 * _MINUTE, 20 * _MINUTE)

LIVES: tuple[Life, ...] = (
    Life(93.8, (_ACCEPTED, _DELIVERED)),
    Life(1.8, (_ACCEPTED, _BUSY, _DELIVERED._replace(after=_LATER))),
    Life(0.5, (_ACCEPTED, _FULL, _FULL._replace(after=_LATER), _DELIVERED._replace(after=_LATER))),
    Life(1.5, (_ACCEPTED, Step("failed", (1.0, 8.0), "user_unknown"))),
    Life(0.2, (_ACCEPTED, Step("failed", (1.0, 8.0), "disabled"))),
    Life(0.4, (_ACCEPTED, Step("failed", (1.0, 8.0), "refused"))),
    Life(0.3, (_ACCEPTED, _BUSY, _BUSY._replace(after=_LATER), Step("failed", (2 * _HOUR, 3 * _HOUR), "expired"))),
    Life(0.3, (_ACCEPTED, _DELIVERED, Step("failed", (_MINUTE, _HOUR), "user_unknown"))),
    Life(0.5, (_ACCEPTED, Step("failed", (0.0, 0.5), "bounced_before"))),
    Life(0.3, (_ACCEPTED, Step("failed", (0.0, 0.5), "unsubscribed"))),
    Life(0.1, (Step("rejected", (0.0, 0.5)),)),
    Life(0.3, (_ACCEPTED, _DELIVERED, Step("complained", (10 * _MINUTE, 4 * _HOUR)))),
)


class _Failure(NamedTuple):
    """What Mailgun makes of a failure, and its own words where no server spoke."""

    severity: str
    reason: str
    code: int = 0
    description: str = ""


FAILURES: dict[str, _Failure] = {
    "busy": _Failure("temporary", "generic"),
    "mailbox_full": _Failure("temporary", "generic"),
    "user_unknown": _Failure("permanent", "bounce"),
    "disabled": _Failure("permanent", "bounce"),
    "refused": _Failure("permanent", "espblock"),
    "expired": _Failure("permanent", "old", 602, "Too old"),
    "bounced_before": _Failure("permanent", "suppress-bounce", 605, "Not delivering to previously bounced address"),
    "unsubscribed": _Failure("permanent", "suppress-unsubscribe", 606, "Not delivering to unsubscribed address"),
}


def identify(rng: Random, created: datetime, number: int) -> str:
    """Make a Message-ID."""
    return f"{created:%Y%m%d%H%M%S}.{number}.{rng.getrandbits(64):016x}@mail.example.com"


def write(rng: Random, message: Message, report: Report) -> bytes:
    """Write one POST."""
    recipient = report.recipients[0]
    event: dict[str, object] = {
        "id": base64.urlsafe_b64encode(rng.randbytes(16)).decode().rstrip("="),
        "event": report.native,
        "timestamp": to_microseconds(report.time) / 1_000_000,
        "log-level": "info",
        "recipient": recipient,
        "recipient-domain": domain_of(recipient),
        "message": {
            "headers": {
                "to": recipient,
                "from": "News <news@mail.example.com>",
                "message-id": message.provider_message_id,
                "subject": message.campaign.label,
            },
            "size": 18_000 + message.number % 4_000,
        },
        "envelope": {"transport": "smtp", "sender": "news@mail.example.com", "targets": recipient},
        "flags": {"is-routed": False, "is-authenticated": True, "is-system-test": False, "is-test-mode": False},
        "tags": ["newsletter"],
        "user-variables": message.tags,
    }
    if report.native == "failed":
        failure = FAILURES[report.cause]
        event |= {"severity": failure.severity, "reason": failure.reason}
        event["log-level"] = "warn" if failure.severity == "temporary" else "error"
    elif report.native == "rejected":
        event["reject"] = {"reason": "Rate limit exceeded", "description": ""}
    if report.native in {"failed", "delivered"}:
        event["delivery-status"] = _status(rng, report)
    signature = {
        "token": rng.randbytes(25).hex(),
        "timestamp": str(to_microseconds(report.time) // 1_000_000),
        "signature": rng.randbytes(32).hex(),
    }
    return orjson.dumps({"signature": signature, "event-data": event})


def _status(rng: Random, report: Report) -> dict[str, object]:
    recipient = report.recipients[0]
    status: dict[str, object] = {"attempt-no": max(1, report.position), "session-seconds": 0.4}
    if report.cause not in REPLIES:
        failure = FAILURES[report.cause]
        return status | {"code": failure.code, "message": "", "description": failure.description}
    reply = reply_to(report.cause, recipient, f"{rng.getrandbits(40):010x}")
    status |= {"code": reply.code, "message": f"{reply.enhanced} {reply.text}".strip(), "description": ""}
    return status | {"enhanced-code": reply.enhanced, "mx-host": HOSTS[domain_of(recipient)].name, "tls": True}


MAILGUN = Provider(
    name="mailgun",
    topic="mta",
    campaigns=1,
    lives=LIVES,
    engagement={"delivered": (Step("opened", (30.0, 6 * _HOUR)), Step("clicked", (40.0, 6 * _HOUR)))},
    contradictions={
        # Both delivered and never tried.
        ("delivered", "accepted"): Step("failed", (1.0, 30.0), "bounced_before"),
        ("failed", "bounced_before"): Step("delivered", (1.0, 30.0), "accepted"),
        ("failed", "user_unknown"): Step("delivered", (1.0, 60.0), "accepted"),
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
