"""An SMS centre's delivery receipts, as a JSON object of the deliver_sm (SMPP 3.4, appendix B)."""

from __future__ import annotations

from datetime import datetime
from random import Random
from typing import NamedTuple

import orjson

from processor.demo.simulate.lives import Life, Message, Provider, Report, Step
from processor.demo.simulate.mobiles import number as subscriber
from processor.domain.moment import to_microseconds

_MINUTE = 60.0
_HOUR = 60 * _MINUTE

_ACCEPTED = Step("ACCEPTD", (0.1, 1.0))
_ENROUTE = Step("ENROUTE", (0.2, 2.0))
_DELIVERED = Step("DELIVRD", (1.0, 20.0))

#: The cause is the network's error code, three digits that are each operator's own.
LIVES: tuple[Life, ...] = (
    Life(80.0, (_ACCEPTED, _ENROUTE, _DELIVERED)),
    Life(13.0, (_ENROUTE, _DELIVERED)),
    Life(2.0, (_ACCEPTED, _ENROUTE, Step("DELIVRD", (10 * _MINUTE, 3 * _HOUR)))),
    Life(2.0, (_ACCEPTED, _ENROUTE, Step("UNDELIV", (2.0, _MINUTE), "001"))),
    Life(0.7, (_ACCEPTED, _ENROUTE, Step("UNDELIV", (2.0, _MINUTE), "011"))),
    Life(1.5, (_ACCEPTED, _ENROUTE, Step("EXPIRED", (2 * _HOUR, 4 * _HOUR), "027"))),
    Life(0.8, (Step("REJECTD", (0.1, 1.0), "069"),)),
)


class _State(NamedTuple):
    """How a status is told beside its text."""

    message_state: int
    delivered: str


STATES: dict[str, _State] = {
    "ENROUTE": _State(1, "000"),
    "DELIVRD": _State(2, "001"),
    "EXPIRED": _State(3, "000"),
    # Some centres count the message as delivered to the network, whatever became of it.
    "UNDELIV": _State(5, "001"),
    "ACCEPTD": _State(6, "000"),
    "REJECTD": _State(8, "000"),
}


def identify(_rng: Random, created: datetime, number: int) -> str:
    """Make a message id: the centre's time and a counter, in decimal digits."""
    return f"{to_microseconds(created) // 1000}{number % 1000:03d}"


def write(_rng: Random, message: Message, report: Report) -> bytes:
    """Write one receipt; some centres send the optional parameters too."""
    state = STATES.get(report.native)
    identity = message.provider_message_id
    text = (
        f"id:{identity} sub:001 dlvrd:{state.delivered if state else '000'}"
        f" submit date:{message.created:%y%m%d%H%M} done date:{report.time:%y%m%d%H%M}"
        f" stat:{report.native} err:{report.cause or '000'} text:{message.campaign.label[:20]}"
    )
    receipt: dict[str, object] = {
        "pdu": "deliver_sm",
        "esm_class": 4,
        "source_addr": report.recipients[0].lstrip("+"),
        "short_message": text,
        "tlv": {},
    }
    if message.campaign.variant and state:
        receipt["tlv"] = {"receipted_message_id": identity, "message_state": state.message_state}
    return orjson.dumps(receipt)


SMPP = Provider(
    name="smpp",
    topic="sms",
    campaigns=1,
    lives=LIVES,
    engagement={},
    contradictions={
        ("DELIVRD", ""): Step("UNDELIV", (1.0, 30.0), "011"),
        ("UNDELIV", "001"): Step("DELIVRD", (1.0, 30.0)),
        ("UNDELIV", "011"): Step("DELIVRD", (1.0, 30.0)),
        ("REJECTD", "069"): Step("DELIVRD", (1.0, 30.0)),
    },
    unknown="BADSTAT",
    carries_ids=False,
    tells_time=False,
    keyed=False,
    batched=0.0,
    parted=0.0,
    identify=identify,
    address=subscriber,
    write=write,
)
