"""Jasmin's callbacks: a form body for the answer of the SMS centre (level 1), and for the receipt (level 2)."""

from __future__ import annotations

from datetime import datetime
from random import Random
from urllib.parse import urlencode

from processor.demo.simulate.lives import Life, Message, Provider, Report, Step
from processor.demo.simulate.mobiles import number as subscriber

_MINUTE = 60.0
_HOUR = 60 * _MINUTE

_TAKEN = Step("ESME_ROK", (0.1, 1.0))
_DELIVERED = Step("DELIVRD", (1.0, 20.0), "000")

#: The cause is the network's error code, three characters that are each operator's own.
LIVES: tuple[Life, ...] = (
    Life(88.0, (_TAKEN, _DELIVERED)),
    Life(5.0, (_TAKEN, Step("ACCEPTD", (0.2, 2.0), "000"), _DELIVERED)),
    Life(3.0, (_TAKEN, Step("DELIVRD", (10 * _MINUTE, 3 * _HOUR), "000"))),
    Life(1.5, (_TAKEN, Step("UNDELIV", (2.0, _MINUTE), "001"))),
    Life(1.0, (_TAKEN, Step("EXPIRED", (2 * _HOUR, 4 * _HOUR), "027"))),
    Life(0.6, (_TAKEN, Step("REJECTD", (0.5, 5.0), "069"))),
    Life(0.5, (Step("ESME_RINVDSTADR", (0.1, 1.0)),)),
    Life(0.4, (Step("ESME_RTHROTTLED", (1.0, _MINUTE)),)),
)


def identify(rng: Random, _created: datetime, _number: int) -> str:
    """Make Jasmin's UUID."""
    digits = f"{rng.getrandbits(128):032x}"
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-8{digits[17:20]}-{digits[20:]}"


def write(rng: Random, message: Message, report: Report) -> bytes:
    """Write one callback; the query of the callback address, where our own ids travel, comes with the form."""
    form = {"id": message.provider_message_id, "message_status": report.native, "connector": "operator-north"}
    if report.native.startswith("ESME_"):
        form["level"] = "1"
    else:
        form |= {
            "level": "2",
            "id_smsc": str(rng.randint(10**6, 10**9)),
            "subdate": f"{message.created:%y%m%d%H%M}",
            "donedate": f"{report.time:%y%m%d%H%M}",
            "sub": "001",
            "dlvrd": "001" if report.native == "DELIVRD" else "000",
            "err": report.cause or "000",
            "text": message.campaign.label[:20],
        }
    return urlencode(form | message.tags).encode()


JASMIN = Provider(
    name="jasmin",
    topic="sms",
    campaigns=1,
    lives=LIVES,
    engagement={},
    contradictions={
        ("DELIVRD", "000"): Step("UNDELIV", (1.0, 30.0), "011"),
        ("UNDELIV", "001"): Step("DELIVRD", (1.0, 30.0), "000"),
        ("REJECTD", "069"): Step("DELIVRD", (1.0, 30.0), "000"),
    },
    unknown="BADSTAT",
    carries_ids=True,
    tells_time=False,
    keyed=False,
    batched=0.0,
    parted=0.0,
    identify=identify,
    address=subscriber,
    write=write,
)
