"""AWS End User Messaging's events of SMS: bare, as EventBridge and Firehose hand them on, or in an SNS notification."""

from __future__ import annotations

from datetime import datetime
from random import Random

import orjson

from processor.demo.simulate.lives import Life, Message, Provider, Report, Step
from processor.demo.simulate.mobiles import number as subscriber
from processor.domain.moment import to_microseconds, to_rfc3339

_MINUTE = 60.0
_HOUR = 60 * _MINUTE

_QUEUED = Step("TEXT_QUEUED", (0.05, 0.3))
_PENDING = Step("TEXT_PENDING", (0.1, 1.0))
_SUCCESSFUL = Step("TEXT_SUCCESSFUL", (0.5, 3.0))
_DELIVERED = Step("TEXT_DELIVERED", (1.0, 20.0))

#: The cause is the carrier's answer, where it is not the usual one.
LIVES: tuple[Life, ...] = (
    Life(60.0, (_QUEUED, _PENDING, _SUCCESSFUL, _DELIVERED)),
    Life(24.0, (_PENDING, _DELIVERED)),
    # Countries whose carriers confirm no more than that they took it.
    Life(10.0, (_QUEUED, _PENDING, _SUCCESSFUL)),
    Life(2.0, (_QUEUED, _PENDING, Step("TEXT_DELIVERED", (10 * _MINUTE, 3 * _HOUR)))),
    Life(1.2, (_QUEUED, _PENDING, Step("TEXT_UNREACHABLE", (5.0, _HOUR)))),
    Life(0.5, (_PENDING, Step("TEXT_CARRIER_UNREACHABLE", (5.0, _HOUR)))),
    Life(0.5, (_PENDING, Step("TEXT_TTL_EXPIRED", (_HOUR, 4 * _HOUR)))),
    Life(0.8, (_PENDING, Step("TEXT_INVALID", (0.5, 5.0)))),
    Life(0.5, (_PENDING, Step("TEXT_CARRIER_BLOCKED", (0.5, 5.0)))),
    Life(0.3, (_PENDING, Step("TEXT_SPAM", (0.5, 5.0)))),
    Life(0.2, (Step("TEXT_BLOCKED", (0.1, 1.0), "Phone number is opted out"),)),
)

#: messageStatusDescription by event type.
DESCRIPTIONS: dict[str, str] = {
    "TEXT_QUEUED": "Message has been queued",
    "TEXT_PENDING": "Message is being processed",
    "TEXT_SUCCESSFUL": "Message has been accepted by phone carrier",
    "TEXT_DELIVERED": "Message has been accepted by phone",
    "TEXT_UNREACHABLE": "Phone is currently unreachable/unavailable",
    "TEXT_CARRIER_UNREACHABLE": "Phone carrier is currently unreachable/unavailable",
    "TEXT_TTL_EXPIRED": "Message time to live has expired",
    "TEXT_INVALID": "Invalid phone number",
    "TEXT_CARRIER_BLOCKED": "Phone carrier has blocked this message",
    "TEXT_SPAM": "Blocked as spam by phone carrier",
}
_NOT_FINAL = ("TEXT_QUEUED", "TEXT_PENDING", "TEXT_SUCCESSFUL")


def identify(rng: Random, _created: datetime, _number: int) -> str:
    """Make a message id."""
    digits = f"{rng.getrandbits(128):032x}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def write(rng: Random, message: Message, report: Report) -> bytes:
    """Write one event; SNS wraps it where the account sends its events there."""
    event = {
        "eventType": report.native,
        "eventVersion": "1.0",
        "eventTimestamp": to_microseconds(report.time) // 1000,
        "isFinal": report.native not in _NOT_FINAL,
        "originationPhoneNumber": "+447700900999",
        "destinationPhoneNumber": report.recipients[0],
        "isoCountryCode": "GB",
        "mcc": "234",
        "mnc": rng.choice(("10", "15", "30")),
        "messageId": message.provider_message_id,
        "messageRequestTimestamp": to_microseconds(message.created) // 1000,
        "messageEncoding": "GSM",
        "messageType": "TRANSACTIONAL",
        "messageStatus": report.native.removeprefix("TEXT_"),
        "messageStatusDescription": report.cause or DESCRIPTIONS.get(report.native, "Something happened"),
        "context": message.tags,
        "totalMessageParts": 1,
        "totalMessagePrice": 0.0551,
        "totalCarrierFee": 0.0,
    }
    if not message.campaign.variant:
        return orjson.dumps(event)
    return orjson.dumps(
        {
            "Type": "Notification",
            "MessageId": identify(rng, message.created, message.number),
            "TopicArn": "arn:aws:sns:eu-north-1:123456789012:sms-events",
            "Message": orjson.dumps(event).decode(),
            "Timestamp": to_rfc3339(to_microseconds(report.time)),
            "SignatureVersion": "1",
            "Signature": "bm90IGEgc2lnbmF0dXJl",
            "SigningCertURL": "https://sns.eu-north-1.amazonaws.com/SimpleNotificationService.pem",
        }
    )


AWS_EUM_SMS = Provider(
    name="aws_eum_sms",
    topic="sms",
    campaigns=1,
    lives=LIVES,
    engagement={"TEXT_DELIVERED": (Step("RCS_READ", (5.0, _HOUR)),)},
    contradictions={
        ("TEXT_DELIVERED", ""): Step("TEXT_INVALID", (1.0, 30.0)),
        ("TEXT_INVALID", ""): Step("TEXT_DELIVERED", (1.0, 30.0)),
        ("TEXT_SPAM", ""): Step("TEXT_DELIVERED", (1.0, 30.0)),
    },
    unknown="TEXT_TELEPORTED",
    carries_ids=True,
    tells_time=True,
    keyed=True,
    batched=0.0,
    parted=0.0,
    identify=identify,
    address=subscriber,
    write=write,
)
