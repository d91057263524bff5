"""Read Mailgun events: webhooks (`signature` and `event-data`), the Events API (`items`), and the legacy form webhooks.

Source: Mailgun docs, "Event types", "Event structure", "Tracking failures", "Webhooks", 2026-08; the numbers above 600
and the legacy fields after what integrations have recorded.

`failed` with severity temporary is still being tried, whatever the code; with severity permanent Mailgun has stopped:
for good, or after its retries (reason `old`), or before it even tried, for the address is on a suppression list.

The id is the Message-ID header without its brackets. One message may have several recipients, so the recipient
is part of the name.

In the console: Webhooks for accepted, delivered, temporary and permanent failure; our ids as user variables
(`v:message_id`).

Signature: HMAC-SHA256 of timestamp and token, inside the body; it does not cover the event.

Traps: event ids are unique within a day only. Mailgun retries for eight hours (5, 10, 15 min, 1, 2, 4 h), unless it is
answered with 200 or 406, and `delivered` it does not retry at all: what is not taken at once is lost.
"""

from __future__ import annotations

from collections.abc import Iterable
from email.utils import parseaddr
from typing import Any

import orjson

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
from processor.providers.fields import (
    MAX_TEXT,
    identifier,
    part_of,
    required,
    text_of,
    time_of,
    time_of_epoch,
)
from processor.providers.identity import event_of, ours_in
from processor.providers.objections import COMPLAINT, UNSUBSCRIBE, objections
from processor.providers.reasons import enhanced_code_in, qualify, reply_code_in, telling_code

_PERMANENT = Means(Status.FAILED, Permanence.PERMANENT)
_BOUNCED_BEFORE = Means(Status.IGNORED, category=Category.QUARANTINED)
_UNSUBSCRIBED = Means(Status.IGNORED, category=Category.DENYLISTED)

#: By event; a failure by "failed severity", and by "failed severity/reason" where the reason says more. The last three
#: are the legacy webhooks' names.
TABLE: dict[str, Means | None] = {
    # The request to send was accepted, and the message placed in the queue. Not sent to webhooks by all accounts.
    "accepted": Means(Status.TAKEN_INTO_ACCOUNT),
    # The request to send was rejected.
    "rejected": Means(Status.FAILED, Permanence.PERMANENT, Category.REFUSED),
    # Accepted by the recipient's server.
    "delivered": Means(Status.SENT),
    # Temporarily rejected; Mailgun keeps trying, for 8 hours.
    "failed temporary": Means(Status.TAKEN_INTO_ACCOUNT, Permanence.TRANSIENT),
    "failed temporary/greylisted": Means(Status.TAKEN_INTO_ACCOUNT, Permanence.TRANSIENT, Category.UNREACHABLE),
    # Mailgun has stopped.
    "failed permanent": _PERMANENT,
    "failed permanent/bounce": _PERMANENT,  # a hard bounce
    "failed permanent/hardfail": _PERMANENT,
    "failed permanent/generic": _PERMANENT,
    # It reached the limit of retries.
    "failed permanent/old": Means(Status.FAILED, Permanence.GAVE_UP, Category.UNREACHABLE),
    "failed permanent/greylisted": Means(Status.FAILED, Permanence.GAVE_UP, Category.UNREACHABLE),
    # The mailbox provider blocks it.
    "failed permanent/espblock": Means(Status.FAILED, Permanence.PERMANENT, Category.REFUSED),
    # Never attempted: the address bounced, complained, or unsubscribed before.
    "failed permanent/suppress-bounce": _BOUNCED_BEFORE,
    "failed permanent/suppress-complaint": _UNSUBSCRIBED,
    "failed permanent/suppress-unsubscribe": _UNSUBSCRIBED,
    # Engagement.
    "opened": None,
    "clicked": None,
    "unsubscribed": None,
    "complained": None,
    # Inbound mail was stored.
    "stored": None,
    # Mailing lists were changed through the API.
    "list_member_uploaded": None,
    "list_member_upload_error": None,
    "list_uploaded": None,
    # Legacy: Mailgun has stopped, or never tried.
    "dropped": _PERMANENT,
    "dropped/hardfail": _PERMANENT,
    "dropped/old": Means(Status.FAILED, Permanence.GAVE_UP, Category.UNREACHABLE),
    # Legacy: the recipient's server refused it for good.
    "bounced": _PERMANENT,
}

#: What events say of their address.
OBJECTIONS = {"complained": COMPLAINT, "unsubscribed": UNSUBSCRIBE}

#: Mailgun's own codes -> the row that they stand for, where the reason does not say it. Legacy drops carry them too.
CODES: dict[str, str] = {
    "605": "failed permanent/suppress-bounce",  # not delivering to previously bounced address
    "606": "failed permanent/suppress-unsubscribe",  # not delivering to unsubscribed address
    "607": "failed permanent/suppress-complaint",  # not delivering to a user who marked your messages as spam
    "602": "failed permanent/old",  # too old
}

#: Kind of reason of Mailgun's own codes, which look like replies of a server and are none.
CODE_CATEGORIES: dict[str, Category] = {
    "498": Category.INVALID_DOMAIN,  # no MX for the domain
    "499": Category.UNREACHABLE,  # unable to connect to the mail exchangers
}

#: Webhooks are named like this in the console, and some gateways use the names for the event.
_ALIASES = {"permanent_fail": ("failed", "permanent"), "temporary_fail": ("failed", "temporary")}
#: Where `severity` is absent.
_SEVERITY_OF_LEVEL = {"warn": "temporary", "error": "permanent"}
#: Where legacy webhooks have the Message-ID: as a field in either case, or among the headers.
_LEGACY_IDS = ("Message-Id", "message-id", "Message-ID")
#: Event names; the other rows are told apart by more than the name.
_NATIVE = frozenset(row for row in TABLE if " " not in row and "/" not in row)


def split(payload: object) -> Iterable[object]:
    """Split an array, or a page of the Events API."""
    return elements_of(payload["items"] if isinstance(payload, dict) and "items" in payload else payload)


def read(element: object, context: Context) -> list[Finding]:
    """Read one event."""
    record = fields_of(element)
    data = record["event-data"] if isinstance(record.get("event-data"), dict) else record
    native = text_of(data.get("event"))
    if native is None:
        raise PayloadError("no event name ('event')")
    status = part_of(data, "delivery-status")
    row = _row(native.lower(), data, status)
    if row not in TABLE:
        return [Unknown(row[:MAX_TEXT])]
    means = TABLE[row]
    time = time_of_epoch(data.get("timestamp")) or time_of(data.get("timestamp"))
    headers = part_of(part_of(data, "message"), "headers")
    if means is None:
        return [NoStatus(row, objections(OBJECTIONS, row, [_recipient(data, headers)], time, context))]

    native_id = _message_id(data, headers)
    if native_id is None:
        # Without a Message-ID an event stands alone, under the name of the event or of its POST.
        alone = data.get("id") or part_of(record, "signature").get("token") or data.get("token")
        native_id = required(alone, "message id ('message.headers.message-id')")
    recipient = _recipient(data, headers)
    places = _variables(data), headers
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
            reason=_reason(row, means, data, status),
            needs_recipient=True,
        )
    ]


def _row(native: str, data: dict[str, Any], status: dict[str, Any]) -> str:
    """Name the row of an event, or something that is no row."""
    native, severity = _ALIASES.get(native, (native, None))
    if native not in ("failed", "dropped"):
        return native if native in _NATIVE else f"event {native}"
    code = text_of(status.get("code")) or text_of(data.get("code"))
    general = native
    if native == "failed":
        severity = severity or (text_of(data.get("severity")) or "").lower()
        severity = severity or _SEVERITY_OF_LEVEL.get(text_of(data.get("log-level")) or "", "permanent")
        general = f"failed {severity}"
        if severity not in ("temporary", "permanent"):
            return general
    row = f"{general}/{(text_of(data.get('reason')) or '').lower()}"
    if code in CODES and general != "failed temporary":
        return CODES[code]
    return row if row in TABLE else general


def _message_id(data: dict[str, Any], headers: dict[str, Any]) -> str | None:
    found = identifier(headers.get("message-id")) or identifier(headers.get("Message-Id"))
    if found is None:
        found = next((name for name in map(identifier, map(data.get, _LEGACY_IDS)) if name), None)
    if found is None:
        found = _id_in(data.get("message-headers"))
    return (found.strip("<>") or None) if found else None


def _id_in(headers: object) -> str | None:
    """Find the Message-ID in the legacy list of headers: JSON pairs in a text."""
    if not isinstance(headers, str):
        return None
    try:
        pairs = orjson.loads(headers)
    except orjson.JSONDecodeError:
        return None
    for pair in pairs if isinstance(pairs, list) else ():
        if isinstance(pair, list) and len(pair) == 2 and pair[0] in _LEGACY_IDS:
            return identifier(pair[1])
    return None


def _recipient(data: dict[str, Any], headers: dict[str, Any]) -> str | None:
    recipient = identifier(data.get("recipient")) or identifier(part_of(data, "envelope").get("targets"))
    if recipient is not None:
        return recipient
    # A rejection has no recipient but the header's; of several nobody knows which.
    to = identifier(headers.get("to"))
    return parseaddr(to)[1] or None if to and to.count("@") == 1 else None


def _variables(data: dict[str, Any]) -> dict[str, Any]:
    variables = data.get("user-variables")
    if isinstance(variables, str):
        try:
            variables = orjson.loads(variables)
        except orjson.JSONDecodeError:
            variables = None
    # The legacy webhooks merge them into the fields.
    return variables if isinstance(variables, dict) else data


def _reason(row: str, means: Means, data: dict[str, Any], status: dict[str, Any]) -> Reason | None:
    if means.status is Status.TAKEN_INTO_ACCOUNT and means.permanence is None:
        return None
    text = _text(data, status)
    told = text_of(status.get("code")) or text_of(data.get("code"))
    # Legacy bounces may have the enhanced code where the reply belongs.
    code = enhanced_code_in(text_of(status.get("enhanced-code"))) or enhanced_code_in(told)
    code = telling_code(code, text)
    reply = told if told is not None and told.isdecimal() and told != "0" else reply_code_in(text)
    if means.status is Status.SENT:
        # The answer to a success is kept as evidence.
        return Reason(code=code, provider_code=reply, text=text) if text or reply else None
    native = text_of(data.get("reason")) or row
    if means.status is Status.IGNORED:
        return Reason(category=means.category, code=code or native, provider_code=reply, text=text)
    permanence = means.permanence
    if permanence is Permanence.PERMANENT and status.get("bounce-type") == "soft":
        permanence = Permanence.GAVE_UP
    permanence, category = qualify(
        permanence,
        own=means.category if row.endswith("/espblock") else CODE_CATEGORIES.get(reply or ""),
        enhanced_code=code,
        reply_code=reply,
        text=text,
        otherwise=means.category,
        label_stays=means.permanence is Permanence.GAVE_UP,
    )
    return Reason(permanence=permanence, category=category, code=code or native, provider_code=reply, text=text)


def _text(data: dict[str, Any], status: dict[str, Any]) -> str | None:
    for place, name in ((status, "message"), (status, "description"), (part_of(data, "reject"), "reason")):
        text = text_of(place.get(name))
        if text is not None:
            return text
    # Legacy.
    return text_of(data.get("error")) or text_of(data.get("description")) or text_of(data.get("notification"))


ADAPTER = Adapter("mailgun", Channel.EMAIL, TABLE, read, split, id_covers_several=True)
