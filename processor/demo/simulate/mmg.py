"""MMG's delivery receipts: a JSON object for the fate of a message, with British time without a zone."""

from __future__ import annotations

from datetime import datetime
from random import Random

import orjson

from processor.demo.simulate.lives import Life, Message, Provider, Report, Step
from processor.demo.simulate.mobiles import number as subscriber

_MINUTE = 60.0
_HOUR = 60 * _MINUTE

#: The cause is the substatus.
LIVES: tuple[Life, ...] = (
    Life(88.0, (Step("3", (1.0, 20.0), "5"),)),
    Life(5.0, (Step("3", (0.5, 3.0), "2"), Step("3", (1.0, 20.0), "5"))),
    Life(3.0, (Step("3", (10 * _MINUTE, 3 * _HOUR), "5"),)),
    Life(1.0, (Step("4", (5.0, _HOUR), "27"),)),
    Life(0.8, (Step("4", (_HOUR, 4 * _HOUR), "15"),)),
    Life(0.8, (Step("2", (1.0, 20.0), "1"),)),
    Life(0.6, (Step("2", (1.0, 20.0), "4"),)),
    Life(0.5, (Step("5", (0.5, 5.0), "51"),)),
    Life(0.3, (Step("5", (0.5, 5.0), "19"),)),
)


def identify(rng: Random, _created: datetime, _number: int) -> str:
    """Make the id that we gave as `cid`."""
    digits = f"{rng.getrandbits(128):032x}"
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-8{digits[17:20]}-{digits[20:]}"


def write(_rng: Random, message: Message, report: Report) -> bytes:
    """Write one receipt."""
    return orjson.dumps(
        {
            "reference": str(10**9 + message.number),
            "CID": message.provider_message_id,
            "MSISDN": report.recipients[0].lstrip("+"),
            "status": report.native,
            "substatus": report.cause,
            "deliverytime": f"{report.time:%Y-%m-%d %H:%M:%S}",
        }
    )


MMG = Provider(
    name="mmg",
    topic="sms",
    campaigns=1,
    lives=LIVES,
    engagement={},
    contradictions={
        ("3", "5"): Step("2", (1.0, 30.0), "4"),
        ("2", "1"): Step("3", (1.0, 30.0), "5"),
        ("2", "4"): Step("3", (1.0, 30.0), "5"),
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
