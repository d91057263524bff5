"""Bandwidth as it calls back: an array with one callback for each recipient of a message."""

from __future__ import annotations

from datetime import datetime
from random import Random
from urllib.parse import urlencode

import orjson

from processor.demo.simulate.lives import Life, Message, Provider, Report, Step
from processor.demo.simulate.mobiles import number as subscriber
from processor.domain.moment import to_microseconds

_MINUTE = 60.0

_SENDING = Step("message-sending", (0.2, 2.0))
_DELIVERED = Step("message-delivered", (1.0, 20.0))

#: The cause is the errorCode.
LIVES: tuple[Life, ...] = (
    Life(60.0, (_DELIVERED,)),
    # MMS tells that it is under way.
    Life(37.0, (_SENDING, _DELIVERED)),
    Life(1.2, (_SENDING, Step("message-failed", (1.0, 30.0), "4720"))),
    Life(0.6, (Step("message-failed", (0.5, 10.0), "4770"),)),
    Life(0.6, (Step("message-failed", (0.5, _MINUTE), "5600"),)),
    Life(0.4, (Step("message-failed", (0.2, 2.0), "4775"),)),
)

#: What Bandwidth says beside the code; without one, beside the event.
DESCRIPTIONS = {
    "message-sending": "Message is sending to carrier",
    "message-delivered": "ok",
    "4720": "invalid-destination-address",
    "4770": "destination-spam-detected",
    "4775": "destination-rejected-due-to-user-opt-out",
    "5600": "destination-carrier-queue-full",
}

#: A toll-free number: of these, "delivered" is the receipt of the recipient's device.
_SENDER = "+18447242263"


def identify(rng: Random, created: datetime, _number: int) -> str:
    """Make a message id: milliseconds and sixteen letters."""
    letters = "".join(rng.choices("0123456789abcdefghijklmnopqrstuvwxyz", k=16))
    return f"{to_microseconds(created) // 1000}{letters}"


def write(_rng: Random, message: Message, report: Report) -> bytes:
    """Write one delivery of the web hook; our own ids travel in the tag."""
    about = {
        "id": message.provider_message_id,
        "owner": _SENDER,
        "applicationId": "cfd4fb83-7531-4acc-b471-42d0bb76a65c",
        "time": _milliseconds(message.created),
        "segmentCount": 1,
        "direction": "out",
        "to": list(message.recipients),
        "from": _SENDER,
        "text": "",
        "tag": urlencode(message.tags) if message.campaign.tagged else message.campaign.label,
    }
    return orjson.dumps([_callback(report, recipient, about) for recipient in report.recipients])


def _callback(report: Report, recipient: str, about: dict[str, object]) -> dict[str, object]:
    callback: dict[str, object] = {
        "time": _milliseconds(report.time),
        "type": report.native,
        "to": recipient,
        "description": DESCRIPTIONS.get(report.cause or report.native, "news"),
        "message": about,
    }
    if report.cause:
        callback["errorCode"] = int(report.cause)
    return callback


def _milliseconds(time: datetime) -> str:
    return time.isoformat(timespec="milliseconds")[:23] + "Z"


BANDWIDTH = Provider(
    name="bandwidth",
    topic="sms",
    campaigns=1,
    lives=LIVES,
    engagement={"message-delivered": (Step("message-read", (5.0, 60 * _MINUTE)),)},
    contradictions={
        ("message-delivered", ""): Step("message-failed", (1.0, 30.0), "4720"),
        ("message-failed", "4720"): _DELIVERED,
    },
    unknown="message-rerouted",
    carries_ids=True,
    tells_time=True,
    keyed=False,
    batched=0.04,
    parted=0.5,
    identify=identify,
    address=subscriber,
    write=write,
)
