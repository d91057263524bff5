"""Read Postmark webhooks: deliveries and bounces. One object a request.

Source: Postmark developer documentation, "Delivery webhook", "Bounce webhook" and "Bounce API: bounce types", 2026-08.

A bounce's `Type` says whether it is one: many types are mail that came back for other reasons. Postmark tells nothing
of a message that it has accepted, and a bounce of type Transient is a delay. Webhooks of before 2018 have no
`RecordType`. One MessageID covers all recipients of a message, so without an id of our own the recipient is a part of
the identity.

In the console: a webhook of the message stream for Delivery and Bounce; our ids as `Metadata`.

Signature: none: basic auth in the address, or headers of one's own.

Traps: Postmark tries again for about an hour after 5xx, 408, 429 or no answer: any other 4xx, 401 and 403 too, ends it,
and lasting failure pauses that type of event. Only bounces have an id. There is no event for a message that was
accepted: the API's answer is it.
"""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any

from processor.domain.reason import Category, Reason
from processor.domain.status import Channel, Permanence, Status
from processor.providers.adapter import Adapter, Context, Finding, Means, NoStatus, Objection, PayloadError, Unknown
from processor.providers.fields import (
    MAX_TEXT,
    first_identifier,
    object_of,
    part_of,
    required,
    text_of,
    time_of,
)
from processor.providers.identity import event_of, ours_in
from processor.providers.objections import COMPLAINT, UNSUBSCRIBE, objections
from processor.providers.reasons import enhanced_code_in, qualify, reply_code_in

#: By RecordType; a bounce by "Bounce Type". "Bounce Unknown" has no row: Postmark could not classify what came back.
TABLE: dict[str, Means | None] = {
    # The recipient's server accepted it.
    "Delivery": Means(Status.SENT),
    # 1: unable to deliver (unknown user, mailbox not found). The address is deactivated.
    "Bounce HardBounce": Means(Status.FAILED, Permanence.PERMANENT, Category.USER_UNKNOWN),
    # 2: could not be delivered yet, such as for network troubles; Postmark keeps trying.
    "Bounce Transient": Means(Status.TAKEN_INTO_ACCOUNT, Permanence.TRANSIENT),
    # 16: a request to be unsubscribed came back.
    "Bounce Unsubscribe": None,
    # 32: a request to be subscribed came back.
    "Bounce Subscribe": None,
    # 64: an automatic answer, such as "out of office".
    "Bounce AutoResponder": None,
    # 128: the recipient asks for a change of address.
    "Bounce AddressChange": None,
    # 256: a temporary DNS error, on which Postmark has given up.
    "Bounce DnsError": Means(Status.FAILED, Permanence.GAVE_UP, Category.INVALID_DOMAIN),
    # 512: delivered, then blocked by the user or classified as spam.
    "Bounce SpamNotification": None,
    # 1024: what came back is a test whether the server is an open relay.
    "Bounce OpenRelayTest": None,
    # 4096: unable to deliver for now (mailbox full, account disabled, out of disk space), and given up.
    "Bounce SoftBounce": Means(Status.FAILED, Permanence.GAVE_UP),
    # 8192: what came back warns of a virus in the message.
    "Bounce VirusNotification": Means(Status.FAILED, Permanence.PERMANENT, Category.REFUSED),
    # 16384: a challenge asks the sender to prove himself.
    "Bounce ChallengeVerification": None,
    # 100000: not a valid address.
    "Bounce BadEmailAddress": Means(Status.FAILED, Permanence.PERMANENT, Category.USER_UNKNOWN),
    # 100001: the recipient marked it as spam.
    "Bounce SpamComplaint": None,
    # 100002: never sent, the address was deactivated by hand.
    "Bounce ManuallyDeactivated": Means(Status.IGNORED, category=Category.DENYLISTED),
    # 100003: never sent, the recipient has not confirmed the registration.
    "Bounce Unconfirmed": Means(Status.IGNORED, category=Category.NOT_ELIGIBLE),
    # 100006: blocked by the recipient's provider for its content or a blocklist.
    "Bounce Blocked": Means(Status.FAILED, Permanence.GAVE_UP, Category.REFUSED),
    # 100007: Postmark refused what was sent to it by SMTP.
    "Bounce SMTPApiError": Means(Status.FAILED, Permanence.PERMANENT, Category.REFUSED),
    # 100008: inbound mail could not be delivered to our hook.
    "Bounce InboundError": None,
    # 100009: rejected by the DMARC policy of the sender's domain.
    "Bounce DMARCPolicy": Means(Status.FAILED, Permanence.PERMANENT, Category.REFUSED),
    # 100010: the template could not be rendered.
    "Bounce TemplateRenderingFailed": Means(Status.FAILED, Permanence.PERMANENT, Category.PERSONALIZATION),
    # The recipient marked a delivered message as spam.
    "SpamComplaint": None,
    "Open": None,
    "Click": None,
    # An address was added to or removed from a suppression list.
    "SubscriptionChange": None,
    # Inbound mail came in.
    "Inbound": None,
}

#: TypeCode -> Type, for payloads without the word. Bounce API, "Bounce types".
TYPE_CODES: dict[str, str] = {
    "1": "HardBounce",
    "2": "Transient",
    "16": "Unsubscribe",
    "32": "Subscribe",
    "64": "AutoResponder",
    "128": "AddressChange",
    "256": "DnsError",
    "512": "SpamNotification",
    "1024": "OpenRelayTest",
    "2048": "Unknown",
    "4096": "SoftBounce",
    "8192": "VirusNotification",
    "16384": "ChallengeVerification",
    "100000": "BadEmailAddress",
    "100001": "SpamComplaint",
    "100002": "ManuallyDeactivated",
    "100003": "Unconfirmed",
    "100006": "Blocked",
    "100007": "SMTPApiError",
    "100008": "InboundError",
    "100009": "DMARCPolicy",
    "100010": "TemplateRenderingFailed",
}

#: What only a payload of that kind has, for payloads of before RecordType.
_TELLING_FIELDS = {
    "BouncedAt": "Bounce",
    "DeliveredAt": "Delivery",
    "OriginalLink": "Click",
    "FirstOpen": "Open",
    "SuppressSending": "SubscriptionChange",
    "FromFull": "Inbound",
}

#: Where the server's codes say better than Postmark's word why.
_EXPLAINED_BY_CODES = {
    "Bounce HardBounce",
    "Bounce Transient",
    "Bounce SoftBounce",
    "Bounce Blocked",
}

_ROWS_IN_LOWER_CASE = {row.lower(): row for row in TABLE}

# Ticks of 100 ns: the seventh digit is cut, not rounded.
_TOO_FINE = re.compile(r"(?<=\.\d{6})\d+")
_MAX_TIME = 40


#: What webhooks say of their address.
OBJECTIONS = {"SpamComplaint": COMPLAINT, "Bounce SpamComplaint": COMPLAINT, "Bounce Unsubscribe": UNSUBSCRIBE}
#: What a change of a suppression list says of the address, by reason, if the recipient made it.
_SUPPRESSIONS = {"SpamComplaint": COMPLAINT, "ManualSuppression": UNSUBSCRIBE}


def read(element: object, context: Context) -> list[Finding]:
    """Read one webhook."""
    record = object_of(element)
    native = _native(record)
    row = native if native in TABLE else _ROWS_IN_LOWER_CASE.get(native.lower())
    if row is None:
        return [Unknown(native)]
    means = TABLE[row]
    if means is None:
        return [NoStatus(row, _objections(row, record, context))]
    native_id = required(record.get("MessageID"), "message id ('MessageID')")
    address = first_identifier(record.get("Email"), record.get("Recipient"))
    metadata = part_of(record, "Metadata")
    ours = ours_in(context, metadata)
    return [
        event_of(
            ADAPTER,
            context,
            native_id,
            ours,
            time=_time(record.get("BouncedAt")) or _time(record.get("DeliveredAt")) or context.received,
            status=means.status,
            recipient=address,
            reason=_reason(record, row, means),
        )
    ]


def _native(record: dict[str, Any]) -> str:
    """Name what a payload tells, in the words of the table."""
    kind = text_of(record.get("RecordType"))
    if kind is None:
        kind = next((kind for field, kind in _TELLING_FIELDS.items() if field in record), None)
        if kind is None:
            raise PayloadError("no record type ('RecordType')")
    if kind.lower() != "bounce":
        return kind
    word = text_of(record.get("Type")) or TYPE_CODES.get(text_of(record.get("TypeCode")) or "")
    if word is None:
        raise PayloadError("a bounce without its type ('Type')")
    return f"Bounce {word}"[:MAX_TEXT]


def _time(value: object) -> datetime | None:
    if isinstance(value, str) and len(value) <= _MAX_TIME:
        value = _TOO_FINE.sub("", value)
    return time_of(value)


def _reason(record: dict[str, Any], row: str, means: Means) -> Reason | None:
    text = text_of(record.get("Details"))
    code, reply = enhanced_code_in(text), reply_code_in(text)
    if means.status is Status.SENT:
        # The answer to a success is kept as evidence ("smtp;250 2.0.0 OK").
        return Reason(code=code, provider_code=reply, text=text) if text else None
    permanence, category = means.permanence, means.category
    if permanence is not None:
        own = None if row in _EXPLAINED_BY_CODES else category
        permanence, category = qualify(
            permanence, own=own, enhanced_code=code, reply_code=reply, text=text, otherwise=category
        )
    return Reason(
        permanence=permanence,
        category=category,
        code=code or row.partition(" ")[2],
        provider_code=text_of(record.get("TypeCode")) or reply,
        # `Description` only lists examples of what may have happened.
        text=text or text_of(record.get("Name")),
    )


def _objections(row: str, record: dict[str, Any], context: Context) -> tuple[Objection, ...]:
    if row == "SubscriptionChange":
        if record.get("Origin") != "Recipient" or record.get("SuppressSending") is not True:
            return ()
        reason = text_of(record.get("SuppressionReason")) or ""
        return objections(_SUPPRESSIONS, reason, [record.get("Recipient")], time_of(record.get("ChangedAt")), context)
    return objections(OBJECTIONS, row, [record.get("Email")], time_of(record.get("BouncedAt")), context)


ADAPTER = Adapter("postmark", Channel.EMAIL, TABLE, read, id_covers_several=True)
