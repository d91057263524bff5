"""Read SendGrid's Event Webhook: a JSON array of events; also one event alone, JSON Lines, and the old form body.

Source: Twilio SendGrid docs, "Event Webhook Reference", "Bounces and blocks", "Bounce classification", 2026-08.

A bounce is final whatever its code. Its `type` says what SendGrid made of it: "bounce" puts the address on the
suppression list, "blocked" does not, for the server refused the message and not the address. A drop was never
attempted: for an address on one of SendGrid's lists it is no failure, but a message that was never to be sent.

`sg_message_id` is the id that the API gave (`X-Message-Id`), a dot, and a part of SendGrid's own that differs from
event to event; one id covers all recipients of a request. So the first part and the recipient name the message.

In the console: Mail Settings, Event Webhook, all deliverability events; our ids as `custom_args`.

Signature: ECDSA P-256 over timestamp and body (`X-Twilio-Email-Event-Webhook-Signature`).

Traps: duplicates are certain, and `sg_event_id` may change on a retry. Asynchronous bounces lack `smtp-id`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from processor.domain.reason import Category, Reason
from processor.domain.status import Channel, Permanence, Status
from processor.providers.adapter import (
    Adapter,
    Context,
    Finding,
    Means,
    NoStatus,
    PayloadError,
    Unknown,
    elements_of,
)
from processor.providers.carried import fields_of
from processor.providers.fields import identifier, json_of, part_of, required, text_of, time_of, time_of_epoch
from processor.providers.identity import event_of, ours_in
from processor.providers.objections import COMPLAINT, UNSUBSCRIBE, objections
from processor.providers.reasons import enhanced_code_in, qualify, reply_code_in, telling_code

_UNSUBSCRIBED = Means(Status.IGNORED, category=Category.DENYLISTED)

#: By event; a bounce by "bounce/type", a drop by "dropped/reason", both in lower case. The row without the second word
#: is for a second word that has no row of its own.
TABLE: dict[str, Means | None] = {
    # Received, and ready to be delivered.
    "processed": Means(Status.TAKEN_INTO_ACCOUNT),
    # The receiving server temporarily rejected it; SendGrid tries for up to 72 hours.
    "deferred": Means(Status.TAKEN_INTO_ACCOUNT, Permanence.TRANSIENT),
    # Delivered to the receiving server.
    "delivered": Means(Status.SENT),
    # The receiving server could not or would not accept it, for good: the address is suppressed from now on.
    "bounce": Means(Status.FAILED, Permanence.PERMANENT),
    "bounce/bounce": Means(Status.FAILED, Permanence.PERMANENT),
    # The receiving server would not accept the message for a time; the address is not suppressed.
    "bounce/blocked": Means(Status.FAILED, Permanence.GAVE_UP, Category.REFUSED),
    # Deferred for 72 hours.
    "bounce/expired": Means(Status.FAILED, Permanence.GAVE_UP, Category.UNREACHABLE),
    # Dropped: SendGrid did not try to deliver it. Reasons beyond these are SendGrid's own refusals.
    "dropped": Means(Status.FAILED, Permanence.PERMANENT),
    # The address bounced before.
    "dropped/bounced address": Means(Status.IGNORED, category=Category.QUARANTINED),
    # The recipient unsubscribed, globally or from the group.
    "dropped/unsubscribed address": _UNSUBSCRIBED,
    "dropped/group unsubscribe": _UNSUBSCRIBED,
    # The recipient reported spam before.
    "dropped/spam reporting address": _UNSUBSCRIBED,
    # The address is malformed.
    "dropped/invalid": Means(Status.FAILED, Permanence.PERMANENT, Category.USER_UNKNOWN),
    # The header X-SMTPAPI is not JSON.
    "dropped/invalid smtpapi header": Means(Status.FAILED, Permanence.PERMANENT, Category.REFUSED),
    # SendGrid's own spam checker.
    "dropped/spam content": Means(Status.FAILED, Permanence.PERMANENT, Category.REFUSED),
    # The account has no credits left.
    "dropped/recipient list over package quota": Means(Status.FAILED, Permanence.PERMANENT, Category.REFUSED),
    # Its time ran out before it could be tried.
    "dropped/expired": Means(Status.FAILED, Permanence.GAVE_UP, Category.UNREACHABLE),
    # Engagement.
    "open": None,
    "click": None,
    "spamreport": None,
    "unsubscribe": None,
    "group_unsubscribe": None,
    "group_resubscribe": None,
    # The account was suspended, banned or released: no message.
    "account_status_change": None,
}

#: What events say of their address; `group_unsubscribe` is about one list only.
OBJECTIONS = {"spamreport": COMPLAINT, "unsubscribe": UNSUBSCRIBE}

#: How a drop's reason begins -> its row; the documentation and the traffic add details to some.
_DROPS: tuple[tuple[str, str], ...] = tuple(
    sorted(
        ((row.partition("/")[2], row) for row in TABLE if row.startswith("dropped/")),
        key=lambda pair: -len(pair[0]),
    )
)

#: Kind of reason by `bounce_classification`, as the webhook and the statistics API spell it; None: the codes speak.
CLASSIFICATIONS: dict[str, Category | None] = {
    "invalid address": Category.USER_UNKNOWN,
    "technical": Category.UNREACHABLE,
    "technical failure": Category.UNREACHABLE,
    "content": Category.REFUSED,
    "reputation": Category.REFUSED,
    "frequency/volume": Category.REFUSED,
    "frequency or volume too high": Category.REFUSED,
    "mailbox unavailable": None,  # full, disabled, or busy
    "unclassified": None,
}

#: Where the API's id ends in `sg_message_id`: the old ids have dots of their own.
_SUFFIX = re.compile(r"\.(?:filter|recvd|ismtpd|geopod)")
#: What the host of a Message-ID of SendGrid's own making has in its name.
_OWN_HOST = "ismtpd"


def split(payload: object) -> Iterable[object]:
    """Split an array, or a text with one JSON object a line, as the second version of the webhook wrote them."""
    if isinstance(payload, str) and payload.lstrip().startswith("{"):
        return (line for line in payload.split("\n") if line.strip())
    return elements_of(payload)


def read(element: object, context: Context) -> list[Finding]:
    """Read one event."""
    record = _record(element)
    native = text_of(record.get("event"))
    if native is None:
        raise PayloadError("no event name ('event')")
    native = native.lower()
    if native not in TABLE or "/" in native:
        return [Unknown(native)]
    row = _row(native, record)
    means = TABLE[row]
    time = time_of_epoch(record.get("timestamp")) or time_of(record.get("timestamp"))
    if means is None:
        return [NoStatus(native, objections(OBJECTIONS, native, [record.get("email")], time, context))]

    smtp_id = _bare(identifier(record.get("smtp-id")))
    native_id = identifier(record.get("sg_message_id")) or smtp_id
    if native_id is None:
        # The earliest drops have nothing else; such an event stands alone.
        native_id = required(record.get("sg_event_id"), "message id ('sg_message_id' or 'smtp-id')")
    recipient = identifier(record.get("email"))
    # Custom arguments are merged into the event; gateways may keep them apart.
    ours = ours_in(context, record, part_of(record, "unique_args"), part_of(record, "custom_args"))
    if native == "deferred":
        # Its `attempt` counts SendGrid's own tries.
        ours = ours._replace(attempt=1)
    return [
        event_of(
            ADAPTER,
            context,
            _request_id(native_id),
            ours,
            time=time or context.received,
            status=means.status,
            recipient=recipient,
            reason=_reason(row, means, record),
            provider_message_id=native_id,
            needs_recipient=True,
        )
    ]


def _record(element: object) -> dict[str, Any]:
    if isinstance(element, str) and element.lstrip().startswith("{"):
        try:
            element = json_of(element)
        except ValueError as error:
            raise PayloadError(f"broken JSON: {error}") from None
    return fields_of(element)


def _row(native: str, record: dict[str, Any]) -> str:
    if native == "bounce":
        kind = text_of(record.get("type"))
        row = f"bounce/{kind.lower()}" if kind else native
        return row if row in TABLE else native
    if native == "dropped":
        # The cause is the reason; some old events have it in `type`.
        for name in ("reason", "type"):
            cause = (text_of(record.get(name)) or "").lower()
            for words, row in _DROPS:
                if cause.startswith(words):
                    return row
    return native


def _bare(smtp_id: str | None) -> str | None:
    return smtp_id.strip("<>") or None if smtp_id else None


def _request_id(native_id: str) -> str:
    """Return the part of an id that all events of a request share."""
    local, _, host = native_id.partition("@")
    if host:
        return local if _OWN_HOST in host or host == "sendgrid.com" else native_id
    suffix = _SUFFIX.search(native_id)
    return native_id[: suffix.start()] if suffix else native_id.partition(".")[0] or native_id


def _reason(row: str, means: Means, record: dict[str, Any]) -> Reason | None:
    if means.status is Status.TAKEN_INTO_ACCOUNT and means.permanence is None:
        return None
    text = text_of(record.get("response")) or text_of(record.get("reason"))
    code = telling_code(enhanced_code_in(text_of(record.get("status"))), text)
    reply = reply_code_in(text)
    if means.status is Status.SENT:
        # The answer to a success is kept as evidence ("250 OK id=...").
        return Reason(code=code, provider_code=reply, text=text) if text else None
    if means.status is Status.IGNORED:
        return Reason(category=means.category, code=code or row, text=text)
    label = text_of(record.get("bounce_classification"))
    own = CLASSIFICATIONS.get(label.lower()) if label else None
    permanence, category = qualify(
        means.permanence,
        own=own,
        enhanced_code=code,
        reply_code=reply,
        text=text,
        otherwise=means.category,
        label_stays=row.endswith("/expired"),
    )
    return Reason(permanence=permanence, category=category, code=code or row, provider_code=reply, text=text)


ADAPTER = Adapter("sendgrid", Channel.EMAIL, TABLE, read, split, id_covers_several=True)
