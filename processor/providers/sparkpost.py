"""Read SparkPost events: webhook batches (`[{"msys": {class: event}}, …]`), and results of its Events API.

Source: SparkPost documentation, "Webhooks: event reference", "Event definitions", "Bounce classification codes" and
"How can I account for all messages attempted", 2026-08; class 15 after Adobe Journey Optimizer, "Email error types"
(it sends through SparkPost), class 26 after Airship, "Email bounce handling".

One transmission id covers all recipients of a transmission, so without an id of our own in `rcpt_meta` the recipient is
a part of the identity; copies (cc, bcc) share the id of their recipient. Ids are texts of digits, greater than 2^53.
An out-of-band bounce may lack the transmission id: then SparkPost's id of the single message stands in its place.

In the console: a webhook for message, generation and unsubscribe events; our ids in the recipients' `metadata`.

Signature: none: basic auth, OAuth2 (client credentials), or up to five headers of one's own. The token in
`X-MessageSystems-Webhook-Token` is deprecated.

Traps: `[{"msys": {}}]` is a ping. Batches repeat on a retry, with the same `X-MessageSystems-Batch-ID`. `timestamp` is
a number in a text.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

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
    elements_of,
)
from processor.providers.carried import reference_of
from processor.providers.fields import (
    first_identifier,
    object_of,
    required,
    text_of,
    time_of,
    time_of_epoch,
)
from processor.providers.identity import event_of, of_one_recipient, ours_in
from processor.providers.objections import COMPLAINT, UNSUBSCRIBE, is_complaint, objections
from processor.providers.reasons import enhanced_code_in, qualify, reply_code_in

_HARD = Means(Status.FAILED, Permanence.PERMANENT)
_SOFT = Means(Status.FAILED, Permanence.GAVE_UP)
_BLOCK = Means(Status.FAILED, Permanence.GAVE_UP, Category.REFUSED)
_NEVER_SENT = Means(Status.IGNORED, category=Category.QUARANTINED)

#: By type; a bounce, in the SMTP conversation or out of band, by its class. The rows "bounce" and "out_of_band" are for
#: a bounce without a class, or with one that has no row.
TABLE: dict[str, Means | None] = {
    # Received by, or injected into, SparkPost.
    "injection": Means(Status.TAKEN_INTO_ACCOUNT),
    # The recipient's server accepted it.
    "delivery": Means(Status.SENT),
    # The recipient's server refused it for now; SparkPost keeps trying, for up to 72 hours.
    "delay": Means(Status.TAKEN_INTO_ACCOUNT, Permanence.TRANSIENT),
    # The recipient's server refused it for good, or SparkPost gave up.
    "bounce": _HARD,
    # A bounce after the server had accepted it.
    "out_of_band": _HARD,
    "bounce class 1": _SOFT,  # undetermined
    "bounce class 10": Means(Status.FAILED, Permanence.PERMANENT, Category.USER_UNKNOWN),  # invalid recipient
    "bounce class 15": Means(Status.FAILED, Permanence.PERMANENT, Category.REFUSED),  # recipient refused
    "bounce class 20": _SOFT,  # soft bounce
    "bounce class 21": Means(Status.FAILED, Permanence.GAVE_UP, Category.INVALID_DOMAIN),  # DNS failure
    "bounce class 22": Means(Status.FAILED, Permanence.GAVE_UP, Category.MAILBOX_FULL),  # mailbox full
    "bounce class 23": Means(Status.FAILED, Permanence.GAVE_UP, Category.REFUSED),  # too large
    "bounce class 24": Means(Status.FAILED, Permanence.GAVE_UP, Category.UNREACHABLE),  # timeout
    "bounce class 25": Means(Status.FAILED, Permanence.PERMANENT, Category.REFUSED),  # admin failure: a policy
    # Never sent: SparkPost looks at its suppression lists after the injection, and says so in the text of class 25.
    "bounce suppressed": _NEVER_SENT,
    "bounce class 26": _NEVER_SENT,  # suppressed by the Smart Send policy
    "bounce class 30": Means(Status.FAILED, Permanence.PERMANENT, Category.USER_UNKNOWN),  # generic: no recipient
    "bounce class 40": _SOFT,  # generic: unspecified
    "bounce class 50": _BLOCK,  # mail block
    "bounce class 51": _BLOCK,  # spam block: a known source
    "bounce class 52": _BLOCK,  # spam content
    "bounce class 53": _BLOCK,  # prohibited attachment
    "bounce class 54": _BLOCK,  # relaying denied
    "bounce class 60": None,  # auto-reply
    "bounce class 70": Means(Status.FAILED, Permanence.GAVE_UP, Category.UNREACHABLE),  # transient failure
    "bounce class 80": None,  # a request to be subscribed
    "bounce class 90": None,  # a request to be unsubscribed
    "bounce class 100": None,  # a challenge asks the sender to prove himself
    # Refused by SparkPost: a limit, a sending domain that is not set up.
    "policy_rejection": Means(Status.FAILED, Permanence.PERMANENT, Category.REFUSED),
    # Never sent: injected by SMTP for an address on a suppression list.
    "policy_rejection suppressed": _NEVER_SENT,
    # The message could not be made, such as for an error in the template or its data.
    "generation_failure": Means(Status.FAILED, Permanence.PERMANENT, Category.PERSONALIZATION),
    # SparkPost's policy forbade to make the message.
    "generation_rejection": Means(Status.FAILED, Permanence.PERMANENT, Category.REFUSED),
    # Never sent: on the customer's ("customer policy") or SparkPost's ("system policy") suppression list.
    "generation_rejection suppressed": _NEVER_SENT,
    # The recipient marked it as spam.
    "spam_complaint": None,
    # SMPP receipt of an SMS; the SMS channel is no longer sold.
    "sms_status": None,
    # Engagement; "amp_" in an AMP message.
    "open": None,
    "initial_open": None,
    "click": None,
    "amp_open": None,
    "amp_initial_open": None,
    "amp_click": None,
    # The recipient unsubscribed with the mail program's button, or with a link.
    "list_unsubscribe": None,
    "link_unsubscribe": None,
    # Inbound mail, on its way to our hook.
    "relay_message": None,
    "relay_injection": None,
    "relay_rejection": None,
    "relay_delivery": None,
    "relay_tempfail": None,
    "relay_permfail": None,
    # An A/B test ended.
    "ab_test_completed": None,
    "ab_test_cancelled": None,
    # What the Ingest API made of events that we sent.
    "ingest_event success": None,
    "ingest_event error": None,
    # An empty element: SparkPost tries whether we answer.
    "ping": None,
}

#: What events say of their address.
OBJECTIONS = {
    "spam_complaint": COMPLAINT,
    "list_unsubscribe": UNSUBSCRIBE,
    "link_unsubscribe": UNSUBSCRIBE,
    "bounce class 90": UNSUBSCRIBE,
}

#: Class of an event whose type does not say what it is about.
_BY_CLASS = {"ingest_event", "relay_message"}
_BOUNCES = {"bounce", "out_of_band"}
_ADMIN_FAILURE = "bounce class 25"
_REJECTIONS = {"policy_rejection", "generation_rejection"}
_COPIES = {"cc", "bcc", "archive"}


def split(payload: object) -> Iterable[object]:
    """Split a batch: an array, or the `results` of the Events API."""
    if isinstance(payload, dict) and isinstance(payload.get("results"), list):
        return elements_of(payload["results"])
    return elements_of(payload)


def read(element: object, context: Context) -> Iterable[Finding]:
    """Read one event; a ping is an event without content."""
    record = object_of(element)
    if "msys" not in record:
        # The Events API gives the bare event.
        return [_event("", record, context)]
    classes = object_of(record["msys"])
    if not classes:
        return [NoStatus("ping")]
    return [_event(name, object_of(event), context) for name, event in classes.items()]


def _event(class_name: str, event: dict[str, Any], context: Context) -> Finding:
    kind = text_of(event.get("type"))
    if class_name in _BY_CLASS:
        kind = f"{class_name} {kind}" if kind else class_name
    elif kind is None:
        raise PayloadError("no event type ('type')")
    kind = kind.lower()
    text = text_of(event.get("raw_reason")) or text_of(event.get("reason"))
    bounce_class = event.get("bounce_class")
    class_row = f"bounce class {text_of(bounce_class)}" if bounce_class is not None else ""
    row = kind
    if kind in _BOUNCES or kind in _REJECTIONS:
        row = _row(kind, class_row, is_suppressed=text is not None and "suppress" in text.lower())
    if row not in TABLE:
        return Unknown(row)
    means = TABLE[row]
    if means is None:
        native = row if row == kind else f"{kind} {row}"
        return NoStatus(native, _objections(row, event, context))

    told = first_identifier(event.get("transmission_id"), event.get("message_id"))
    native_id = required(told, "message id ('transmission_id')")
    address = first_identifier(event.get("raw_rcpt_to"), event.get("rcpt_to"))
    metadata = reference_of(event.get("rcpt_meta"))
    ours = ours_in(context, metadata)
    if address is not None and text_of(event.get("rcpt_type")) in _COPIES:
        # A copy carries the metadata of the recipient that it was made for, and is another message.
        ours = of_one_recipient(ours, address, context)
    return event_of(
        ADAPTER,
        context,
        native_id,
        ours,
        time=_time(event.get("timestamp")) or context.received,
        status=means.status,
        recipient=address,
        reason=_reason(event, row, TABLE.get(class_row), means, text),
    )


def _objections(row: str, event: dict[str, Any], context: Context) -> tuple[Objection, ...]:
    if not is_complaint(event.get("fbtype")):
        return ()
    address = event.get("raw_rcpt_to") or event.get("rcpt_to")
    return objections(OBJECTIONS, row, [address], _time(event.get("timestamp")), context)


def _row(kind: str, class_row: str, *, is_suppressed: bool) -> str:
    if is_suppressed and kind in _REJECTIONS:
        return f"{kind} suppressed"
    if is_suppressed and class_row in ("", _ADMIN_FAILURE):
        return "bounce suppressed"
    return class_row if kind in _BOUNCES and class_row in TABLE else kind


def _time(value: object) -> datetime | None:
    """Read seconds since 1970, as a rule in a text; or RFC 3339, which some kinds of events have."""
    return time_of_epoch(value) or time_of(value)


def _reason(event: dict[str, Any], row: str, by_class: Means | None, means: Means, text: str | None) -> Reason | None:
    code = enhanced_code_in(text)
    reply = text_of(event.get("error_code")) or reply_code_in(text)
    if means.status is Status.IGNORED:
        words = text.lower() if text is not None else ""
        is_unwanted = "unsubscribe" in words or "complaint" in words
        category = Category.DENYLISTED if is_unwanted else means.category
        return Reason(category=category, code=code or row, provider_code=reply, text=text)
    if means.permanence is None:
        return Reason(code=code, provider_code=reply, text=text) if text else None
    own = means.category or (by_class.category if by_class is not None else None)
    permanence, category = qualify(means.permanence, own=own, enhanced_code=code, reply_code=reply, text=text)
    return Reason(permanence=permanence, category=category, code=code or row, provider_code=reply, text=text)


ADAPTER = Adapter("sparkpost", Channel.EMAIL, TABLE, read, split, id_covers_several=True)
