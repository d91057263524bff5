"""Read Brevo (formerly Sendinblue) webhooks, transactional and marketing: one object, or an array where batched.

Source: Brevo developer documentation, "Transactional webhooks", "Marketing webhooks" and the event names of
"Get the content of a transactional email", 2026-08.

Only `ts_epoch` is a time to be believed: milliseconds, in older payloads seconds. `ts` and `ts_event` are seconds of
the account's local time, and `date` is that in words; only a date with a zone, as the API gives it, is a time as well.
Our own ids travel in `X-Mailin-custom` (JSON, or "name:value|name:value") or in tags ("name:value"). One message id
covers all recipients of a message, so without an id of our own the recipient is a part of the identity. Marketing
events have no message id: the campaign's stands for it.

In the console: Transactional webhooks for all events; our ids in the header `X-Mailin-custom`.

Signature: none: a bearer token or basic auth where configured.

Traps: Brevo tries again (10 min, 1, 2, 8 h) only after 429 or no answer: any other 4xx and any 5xx ends it, and the
event is lost. `id` is the webhook's or the account's, not the event's. Two events of the same second have no order.
"""

from __future__ import annotations

from typing import Any

import orjson

from processor.domain.reason import Category, Reason
from processor.domain.status import Channel, Permanence, Status
from processor.providers.adapter import Adapter, Context, Finding, Means, NoStatus, PayloadError, Unknown
from processor.providers.carried import reference_of
from processor.providers.fields import identifier, object_of, required, text_of, time_of, time_of_epoch
from processor.providers.identity import event_of, ours_in
from processor.providers.objections import COMPLAINT, UNSUBSCRIBE, objections
from processor.providers.reasons import enhanced_code_in, qualify, reply_code_in

_INVALID = Means(Status.FAILED, Permanence.PERMANENT, Category.USER_UNKNOWN)

TABLE: dict[str, Means | None] = {
    # Accepted by Brevo; also sent for what is then blocked.
    "request": Means(Status.TAKEN_INTO_ACCOUNT),
    # The API's name for the same.
    "sent": Means(Status.TAKEN_INTO_ACCOUNT),
    # The recipient's server accepted it.
    "delivered": Means(Status.SENT),
    # The recipient's server refused it for now; Brevo keeps trying.
    "deferred": Means(Status.TAKEN_INTO_ACCOUNT, Permanence.TRANSIENT),
    # Temporarily refused, and Brevo has given up.
    "soft_bounce": Means(Status.FAILED, Permanence.GAVE_UP),
    # Permanently refused.
    "hard_bounce": Means(Status.FAILED, Permanence.PERMANENT),
    # The address is not valid, as Brevo or the recipient's provider found.
    "invalid_email": _INVALID,
    "invalid": _INVALID,
    # Never attempted: the recipient is on the blocklist, for a bounce, an unsubscription or a complaint.
    "blocked": Means(Status.IGNORED),
    # An error on the way from the sender to the recipient.
    "error": Means(Status.FAILED, Permanence.GAVE_UP),
    # The recipient marked it as spam.
    "spam": None,
    "complaint": None,
    "unsubscribe": None,
    "unsubscribed": None,
    # Engagement; "proxy": opened by the mail provider, "unique": for the first time.
    "open": None,
    "opened": None,
    "unique_opened": None,
    "proxy_open": None,
    "unique_proxy_open": None,
    "loaded_by_proxy": None,
    "click": None,
    # Marketing: about contacts, not about messages.
    "list_addition": None,
    "contact_updated": None,
    "contact_deleted": None,
    "unique_coupon_sent": None,
    # Inbound mail came in.
    "inbound_email_processed": None,
}

#: What events say of their address.
OBJECTIONS = {"spam": COMPLAINT, "complaint": COMPLAINT, "unsubscribe": UNSUBSCRIBE, "unsubscribed": UNSUBSCRIBE}

#: What Brevo itself says of a domain without mail servers.
_NO_MX = "unable to find mx"

#: Why nothing was sent, by Brevo's own words; the first that occurs.
BLOCKED_WORDS: tuple[tuple[str, Category], ...] = (
    ("unsubscri", Category.DENYLISTED),
    ("complain", Category.DENYLISTED),
    ("bounce", Category.QUARANTINED),
    ("invalid", Category.QUARANTINED),
)

# Event names come in snake case, and in the settings' camel case ("hardBounce").
_ROWS = {row.replace("_", ""): row for row in TABLE}
_SEPARATORS = str.maketrans("", "", "_- ")
#: Metadata of ours is read up to this length.
_MAX_METADATA = 4000


def read(element: object, context: Context) -> list[Finding]:
    """Read one event."""
    record = object_of(element)
    native = text_of(record.get("event"))
    if native is None:
        if isinstance(record.get("items"), list):
            return [NoStatus("inbound_email_processed")]
        raise PayloadError("no event type ('event')")
    row = native if native in TABLE else _ROWS.get(native.lower().translate(_SEPARATORS))
    if row is None:
        return [Unknown(native)]
    means = TABLE[row]
    time = time_of_epoch(record.get("ts_epoch")) or time_of(record.get("date"))
    if means is None:
        return [NoStatus(row, objections(OBJECTIONS, row, [record.get("email")], time, context))]
    native_id = required(_message_id(record), "message id ('message-id')")
    address = identifier(record.get("email"))
    places = (_metadata(record.get("X-Mailin-custom")), _tags(record))
    ours = ours_in(context, *places)
    return [
        event_of(
            ADAPTER,
            context,
            native_id,
            ours,
            time=time or context.received,
            status=means.status,
            recipient=address,
            reason=_reason(row, means, text_of(record.get("reason")), None if time else text_of(record.get("date"))),
        )
    ]


def _message_id(record: dict[str, Any]) -> object:
    native_id = record.get("message-id") or record.get("messageId") or record.get("message_id")
    if isinstance(native_id, str):
        # A Message-ID, as a rule in angle brackets; the documentation's own samples have none.
        return native_id.strip().strip("<>")
    return native_id or record.get("camp_id")


def _metadata(value: object) -> dict[str, Any]:
    """Read what the sender put into the header X-Mailin-custom."""
    if isinstance(value, str) and "|" in value and value[:1] != "{":
        return reference_of(value[:_MAX_METADATA].split("|"))
    return reference_of(value)


def _tags(record: dict[str, Any]) -> dict[str, Any]:
    """Read tags of the form "name:value"; `tag` has the tags as JSON in a text, or a single one."""
    tags = record.get("tags")
    if tags is None:
        tags = record.get("tag")
        if isinstance(tags, str) and tags[:1] == "[" and len(tags) <= _MAX_METADATA:
            try:
                tags = orjson.loads(tags)
            except orjson.JSONDecodeError:
                return {}
    return reference_of(tags)


def _reason(row: str, means: Means, text: str | None, date: str | None) -> Reason | None:
    code, reply = enhanced_code_in(text), reply_code_in(text)
    if means.permanence is not None:
        own = means.category
        if text is not None and _NO_MX in text.lower():
            own = Category.INVALID_DOMAIN
        permanence, category = qualify(means.permanence, own=own, enhanced_code=code, reply_code=reply, text=text)
    elif means.status is Status.IGNORED:
        permanence, category = None, _why_blocked(text)
    else:
        return Reason(code=code, provider_code=reply, text=text) if text else None
    if date is not None:
        # Local time of an unknown zone: for people only.
        text = text_of(f"date {date}; {text}" if text else f"date {date}")
    return Reason(permanence=permanence, category=category, code=code or row, provider_code=reply, text=text)


def _why_blocked(text: str | None) -> Category:
    said = (text or "").lower()
    return next((category for words, category in BLOCKED_WORDS if words in said), Category.DENYLISTED)


ADAPTER = Adapter("brevo", Channel.EMAIL, TABLE, read, id_covers_several=True)
