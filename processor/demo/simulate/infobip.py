"""Infobip as it pushes delivery reports: `results` of one message, by SMS API v2 or v3."""

from __future__ import annotations

from datetime import datetime
from random import Random
from typing import NamedTuple
from urllib.parse import urlencode

import orjson

from processor.demo.simulate.lives import Life, Message, Provider, Report, Step
from processor.demo.simulate.mobiles import number as subscriber

_MINUTE = 60.0
_HOUR = 60 * _MINUTE

_ENROUTE = Step("PENDING_ENROUTE", (0.1, 1.0))
_OPERATOR = Step("DELIVERED_TO_OPERATOR", (0.5, 3.0))
_HANDSET = Step("DELIVERED_TO_HANDSET", (1.0, 20.0))

#: The cause is the error's name.
LIVES: tuple[Life, ...] = (
    Life(80.0, (_ENROUTE, _HANDSET)),
    Life(13.0, (_ENROUTE, _OPERATOR, _HANDSET)),
    # Not every network confirms.
    Life(2.0, (_ENROUTE, _OPERATOR)),
    Life(1.0, (_ENROUTE, Step("EXPIRED_EXPIRED", (4 * _HOUR, 5 * _HOUR), "EC_ABSENT_SUBSCRIBER"))),
    Life(1.5, (_ENROUTE, Step("UNDELIVERABLE_NOT_DELIVERED", (2.0, _MINUTE), "EC_UNKNOWN_SUBSCRIBER"))),
    Life(0.7, (_ENROUTE, Step("UNDELIVERABLE_NOT_DELIVERED", (2.0, _MINUTE), "EC_ABSENT_SUBSCRIBER_SM"))),
    Life(0.5, (_ENROUTE, Step("UNDELIVERABLE_REJECTED_OPERATOR", (1.0, 10.0)))),
    Life(0.5, (Step("REJECTED_NOT_ENOUGH_CREDITS", (0.1, 1.0)),)),
    Life(0.5, (Step("REJECTED_DND", (0.1, 1.0)),)),
    Life(0.3, (Step("REJECTED_DESTINATION_BLOCKLISTED", (0.1, 1.0)),)),
)


class _Status(NamedTuple):
    """How Infobip numbers and words a status."""

    id: int
    group: int
    description: str


STATUSES: dict[str, _Status] = {
    "DELIVERED_TO_OPERATOR": _Status(2, 3, "Message delivered to operator"),
    "UNDELIVERABLE_REJECTED_OPERATOR": _Status(4, 2, "Message rejected by operator"),
    "DELIVERED_TO_HANDSET": _Status(5, 3, "Message delivered to handset"),
    "PENDING_ENROUTE": _Status(7, 1, "Message sent to next instance"),
    "UNDELIVERABLE_NOT_DELIVERED": _Status(9, 2, "Message sent not delivered"),
    "REJECTED_DND": _Status(10, 5, "Destination is on DND list"),
    "REJECTED_NOT_ENOUGH_CREDITS": _Status(12, 5, "Not enough credits"),
    "REJECTED_DESTINATION_BLOCKLISTED": _Status(14, 5, "Destination address is blocklisted"),
    "EXPIRED_EXPIRED": _Status(15, 4, "Message expired"),
}


class _Error(NamedTuple):
    """How it numbers and words an error, and whether the number is dead."""

    id: int
    description: str
    permanent: bool


ERRORS: dict[str, _Error] = {
    "EC_UNKNOWN_SUBSCRIBER": _Error(1, "Unknown Subscriber", permanent=True),
    "EC_ABSENT_SUBSCRIBER_SM": _Error(6, "Absent Subscriber", permanent=False),
    "EC_ABSENT_SUBSCRIBER": _Error(27, "Absent Subscriber", permanent=False),
}


def identify(_rng: Random, created: datetime, number: int) -> str:
    """Make a message id: nineteen digits."""
    return f"{int(created.timestamp()) * 10**9 + number % 10**9}"


def write(_rng: Random, message: Message, report: Report) -> bytes:
    """Write one push; v3 counts the message's parts by another name and names the sender."""
    if report.native == "SEEN":
        seen = {
            "messageId": message.provider_message_id,
            "from": "AcmeInc",
            "to": report.recipients[0].lstrip("+"),
            "sentAt": _time(message.created),
            "seenAt": _time(report.time),
        }
        return orjson.dumps({"results": [seen]})
    status = STATUSES.get(report.native, _Status(999, 9, "Unheard of"))
    error = ERRORS.get(report.cause)
    result: dict[str, object] = {
        "bulkId": message.campaign.id if message.campaign.tagged else "",
        "messageId": message.provider_message_id,
        "to": report.recipients[0].lstrip("+"),
        "sentAt": _time(message.created),
        "doneAt": _time(report.time),
        "mccMnc": "23410",
        "callbackData": urlencode(message.tags),
        "price": {"pricePerMessage": 0.01, "currency": "EUR"},
        "status": {
            "groupId": status.group,
            "groupName": report.native.partition("_")[0],
            "id": status.id,
            "name": report.native,
            "description": status.description,
        },
        "error": {
            "groupId": 1 if error else 0,
            "groupName": "HANDSET_ERRORS" if error else "OK",
            "id": error.id if error else 0,
            "name": report.cause or "NO_ERROR",
            "description": error.description if error else "No Error",
            "permanent": error.permanent if error else False,
        },
    }
    if message.campaign.variant:
        result |= {"sender": "AcmeInc", "messageCount": 1}
    else:
        result["smsCount"] = 1
    return orjson.dumps({"results": [result]})


def _time(time: datetime) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S.") + f"{time.microsecond // 1000:03d}+0000"


INFOBIP = Provider(
    name="infobip",
    topic="sms",
    campaigns=1,
    lives=LIVES,
    engagement={"DELIVERED_TO_HANDSET": (Step("SEEN", (5.0, 2 * _HOUR)),)},
    contradictions={
        ("DELIVERED_TO_HANDSET", ""): Step("UNDELIVERABLE_NOT_DELIVERED", (1.0, 30.0), "EC_UNKNOWN_SUBSCRIBER"),
        ("UNDELIVERABLE_NOT_DELIVERED", "EC_UNKNOWN_SUBSCRIBER"): _HANDSET,
        ("REJECTED_DND", ""): _HANDSET,
    },
    unknown="DIVERTED_TO_PIGEON",
    carries_ids=True,
    tells_time=True,
    keyed=True,
    batched=0.0,
    parted=0.0,
    identify=identify,
    address=subscriber,
    write=write,
)
