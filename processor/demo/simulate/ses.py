"""Amazon SES as it publishes events: one JSON object an event, bare (EventBridge, Firehose) or in an SNS envelope."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from random import Random
from typing import NamedTuple
from uuid import UUID

import orjson

from processor.demo.simulate.lives import Life, Message, Provider, Report, Step
from processor.demo.simulate.mailboxes import REPLIES, address, reply_to
from processor.domain.moment import to_microseconds

_MINUTE = 60.0
_HOUR = 60 * _MINUTE

_SEND = Step("Send", (0.0, 0.0))
_DELIVERY = Step("Delivery", (0.8, 12.0), "accepted")
_BUSY = Step("DeliveryDelay", (5 * _MINUTE, 15 * _MINUTE), "busy")
_FULL = Step("DeliveryDelay", (5 * _MINUTE, 15 * _MINUTE), "mailbox_full")
_SOON = (0.8, 8.0)

LIVES: tuple[Life, ...] = (
    Life(93.6, (_SEND, _DELIVERY)),
    Life(1.6, (_SEND, _BUSY, _DELIVERY)),
    Life(0.4, (_SEND, _FULL, _FULL, _DELIVERY)),
    Life(1.6, (_SEND, Step("Bounce", _SOON, "user_unknown"))),
    Life(0.3, (_SEND, Step("Bounce", _SOON, "refused"))),
    Life(0.5, (_SEND, Step("Bounce", _SOON, "suppressed"))),
    Life(0.4, (_SEND, Step("Bounce", _SOON, "mailbox_full"))),
    Life(0.5, (_SEND, _BUSY, _BUSY, Step("Bounce", (2 * _HOUR, 3 * _HOUR), "expired"))),
    Life(0.3, (_SEND, _DELIVERY, Step("Bounce", (_MINUTE, _HOUR), "user_unknown"))),
    Life(0.3, (_SEND, _DELIVERY, Step("Complaint", (10 * _MINUTE, 4 * _HOUR)))),
    Life(0.1, (_SEND, Step("Reject", (0.0, 0.0)))),
    Life(0.3, (Step("Rendering Failure", (0.0, 0.0)),)),
)


class _Bounce(NamedTuple):
    """What SES makes of a failure."""

    kind: str
    subtype: str
    status: str
    #: What SES itself says; empty where it passes on what the mailbox provider said.
    text: str = ""


BOUNCES: dict[str, _Bounce] = {
    "user_unknown": _Bounce("Permanent", "General", "5.1.1"),
    "refused": _Bounce("Undetermined", "Undetermined", "5.7.1"),
    "suppressed": _Bounce(
        "Permanent",
        "OnAccountSuppressionList",
        "5.1.1",
        "Amazon SES did not send the message to this address because it is on the suppression list for your account.",
    ),
    "mailbox_full": _Bounce("Transient", "MailboxFull", "5.2.2"),
    "expired": _Bounce(
        "Transient",
        "General",
        "4.4.7",
        "smtp; 550 4.4.7 Message expired: unable to deliver in 840 minutes."
        "<421 4.4.1 Unable to connect to remote host>",
    ),
}

#: DeliveryDelay's word and status for each cause.
DELAYS: dict[str, tuple[str, str]] = {
    "busy": ("TransientCommunicationFailure", "4.4.1"),
    "mailbox_full": ("MailboxFull", "4.2.2"),
}

_ACCOUNT = "123456789012"
_TOPIC_ARN = f"arn:aws:sns:eu-west-1:{_ACCOUNT}:ses-events"
_USER_AGENT = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) AppleWebKit/605.1.15"


def identify(rng: Random, created: datetime, number: int) -> str:
    """Make a message id: region, milliseconds in hexadecimal, a UUID, a part number."""
    unique = UUID(int=rng.getrandbits(96) << 32 | number & 0xFFFFFFFF)
    return f"0102{to_microseconds(created) // 1000:012x}-{unique}-000000"


def write(rng: Random, message: Message, report: Report) -> bytes:
    """Write one event, in an SNS envelope where the campaign's configuration set has such a destination."""
    event: dict[str, object] = {"eventType": report.native, "mail": _mail(message, report)}
    if report.native in _DETAILS:
        name, detail = _DETAILS[report.native]
        event[name] = detail(rng, message, report)
    body = orjson.dumps(event)
    return _in_envelope(rng, body, report.time) if message.campaign.variant else body


def _mail(message: Message, report: Report) -> dict[str, object]:
    campaign = message.campaign
    # These two have no time of their own.
    time = report.time if report.native in {"Send", "Rendering Failure"} else message.created
    tags = {
        "ses:configuration-set": ["marketing"],
        "ses:source-ip": ["192.0.2.44"],
        "ses:from-domain": ["mail.example.com"],
        "ses:caller-identity": ["campaigns"],
    }
    return {
        "timestamp": _milliseconds(time),
        "source": "News <news@mail.example.com>",
        "sourceArn": f"arn:aws:ses:eu-west-1:{_ACCOUNT}:identity/mail.example.com",
        "sendingAccountId": _ACCOUNT,
        "messageId": message.provider_message_id,
        "destination": message.recipients,
        "headersTruncated": False,
        "headers": [
            {"name": "From", "value": "News <news@mail.example.com>"},
            {"name": "To", "value": ", ".join(message.recipients)},
            {"name": "Subject", "value": campaign.label},
            {"name": "MIME-Version", "value": "1.0"},
        ],
        "commonHeaders": {
            "from": ["News <news@mail.example.com>"],
            "to": message.recipients,
            "messageId": message.provider_message_id,
            "subject": campaign.label,
        },
        "tags": tags | {name: [value] for name, value in message.tags.items()},
    }


def _send(_rng: Random, _message: Message, _report: Report) -> dict[str, object]:
    return {}


def _delivery(rng: Random, message: Message, report: Report) -> dict[str, object]:
    return {
        "timestamp": _milliseconds(report.time),
        "processingTimeMillis": (report.time - message.created) // timedelta(milliseconds=1),
        "recipients": report.recipients,
        "smtpResponse": str(reply_to("accepted", report.recipients[0], f"{rng.getrandbits(40):010x}")),
        "reportingMTA": "a4-12.smtp-out.eu-west-1.amazonses.com",
    }


def _delay(_rng: Random, message: Message, report: Report) -> dict[str, object]:
    kind, status = DELAYS[report.cause]
    return {
        "timestamp": _milliseconds(report.time),
        "delayType": kind,
        "expirationTime": _milliseconds(message.created + timedelta(hours=14)),
        "delayedRecipients": [
            {
                "emailAddress": recipient,
                "status": status,
                "diagnosticCode": f"smtp; {reply_to(report.cause, recipient, '')}",
            }
            for recipient in report.recipients
        ],
        "reportingMTA": "a4-12.smtp-out.eu-west-1.amazonses.com",
    }


def _bounce(rng: Random, _message: Message, report: Report) -> dict[str, object]:
    bounce = BOUNCES[report.cause]
    return {
        "feedbackId": _feedback_id(rng, report),
        "bounceType": bounce.kind,
        "bounceSubType": bounce.subtype,
        "bouncedRecipients": [
            {
                "emailAddress": recipient,
                "action": "failed",
                "status": bounce.status,
                "diagnosticCode": _diagnosis(bounce, report.cause, recipient),
            }
            for recipient in report.recipients
        ],
        "timestamp": _milliseconds(report.time),
        "reportingMTA": "dns; a4-12.smtp-out.eu-west-1.amazonses.com",
    }


def _diagnosis(bounce: _Bounce, cause: str, recipient: str) -> str:
    if bounce.text or cause not in REPLIES:
        return bounce.text
    return f"smtp; {reply_to(cause, recipient, '')}"


def _complaint(rng: Random, _message: Message, report: Report) -> dict[str, object]:
    return {
        "complainedRecipients": [{"emailAddress": recipient} for recipient in report.recipients],
        "timestamp": _milliseconds(report.time),
        "feedbackId": _feedback_id(rng, report),
        "complaintSubType": None,
        "complaintFeedbackType": "abuse",
        "arrivalDate": _milliseconds(report.time),
    }


def _reject(_rng: Random, _message: Message, _report: Report) -> dict[str, object]:
    return {"reason": "Bad content"}


def _failure(_rng: Random, message: Message, _report: Report) -> dict[str, object]:
    return {
        "templateName": f"campaign-{message.campaign.number}",
        "errorMessage": "Attribute 'firstName' is not present in the rendering data.",
    }


def _open(_rng: Random, _message: Message, report: Report) -> dict[str, object]:
    return {"timestamp": _milliseconds(report.time), "ipAddress": "198.51.100.77", "userAgent": _USER_AGENT}


def _click(rng: Random, message: Message, report: Report) -> dict[str, object]:
    link = f"https://www.example.com/offers/{message.campaign.number}?utm_medium=email"
    return {**_open(rng, message, report), "link": link, "linkTags": None}


#: Which object tells more about which event, and who writes it.
_DETAILS: dict[str, tuple[str, Callable[[Random, Message, Report], dict[str, object]]]] = {
    "Send": ("send", _send),
    "Delivery": ("delivery", _delivery),
    "DeliveryDelay": ("deliveryDelay", _delay),
    "Bounce": ("bounce", _bounce),
    "Complaint": ("complaint", _complaint),
    "Reject": ("reject", _reject),
    "Rendering Failure": ("failure", _failure),
    "Open": ("open", _open),
    "Click": ("click", _click),
}


def _feedback_id(rng: Random, report: Report) -> str:
    return f"0102{to_microseconds(report.time) // 1000:012x}-{UUID(int=rng.getrandbits(128))}-000000"


def _in_envelope(rng: Random, body: bytes, time: datetime) -> bytes:
    return orjson.dumps(
        {
            "Type": "Notification",
            "MessageId": str(UUID(int=rng.getrandbits(128), version=4)),
            "TopicArn": _TOPIC_ARN,
            "Subject": "Amazon SES Email Event Notification",
            "Message": body.decode(),
            "Timestamp": _milliseconds(time),
            "SignatureVersion": "1",
            "Signature": "c2ltdWxhdGVk",
            "SigningCertURL": "https://sns.eu-west-1.amazonaws.com/SimpleNotificationService-simulated.pem",
            "UnsubscribeURL": f"https://sns.eu-west-1.amazonaws.com/?Action=Unsubscribe&SubscriptionArn={_TOPIC_ARN}",
        }
    )


def _milliseconds(time: datetime) -> str:
    return time.isoformat(timespec="milliseconds")[:23] + "Z"


SES = Provider(
    name="ses",
    topic="mta",
    campaigns=2,
    lives=LIVES,
    engagement={
        "Delivery": (
            Step("Open", (30.0, 6 * _HOUR)),
            Step("Click", (40.0, 6 * _HOUR)),
        )
    },
    contradictions={
        # Both "sent" and "never sent: the address is on a list".
        ("Delivery", "accepted"): Step("Bounce", (1.0, 30.0), "suppressed"),
        ("Bounce", "suppressed"): Step("Delivery", (1.0, 30.0), "accepted"),
        ("Bounce", "user_unknown"): Step("Delivery", (1.0, 60.0), "accepted"),
    },
    unknown="Archived",
    carries_ids=True,
    tells_time=True,
    keyed=False,
    batched=0.04,
    parted=0.5,
    identify=identify,
    address=address,
    write=write,
)
