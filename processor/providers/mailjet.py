"""Read Mailjet events: one object, or an array where grouping is switched on (version 2 of the Event API).

Source: Mailjet developer documentation, "Event API: real-time notifications" and "Possible values for errors", and the
states of the /message resource, 2026-08.

MessageID is an integer greater than 2^53: a float is no id, unless it is exact; `mj_message_id` is the same as a text.
Our own ids travel in the JSON of `Payload` (sent as EventPayload) or of `CustomID`. A CustomID that is a bare value is
not taken for a message's id, as many senders put the same into all their messages; whoever does better configures
"CustomID" as a name to look for.

In the console: Event API for sent, bounce, blocked (version 2 groups them); our ids in `EventPayload`.

Signature: none: basic auth in the address.

Traps: there is no event for a message that was accepted, and no event id. `bounce` with `hard_bounce` false is final as
well.
"""

from __future__ import annotations

from typing import Any

from processor.domain.reason import Category, Reason
from processor.domain.status import Channel, Permanence, Status
from processor.providers.adapter import Adapter, Context, Finding, Means, NoStatus, PayloadError, Unknown
from processor.providers.carried import reference_of
from processor.providers.fields import MAX_TEXT, identifier, object_of, required, text_of, time_of_epoch
from processor.providers.identity import event_of, ours_in
from processor.providers.objections import COMPLAINT, UNSUBSCRIBE, objections
from processor.providers.reasons import enhanced_code_in, qualify, reply_code_in

_C = Category

#: By event; a bounce by how hard it is, a block by its error where that means that nothing was to be sent.
TABLE: dict[str, Means | None] = {
    # The recipient's server accepted it.
    "sent": Means(Status.SENT),
    # "hard_bounce": true.
    "bounce hard": Means(Status.FAILED, Permanence.PERMANENT),
    # "hard_bounce": false, and Mailjet has given up.
    "bounce soft": Means(Status.FAILED, Permanence.GAVE_UP),
    # Refused for now by a server that does not know the sender; Mailjet tries again.
    "bounce greylisted": Means(Status.TAKEN_INTO_ACCOUNT, Permanence.TRANSIENT, _C.UNREACHABLE),
    # Not sent by Mailjet; the error says why.
    "blocked": Means(Status.FAILED, Permanence.PERMANENT),
    # Never attempted: the address bounced recently or repeatedly.
    "blocked preblocked": Means(Status.IGNORED, category=_C.QUARANTINED),
    # Never attempted: the address is on a list of the sender's, or unsubscribed.
    "blocked blacklisted": Means(Status.IGNORED, category=_C.DENYLISTED),
    # Never attempted: the recipient marked an earlier message as spam.
    "blocked spam reporter": Means(Status.IGNORED, category=_C.DENYLISTED),
    # Never attempted: the recipient already had this campaign (X-Mailjet-DeduplicateCampaign).
    "blocked duplicate in campaign": Means(Status.IGNORED, category=_C.DUPLICATE),
    # Never attempted: a known misspelling of a domain.
    "blocked typofix": Means(Status.IGNORED, category=_C.INVALID_DOMAIN),
    "open": None,
    "click": None,
    # The recipient marked it as spam.
    "spam": None,
    "unsub": None,
}

#: What events say of their address.
OBJECTIONS = {"spam": COMPLAINT, "unsub": UNSUBSCRIBE}

_P = Permanence.PERMANENT
_G = Permanence.GAVE_UP

#: How final and of what kind, by `error`. How final counts where `hard_bounce` does not say it.
#: Mailjet, "Possible values for errors", and StateID of the /message resource.
ERRORS: dict[str, tuple[Permanence, Category]] = {
    # Of the recipient.
    "user unknown": (_P, _C.USER_UNKNOWN),
    "mailbox inactive": (_P, _C.ACCOUNT_DISABLED),  # inactive for too long
    "quota exceeded": (_G, _C.MAILBOX_FULL),
    "blacklisted": (_P, _C.DENYLISTED),
    "spam reporter": (_P, _C.DENYLISTED),
    # Of the domain.
    "invalid domain": (_P, _C.INVALID_DOMAIN),
    "no mail host": (_G, _C.UNREACHABLE),  # nobody answers
    "relay/access denied": (_G, _C.REFUSED),
    "greylisted": (_G, _C.UNREACHABLE),
    "typofix": (_P, _C.INVALID_DOMAIN),
    # Of the content.
    "bad or empty template": (_P, _C.PERSONALIZATION),
    "error in template language": (_P, _C.PERSONALIZATION),
    # Held for spam.
    "sender blocked": (_G, _C.REFUSED),
    "content blocked": (_G, _C.REFUSED),
    "policy issue": (_G, _C.REFUSED),
    # Of Mailjet's own servers; "never permanent".
    "system issue": (_G, _C.UNREACHABLE),
    "protocol issue": (_G, _C.UNREACHABLE),
    "connection issue": (_G, _C.UNREACHABLE),
    # Mailjet's own rules.
    "preblocked": (_P, _C.QUARANTINED),
    "spam preblocked": (_P, _C.REFUSED),  # Mailjet holds the message for spam
    "duplicate in campaign": (_P, _C.DUPLICATE),
}

#: Kind of reason by `error_related_to` alone, where neither the error nor a code says more.
RELATED_TO: dict[str, Category] = {
    "domain": _C.INVALID_DOMAIN,
    "content": _C.REFUSED,
    "spam": _C.REFUSED,
    "system": _C.UNREACHABLE,
}


def read(element: object, context: Context) -> list[Finding]:
    """Read one event."""
    record = object_of(element)
    kind = text_of(record.get("event"))
    if kind is None:
        raise PayloadError("no event type ('event')")
    kind = kind.lower()
    error = _error(record)
    row = _row(kind, error, record)
    if row not in TABLE:
        return [Unknown(row[:MAX_TEXT])]
    means = TABLE[row]
    if means is None:
        time = time_of_epoch(record.get("time"))
        return [NoStatus(row, objections(OBJECTIONS, row, [record.get("email")], time, context))]
    native_id = required(_message_id(record), "message id ('MessageID')")
    # The record itself comes last, in case "CustomID" or "customcampaign" is configured as a name.
    places = (reference_of(record.get("Payload")), reference_of(record.get("CustomID")), record)
    ours = ours_in(context, *places)
    return [
        event_of(
            ADAPTER,
            context,
            native_id,
            ours,
            time=time_of_epoch(record.get("time")) or context.received,
            status=means.status,
            recipient=identifier(record.get("email")),
            reason=_reason(record, row, means, error),
        )
    ]


def _error(record: dict[str, Any]) -> str:
    """Return the error; Mailjet sometimes writes it where the error's group belongs."""
    error = text_of(record.get("error"))
    if error is None:
        error = text_of(record.get("error_related_to")) or ""
    return error.lower()


def _row(kind: str, error: str, record: dict[str, Any]) -> str:
    if kind == "bounce":
        hard = record.get("hard_bounce")
        if isinstance(hard, str) and hard:
            hard = hard.lower() in ("true", "1")
        if error == "greylisted" and not hard:
            return "bounce greylisted"
        if hard is None or hard == "":
            hard = ERRORS.get(error, (_G, None))[0] is _P
        return "bounce hard" if hard else "bounce soft"
    if kind == "blocked" and f"blocked {error}" in TABLE:
        return f"blocked {error}"
    return kind


def _message_id(record: dict[str, Any]) -> object:
    native_id = identifier(record.get("MessageID"))
    return native_id if native_id and native_id != "0" else record.get("mj_message_id") or record.get("Message_GUID")


def _reason(record: dict[str, Any], row: str, means: Means, error: str) -> Reason | None:
    text = text_of(record.get("smtp_reply")) or text_of(record.get("comment"))
    code, reply = enhanced_code_in(text), reply_code_in(text)
    if means.status is Status.SENT:
        # The answer to a success is kept as evidence ("250 2.0.0 OK").
        return Reason(code=code, provider_code=reply, text=text) if text else None
    permanence, category = means.permanence, means.category
    if permanence is not None:
        how_final, own = ERRORS.get(error, (permanence, category))
        label = how_final if row == "blocked" else permanence
        related = RELATED_TO.get((text_of(record.get("error_related_to")) or "").lower())
        permanence, category = qualify(
            label, own=own, enhanced_code=code, reply_code=reply, text=text or error or None, otherwise=related
        )
    return Reason(
        permanence=permanence,
        category=category,
        code=code or error or row,
        provider_code=reply,
        text=text or error or None,
    )


ADAPTER = Adapter("mailjet", Channel.EMAIL, TABLE, read)
