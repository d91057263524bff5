"""Telnyx as it calls back: a snapshot of the message in an event, once sent and once final."""

from __future__ import annotations

from datetime import datetime
from random import Random
from uuid import UUID

import orjson

from processor.demo.simulate.lives import Life, Message, Provider, Report, Step
from processor.demo.simulate.mobiles import number as subscriber

_MINUTE = 60.0
_HOUR = 60 * _MINUTE

_SENT = Step("sent", (0.5, 3.0))
_DELIVERED = Step("delivered", (1.0, 20.0))

#: The cause is the code of the error.
LIVES: tuple[Life, ...] = (
    Life(90.0, (_SENT, _DELIVERED)),
    # "message.sent" may come with a status of "queued".
    Life(4.0, (Step("queued", (0.1, 1.0)), _DELIVERED)),
    Life(1.5, (_SENT,)),
    Life(1.0, (_SENT, Step("delivery_failed", (2.0, _MINUTE), "40008"))),
    Life(1.2, (_SENT, Step("delivery_failed", (2.0, _MINUTE), "40012"))),
    Life(0.6, (_SENT, Step("delivery_failed", (1.0, 20.0), "40002"))),
    Life(0.4, (Step("sending_failed", (0.2, 2.0), "40300"),)),
    Life(0.3, (Step("expired", (10 * _MINUTE, _HOUR), "40014"),)),
    Life(0.3, (Step("scheduled", (0.0, 0.3)), Step("cancelled", (_MINUTE, 20 * _MINUTE)))),
)

TITLES = {
    "40002": "Blocked as spam - temporary",
    "40008": "Undeliverable",
    "40012": "Invalid messaging destination number",
    "40014": "Message expired in queue",
    "40300": "Blocked due to STOP message",
}

_UNDERWAY = ("scheduled", "queued", "sending", "sent")


def identify(rng: Random, _created: datetime, _number: int) -> str:
    """Make a message id."""
    return str(UUID(int=rng.getrandbits(128), version=4))


def write(rng: Random, message: Message, report: Report) -> bytes:
    """Write one event; our own ids travel in the tags."""
    underway = report.native in _UNDERWAY
    errors = []
    if report.cause:
        title = TITLES[report.cause]
        errors.append({"code": report.cause, "title": title, "detail": title, "meta": {"url": "https://telnyx.com"}})
    payload = {
        "id": message.provider_message_id,
        "record_type": "message",
        "direction": "outbound",
        "type": "SMS",
        "from": {"carrier": "Telnyx", "line_type": "Wireless", "phone_number": "+447700900999"},
        "to": [
            {"carrier": "EE", "line_type": "Wireless", "phone_number": recipient, "status": report.native}
            for recipient in report.recipients
        ],
        "cc": [],
        "tags": [f"{name}={value}" for name, value in message.tags.items()],
        "parts": 1,
        "encoding": "GSM-7",
        "errors": errors,
        "received_at": _milliseconds(message.created),
        "completed_at": None if underway else _milliseconds(report.time),
    }
    return orjson.dumps(
        {
            "data": {
                "event_type": "message.sent" if underway else "message.finalized",
                "id": str(UUID(int=rng.getrandbits(128), version=4)),
                "occurred_at": _milliseconds(report.time),
                "payload": payload,
                "record_type": "event",
            },
            "meta": {"attempt": 1, "delivered_to": "https://example.com/hooks"},
        }
    )


def _milliseconds(time: datetime) -> str:
    return time.isoformat(timespec="milliseconds")[:23] + "+00:00"


TELNYX = Provider(
    name="telnyx",
    topic="sms",
    campaigns=1,
    lives=LIVES,
    engagement={"delivered": (Step("read", (5.0, 2 * _HOUR)),)},
    contradictions={
        ("delivered", ""): Step("delivery_failed", (1.0, 30.0), "40012"),
        ("delivery_failed", "40012"): _DELIVERED,
    },
    unknown="rerouted",
    carries_ids=True,
    tells_time=True,
    keyed=False,
    batched=0.0,
    parted=0.0,
    identify=identify,
    address=subscriber,
    write=write,
)
