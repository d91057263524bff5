"""Read Resend webhooks: `{"type", "created_at", "data"}`, one object a request.

Source: Resend documentation, "Webhooks: event types" (one page an event) and "Email bounces" (types and subtypes, which
are those of Amazon SES), 2026-08.

The time of the event is the outer `created_at`; `data.created_at` is when the message was made. An event names all
recipients of its message and not the one that it is about, so it is read as an event of each. Our own ids travel in
`tags` (an object; in older payloads a list of name and value) or in headers of the message. Resend tells of a bounce
only once it is final: Transient has been given up on.

In the console: a webhook for all `email.*` events; our ids as `tags`.

Signature: Svix: HMAC-SHA256 of id, timestamp and body (`svix-signature`).

Traps: `email.sent` only says that the API took it. Delivery is at least once, in no order.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from processor.domain.event import Event
from processor.domain.reason import Category, Reason
from processor.domain.status import Channel, Permanence, Status
from processor.providers.adapter import Adapter, Context, Finding, Means, NoStatus, PayloadError, Unknown
from processor.providers.fields import identifier, object_of, part_of, required, text_of, time_of
from processor.providers.identity import each_recipient, event_of, ours_in
from processor.providers.objections import COMPLAINT, objections
from processor.providers.reasons import enhanced_code_in, qualify, reply_code_in

_NEVER_SENT = Means(Status.IGNORED, category=Category.QUARANTINED)
_GAVE_UP = Means(Status.FAILED, Permanence.GAVE_UP)
_GENERAL = "email.bounced Transient/General"
_TRANSIENT_REFUSED = Means(Status.FAILED, Permanence.GAVE_UP, Category.REFUSED)

#: By type; a bounce also by "type/subtype". The shorter row is for a bounce whose longer name has no row.
TABLE: dict[str, Means | None] = {
    # To be sent at a later date.
    "email.scheduled": Means(Status.TAKEN_INTO_ACCOUNT),
    # The API request was successful; Resend will attempt delivery.
    "email.sent": Means(Status.TAKEN_INTO_ACCOUNT),
    # Delivered to the recipient's mail server.
    "email.delivered": Means(Status.SENT),
    # A temporary issue; Resend keeps trying.
    "email.delivery_delayed": Means(Status.TAKEN_INTO_ACCOUNT, Permanence.TRANSIENT),
    # The recipient's mail server permanently rejected it.
    "email.bounced": Means(Status.FAILED, Permanence.PERMANENT),
    "email.bounced Permanent": Means(Status.FAILED, Permanence.PERMANENT),
    "email.bounced Permanent/General": Means(Status.FAILED, Permanence.PERMANENT),
    # The address does not exist.
    "email.bounced Permanent/NoEmail": Means(Status.FAILED, Permanence.PERMANENT, Category.USER_UNKNOWN),
    # Never attempted: it recently bounced.
    "email.bounced Permanent/Suppressed": _NEVER_SENT,
    "email.bounced Permanent/OnAccountSuppressionList": _NEVER_SENT,
    # A soft bounce.
    "email.bounced Transient": _GAVE_UP,
    "email.bounced Transient/General": _GAVE_UP,
    "email.bounced Transient/MailboxFull": Means(Status.FAILED, Permanence.GAVE_UP, Category.MAILBOX_FULL),
    "email.bounced Transient/MessageTooLarge": _TRANSIENT_REFUSED,
    "email.bounced Transient/ContentRejected": _TRANSIENT_REFUSED,
    "email.bounced Transient/AttachmentRejected": _TRANSIENT_REFUSED,
    # The bounce message does not say why.
    "email.bounced Undetermined": _GAVE_UP,
    "email.bounced Undetermined/Undetermined": _GAVE_UP,
    # Never attempted: on the suppression list, for a bounce or a complaint, or added by hand.
    "email.suppressed": _NEVER_SENT,
    # An error before sending: recipient, API key, domain or quota.
    "email.failed": Means(Status.FAILED, Permanence.PERMANENT, Category.REFUSED),
    # A limit of the account was reached.
    "email.failed reached_daily_quota": _TRANSIENT_REFUSED,
    "email.failed reached_monthly_quota": _TRANSIENT_REFUSED,
    "email.opened": None,
    "email.clicked": None,
    # The recipient marked it as spam.
    "email.complained": None,
    # Inbound mail came in.
    "email.received": None,
    # About the account, not about messages.
    "contact.created": None,
    "contact.updated": None,
    "contact.deleted": None,
    "domain.created": None,
    "domain.updated": None,
    "domain.deleted": None,
    "suppression.added": None,
    "suppression.removed": None,
}

#: What events say of their address.
OBJECTIONS = {"email.complained": COMPLAINT}

#: "type/subtype" by what the bounce's message says, for payloads of before the two fields; the first that occurs.
#: The sentences are those of Amazon SES.
MESSAGES: tuple[tuple[str, str], ...] = (
    ("suppressed sending", "Permanent/Suppressed"),
    ("suppression list", "Permanent/OnAccountSuppressionList"),
    ("address doesn't exist", "Permanent/NoEmail"),
    ("hard bounce", "Permanent/General"),
    ("inbox was full", "Transient/MailboxFull"),
    ("too large", "Transient/MessageTooLarge"),
    ("unacceptable attachment", "Transient/AttachmentRejected"),
    ("content that the provider doesn't allow", "Transient/ContentRejected"),
    ("general bounce", "Transient/General"),
    ("enough information", "Undetermined/Undetermined"),
)

#: Resend advises to remove such an address, so without a better reason it is held for unknown.
_HARD = {"email.bounced Permanent", "email.bounced Permanent/General"}

#: Other words for the type of a bounce, in lower case.
_TYPES = {
    "permanent": "Permanent",
    "hard": "Permanent",
    "transient": "Transient",
    "temporary": "Transient",
    "soft": "Transient",
    "undetermined": "Undetermined",
}
_SUPPRESSED = {"suppressed": "Suppressed", "onaccountsuppressionlist": "OnAccountSuppressionList"}

_ROWS_IN_LOWER_CASE = {row.lower(): row for row in TABLE}

#: Type -> the object of `data` that tells more.
_PARTS = {
    "email.bounced": "bounce",
    "email.suppressed": "suppressed",
    "email.failed": "failed",
    "email.delivery_delayed": "delivery_delayed",
}

#: Tags or headers beyond this are not looked at.
_MAX_NAMED = 200


def read(element: object, context: Context) -> Iterable[Finding]:
    """Read one webhook."""
    record = object_of(element)
    kind = text_of(record.get("type"))
    if kind is None:
        raise PayloadError("no event type ('type')")
    data = part_of(record, "data")
    part = part_of(data, _PARTS.get(kind, ""))
    native = _native(kind, part)
    row = next((row for row in (native, native.partition("/")[0], kind) if row in TABLE), None)
    if row is None:
        return [Unknown(kind)]
    means = TABLE[row]
    if means is None or (row == _GENERAL and _is_automatic_reply(part)):
        return [NoStatus(row, objections(OBJECTIONS, row, _complainer(data), _time(record.get("created_at")), context))]
    native_id = required(data.get("email_id"), "email id ('data.email_id')")
    places = (_named(data.get("tags")), _named(data.get("headers")))
    ours = ours_in(context, *places)
    time = _time(record.get("created_at")) or context.received
    reason = _reason(row, means, part)
    recipient = data.get("to")
    recipients = recipient if isinstance(recipient, list) and recipient else [recipient]

    def event(recipient: object) -> Event:
        address = identifier(recipient)
        return event_of(
            ADAPTER,
            context,
            native_id,
            ours,
            time=time,
            status=means.status,
            names_several=len(recipients) > 1,
            recipient=address,
            reason=reason,
        )

    return each_recipient(recipients, ours, context, event)


def _is_automatic_reply(bounce: dict[str, Any]) -> bool:
    """Return whether a bounce is an answer such as "out of office", which SES, beneath, calls Transient/General.

    Such a bounce says so by its type, and has no diagnosis. The mail was delivered; nothing may undo that.
    """
    return text_of(bounce.get("type")) is not None and not (bounce.get("diagnosticCode") or bounce.get("status"))


def _native(kind: str, part: dict[str, Any]) -> str:
    """Name an event in the words of the table: a bounce with its type and subtype, a failure with its reason."""
    if kind == "email.failed":
        reason = text_of(part.get("reason"))
        return f"{kind} {reason.lower()}" if reason else kind
    if kind != "email.bounced":
        return kind
    general, special = text_of(part.get("type")) or "", text_of(part.get("subType")) or ""
    suppressed = _SUPPRESSED.get(special.lower()) or _SUPPRESSED.get(general.lower())
    if suppressed is not None:
        return f"{kind} Permanent/{suppressed}"
    message = (text_of(part.get("message")) or "").lower()
    told = next((native for words, native in MESSAGES if words in message), "")
    if told in ("Permanent/Suppressed", "Permanent/OnAccountSuppressionList") or not general:
        return f"{kind} {told}".strip()
    native = f"{kind} {_TYPES.get(general.lower(), general)}/{special}"
    return _ROWS_IN_LOWER_CASE.get(native.lower(), native)


def _named(value: object) -> dict[str, Any]:
    """Read tags or headers: an object, or a list of name and value."""
    if isinstance(value, dict):
        return value
    if not isinstance(value, list):
        return {}
    named: dict[str, Any] = {}
    for pair in value[:_MAX_NAMED]:
        if isinstance(pair, dict) and isinstance(pair.get("name"), str):
            named.setdefault(pair["name"], pair.get("value"))
    return named


def _complainer(data: dict[str, Any]) -> list[object]:
    """Return the recipient; none if there are several, since it is not said which of them complained."""
    to = data.get("to")
    told = to if isinstance(to, list) else [to]
    return told if len(told) == 1 else []


def _time(value: object) -> datetime | None:
    # Some payloads write the zone as a database does ("2024-11-22 23:41:11.894719+00").
    return time_of(value) or (time_of(f"{value}:00") if isinstance(value, str) and value[-3:-2] in ("+", "-") else None)


def _reason(row: str, means: Means, part: dict[str, Any]) -> Reason | None:
    if means.permanence is None and means.status is not Status.IGNORED:
        return None
    text = _text(part)
    code, reply = enhanced_code_in(text), reply_code_in(text)
    permanence, category = means.permanence, means.category
    if permanence is not None:
        # Resend's own sentences speak of reputation and spam in passing: only a server's words tell a kind.
        diagnosis = text if code or reply else None
        permanence, category = qualify(
            permanence,
            own=category,
            enhanced_code=code,
            reply_code=reply,
            text=diagnosis,
            otherwise=Category.USER_UNKNOWN if row in _HARD else None,
        )
    if row == "email.suppressed" and text is not None and "complain" in text.lower():
        category = Category.DENYLISTED
    native = row.partition(" ")[2]
    return Reason(permanence=permanence, category=category, code=code or native or None, provider_code=reply, text=text)


def _text(part: dict[str, Any]) -> str | None:
    """Return what explains most: the server's answer (a text or a list of them), else Resend's own words."""
    diagnosis = part.get("diagnosticCode")
    if isinstance(diagnosis, list):
        diagnosis = diagnosis[0] if diagnosis else None
    return text_of(diagnosis) or text_of(part.get("message")) or text_of(part.get("reason"))


ADAPTER = Adapter("resend", Channel.EMAIL, TABLE, read, id_covers_several=True)
