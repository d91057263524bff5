"""Read AWS End User Messaging events of SMS, MMS and RCS, and the SMS events of its forerunner Amazon Pinpoint.

They come bare, or inside what carries them: an SNS notification, EventBridge, Firehose or Kinesis (base64 `data`),
SQS, Lambda, CloudWatch Logs.

Source: AWS End User Messaging SMS User Guide, "Event types for SMS, MMS, and voice", "Example event data", "RCS message
events"; Amazon Pinpoint Developer Guide, "SMS events" (`record_status`). 2026-08.

In the console: a configuration set with an event destination for the types TEXT_ALL (MEDIA_ALL, RCS_ALL), and the name
of that configuration set in each call that sends. Our own ids travel in the call's `Context`, which events repeat.

Traps: SNS does not try again after a 4xx, and by default gives up a minute after the first 5xx. TEXT_SUCCESSFUL and
TEXT_DELIVERED are used interchangeably, by country: only the second says that the phone has it. A failure of any type
with `isFinal: false` is still being tried. `messageStatus` may disagree with `eventType`, which counts. TEXT_UNKNOWN is
what AWS sends after 72 hours without an answer of the carrier: it says nothing, and has no row. `eventTimestamp` is in
milliseconds; some senders write seconds.

Signature: SNS signs; Firehose sends an access key of one's own.
"""

from __future__ import annotations

from typing import Any

from processor.domain.reason import Category, Reason
from processor.domain.status import Channel, Permanence, Status
from processor.providers.adapter import Adapter, Context, Finding, Means, NoStatus, PayloadError, Unknown
from processor.providers.aws import Carried, each_event, split
from processor.providers.fields import MAX_TEXT, identifier, part_of, required, text_of, time_of_epoch
from processor.providers.identity import event_of, ours_in
from processor.providers.reasons import qualify

_GAVE_UP = Permanence.GAVE_UP
_PERMANENT = Permanence.PERMANENT
_REFUSED = Means(Status.FAILED, _PERMANENT, Category.REFUSED)

TABLE: dict[str, Means | None] = {
    # SMS. In the API's list of types, described nowhere: on its way to the carrier.
    "TEXT_SENT": Means(Status.SENT),
    # Queued for delivery, but not delivered yet.
    "TEXT_QUEUED": Means(Status.TAKEN_INTO_ACCOUNT),
    # In the process of being delivered: the carrier has it.
    "TEXT_PENDING": Means(Status.SENT),
    # Accepted by the recipient's carrier.
    "TEXT_SUCCESSFUL": Means(Status.SENT),
    # Delivered to the phone.
    "TEXT_DELIVERED": Means(Status.RECEIVED_ON_MOBILE),
    # The phone number is not valid.
    "TEXT_INVALID": Means(Status.FAILED, _PERMANENT, Category.USER_UNKNOWN),
    # The message's body is not valid.
    "TEXT_INVALID_MESSAGE": _REFUSED,
    # The phone is off, or out of the network.
    "TEXT_UNREACHABLE": Means(Status.FAILED, _GAVE_UP, Category.NOT_CONNECTED),
    # A transient error of the carrier's network.
    "TEXT_CARRIER_UNREACHABLE": Means(Status.FAILED, _GAVE_UP, Category.UNREACHABLE),
    # The recipient's device or carrier blocks messages to that recipient; also one who has opted out.
    "TEXT_BLOCKED": _REFUSED,
    # The carrier blocked this message, as malicious or prohibited.
    "TEXT_CARRIER_BLOCKED": _REFUSED,
    # The carrier holds it for unsolicited commercial content.
    "TEXT_SPAM": _REFUSED,
    # It took longer than the time to live that was asked for.
    "TEXT_TTL_EXPIRED": Means(Status.FAILED, _GAVE_UP, Category.UNREACHABLE),
    # Blocked by our own protect configuration: by country or by number.
    "TEXT_PROTECT_BLOCKED": _REFUSED,
    # MMS, with the same meanings.
    "MEDIA_QUEUED": Means(Status.TAKEN_INTO_ACCOUNT),
    "MEDIA_PENDING": Means(Status.SENT),
    "MEDIA_SUCCESSFUL": Means(Status.SENT),
    "MEDIA_DELIVERED": Means(Status.RECEIVED_ON_MOBILE),
    "MEDIA_INVALID": Means(Status.FAILED, _PERMANENT, Category.USER_UNKNOWN),
    "MEDIA_INVALID_MESSAGE": _REFUSED,
    "MEDIA_UNREACHABLE": Means(Status.FAILED, _GAVE_UP, Category.NOT_CONNECTED),
    "MEDIA_CARRIER_UNREACHABLE": Means(Status.FAILED, _GAVE_UP, Category.UNREACHABLE),
    "MEDIA_BLOCKED": _REFUSED,
    "MEDIA_CARRIER_BLOCKED": _REFUSED,
    "MEDIA_SPAM": _REFUSED,
    "MEDIA_TTL_EXPIRED": Means(Status.FAILED, _GAVE_UP, Category.UNREACHABLE),
    "MEDIA_PROTECT_BLOCKED": _REFUSED,
    "MEDIA_FILE_INACCESSIBLE": _REFUSED,  # the media file cannot be fetched
    "MEDIA_FILE_TYPE_UNSUPPORTED": _REFUSED,
    "MEDIA_FILE_SIZE_EXCEEDED": _REFUSED,
    # RCS. Queued for delivery.
    "RCS_QUEUED": Means(Status.TAKEN_INTO_ACCOUNT),
    # Handed to the RCS platform.
    "RCS_SENT": Means(Status.SENT),
    # Delivered to the phone.
    "RCS_DELIVERED": Means(Status.RECEIVED_ON_MOBILE),
    # The recipient opened it: engagement.
    "RCS_READ": None,
    # It could not be delivered.
    "RCS_FAILED": Means(Status.FAILED, _PERMANENT),
    # Its time to live ran out.
    "RCS_TTL_EXPIRED": Means(Status.FAILED, _GAVE_UP, Category.UNREACHABLE),
    # Blocked by our own protect configuration.
    "RCS_PROTECT_BLOCKED": _REFUSED,
    # It goes on as an SMS or MMS, which has events of its own.
    "RCS_FALLEN_BACK_TO_SMS": None,
    "RCS_FALLEN_BACK_TO_MMS": None,
    # Voice calls are no messages.
    "VOICE_INITIATED": None,
    "VOICE_RINGING": None,
    "VOICE_ANSWERED": None,
    "VOICE_COMPLETED": None,
    "VOICE_BUSY": None,
    "VOICE_NO_ANSWER": None,
    "VOICE_FAILED": None,
    "VOICE_TTL_EXPIRED": None,
    # Pinpoint's further values of record_status: it would cost more than the maximum price.
    "TEXT_MAX_PRICE_EXCEEDED": _REFUSED,
    # The recipient opted out.
    "TEXT_OPTED_OUT": Means(Status.FAILED, _PERMANENT, Category.DENYLISTED),
}

#: What only an event has: its own type, or Pinpoint's.
_MARKS = ("eventType", "event_type")
#: Pinpoint's event types of SMS; `record_status` tells more. _SMS.OPTOUT is an answer of the recipient.
_BUFFERED = "_SMS.BUFFERED"
_PINPOINT = (_BUFFERED, "_SMS.SUCCESS", "_SMS.FAILURE")


def read(element: object, context: Context) -> list[Finding]:
    """Read one event, in whatever envelope it came."""
    return each_event(element, context, _MARKS, lambda carried: [_read(carried, context)])


def _read(carried: Carried, context: Context) -> Finding:
    event = carried.event
    if "eventType" not in event:
        return _read_pinpoint(event, context)
    kind = text_of(event.get("eventType"))
    if kind is None:
        raise PayloadError("no event type ('eventType')")
    fields = {
        "id": event.get("messageId"),
        "recipient": event.get("destinationPhoneNumber"),
        "time": event.get("eventTimestamp"),
        "text": event.get("messageStatusDescription"),
        "status": event.get("messageStatus"),
        "ids": part_of(event, "context"),
        "final": _is_final(event.get("isFinal")),
    }
    return _finding(kind.upper(), fields, carried, context)


def _read_pinpoint(event: dict[str, Any], context: Context) -> Finding:
    kind = text_of(event.get("event_type"))
    if kind is None:
        raise PayloadError("no event type ('event_type')")
    if kind == "_SMS.OPTOUT" or not kind.startswith("_SMS."):
        # Pinpoint's stream tells of all channels, and of what apps and campaigns do.
        return NoStatus(kind[:MAX_TEXT])
    if kind not in _PINPOINT:
        return Unknown(kind[:MAX_TEXT])
    attributes = part_of(event, "attributes")
    status = text_of(attributes.get("record_status"))
    if status is None:
        raise PayloadError("no status ('attributes.record_status')")
    fields = {
        "id": attributes.get("message_id"),
        "recipient": attributes.get("destination_phone_number"),
        "time": event.get("event_timestamp"),
        "text": None,
        "status": status,
        # Not the attributes: `message_id` is Pinpoint's there.
        "ids": part_of(part_of(event, "client_context"), "custom"),
        # The message is still in the process of being delivered, whatever its status.
        "final": kind != _BUFFERED,
    }
    return _finding(f"TEXT_{status.upper()}", fields, Carried(event, None), context)


def _finding(native: str, fields: dict[str, Any], carried: Carried, context: Context) -> Finding:
    if native not in TABLE:
        return Unknown(native)
    means = TABLE[native]
    if means is None:
        return NoStatus(native)
    if not fields["final"] and means.status is Status.FAILED:
        means = means._replace(status=Status.TAKEN_INTO_ACCOUNT, permanence=Permanence.TRANSIENT)
    native_id = required(fields["id"], "message id ('messageId')")
    ours = ours_in(context, fields["ids"])
    return event_of(
        ADAPTER,
        context,
        native_id,
        ours,
        time=time_of_epoch(fields["time"]) or carried.written or context.received,
        status=means.status,
        recipient=identifier(fields["recipient"]),
        reason=_reason(native, means, text_of(fields["text"]), text_of(fields["status"])),
    )


def _is_final(told: object) -> bool:
    """Return whether this is the last that is heard; bridges write the word or the number of a boolean."""
    return told.strip().lower() not in ("false", "0") if isinstance(told, str) else told is None or told != 0


def _reason(native: str, means: Means, text: str | None, status: str | None) -> Reason | None:
    if means.permanence is None:
        # What the carrier answered to a success is kept as evidence.
        return Reason(code=native, text=text) if text else None
    permanence, category = qualify(means.permanence, own=means.category, text=text)
    return Reason(permanence=permanence, category=category, code=native, provider_code=status, text=text)


ADAPTER = Adapter("aws_eum_sms", Channel.SMS, TABLE, read, split, unpacks=True)
