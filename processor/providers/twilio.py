"""Read Twilio message statuses: status callbacks (form body, or the same keys as JSON) and Event Streams.

Source: Twilio docs, "Track the message status of outbound messages", "Message resource: status values",
"Event Streams: outbound message", and the Error and Warning Dictionary, 2026-08.

A callback carries no time, so the record's is taken; `RawDlrDoneDate` is carrier time without a zone and goes into the
reason's text. Our own ids travel in the callback address's query, which Twilio hands back among the parameters. Event
Streams write the status in upper case, and sometimes a time where `datacontenttype` belongs.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qsl

from processor.domain.event import Event
from processor.domain.reason import Category, Reason
from processor.domain.status import Channel, Permanence, Status
from processor.providers.adapter import Adapter, Context, Finding, PayloadError, Means, NoStatus, Unknown
from processor.providers.fields import (
    identifier,
    message_key,
    object_of,
    own_id,
    part_of,
    required,
    text_of,
    time_of,
)

TABLE: dict[str, Means | None] = {
    # Accepted by the API; a messaging service has yet to choose a sender. No callback is sent for it at first.
    "accepted": Means(Status.TAKEN_INTO_ACCOUNT),
    # Twilio holds it until its date: the provider has it, so it is no longer pending with us.
    "scheduled": Means(Status.TAKEN_INTO_ACCOUNT),
    # Queued to be sent from its sender.
    "queued": Means(Status.TAKEN_INTO_ACCOUNT),
    # Being dispatched to the nearest upstream carrier.
    "sending": Means(Status.TAKEN_INTO_ACCOUNT),
    # The nearest upstream carrier accepted it.
    "sent": Means(Status.SENT),
    # Delivery confirmed by the upstream carrier and, where available, the handset.
    "delivered": Means(Status.RECEIVED_ON_MOBILE),
    # In the API's enumeration only: some parts were delivered.
    "partially_delivered": Means(Status.RECEIVED_ON_MOBILE),
    # A delivery receipt says that it was not delivered.
    "undelivered": Means(Status.FAILED, Permanence.PERMANENT),
    # It could not be sent: queue overflow, suspension, an error.
    "failed": Means(Status.FAILED, Permanence.PERMANENT),
    # A scheduled message was cancelled.
    "canceled": Means(Status.CANCELED),
    # WhatsApp, RCS: the recipient opened it. Engagement, not delivery.
    "read": None,
    # Inbound.
    "receiving": None,
    "received": None,
}

_P = Permanence.PERMANENT
_G = Permanence.GAVE_UP
_C = Category

#: How final and of what kind, by ErrorCode. A code without a row: the status's own permanence, and UNDEFINED.
ERRORS: dict[str, tuple[Permanence, Category]] = {
    "30001": (_G, _C.UNREACHABLE),  # queue overflow
    "30002": (_P, _C.REFUSED),  # account suspended
    "30003": (_G, _C.NOT_CONNECTED),  # unreachable destination handset: off, or out of service
    "30004": (_P, _C.REFUSED),  # message blocked
    "30005": (_P, _C.USER_UNKNOWN),  # unknown destination handset
    "30006": (_P, _C.UNREACHABLE),  # landline or unreachable carrier
    "30007": (_P, _C.REFUSED),  # message filtered
    "30008": (_G, _C.UNDEFINED),  # unknown error
}

#: Never sent, whatever the status says: the recipient has opted out (STOP).
_OPTED_OUT = "21610"


def read(element: object, context: Context) -> list[Finding]:
    """Read one status."""
    values = _values(element)
    native = text_of(values.get("MessageStatus")) or text_of(values.get("SmsStatus"))
    if native is None:
        raise PayloadError("no status ('MessageStatus')")
    native = native.lower()
    if native not in TABLE:
        return [Unknown(native)]
    means = TABLE[native]
    if means is None:
        return [NoStatus(native)]
    native_id = required(values.get("MessageSid") or values.get("SmsSid"), "message id ('MessageSid')")
    own = own_id(context.message_id_names, values, part_of(values, "tags"))
    reason = _reason(values, means)
    status = means.status
    if status is Status.FAILED and reason is not None and reason.provider_code == _OPTED_OUT:
        status = Status.IGNORED
    return [
        Event(
            time=time_of(values.get("time")) or context.received,
            message_id=message_key("twilio", native_id, own, None, shared=False),
            channel=Channel.SMS,
            status=status,
            delivery_id=own_id(context.delivery_id_names, values, part_of(values, "tags")),
            provider="twilio",
            provider_message_id=native_id,
            recipient=identifier(values.get("To")),
            reason=reason,
        )
    ]


def _values(element: object) -> dict[str, Any]:
    if isinstance(element, str) and "=" in element:
        return dict(parse_qsl(element, keep_blank_values=True, max_num_fields=500))
    record = object_of(element)
    data = record.get("data")
    if not isinstance(data, dict):
        return record
    # A CloudEvent: the callback's keys in lower camel case.
    values = {key[:1].upper() + key[1:]: value for key, value in data.items()}
    values["time"] = record.get("time") or data.get("timestamp")
    values["tags"] = data.get("tags")
    return values


def _reason(values: dict[str, Any], means: Means) -> Reason | None:
    code = text_of(values.get("ErrorCode"))
    if code in ("0", None) and means.permanence is None:
        return None
    permanence, category = ERRORS.get(code or "", (means.permanence, Category.UNDEFINED))
    if code == _OPTED_OUT:
        permanence, category = None, Category.DENYLISTED
    text = text_of(values.get("ErrorMessage"))
    done = text_of(values.get("RawDlrDoneDate"))
    if done is not None:
        text = f"{text} (carrier's done date {done})" if text else f"carrier's done date {done}"
    return Reason(permanence=permanence, category=category, provider_code=code, text=text)


ADAPTER = Adapter("twilio", Channel.SMS, TABLE, read)
