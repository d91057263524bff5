"""Firetext's delivery receipts: a form body for each change of a message, with British time without a zone."""

from __future__ import annotations

from datetime import datetime
from random import Random
from urllib.parse import urlencode

from processor.demo.simulate.lives import Life, Message, Provider, Report, Step
from processor.demo.simulate.mobiles import number as subscriber

_MINUTE = 60.0
_HOUR = 60 * _MINUTE

_PENDING = Step("2", (0.5, 5.0), "000")

#: The cause is the code.
LIVES: tuple[Life, ...] = (
    Life(90.0, (Step("0", (1.0, 20.0), "000"),)),
    Life(4.0, (_PENDING, Step("0", (10 * _MINUTE, 3 * _HOUR), "000"))),
    Life(2.5, (Step("2", (5.0, 30.0), "102"), Step("0", (10 * _MINUTE, 3 * _HOUR), "000"))),
    Life(1.0, (_PENDING, Step("1", (_HOUR, 4 * _HOUR), "102"))),
    Life(0.8, (Step("1", (1.0, 20.0), "101"),)),
    Life(0.6, (Step("1", (1.0, 20.0), "401"),)),
    Life(0.4, (Step("1", (1.0, 20.0), "201"),)),
    Life(0.4, (Step("1", (1.0, _MINUTE), "900"),)),
    Life(0.3, (Step("1", (1.0, _MINUTE)),)),
)


def identify(rng: Random, _created: datetime, _number: int) -> str:
    """Make the id that we gave as `reference`."""
    digits = f"{rng.getrandbits(128):032x}"
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-8{digits[17:20]}-{digits[20:]}"


def write(_rng: Random, message: Message, report: Report) -> bytes:
    """Write one receipt; not every failure has a code."""
    form = {"mobile": report.recipients[0].lstrip("+"), "reference": message.provider_message_id}
    form |= {"status": report.native, "time": f"{report.time:%Y-%m-%d %H:%M:%S}"}
    if report.cause:
        form["code"] = report.cause
    return urlencode(form).encode()


FIRETEXT = Provider(
    name="firetext",
    topic="sms",
    campaigns=1,
    lives=LIVES,
    engagement={},
    contradictions={
        ("0", "000"): Step("1", (1.0, 30.0), "401"),
        ("1", "101"): Step("0", (1.0, 30.0), "000"),
        ("1", "401"): Step("0", (1.0, 30.0), "000"),
    },
    unknown="9",
    carries_ids=False,
    tells_time=False,
    keyed=False,
    batched=0.0,
    parted=0.0,
    identify=identify,
    address=subscriber,
    write=write,
)
