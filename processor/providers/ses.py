"""Read Amazon SES events: identity feedback (`notificationType`) and event publishing (`eventType`).

They come bare, or inside what carries them: an SNS notification (`Message` is a JSON string), an EventBridge event
(`detail`), an SQS message (`body`), a Lambda batch of either (`Records`), a Firehose or Kinesis batch (base64 `data`),
CloudWatch Logs.

Source: Amazon SES Developer Guide, "Contents of event data that Amazon SES publishes to Amazon SNS" (bounce types,
delay types) and "Amazon SNS notification contents for Amazon SES", 2026-08.

How final a bounce is: SES publishes a soft bounce only after it has stopped trying, so Transient is `gave_up` and
Permanent is `permanent`, unless the class digit of the enhanced status code says otherwise (`permanence_of`). A
Transient/General bounce without a status and a diagnosis is an automatic reply, and no status.

In the console: a configuration set with an event destination for all event types, used by each mail; our ids as message
tags.

Signature: SNS signs (`Signature`, SHA-1 or SHA-256, certificate at `SigningCertURL`).

Traps: SNS does not try again after a 4xx, and by default gives up a minute after the first 5xx: give the subscription a
delivery policy and a dead-letter queue. A complaint or bounce may name a forwarded address. `Send` is also told of
addresses that are then suppressed. `Delivery` may be followed by `Bounce`. `mail.messageId` is not the Message-ID
header.
"""

from __future__ import annotations

from typing import Any

from processor.domain.event import Event
from processor.domain.reason import Category, Reason
from processor.domain.status import Channel, Permanence, Status
from processor.providers.adapter import (
    Adapter,
    Context,
    Finding,
    Means,
    NoStatus,
    Objection,
    PayloadError,
    Unknown,
)
from processor.providers.aws import each_event, split
from processor.providers.fields import (
    MAX_TEXT,
    identifier,
    part_of,
    required,
    text_of,
    time_of,
)
from processor.providers.identity import each_recipient, event_of, ours_in, refuse_shared
from processor.providers.objections import COMPLAINT, is_complaint, objections
from processor.providers.reasons import enhanced_code_in, qualify, reply_code_in, telling_code

_IGNORED_QUARANTINED = Means(Status.IGNORED, category=Category.QUARANTINED)
_IGNORED_DENYLISTED = Means(Status.IGNORED, category=Category.DENYLISTED)
_GAVE_UP = Means(Status.FAILED, Permanence.GAVE_UP)
_DELAYED = Means(Status.TAKEN_INTO_ACCOUNT, Permanence.TRANSIENT)
_DELAYED_UNREACHABLE = Means(Status.TAKEN_INTO_ACCOUNT, Permanence.TRANSIENT, Category.UNREACHABLE)

#: By event; a bounce by "type/subtype", a delay by delayType, a complaint by subtype. The row without the second word
#: is for a second word that has no row of its own.
TABLE: dict[str, Means | None] = {
    # The request was successful and SES will attempt delivery; also sent for an address that it then suppresses.
    "Send": Means(Status.TAKEN_INTO_ACCOUNT),
    # Delivered to the recipient's mail server.
    "Delivery": Means(Status.SENT),
    # A temporary issue; SES keeps trying.
    "DeliveryDelay": _DELAYED,
    "DeliveryDelay InternalFailure": _DELAYED_UNREACHABLE,  # an internal SES issue
    "DeliveryDelay General": _DELAYED,  # a generic failure in the SMTP conversation
    "DeliveryDelay MailboxFull": Means(Status.TAKEN_INTO_ACCOUNT, Permanence.TRANSIENT, Category.MAILBOX_FULL),
    "DeliveryDelay SpamDetected": Means(Status.TAKEN_INTO_ACCOUNT, Permanence.TRANSIENT, Category.REFUSED),
    "DeliveryDelay RecipientServerError": _DELAYED_UNREACHABLE,  # a temporary issue of the recipient's server
    "DeliveryDelay IPFailure": Means(  # the sending address is blocked or throttled
        Status.TAKEN_INTO_ACCOUNT, Permanence.TRANSIENT, Category.REFUSED
    ),
    "DeliveryDelay TransientCommunicationFailure": _DELAYED_UNREACHABLE,  # a failure in the SMTP conversation
    "DeliveryDelay BYOIPHostNameLookupUnavailable": _DELAYED_UNREACHABLE,  # of the sender's own addresses
    "DeliveryDelay Undetermined": _DELAYED,
    "DeliveryDelay SendingDeferral": _DELAYED_UNREACHABLE,  # SES itself deferred it
    # A hard bounce: the server permanently rejected it.
    "Bounce Permanent": Means(Status.FAILED, Permanence.PERMANENT),
    "Bounce Permanent/General": Means(Status.FAILED, Permanence.PERMANENT),
    # The address does not exist.
    "Bounce Permanent/NoEmail": Means(Status.FAILED, Permanence.PERMANENT, Category.USER_UNKNOWN),
    # Never attempted: it recently bounced for some SES customer (global suppression list).
    "Bounce Permanent/Suppressed": _IGNORED_QUARANTINED,
    # Never attempted: on the suppression list of the account, or of its tenant.
    "Bounce Permanent/OnAccountSuppressionList": _IGNORED_QUARANTINED,
    "Bounce Permanent/OnTenantSuppressionList": _IGNORED_QUARANTINED,
    # Never attempted: automatic e-mail validation holds the address for undeliverable.
    "Bounce Permanent/EmailValidationSuppressed": Means(Status.IGNORED, category=Category.BAD_QUALITY_ADDRESS),
    # Never attempted: the recipient unsubscribed from the contact list or topic.
    "Bounce Permanent/UnsubscribedRecipient": _IGNORED_DENYLISTED,
    # A soft bounce, published after SES has stopped trying.
    "Bounce Transient": _GAVE_UP,
    "Bounce Transient/General": _GAVE_UP,
    "Bounce Transient/MailboxFull": Means(Status.FAILED, Permanence.GAVE_UP, Category.MAILBOX_FULL),
    "Bounce Transient/MessageTooLarge": Means(Status.FAILED, Permanence.GAVE_UP, Category.REFUSED),
    # The time that the sender allowed has run out.
    "Bounce Transient/CustomTimeoutExceeded": Means(Status.FAILED, Permanence.GAVE_UP, Category.UNREACHABLE),
    "Bounce Transient/ContentRejected": Means(Status.FAILED, Permanence.GAVE_UP, Category.REFUSED),
    "Bounce Transient/AttachmentRejected": Means(Status.FAILED, Permanence.GAVE_UP, Category.REFUSED),
    # SES cannot say why: nothing says that it is for good, so late truth may correct it.
    "Bounce Undetermined": _GAVE_UP,
    "Bounce Undetermined/Undetermined": _GAVE_UP,
    # SES found a virus ("Bad content") and did not attempt delivery.
    "Reject": Means(Status.FAILED, Permanence.PERMANENT, Category.REFUSED),
    # Template data is missing or does not fit. Spelt with a space.
    "Rendering Failure": Means(Status.FAILED, Permanence.PERMANENT, Category.PERSONALIZATION),
    # The recipient marked a delivered message as spam.
    "Complaint": None,
    # Never attempted: on a suppression list for an earlier complaint.
    "Complaint OnAccountSuppressionList": _IGNORED_DENYLISTED,
    "Complaint OnTenantSuppressionList": _IGNORED_DENYLISTED,
    "Open": None,
    "Click": None,
    # The recipient changed preferences or unsubscribed.
    "Subscription": None,
    # Inbound mail came in.
    "Received": None,
    # SES tells a topic that it was connected.
    "AmazonSnsSubscriptionSucceeded": None,
}

#: What events say of their recipients; `Subscription` may be about one topic only.
OBJECTIONS = {"Complaint": COMPLAINT}

_GENERAL = "Bounce Transient/General"

#: Event -> its object, and the list of recipients in it.
_PARTS = {
    "Send": ("send", ""),
    "Delivery": ("delivery", "recipients"),
    "DeliveryDelay": ("deliveryDelay", "delayedRecipients"),
    "Bounce": ("bounce", "bouncedRecipients"),
    "Reject": ("reject", ""),
    "Rendering Failure": ("failure", ""),
    "Complaint": ("complaint", "complainedRecipients"),
}

#: Event -> the field of its object that tells more (a bounce has two).
_SECOND_WORDS = {"DeliveryDelay": "delayType", "Complaint": "complaintSubType"}


def read(element: object, context: Context) -> list[Finding]:
    """Read one event, in whatever envelope it came."""
    return each_event(
        element, context, ("eventType", "notificationType"), lambda carried: _read(carried.event, context)
    )


def _read(record: dict[str, Any], context: Context) -> list[Finding]:
    kind = record.get("eventType") or record.get("notificationType")
    if not isinstance(kind, str):
        raise PayloadError("no event type ('eventType' or 'notificationType')")
    if kind.replace(" ", "") == "RenderingFailure":
        kind = "Rendering Failure"
    part_name, list_name = _PARTS.get(kind, ("", ""))
    part = part_of(record, part_name)
    if kind == "Bounce" and not part:
        raise PayloadError("a bounce without its 'bounce' object")
    native, row = _row(kind, part)
    if row is None:
        return [Unknown(native)]
    row = _by_words(row, part)
    means = TABLE[row]
    if means is None or (row == _GENERAL and _is_automatic_reply(part)):
        return [NoStatus(native, _objections(row, part, context))]

    mail = part_of(record, "mail")
    native_id = required(mail.get("messageId"), "SES message id ('mail.messageId')")
    tags = part_of(mail, "tags")
    ours = ours_in(context, tags)
    time = time_of(part.get("timestamp")) or time_of(mail.get("timestamp")) or context.received
    destination = _list(mail.get("destination"))
    told = _list(part.get(list_name)) or destination or [None]
    if len(destination) > 1:
        refuse_shared(ours, context)

    def event(recipient: object) -> Event:
        about = recipient if isinstance(recipient, dict) else {"emailAddress": recipient}
        address = identifier(about.get("emailAddress"))
        return event_of(
            ADAPTER,
            context,
            native_id,
            ours,
            time=time,
            status=means.status,
            names_several=len(told) > 1,
            recipient=address,
            reason=_reason(native, means, part, about),
        )

    return each_recipient(told, ours, context, event)


def _objections(row: str, part: dict[str, Any], context: Context) -> tuple[Objection, ...]:
    if not is_complaint(part.get("complaintFeedbackType")):
        return ()
    told = [each.get("emailAddress") for each in _list(part.get("complainedRecipients")) if isinstance(each, dict)]
    # SES lists all recipients of a provider that may have complained, if it does not know which of them did.
    told = told if len(told) == 1 else []
    return objections(OBJECTIONS, row, told, time_of(part.get("timestamp")), context)


def _is_automatic_reply(bounce: dict[str, Any]) -> bool:
    """Return whether a bounce is an answer such as "out of office": then no recipient has a status or a diagnosis.

    SES: "Transient/General … may be an automatic response". The mail was delivered; nothing may undo that.
    """
    told = [about for about in _list(bounce.get("bouncedRecipients")) if isinstance(about, dict)]
    return not any(about.get(name) for about in told for name in ("action", "status", "diagnosticCode"))


def _by_words(row: str, bounce: dict[str, Any]) -> str:
    """Take a bounce for a suppressed address where SES says so only in words: it did not send the mail."""
    if row in _SAID_IN_WORDS:
        for about in _list(bounce.get("bouncedRecipients")):
            words = text_of(about.get("diagnosticCode")) if isinstance(about, dict) else None
            if words is not None and words.startswith("Amazon SES ") and "suppress" in words:
                return "Bounce Permanent/Suppressed"
    return row


_SAID_IN_WORDS = ("Bounce Permanent", "Bounce Permanent/General", "Bounce Permanent/NoEmail")


def _row(kind: str, part: dict[str, Any]) -> tuple[str, str | None]:
    """Name what SES says, and the row of the table for it; None when there is no row."""
    if kind == "Bounce":
        general = f"Bounce {text_of(part.get('bounceType'))}"
        native = f"{general}/{text_of(part.get('bounceSubType'))}"
    else:
        general = kind[:MAX_TEXT]
        second = text_of(part.get(_SECOND_WORDS.get(kind, "")))
        native = f"{general} {second}" if second else general
    return native, native if native in TABLE else general if general in TABLE else None


def _reason(native: str, means: Means, part: dict[str, Any], about: dict[str, Any]) -> Reason | None:
    text = text_of(about.get("diagnosticCode")) or _text(part)
    if means.status is Status.TAKEN_INTO_ACCOUNT and means.permanence is None:
        return None
    code = telling_code(enhanced_code_in(text_of(about.get("status"))), text)
    reply = reply_code_in(text)
    if means.status is Status.SENT:
        # The answer to a success is kept as evidence ("250 OK id=...").
        return Reason(code=code, provider_code=reply, text=text) if text else None
    permanence, category = qualify(
        means.permanence, own=means.category, enhanced_code=code, reply_code=reply, text=text
    )
    return Reason(permanence=permanence, category=category, code=code or native, provider_code=reply, text=text)


def _text(part: dict[str, Any]) -> str | None:
    for name in ("smtpResponse", "errorMessage", "reason"):
        text = text_of(part.get(name))
        if text is not None:
            return text
    return None


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


ADAPTER = Adapter("ses", Channel.EMAIL, TABLE, read, split, id_covers_several=True, unpacks=True)
