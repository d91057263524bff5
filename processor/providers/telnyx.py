"""Read Telnyx messaging web hooks: one event for each recipient in `data.payload.to` (and `cc`).

What became of a recipient is its `status`; `event_type` only says which snapshot this is, and "message.sent" may come
with a status of "queued". The message object of the API, without its envelope, reads the same.

Source: Telnyx docs, "Receiving webhooks", "Messaging error code reference", and the models of the API clients, 2026-08.

Our own ids travel in `tags`, as "message_id=m-1" or "message_id:m-1".

In the console: a webhook address on the messaging profile; our ids as `tags`.

Signature: Ed25519 over timestamp and body (`telnyx-signature-ed25519`).

Traps: three tries for each address, then the failover's: duplicates are normal. `delivery_unconfirmed` says nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from processor.domain.reason import Category, Reason
from processor.domain.status import Channel, Permanence, Status
from processor.providers.adapter import Adapter, Context, Finding, Means, NoStatus, PayloadError, Unknown
from processor.providers.carried import reference_of
from processor.providers.fields import identifier, object_of, part_of, required, text_of, time_of
from processor.providers.identity import each_recipient, event_of, ours_in
from processor.providers.reasons import qualify_by_code

_C = Category

TABLE: dict[str, Means | None] = {
    # Held until its date: Telnyx has it, so it is no longer pending with us.
    "scheduled": Means(Status.TAKEN_INTO_ACCOUNT),
    # Queued at Telnyx.
    "queued": Means(Status.TAKEN_INTO_ACCOUNT),
    # On its way to the carrier.
    "sending": Means(Status.SENT),
    # The carrier has it.
    "sent": Means(Status.SENT),
    # The carrier confirms the delivery.
    "delivered": Means(Status.RECEIVED_ON_MOBILE),
    # Telnyx could not send it to the carrier.
    "sending_failed": Means(Status.FAILED, Permanence.PERMANENT),
    # The carrier could not deliver it.
    "delivery_failed": Means(Status.FAILED, Permanence.PERMANENT),
    # Its validity ran out.
    "expired": Means(Status.FAILED, Permanence.GAVE_UP, _C.UNREACHABLE),
    # A scheduled message was cancelled.
    "cancelled": Means(Status.CANCELED),
    "canceled": Means(Status.CANCELED),
    # RCS, WhatsApp: the recipient opened it. Engagement, not delivery.
    "read": None,
    # Inbound: it came in, and was forwarded to us or not.
    "received": None,
    "webhook_delivered": None,
    "webhook_failed": None,
    # "delivery_unconfirmed" has no row: no report came, and it may have been delivered.
}

_P = Permanence.PERMANENT
_G = Permanence.GAVE_UP

#: How final and of what kind, by code of `errors`. A code without a row has its status's own permanence.
ERRORS: dict[str, tuple[Permanence, Category]] = {
    # Request and account.
    "10001": (_P, _C.REFUSED),  # inactive phone number
    "10002": (_P, _C.USER_UNKNOWN),  # invalid phone number
    "10007": (_G, _C.UNREACHABLE),  # unexpected error
    "10011": (_G, _C.REFUSED),  # too many requests
    "10016": (_P, _C.USER_UNKNOWN),  # not in E.164 format
    "10039": (_P, _C.REFUSED),  # trial: pre-verified destinations only
    "20012": (_G, _C.REFUSED),  # account inactive, possibly insufficient funds
    "20013": (_P, _C.REFUSED),  # account blocked
    "20014": (_P, _C.REFUSED),  # account unverified
    "20015": (_P, _C.REFUSED),  # feature not enabled
    "20100": (_G, _C.REFUSED),  # insufficient funds
    # Delivery.
    "40001": (_P, _C.USER_UNKNOWN),  # not routable: a landline, or a number that is none
    "40002": (_G, _C.REFUSED),  # blocked as spam, temporarily
    "40003": (_P, _C.REFUSED),  # blocked as spam, permanently
    "40004": (_P, _C.REFUSED),  # rejected by the destination's carrier for an unknown reason
    "40005": (_G, _C.UNREACHABLE),  # expired during transmission
    "40006": (_G, _C.UNREACHABLE),  # the recipient's server is unavailable
    "40008": (_G, _C.UNREACHABLE),  # undeliverable: the carrier did not accept it
    "40009": (_P, _C.REFUSED),  # invalid message body
    "40010": (_P, _C.REFUSED),  # the sender is not registered for 10DLC
    "40011": (_G, _C.REFUSED),  # too many messages: the carrier's rate limit
    "40012": (_P, _C.USER_UNKNOWN),  # invalid destination number, says the carrier
    "40013": (_P, _C.REFUSED),  # invalid source number
    "40014": (_G, _C.UNREACHABLE),  # expired in the queue
    "40015": (_P, _C.REFUSED),  # blocked as spam by Telnyx
    "40016": (_G, _C.REFUSED),  # T-Mobile's daily limit for 10DLC
    "40017": (_P, _C.REFUSED),  # AT&T rejected it as spam
    "40018": (_G, _C.REFUSED),  # AT&T's limit for 10DLC
    # Configuration and compliance.
    "40100": (_P, _C.REFUSED),  # the number is not enabled for messaging
    "40150": (_P, _C.REFUSED),  # toll-free number not in the registry
    "40151": (_G, _C.REFUSED),  # enablement pending with another provider
    "40300": (_P, _C.DENYLISTED),  # blocked: the recipient sent STOP
    "40301": (_P, _C.REFUSED),  # message type not supported by the destination
    "40302": (_P, _C.REFUSED),  # message too large
    "40304": (_P, _C.REFUSED),  # invalid combination of content
    "40305": (_P, _C.REFUSED),  # invalid sender
    "40306": (_P, _C.REFUSED),  # alphanumeric sender not configured
    "40308": (_P, _C.REFUSED),  # invalid sender for MMS
    "40309": (_P, _C.REFUSED),  # destination region not allowed
    "40310": (_P, _C.USER_UNKNOWN),  # invalid destination address
    "40311": (_P, _C.REFUSED),  # invalid messaging profile secret
    "40312": (_P, _C.REFUSED),  # messaging profile disabled
    "40313": (_P, _C.REFUSED),  # missing messaging profile secret
    "40314": (_P, _C.REFUSED),  # messaging disabled on the account
    "40315": (_G, _C.REFUSED),  # unhealthy sender: low deliverability, much spam
    "40316": (_P, _C.REFUSED),  # no content
    "40317": (_P, _C.REFUSED),  # invalid MMS content
    "40318": (_G, _C.UNREACHABLE),  # message queue full
    "40319": (_P, _C.REFUSED),  # message type incompatible with the destination
    "40320": (_G, _C.REFUSED),  # sender temporarily unusable
    "40321": (_P, _C.REFUSED),  # no usable numbers on the messaging profile
    "40322": (_P, _C.REFUSED),  # blocked for its content
    "40328": (_P, _C.REFUSED),  # SMS exceeds the recommended size
    "40329": (_P, _C.REFUSED),  # toll-free number not yet verified
}

#: A message has 8 recipients at most (group MMS); one with far more is an attack on memory.
_MAX_RECIPIENTS = 1_000

#: The time of the event; without its envelope, when the message reached its end, the carrier, or Telnyx.
_TIMES = ("completed_at", "sent_at", "received_at")


def read(element: object, context: Context) -> Iterable[Finding]:
    """Read one web hook, or one message object."""
    record = object_of(element)
    data = part_of(record, "data") or record
    message = part_of(data, "payload") or data
    kind = text_of(data.get("event_type"))
    if message.get("direction") == "inbound" or kind == "message.received":
        return [NoStatus("message.received")]
    recipients = _recipients(message)
    if not recipients:
        if kind is None:
            raise PayloadError("no recipient ('data.payload.to')")
        # Telnyx tells of calls, numbers and campaigns by the same web hooks; a click names no recipient.
        return [NoStatus(kind)] if kind.startswith("message.") else [Unknown(kind)]
    native_id = required(message.get("id"), "message id ('data.payload.id')")
    tags = reference_of(message.get("tags"))
    ours = ours_in(context, tags)
    time = _time(data, message) or context.received

    def finding(recipient: object, error: dict[str, Any]) -> Finding:
        about = object_of(recipient)
        native = text_of(about.get("status"))
        if native is None:
            raise PayloadError("no status ('to[].status')")
        native = native.lower()
        means = TABLE.get(native)
        if means is None:
            return NoStatus(native) if native in TABLE else Unknown(native)
        return event_of(
            ADAPTER,
            context,
            native_id,
            ours,
            time=time,
            status=means.status,
            names_several=len(recipients) > 1,
            recipient=identifier(about.get("phone_number")),
            reason=_reason(native, means, error),
        )

    errors = _errors(message, len(recipients))
    if len(recipients) == 1:
        return (finding(recipients[0], errors[0]),)
    return each_recipient(recipients, ours, context, finding, errors)


def _recipients(message: dict[str, Any]) -> list[Any]:
    """Return the recipients of a message, `to` before `cc`; in the oldest form `to` is a text beside the status."""
    to = message.get("to")
    if isinstance(to, str):
        return [{"phone_number": to, "status": message.get("status")}]
    if isinstance(to, dict):
        return [to]
    if isinstance(to, list) and not message.get("cc") and len(to) <= _MAX_RECIPIENTS:
        return to
    recipients = [
        recipient for name in ("to", "cc") if isinstance(told := message.get(name), list) for recipient in told
    ]
    if len(recipients) > _MAX_RECIPIENTS:
        raise PayloadError(f"a message with {len(recipients)} recipients")
    return recipients


def _time(data: dict[str, Any], message: dict[str, Any]) -> datetime | None:
    time = time_of(data.get("occurred_at"))
    if time is None:
        time = next(filter(None, [time_of(message.get(name)) for name in _TIMES]), None)
    return time


def _errors(message: dict[str, Any], recipients: int) -> list[dict[str, Any]]:
    """Return the error of each recipient: the first that points at it, else the first that points at none."""
    errors = message.get("errors")
    if not errors or not isinstance(errors, list):
        return [{}] * recipients
    told: dict[str, dict[str, Any]] = {}
    for error in errors:
        if isinstance(error, dict):
            told.setdefault(text_of(part_of(error, "source").get("pointer")) or "", error)
    of_all = told.get("", {})
    return [told.get(f"/to/{index}", of_all) for index in range(recipients)]


def _reason(native: str, means: Means, error: dict[str, Any]) -> Reason | None:
    if means.permanence is None:
        return None
    code = text_of(error.get("code"))
    text = text_of(error.get("detail")) or text_of(error.get("title"))
    permanence, category = qualify_by_code(means, ERRORS.get(code or ""), text, label_stays=native == "expired")
    return Reason(permanence=permanence, category=category, provider_code=code, text=text)


ADAPTER = Adapter("telnyx", Channel.SMS, TABLE, read, id_covers_several=True)
