"""Amazon SNS's delivery status logs of SMS: one a message, when its fate is known; bare or from CloudWatch."""

from __future__ import annotations

from datetime import datetime
from random import Random

import orjson

from processor.demo.simulate.lives import Life, Message, Provider, Report, Step
from processor.demo.simulate.mobiles import number as subscriber
from processor.domain.moment import to_microseconds

_MINUTE = 60.0
_HOUR = 60 * _MINUTE

#: The cause is the carrier's answer.
LIVES: tuple[Life, ...] = (
    Life(70.0, (Step("SUCCESS", (0.5, 5.0), "Message has been accepted by phone carrier"),)),
    Life(26.0, (Step("SUCCESS", (1.0, 20.0), "Message has been accepted by phone"),)),
    Life(1.2, (Step("FAILURE", (5.0, _HOUR), "Phone is currently unreachable/unavailable"),)),
    Life(0.8, (Step("FAILURE", (1.0, 20.0), "Invalid phone number"),)),
    Life(0.6, (Step("FAILURE", (1.0, _MINUTE), "Unknown error attempting to reach phone"),)),
    Life(0.5, (Step("FAILURE", (1.0, _MINUTE), "Phone carrier is currently unreachable/unavailable"),)),
    Life(0.4, (Step("FAILURE", (0.5, 5.0), "Blocked as spam by phone carrier"),)),
    Life(0.5, (Step("FAILURE", (0.1, 1.0), "Phone number is opted out"),)),
)


def identify(rng: Random, _created: datetime, _number: int) -> str:
    """Make a message id."""
    digits = f"{rng.getrandbits(128):032x}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def write(rng: Random, message: Message, report: Report) -> bytes:
    """Write one log, inside its group of log events where the account subscribes to them."""
    log = orjson.dumps(
        {
            # When it was published, whatever is reported; no zone.
            "notification": {
                "messageId": message.provider_message_id,
                "timestamp": f"{message.created:%Y-%m-%d %H:%M:%S}.{message.created.microsecond // 1000:03d}",
            },
            "delivery": {
                "mnc": rng.choice((10, 15, 30)),
                "numberOfMessageParts": 1,
                "destination": report.recipients[0],
                "priceInUSD": 0.0551,
                "smsType": "Transactional",
                "mcc": 234,
                "providerResponse": report.cause,
                "dwellTimeMs": rng.randint(200, 2000),
            },
            "status": report.native,
        }
    )
    if not message.campaign.variant:
        return log
    failed = "/Failure" if report.native == "FAILURE" else ""
    line = {
        "id": f"{rng.getrandbits(180):056d}",
        "timestamp": to_microseconds(report.time) // 1000,
        "message": log.decode(),
    }
    return orjson.dumps(
        {
            "messageType": "DATA_MESSAGE",
            "owner": "123456789012",
            "logGroup": f"sns/eu-north-1/123456789012/DirectPublishToPhoneNumber{failed}",
            "logStream": message.provider_message_id,
            "subscriptionFilters": ["delivery-status"],
            "logEvents": [line],
        }
    )


AWS_SNS_SMS = Provider(
    name="aws_sns_sms",
    topic="sms",
    campaigns=1,
    lives=LIVES,
    engagement={},
    contradictions={
        # Merely late: `failed` may follow `sent`.
        ("FAILURE", "Invalid phone number"): Step("SUCCESS", (1.0, 30.0), "Message has been accepted by phone carrier"),
        ("FAILURE", "Blocked as spam by phone carrier"): Step(
            "SUCCESS", (1.0, 30.0), "Message has been accepted by phone carrier"
        ),
        ("FAILURE", "Phone number is opted out"): Step(
            "SUCCESS", (1.0, 30.0), "Message has been accepted by phone carrier"
        ),
    },
    unknown="PENDING",
    carries_ids=False,
    tells_time=False,
    keyed=False,
    batched=0.0,
    parted=0.0,
    identify=identify,
    address=subscriber,
    write=write,
)
