"""Read Vonage (Nexmo) reports: delivery receipts of the SMS API, and message statuses of the Messages API.

Receipts come as a query (GET), a form body or JSON, one for each *part* of a message, each with an id of its own; only
our own id in the reference ties the parts together. `to` is the sender and `msisdn` the recipient; Messages API, where
`to` is the recipient: a text in v1, an object in v0.1.

Source: Vonage docs, "Delivery receipts" (status and err-code) and "Messages API status callbacks"; the OpenAPI files
sms.yml and messages-olympus.yml (errors 1000 to 1360), 2026-08.

`message-timestamp` has no zone written, but is documented as UTC: the time of the push. `scts` is the carrier's local
minute, and goes into the reason's text.

In the console: the account's or the application's address for delivery receipts (statuses), as JSON; our ids in
`client-ref` (`client_ref`).

Signature: SMS: `sig` of the sorted parameters, MD5 or HMAC. Messages: a JWT with the body's hash.

Traps: some receipts are the carrier's, some are fake, says the documentation. `expired` is also sent when nothing was
heard for 72 hours.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from processor.domain.reason import Category, Reason
from processor.domain.status import Channel, Permanence, Status
from processor.providers.adapter import Adapter, Context, Finding, Means, NoStatus, PayloadError, Unknown
from processor.providers.carried import fields_of, reference_of
from processor.providers.fields import first_identifier, identifier, part_of, required, text_of, time_of, time_of_epoch
from processor.providers.identity import event_of, ours_in
from processor.providers.reasons import qualify_by_code

TABLE: dict[str, Means | None] = {
    # SMS API: the carrier has accepted it and has not delivered it yet.
    "accepted": Means(Status.SENT),
    # SMS API: held for later delivery.
    "buffered": Means(Status.TAKEN_INTO_ACCOUNT, Permanence.TRANSIENT),
    # Messages API: passed on to a messaging provider.
    "submitted": Means(Status.SENT),
    # Delivered; of some carriers the receipt is theirs and not the handset's.
    "delivered": Means(Status.RECEIVED_ON_MOBILE),
    # The carrier's retries ran out, or it said nothing in time.
    "expired": Means(Status.FAILED, Permanence.GAVE_UP, Category.UNREACHABLE),
    # SMS API: not delivered.
    "failed": Means(Status.FAILED, Permanence.PERMANENT),
    # The carrier, the provider or Vonage refused it; Messages API: also when its time to live ran out.
    "rejected": Means(Status.FAILED, Permanence.PERMANENT, Category.REFUSED),
    # Messages API: the messaging provider could not be reached.
    "undeliverable": Means(Status.FAILED, Permanence.GAVE_UP, Category.UNREACHABLE),
    # Messages API: the recipient opened it. Engagement, not delivery.
    "read": None,
    # "unknown" has no row: "no useful information available".
}

_P = Permanence.PERMANENT
_G = Permanence.GAVE_UP
_C = Category

#: How final and of what kind, by `err-code` of a receipt. A code without a row has its status's own permanence.
ERRORS: dict[str, tuple[Permanence, Category]] = {
    "1": (_G, _C.UNDEFINED),  # unknown: no reason could be determined
    "2": (_G, _C.NOT_CONNECTED),  # absent subscriber, temporary
    "3": (_P, _C.USER_UNKNOWN),  # absent subscriber, permanent: the number is no longer active
    "4": (_P, _C.REFUSED),  # call barred by the user
    "5": (_P, _C.UNREACHABLE),  # portability error: for the recipient to solve with the operator
    "6": (_P, _C.REFUSED),  # anti-spam rejection
    "7": (_G, _C.UNREACHABLE),  # handset busy
    "8": (_G, _C.UNREACHABLE),  # network error
    "9": (_P, _C.DENYLISTED),  # illegal number: the user asked not to receive messages from the service
    "10": (_P, _C.REFUSED),  # illegal message: an error in a parameter
    "11": (_G, _C.UNREACHABLE),  # unroutable: Vonage found no route
    "12": (_P, _C.UNREACHABLE),  # destination unreachable: no route to the number
    "13": (_P, _C.REFUSED),  # subscriber age restriction
    "14": (_P, _C.REFUSED),  # number blocked by the carrier: no SMS on the plan
    "15": (_G, _C.REFUSED),  # prepaid: insufficient funds of the recipient
    "50": (_P, _C.REFUSED),  # entity filter: entity-id incorrect or missing (India)
    "51": (_P, _C.REFUSED),  # header filter: header id incorrect or missing (India)
    "52": (_P, _C.REFUSED),  # content filter: content-id incorrect or missing (India)
    "53": (_P, _C.REFUSED),  # consent filter: consent not authorized
    "54": (_P, _C.REFUSED),  # regulation error
    "99": (_G, _C.UNREACHABLE),  # general error, typically of the route
    # The same of the Messages API, and what only it has.
    "1000": (_G, _C.REFUSED),  # throttled: over the account's capacity
    "1010": (_P, _C.REFUSED),  # missing parameters
    "1020": (_P, _C.REFUSED),  # invalid parameters
    "1021": (_P, _C.REFUSED),  # invalid tag
    "1022": (_P, _C.PERSONALIZATION),  # invalid template or template parameters
    "1030": (_G, _C.UNREACHABLE),  # internal error
    "1040": (_P, _C.REFUSED),  # invalid message: an unrecognized prefix
    "1050": (_P, _C.DENYLISTED),  # number barred: on the provider's list
    "1060": (_P, _C.REFUSED),  # account barred
    "1070": (_G, _C.REFUSED),  # quota exceeded: the account's credit
    "1080": (_P, _C.REFUSED),  # account not enabled for REST
    "1090": (_P, _C.REFUSED),  # message too long
    "1100": (_G, _C.UNREACHABLE),  # communication failed
    "1110": (_P, _C.REFUSED),  # invalid signature
    "1120": (_P, _C.REFUSED),  # illegal sender address
    "1130": (_P, _C.REFUSED),  # invalid time to live
    "1140": (_P, _C.REFUSED),  # facility not allowed
    "1150": (_P, _C.REFUSED),  # invalid message class
    "1160": (_P, _C.REFUSED),  # not an approved destination: demo mode
    "1170": (_P, _C.USER_UNKNOWN),  # invalid or missing msisdn
    "1180": (_G, _C.NOT_CONNECTED),  # absent subscriber, temporary
    "1190": (_P, _C.USER_UNKNOWN),  # absent subscriber, permanent
    "1200": (_P, _C.UNREACHABLE),  # portability error
    "1210": (_P, _C.REFUSED),  # anti-spam rejection
    "1220": (_G, _C.UNREACHABLE),  # handset busy
    "1230": (_G, _C.UNREACHABLE),  # network error
    "1240": (_P, _C.DENYLISTED),  # illegal number: the user sent STOP
    "1241": (_G, _C.REFUSED),  # too many send requests
    "1250": (_P, _C.UNREACHABLE),  # unroutable
    "1260": (_P, _C.UNREACHABLE),  # destination unreachable
    "1270": (_P, _C.REFUSED),  # subscriber age restriction
    "1280": (_P, _C.REFUSED),  # number blocked by the carrier
    "1290": (_G, _C.REFUSED),  # prepaid: insufficient funds of the recipient
    "1300": (_P, _C.USER_UNKNOWN),  # not a user of the provider's network
    "1310": (_P, _C.REFUSED),  # not a suitable device
    "1320": (_P, _C.DUPLICATE),  # message already sent
    "1330": (_G, _C.UNDEFINED),  # unknown error of the carrier
    "1331": (_G, _C.UNREACHABLE),  # the provider does not respond
    "1340": (_P, _C.REFUSED),  # outside the allowed window
    "1350": (_P, _C.REFUSED),  # phone matching fee not paid
    "1360": (_G, _C.UNREACHABLE),  # the time to live has run out
}

_DATE_TIME = len("2020-01-01 12:00:00")


def read(element: object, context: Context) -> list[Finding]:
    """Read one receipt or one status."""
    fields = fields_of(element)
    native = text_of(fields.get("status"))
    if native is None:
        if "text" in fields or "message_type" in fields or "message" in fields:
            return [NoStatus("inbound message")]
        raise PayloadError("no status ('status')")
    native = native.lower()
    if native not in TABLE:
        return [Unknown(native)]
    means = TABLE[native]
    if means is None:
        return [NoStatus(native)]
    if "message_uuid" in fields or "message-uuid" in fields:
        told = first_identifier(fields.get("message_uuid"), fields.get("message-uuid"))
        native_id = required(told, "message id ('message_uuid')")
        recipient = _address(fields.get("to"))
        time = time_of(fields.get("timestamp"))
        code, text = _error(fields)
    else:
        told = first_identifier(fields.get("messageId"), fields.get("message-id"))
        native_id = required(told, "message id ('messageId')")
        recipient = identifier(fields.get("msisdn"))
        time = _time(fields)
        code, text = text_of(fields.get("err-code")), _carrier_time(fields)
    reference = fields.get("client-ref") or fields.get("client_ref")
    places = (fields, {"client_ref": reference, "client-ref": reference}, reference_of(reference))
    ours = ours_in(context, *places)
    return [
        event_of(
            ADAPTER,
            context,
            native_id,
            ours,
            time=time or context.received,
            status=means.status,
            recipient=recipient,
            reason=_reason(native, means, code, text),
        )
    ]


def _time(fields: dict[str, Any]) -> datetime | None:
    """Read the time of the push: UTC by its documentation; else that of the signature, in seconds since 1970."""
    pushed = fields.get("message-timestamp")
    if isinstance(pushed, str):
        pushed = pushed.strip()
        time = time_of(f"{pushed}Z" if len(pushed) == _DATE_TIME else pushed)
        if time is not None:
            return time
    return time_of_epoch(fields.get("timestamp"))


def _carrier_time(fields: dict[str, Any]) -> str | None:
    carrier = text_of(fields.get("scts"))
    return f"carrier's time {carrier}" if carrier else None


def _address(value: object) -> str | None:
    if isinstance(value, dict):
        value = value.get("number") or value.get("id")
    return identifier(value)


def _error(fields: dict[str, Any]) -> tuple[str | None, str | None]:
    """Find the error's code and words: `code` and `reason` in v0.1; `type`, `title` and `detail` (RFC 7807) in v1."""
    error = part_of(fields, "error")
    title = text_of(error.get("title"))
    text = text_of(error.get("detail")) or text_of(error.get("reason"))
    code = text_of(error.get("code"))
    if code is None:
        number = title if title is not None and title.isdecimal() else None
        code = number or (text_of(error.get("type")) or "").rpartition("#")[2] or title
    return code, text or title


def _reason(native: str, means: Means, code: str | None, text: str | None) -> Reason | None:
    if means.permanence is None:
        return None
    permanence, category = qualify_by_code(
        means, ERRORS.get(code or ""), text_of(text), label_stays=native == "expired"
    )
    return Reason(
        permanence=permanence, category=category, provider_code=None if code == "0" else code, text=text_of(text)
    )


ADAPTER = Adapter("vonage", Channel.SMS, TABLE, read)
