"""Sinch as it calls back: a report on each recipient of a batch, on a whole batch, or by the Conversation API."""

from __future__ import annotations

from datetime import datetime
from random import Random
from urllib.parse import urlencode

import orjson

from processor.demo.simulate.lives import Life, Message, Provider, Report, Step
from processor.demo.simulate.mobiles import number as subscriber

_MINUTE = 60.0
_HOUR = 60 * _MINUTE

_QUEUED = Step("Queued", (0.0, 0.3))
_DISPATCHED = Step("Dispatched", (0.3, 2.0))
_DELIVERED = Step("Delivered", (1.0, 20.0))

#: The cause is the code.
LIVES: tuple[Life, ...] = (
    Life(90.0, (_QUEUED, _DISPATCHED, _DELIVERED)),
    # "Dispatched" may be skipped.
    Life(4.0, (_QUEUED, _DELIVERED)),
    Life(2.0, (_QUEUED, _DISPATCHED)),
    Life(1.0, (_QUEUED, _DISPATCHED, Step("Expired", (4 * _HOUR, 5 * _HOUR), "406"))),
    Life(1.2, (_QUEUED, _DISPATCHED, Step("Failed", (2.0, _MINUTE), "300"))),
    Life(0.8, (_QUEUED, Step("Failed", (1.0, 10.0), "404"))),
    Life(0.4, (_QUEUED, Step("Rejected", (0.5, 5.0), "62"))),
    Life(0.3, (_QUEUED, Step("Aborted", (0.1, 1.0), "405"))),
    Life(0.3, (_QUEUED, Step("Cancelled", (_MINUTE, 20 * _MINUTE), "407"))),
)

#: The code where there is no cause.
CODES = {"Queued": 400, "Dispatched": 401}

#: The Conversation API's name for what a delivery report says, and for the reason.
CONVERSATION = {
    "Queued": "QUEUED_ON_CHANNEL",
    "Dispatched": "QUEUED_ON_CHANNEL",
    "Delivered": "DELIVERED",
    "Read": "READ",
    "Expired": "FAILED",
    "Failed": "FAILED",
    "Rejected": "FAILED",
    "Aborted": "FAILED",
    "Cancelled": "FAILED",
}
REASONS = {
    "300": "RECIPIENT_INVALID_CHANNEL_IDENTITY",
    "404": "CHANNEL_FAILURE",
    "405": "TEMPLATE_INSUFFICIENT_PARAMETERS",
    "406": "DELIVERY_TIMED_OUT",
    "62": "CHANNEL_REJECT",
    "407": "CHANNEL_REJECT",
}

_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
#: Every so many campaigns, one that is sent by the Conversation API.
_BY_CONVERSATION = 3


def identify(rng: Random, _created: datetime, _number: int) -> str:
    """Make a batch id: a ULID."""
    return "01" + "".join(rng.choices(_ALPHABET, k=24))


def write(_rng: Random, message: Message, report: Report) -> bytes:
    """Write one report; one on several recipients is a batch's, which has no time."""
    if len(message.recipients) > 1:
        return _batch(message, report)
    if message.campaign.number % _BY_CONVERSATION == 0:
        return _conversation(message, report)
    body: dict[str, object] = {
        "type": "recipient_delivery_report_sms",
        "batch_id": message.provider_message_id,
        "recipient": report.recipients[0].lstrip("+"),
        "code": _code(report),
        "status": report.native,
        "at": _milliseconds(report.time),
        "operator_status_at": report.time.strftime("%Y-%m-%dT%H:%M:%SZ"),
    }
    if message.tags:
        body["client_reference"] = urlencode(message.tags)
    return orjson.dumps(body)


def _batch(message: Message, report: Report) -> bytes:
    recipients = [recipient.lstrip("+") for recipient in report.recipients]
    status = {"code": _code(report), "status": report.native, "count": len(recipients), "recipients": recipients}
    body: dict[str, object] = {
        "type": "delivery_report_sms",
        "batch_id": message.provider_message_id,
        "total_message_count": len(message.recipients),
        "statuses": [status],
    }
    if message.campaign.tagged:
        # A reference of a whole batch names no message of it.
        body["client_reference"] = urlencode({"delivery_id": message.campaign.id})
    return orjson.dumps(body)


def _conversation(message: Message, report: Report) -> bytes:
    delivery: dict[str, object] = {
        "message_id": message.provider_message_id,
        "conversation_id": "",
        "status": CONVERSATION.get(report.native, report.native),
        "channel_identity": {"channel": "SMS", "identity": report.recipients[0].lstrip("+"), "app_id": ""},
        "contact_id": "",
        "metadata": orjson.dumps(message.tags).decode() if message.tags else "",
        "processing_mode": "DISPATCH",
    }
    if report.cause in REASONS:
        delivery["reason"] = {"code": REASONS[report.cause], "description": "", "sub_code": "UNSPECIFIED_SUB_CODE"}
    return orjson.dumps(
        {
            "app_id": "01EB37HMH1M6SV18BSNS3G135H",
            "accepted_time": _milliseconds(message.created),
            "event_time": _milliseconds(report.time),
            "project_id": "c36f3d3d-1513-4edd-ae42-11995557ff61",
            "message_delivery_report": delivery,
        }
    )


def _code(report: Report) -> int:
    return int(report.cause) if report.cause else CODES.get(report.native, 0)


def _milliseconds(time: datetime) -> str:
    return time.isoformat(timespec="milliseconds")[:23] + "Z"


SINCH = Provider(
    name="sinch",
    topic="sms",
    campaigns=1,
    lives=LIVES,
    engagement={"Delivered": (Step("Read", (5.0, 2 * _HOUR)),)},
    contradictions={
        ("Delivered", ""): Step("Failed", (1.0, 30.0), "300"),
        ("Failed", "300"): _DELIVERED,
    },
    unknown="Rerouted",
    carries_ids=True,
    # The reports on whole batches have none.
    tells_time=False,
    keyed=False,
    batched=0.04,
    parted=0.5,
    identify=identify,
    address=subscriber,
    write=write,
)
