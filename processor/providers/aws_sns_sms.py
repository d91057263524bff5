"""Read Amazon SNS delivery status logs of SMS: the JSON that SNS writes to CloudWatch Logs, a line a message.

They come bare, or as CloudWatch Logs hands them to subscribers: `logEvents` in clear, or packed in Lambda's `awslogs`,
in Kinesis or in Firehose.

Source: Amazon SNS Developer Guide, "Amazon SNS SMS delivery monitoring" (log format, "SMS delivery failure reasons"),
2026-08.

In the console: switch delivery status logging on (Text messaging, Preferences), with a success sample rate of 100 %,
else successes are not logged; subscribe the log groups `sns/<region>/<account>/DirectPublishToPhoneNumber` and
`.../Failure`.

Traps: `notification.timestamp` is when the message was published, the same in all logs of it, and without a zone: the
time of the log line is taken, else the record's. There is one log a message, hours after the fact at worst. No id of
ours can travel along.

Signature: none: AWS delivers by permission.
"""

from __future__ import annotations

from processor.domain.reason import Category, Reason
from processor.domain.status import Channel, Permanence, Status
from processor.providers.adapter import Adapter, Context, Finding, Means, PayloadError, Unknown
from processor.providers.aws import Carried, each_event, split
from processor.providers.fields import identifier, part_of, required, text_of
from processor.providers.identity import event_of, ours_in
from processor.providers.reasons import qualify

TABLE: dict[str, Means | None] = {
    # Accepted by the phone's carrier; or by the phone, in words that SNS uses for both.
    "SUCCESS": Means(Status.SENT),
    # Not delivered; `providerResponse` says why.
    "FAILURE": Means(Status.FAILED, Permanence.PERMANENT),
}

_P = Permanence.PERMANENT
_G = Permanence.GAVE_UP
_C = Category

#: How final and of what kind, by providerResponse in lower case.
RESPONSES: dict[str, tuple[Permanence, Category]] = {
    "blocked as spam by phone carrier": (_P, _C.REFUSED),
    "destination is on a blocked list": (_P, _C.REFUSED),
    "destination is blacklisted": (_P, _C.REFUSED),  # its name until 2020
    "invalid phone number": (_P, _C.USER_UNKNOWN),
    "message body is invalid": (_P, _C.REFUSED),
    "phone carrier has blocked this message": (_P, _C.REFUSED),
    "phone carrier is currently unreachable/unavailable": (_G, _C.UNREACHABLE),
    "phone has blocked sms": (_P, _C.REFUSED),
    "phone is on a blocked list": (_P, _C.REFUSED),
    "phone is blacklisted": (_P, _C.REFUSED),  # its name until 2020
    "phone is currently unreachable/unavailable": (_G, _C.NOT_CONNECTED),
    "phone number is opted out": (_P, _C.DENYLISTED),  # it answered STOP
    "this delivery would exceed max price": (_P, _C.REFUSED),
    "unknown error attempting to reach phone": (_G, _C.UNDEFINED),
    # In no list of the guide, in use.
    "unhandled provider": (_P, _C.UNREACHABLE),
    "no quota left for account": (_P, _C.REFUSED),  # the monthly spend limit is reached
    "exceeded max price": (_P, _C.REFUSED),
    "rate exceeded": (_G, _C.REFUSED),
    "message blocked by protect configuration": (_P, _C.REFUSED),
    "no origination entities available to send": (_P, _C.REFUSED),
}


def read(element: object, context: Context) -> list[Finding]:
    """Read one log, in whatever envelope it came; a packed log holds several."""
    return each_event(element, context, ("notification", "delivery"), lambda carried: [_read(carried, context)])


def _read(carried: Carried, context: Context) -> Finding:
    log = carried.event
    notification, delivery = part_of(log, "notification"), part_of(log, "delivery")
    status = text_of(log.get("status"))
    if status is None:
        raise PayloadError("no status ('status')")
    native = status.upper()
    means = TABLE.get(native)
    if means is None:
        return Unknown(native)
    native_id = required(notification.get("messageId"), "message id ('notification.messageId')")
    ours = ours_in(context, log)
    return event_of(
        ADAPTER,
        context,
        native_id,
        ours,
        time=carried.written or context.received,
        status=means.status,
        recipient=identifier(delivery.get("destination")),
        reason=_reason(text_of(delivery.get("providerResponse")), means),
    )


def _reason(text: str | None, means: Means) -> Reason | None:
    if means.permanence is None:
        # What the carrier answered to a success is kept as evidence.
        return Reason(text=text) if text else None
    permanence, category = qualify(
        means.permanence, row=RESPONSES.get(text.lower().rstrip(". ")) if text else None, text=text
    )
    return Reason(permanence=permanence, category=category, code="FAILURE", text=text)


ADAPTER = Adapter("aws_sns_sms", Channel.SMS, TABLE, read, split, unpacks=True)
