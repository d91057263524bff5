"""Vonage as it calls back: receipts of the SMS API as a form body, or message statuses of the Messages API as JSON."""

from __future__ import annotations

from datetime import datetime
from random import Random
from urllib.parse import urlencode
from uuid import UUID

import orjson

from processor.demo.simulate.lives import Life, Message, Provider, Report, Step
from processor.demo.simulate.mobiles import number as subscriber

_MINUTE = 60.0
_HOUR = 60 * _MINUTE

_ACCEPTED = Step("accepted", (0.3, 2.0))
_DELIVERED = Step("delivered", (1.0, 20.0))

#: The cause is the err-code.
LIVES: tuple[Life, ...] = (
    Life(92.0, (_ACCEPTED, _DELIVERED)),
    Life(2.0, (_ACCEPTED, Step("buffered", (2.0, 10.0), "2"), Step("delivered", (10 * _MINUTE, 3 * _HOUR)))),
    # Not every network confirms.
    Life(2.5, (_ACCEPTED,)),
    Life(1.0, (_ACCEPTED, Step("expired", (4 * _HOUR, 5 * _HOUR), "2"))),
    Life(1.2, (_ACCEPTED, Step("failed", (2.0, 20.0), "3"))),
    Life(0.5, (_ACCEPTED, Step("failed", (2.0, 20.0), "8"))),
    Life(0.5, (_ACCEPTED, Step("rejected", (1.0, 10.0), "6"))),
    Life(0.3, (Step("rejected", (0.2, 2.0), "9"),)),
)

#: The Messages API's name for what a receipt says.
MESSAGES = {"accepted": "submitted", "buffered": "submitted", "failed": "rejected", "expired": "rejected"}

#: Its code and words for a receipt's err-code.
PROBLEMS: dict[str, tuple[int, str]] = {
    "2": (1180, "Absent Subscriber Temporary"),
    "3": (1190, "Absent Subscriber Permanent"),
    "6": (1210, "Anti-Spam Rejection"),
    "8": (1230, "Network Error"),
    "9": (1240, "Illegal Number"),
}


def identify(rng: Random, _created: datetime, _number: int) -> str:
    """Make a message id."""
    return str(UUID(int=rng.getrandbits(128), version=4))


def write(rng: Random, message: Message, report: Report) -> bytes:
    """Write one report, by the API that the account uses; our own ids travel in the client's reference."""
    return _status(rng, message, report) if message.campaign.variant else _receipt(message, report)


def _receipt(message: Message, report: Report) -> bytes:
    form = {
        "messageId": message.provider_message_id,
        "msisdn": report.recipients[0].lstrip("+"),
        "to": "AcmeInc",
        "network-code": "23410",
        "price": "0.03330000",
        "status": report.native,
        "scts": report.time.strftime("%y%m%d%H%M"),
        "err-code": report.cause or "0",
        "api-key": "abcd1234",
        "message-timestamp": report.time.strftime("%Y-%m-%d %H:%M:%S"),
    }
    if message.tags:
        form["client-ref"] = urlencode(message.tags)
    return urlencode(form).encode()


def _status(rng: Random, message: Message, report: Report) -> bytes:
    body: dict[str, object] = {
        "message_uuid": message.provider_message_id,
        "to": report.recipients[0].lstrip("+"),
        "from": "447700900999",
        "timestamp": report.time.isoformat(timespec="milliseconds")[:23] + "Z",
        "status": MESSAGES.get(report.native, report.native),
        "channel": "sms",
        "usage": {"currency": "EUR", "price": "0.0333"},
        "sms": {"count_total": "1"},
    }
    if message.tags:
        body["client_ref"] = urlencode(message.tags)
    if report.cause in PROBLEMS and report.native != "buffered":
        code, detail = PROBLEMS[report.cause]
        body["error"] = {
            "type": f"https://developer.vonage.com/api-errors/messages#{code}",
            "title": code,
            "detail": detail,
            "instance": f"{rng.getrandbits(128):032x}",
        }
    return orjson.dumps(body)


VONAGE = Provider(
    name="vonage",
    topic="sms",
    campaigns=1,
    lives=LIVES,
    engagement={"delivered": (Step("read", (5.0, 2 * _HOUR)),)},
    # Minutes later, for a receipt tells whole seconds.
    contradictions={
        ("delivered", ""): Step("failed", (3 * _MINUTE, 10 * _MINUTE), "3"),
        ("failed", "3"): Step("delivered", (3 * _MINUTE, 10 * _MINUTE)),
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
