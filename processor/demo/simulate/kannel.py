"""Kannel's callbacks: the query that its dlr-url makes, with the SMS centre's answer in it."""

from __future__ import annotations

from datetime import datetime
from random import Random
from urllib.parse import urlencode

from processor.demo.simulate.lives import Life, Message, Provider, Report, Step
from processor.demo.simulate.mobiles import number as subscriber

_MINUTE = 60.0
_HOUR = 60 * _MINUTE

_TAKEN = Step("8", (0.1, 1.0), "ACK/")
_QUEUED = Step("4", (0.2, 2.0), "ACCEPTD 000")
_DELIVERED = Step("1", (1.0, 20.0), "DELIVRD 000")

#: The cause is the answer, or the state and the error of the receipt in it.
LIVES: tuple[Life, ...] = (
    Life(80.0, (_TAKEN, _DELIVERED)),
    Life(13.0, (_TAKEN, _QUEUED, _DELIVERED)),
    Life(3.0, (_TAKEN, Step("1", (10 * _MINUTE, 3 * _HOUR), "DELIVRD 000"))),
    Life(1.2, (_TAKEN, Step("2", (2.0, _MINUTE), "UNDELIV 001"))),
    Life(1.2, (_TAKEN, Step("2", (2 * _HOUR, 4 * _HOUR), "EXPIRED 027"))),
    Life(0.3, (_TAKEN, Step("34", (2 * _HOUR, 4 * _HOUR), "EXPIRED 027"))),
    Life(0.6, (_TAKEN, Step("2", (0.5, 5.0), "REJECTD 069"))),
    Life(0.4, (Step("16", (0.1, 1.0), "NACK/0x0000000b/Invalid Destination Address"),)),
    Life(0.3, (Step("16", (0.1, 1.0), "NACK/Retries Exceeded"),)),
)


def identify(rng: Random, _created: datetime, number: int) -> str:
    """Make the id of the SMS centre."""
    return f"{rng.getrandbits(32):08x}{number & 0xFFFFFFFF:08x}"


def write(_rng: Random, message: Message, report: Report) -> bytes:
    """Write one query; the parameters of our own stand where the dlr-url has them."""
    answer = report.cause
    state, _, error = answer.partition(" ")
    if error.isdecimal():
        answer = (
            f"id:{message.provider_message_id} sub:001 dlvrd:{'001' if state == 'DELIVRD' else '000'}"
            f" submit date:{message.created:%y%m%d%H%M} done date:{report.time:%y%m%d%H%M}"
            f" stat:{state} err:{error} text:{message.campaign.label[:20]}"
        )
    query = {
        "smscid": "operator-north",
        "to": report.recipients[0],
        "from": "Example",
        "id": message.provider_message_id,
        "type": report.native,
        # %t, in minutes and without a zone.
        "time": f"{report.time:%Y-%m-%d %H:%M}",
        "answer": answer,
    }
    return urlencode(query | message.tags).encode()


KANNEL = Provider(
    name="kannel",
    topic="sms",
    campaigns=1,
    lives=LIVES,
    engagement={},
    contradictions={
        ("1", "DELIVRD 000"): Step("2", (1.0, 30.0), "UNDELIV 011"),
        ("2", "UNDELIV 001"): Step("1", (1.0, 30.0), "DELIVRD 000"),
        ("2", "REJECTD 069"): Step("1", (1.0, 30.0), "DELIVRD 000"),
    },
    unknown="64",
    carries_ids=True,
    tells_time=False,
    keyed=False,
    batched=0.0,
    parted=0.0,
    identify=identify,
    address=subscriber,
    write=write,
)
