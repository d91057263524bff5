"""Twilio as it calls back: a form body for each change of a message's status, without any time of its own."""

from __future__ import annotations

from datetime import datetime
from random import Random
from urllib.parse import urlencode

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
    # A handset that was off for a while.
    Life(2.0, (_QUEUED, Step("sending", (0.2, 1.0)), _SENT, Step("delivered", (10 * _MINUTE, 3 * _HOUR)))),
    # Not every network confirms.
    Life(1.5, (_QUEUED, _SENT)),
    Life(1.0, (_QUEUED, _SENT, Step("undelivered", (5.0, _MINUTE), "30003"))),
    Life(0.8, (_QUEUED, _SENT, Step("undelivered", (2.0, 20.0), "30005"))),
    Life(0.4, (_QUEUED, _SENT, Step("undelivered", (1.0, 10.0), "30006"))),
    Life(0.4, (_QUEUED, _SENT, Step("undelivered", (1.0, 10.0), "30007"))),
    Life(0.4, (_QUEUED, Step("failed", (0.2, 2.0), "30008"))),
    Life(0.3, (_QUEUED, Step("failed", (0.1, 0.5), "21610"))),
    Life(0.2, (Step("scheduled", (0.0, 0.3)), Step("canceled", (_MINUTE, 20 * _MINUTE)))),
)

_ACCOUNT = "AC0db966d80e9f1662da09c61287f8bba1"


def identify(rng: Random, _created: datetime, number: int) -> str:
    """Make a message SID."""
    return f"SM{rng.getrandbits(96):024x}{number & 0xFFFFFFFF:08x}"


def write(rng: Random, message: Message, report: Report) -> bytes:
    """Write one callback; the query of the callback address, where our own ids travel, comes with the form."""
    form = {
        "SmsSid": message.provider_message_id,
        "SmsStatus": report.native,
        "MessageStatus": report.native,
        "To": report.recipients[0],
        "MessageSid": message.provider_message_id,
        "AccountSid": _ACCOUNT,
        "From": "+447700900999",
        "ApiVersion": "2010-04-01",
    }
    if report.cause:
        form["ErrorCode"] = report.cause
    if report.native == "delivered" and rng.random() < 0.3:
        # The carrier's own time: whole minutes, no zone.
        form = {"RawDlrDoneDate": report.time.strftime("%y%m%d%H%M")} | form
    return urlencode(form | message.tags).encode()


TWILIO = Provider(
    name="twilio",
    topic="sms",
    campaigns=2,
    lives=LIVES,
    engagement={"delivered": (Step("read", (5.0, 2 * _HOUR)),)},
    contradictions={
        ("delivered", ""): Step("undelivered", (1.0, 30.0), "30005"),
        ("failed", "21610"): Step("sent", (0.5, 5.0)),
        ("undelivered", "30005"): Step("delivered", (1.0, 30.0)),
        ("undelivered", "30006"): Step("delivered", (1.0, 30.0)),
    },
    unknown="rerouted",
    carries_ids=True,
    tells_time=False,
    keyed=True,
    batched=0.0,
    parted=0.0,
    identify=identify,
    address=subscriber,
    write=write,
)
