"""Plivo as it calls back: a form body for each change of a message's status, with times that have no zone."""

from __future__ import annotations

from datetime import datetime
from random import Random
from urllib.parse import urlencode
from uuid import UUID

from processor.demo.simulate.lives import Life, Message, Provider, Report, Step
from processor.demo.simulate.mobiles import number as subscriber

_MINUTE = 60.0
_HOUR = 60 * _MINUTE

_QUEUED = Step("queued", (0.0, 0.3))
_SENT = Step("sent", (0.5, 3.0))
_DELIVERED = Step("delivered", (1.0, 20.0))

#: The cause is the ErrorCode.
LIVES: tuple[Life, ...] = (
    Life(93.0, (_QUEUED, _SENT, _DELIVERED)),
    # Not every network confirms.
    Life(3.0, (_QUEUED, _SENT)),
    Life(1.0, (_QUEUED, _SENT, Step("undelivered", (5.0, _MINUTE), "80"))),
    Life(1.2, (_QUEUED, _SENT, Step("undelivered", (2.0, 20.0), "50"))),
    Life(0.6, (_QUEUED, _SENT, Step("undelivered", (1.0, 10.0), "30"))),
    Life(0.3, (_QUEUED, Step("failed", (0.2, 2.0), "20"))),
    Life(0.3, (_QUEUED, Step("failed", (0.1, 0.5), "200"))),
    Life(0.2, (Step("rejected", (0.1, 0.5), "900"),)),
)

_FINAL = ("delivered", "undelivered")


def identify(rng: Random, _created: datetime, _number: int) -> str:
    """Make a message UUID."""
    return str(UUID(int=rng.getrandbits(128), version=1))


def write(rng: Random, message: Message, report: Report) -> bytes:
    """Write one callback; of some accounts each message has two parts, and this is one of them."""
    parts = 2 if message.campaign.variant else 1
    part = rng.randint(1, parts)
    own = message.provider_message_id if part == 1 else str(UUID(int=rng.getrandbits(128), version=1))
    form = {
        "MessageUUID": own,
        "ParentMessageUUID": message.provider_message_id,
        "PartInfo": f"{part} of {parts}",
        "From": "447700900999",
        "To": report.recipients[0].lstrip("+"),
        "Status": report.native,
        "Units": "1",
        "TotalRate": "0.0065",
        "TotalAmount": "0.0065",
        "MCC": "234",
        "MNC": "10",
        "Sequence": str(report.position + 1),
        "ErrorCode": report.cause or "000",
        "MessageTime": _naive(message.created),
        "QueuedTime": _naive(message.created),
    }
    if report.native in _FINAL:
        form["DeliveryReportTime"] = _naive(report.time)
    return urlencode(form | message.tags).encode()


def _naive(time: datetime) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S.%f")


PLIVO = Provider(
    name="plivo",
    topic="sms",
    campaigns=1,
    lives=LIVES,
    engagement={"delivered": (Step("read", (5.0, 2 * _HOUR)),)},
    contradictions={
        ("delivered", ""): Step("undelivered", (1.0, 30.0), "50"),
        ("undelivered", "50"): _DELIVERED,
    },
    unknown="rerouted",
    carries_ids=True,
    tells_time=False,
    keyed=False,
    batched=0.0,
    parted=0.0,
    identify=identify,
    address=subscriber,
    write=write,
)
