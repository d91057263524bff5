"""MessageBird as it reports: the query of a GET for each change of a message's status, or Bird's web hook."""

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

_SENT = Step("sent", (0.3, 2.0))
_BUFFERED = Step("buffered", (2.0, 10.0), "unavailable subscriber")
_DELIVERED = Step("delivered", (1.0, 20.0))

#: The cause is the status's reason.
LIVES: tuple[Life, ...] = (
    Life(92.0, (_SENT, _DELIVERED)),
    Life(1.0, (Step("scheduled", (0.0, 0.3)), Step("sent", (_MINUTE, _HOUR)), _DELIVERED)),
    Life(2.0, (_SENT, _BUFFERED, Step("delivered", (_MINUTE, 3 * _HOUR)))),
    # Not every network confirms.
    Life(1.5, (_SENT,)),
    Life(1.0, (_SENT, Step("expired", (4 * _HOUR, 5 * _HOUR), "unavailable subscriber"))),
    Life(1.2, (_SENT, Step("delivery_failed", (2.0, _MINUTE), "unknown subscriber"))),
    Life(0.5, (_SENT, Step("delivery_failed", (2.0, _MINUTE), "received network error"))),
    Life(0.5, (_SENT, Step("delivery_failed", (1.0, 10.0), "carrier rejected"))),
    Life(0.3, (Step("delivery_failed", (0.1, 1.0), "opted out"),)),
)

#: The error code behind a reason, where the network gave one.
CODES = {
    "unavailable subscriber": "27",
    "unknown subscriber": "1",
    "received network error": "34",
    "opted out": "103",
}


def identify(rng: Random, _created: datetime, _number: int) -> str:
    """Make a message id: 32 hexadecimal digits."""
    return f"{rng.getrandbits(128):032x}"


def write(_rng: Random, message: Message, report: Report) -> bytes:
    """Write one report, by the product that the account uses; our own ids travel in the reference."""
    return _web_hook(message, report) if message.campaign.variant else _query(message, report)


def _query(message: Message, report: Report) -> bytes:
    query = {
        "id": message.provider_message_id,
        "mccmnc": "23410",
        "ported": "0",
        "messageLength": "47",
        "messagePartCount": "1",
        "datacoding": "plain",
        "price[amount]": "0.045",
        "price[currency]": "EUR",
        "recipient": report.recipients[0].lstrip("+"),
        "reference": urlencode(message.tags) or message.campaign.label,
        "status": report.native,
        "statusDatetime": report.time.strftime("%Y-%m-%dT%H:%M:%S+00:00"),
    }
    if report.cause:
        query["statusReason"] = report.cause
    if report.cause in CODES:
        query["statusErrorCode"] = CODES[report.cause]
    return urlencode(query).encode()


def _web_hook(message: Message, report: Report) -> bytes:
    payload: dict[str, object] = {
        "id": str(UUID(message.provider_message_id)),
        "channelId": "5a1d9a9c-0000-4000-8000-000000000001",
        "sender": {"connector": {"id": "5a1d9a9c-0000-4000-8000-000000000001", "identifierValue": ""}},
        "receiver": {"contacts": [{"identifierKey": "phonenumber", "identifierValue": report.recipients[0]}]},
        "reference": urlencode(message.tags),
        "status": report.native,
        "reason": "",
        "direction": "outgoing",
        "createdAt": _milliseconds(message.created),
        "lastStatusAt": _milliseconds(report.time),
    }
    if report.cause:
        code = CODES.get(report.cause, "")
        payload["reason"] = f"details: {report.cause}; reason: {report.cause.replace(' ', '_')}; code: {code}"
        payload["failure"] = {"code": 15001, "source": {"name": "sms-messagebird", "code": code}}
    return orjson.dumps({"service": "channels", "event": "sms.outbound", "payload": payload})


def _milliseconds(time: datetime) -> str:
    return time.isoformat(timespec="milliseconds")[:23] + "Z"


MESSAGEBIRD = Provider(
    name="messagebird",
    topic="sms",
    campaigns=1,
    lives=LIVES,
    engagement={"delivered": (Step("read", (5.0, 2 * _HOUR)),)},
    # Minutes later, for a report tells whole seconds.
    contradictions={
        ("delivered", ""): Step("delivery_failed", (3 * _MINUTE, 10 * _MINUTE), "unknown subscriber"),
        ("delivery_failed", "unknown subscriber"): Step("delivered", (3 * _MINUTE, 10 * _MINUTE)),
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
