"""Read Sinch reports: batch and per-recipient delivery reports of the SMS API, and deliveries of the Conversation API.

A batch has one id for all its recipients, so a message is (batch, recipient): always, as a per-recipient report does
not say how many others there are. Only our own id names a message alone. The Conversation API writes its statuses in
upper case, inside an envelope of project and app; each of its messages has an id of its own.

Source: Sinch docs, "Delivery reports" (statuses and codes), "10DLC error codes", "Conversation API callbacks", and the
enums of the SDKs, 2026-08.

In the console: `callback_url` on the service plan with `delivery_report` full or per_recipient; our ids in
`client_reference`.

Signature: HMAC-SHA256 of body, nonce and timestamp (`x-sinch-webhook-signature`).

Traps: `Dispatched` may be skipped. Batch reports carry no time. Who answers 4xx gets no second try.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any, NamedTuple

from processor.domain.reason import Category, Reason
from processor.domain.status import Channel, Permanence, Status
from processor.providers.adapter import Adapter, Context, Finding, Means, NoStatus, PayloadError, Unknown
from processor.providers.carried import reference_of
from processor.providers.fields import identifier, object_of, part_of, required, text_of, time_of
from processor.providers.identity import Ours, each_recipient, event_of, ours_in
from processor.providers.reasons import qualify_by_code

_C = Category

#: In upper case, in which both APIs agree on "delivered" and "failed".
TABLE: dict[str, Means | None] = {
    # Queued within Sinch, to be dispatched at the account's rate.
    "QUEUED": Means(Status.TAKEN_INTO_ACCOUNT),
    # Dispatched, and accepted for delivery by the SMSC. May be skipped.
    "DISPATCHED": Means(Status.SENT),
    # Aborted before it reached the SMSC.
    "ABORTED": Means(Status.FAILED, Permanence.PERMANENT, _C.REFUSED),
    # Cancelled by the user before it reached the SMSC.
    "CANCELLED": Means(Status.CANCELED),
    "CANCELED": Means(Status.CANCELED),
    # Rejected by the SMSC.
    "REJECTED": Means(Status.FAILED, Permanence.PERMANENT, _C.REFUSED),
    # Deleted by a remote SMSC: an invalid number, or an opted-out subscriber.
    "DELETED": Means(Status.FAILED, Permanence.PERMANENT),
    # Delivered.
    "DELIVERED": Means(Status.RECEIVED_ON_MOBILE),
    # It failed to be delivered.
    "FAILED": Means(Status.FAILED, Permanence.PERMANENT),
    # It expired before delivery.
    "EXPIRED": Means(Status.FAILED, Permanence.GAVE_UP, _C.UNREACHABLE),
    # Conversation API: an app message was handed in (trigger MESSAGE_SUBMIT).
    "SUBMITTED": Means(Status.TAKEN_INTO_ACCOUNT),
    # Conversation API: queued by the channel that is to deliver it.
    "QUEUED_ON_CHANNEL": Means(Status.TAKEN_INTO_ACCOUNT),
    # Conversation API: it failed on one channel, and is tried on the next.
    "SWITCHING_CHANNEL": Means(Status.TAKEN_INTO_ACCOUNT, Permanence.TRANSIENT),
    # Conversation API: the recipient opened it. Engagement, not delivery.
    "READ": None,
    # "Unknown" has no row: a state that the SMSC does not explain.
}

_P = Permanence.PERMANENT
_G = Permanence.GAVE_UP

#: How final and of what kind, by code of a report. A code without a row has its status's own permanence.
ERRORS: dict[str, tuple[Permanence, Category]] = {
    # SMS REST API.
    "402": (_P, _C.UNREACHABLE),  # unroutable: no route to the number
    "403": (_G, _C.UNREACHABLE),  # internal error
    "404": (_G, _C.UNREACHABLE),  # temporary delivery failure
    "405": (_P, _C.PERSONALIZATION),  # unmatched parameter: the template's has no value for this recipient
    "406": (_G, _C.UNREACHABLE),  # internal expiry: expired within Sinch
    "407": (_P, _C.UNDEFINED),  # cancelled by the user
    "408": (_P, _C.REFUSED),  # internal reject
    "410": (_P, _C.REFUSED),  # unmatched default originator
    "411": (_P, _C.REFUSED),  # exceeded parts limit
    "412": (_P, _C.REFUSED),  # unprovisioned region
    "413": (_G, _C.REFUSED),  # blocked: the account, potentially out of credits
    "414": (_P, _C.REFUSED),  # bad media
    "415": (_P, _C.REFUSED),  # MMS: delivery report rejected
    "416": (_P, _C.REFUSED),  # MMS: delivery report not supported
    "417": (_G, _C.UNREACHABLE),  # MMS: delivery report unreachable
    "418": (_P, _C.REFUSED),  # MMS: delivery report unrecognized
    # 10DLC and toll-free, as SMPP and the REST API have them.
    "15": (_P, _C.REFUSED),  # screening blocked the message: spam
    "60": (_P, _C.REFUSED),  # originator blocked: campaign not active
    "62": (_P, _C.REFUSED),  # screening blocked the message: internal filter
    "64": (_G, _C.REFUSED),  # exceeded quota
    "152": (_P, _C.REFUSED),  # teleservice not provisioned
    "300": (_P, _C.USER_UNKNOWN),  # invalid destination address
    "310": (_P, _C.REFUSED),  # invalid source address
    "321": (_P, _C.REFUSED),  # receiver rejected it
    "332": (_P, _C.REFUSED),  # invalid operation
    "334": (_P, _C.REFUSED),  # invalid parameter
    "349": (_G, _C.UNREACHABLE),  # request failed: invalid, no route, or blocked
    "399": (_G, _C.UNDEFINED),  # unknown
    # Conversation API: reason.code.
    "UNKNOWN": (_G, _C.UNDEFINED),
    "INTERNAL_ERROR": (_G, _C.UNREACHABLE),
    "RATE_LIMITED": (_G, _C.REFUSED),
    "RECIPIENT_INVALID_CHANNEL_IDENTITY": (_P, _C.USER_UNKNOWN),
    "RECIPIENT_NOT_REACHABLE": (_G, _C.UNREACHABLE),
    "RECIPIENT_NOT_OPTED_IN": (_P, _C.DENYLISTED),
    "OUTSIDE_ALLOWED_SENDING_WINDOW": (_P, _C.REFUSED),
    "CHANNEL_FAILURE": (_G, _C.UNREACHABLE),
    "CHANNEL_BAD_CONFIGURATION": (_P, _C.REFUSED),
    "CHANNEL_CONFIGURATION_MISSING": (_P, _C.REFUSED),
    "MEDIA_TYPE_UNSUPPORTED": (_P, _C.REFUSED),
    "MEDIA_TOO_LARGE": (_P, _C.REFUSED),
    "MEDIA_NOT_REACHABLE": (_P, _C.REFUSED),
    "NO_CHANNELS_LEFT": (_G, _C.UNREACHABLE),
    "TEMPLATE_NOT_FOUND": (_P, _C.PERSONALIZATION),
    "TEMPLATE_INSUFFICIENT_PARAMETERS": (_P, _C.PERSONALIZATION),
    "TEMPLATE_NON_EXISTING_LANGUAGE_OR_VERSION": (_P, _C.PERSONALIZATION),
    "DELIVERY_TIMED_OUT": (_G, _C.UNREACHABLE),
    "DELIVERY_REJECTED_DUE_TO_POLICY": (_P, _C.REFUSED),
    "CONTACT_NOT_FOUND": (_P, _C.USER_UNKNOWN),
    "BAD_REQUEST": (_P, _C.REFUSED),
    "UNKNOWN_APP": (_P, _C.REFUSED),
    "NO_CHANNEL_IDENTITY_FOR_CONTACT": (_P, _C.ADDRESS_NOT_SPECIFIED),
    "CHANNEL_REJECT": (_P, _C.REFUSED),
    "NO_PERMISSION": (_P, _C.REFUSED),
    "NO_PROFILE_AVAILABLE": (_P, _C.USER_UNKNOWN),
    "UNSUPPORTED_OPERATION": (_P, _C.REFUSED),
    "INACTIVE_CREDENTIAL": (_P, _C.REFUSED),
    "MESSAGE_EXPIRED": (_G, _C.UNREACHABLE),
    "MESSAGE_SPLIT_REQUIRED": (_P, _C.REFUSED),
    "DELIVERY_REPORT_TIME_OUT": (_G, _C.UNDEFINED),
}

#: Objects of the Conversation API's other callbacks, with the names of their triggers.
_NOT_DELIVERIES = {
    "message": "MESSAGE_INBOUND",
    "message_redaction": "MESSAGE_INBOUND_SMART_CONVERSATION_REDACTION",
    "event": "EVENT_INBOUND",
    "event_delivery_report": "EVENT_DELIVERY",
    "conversation_start_notification": "CONVERSATION_START",
    "conversation_stop_notification": "CONVERSATION_STOP",
    "conversation_delete_notification": "CONVERSATION_DELETE",
    "contact_create_notification": "CONTACT_CREATE",
    "contact_delete_notification": "CONTACT_DELETE",
    "contact_merge_notification": "CONTACT_MERGE",
    "contact_update_notification": "CONTACT_UPDATE",
    "duplicated_contact_identities_notification": "CONTACT_IDENTITIES_DUPLICATION",
    "capability_notification": "CAPABILITY",
    "opt_in_notification": "OPT_IN",
    "opt_out_notification": "OPT_OUT",
    "channel_event_notification": "CHANNEL_EVENT",
    "unsupported_callback": "UNSUPPORTED",
    "smart_conversation_notification": "SMART_CONVERSATIONS",
    "record_notification": "RECORD_NOTIFICATION",
}

#: Inbound messages of the SMS API, by type.
_INBOUND = ("mo_text", "mo_binary", "mo_media")

#: A batch has 1,000 recipients at most; a report with far more is an attack on memory.
_MAX_RECIPIENTS = 10_000


class Subject(NamedTuple):
    """What all statuses of one report share."""

    native_id: str
    time: datetime
    ours: Ours
    context: Context
    #: Whether the id may cover several recipients: a batch's does.
    id_covers_several: bool
    names_several: bool = False


def read(element: object, context: Context) -> Iterable[Finding]:
    """Read one report: of a batch, of a recipient, or of the Conversation API."""
    report = object_of(element)
    if "message_delivery_report" in report:
        return _conversation(report, part_of(report, "message_delivery_report"), context)
    if "message_submit_notification" in report:
        submitted = part_of(report, "message_submit_notification")
        return _conversation(report, {**submitted, "status": "SUBMITTED"}, context)
    if "statuses" in report or "recipient" in report or "batch_id" in report:
        return _sms(report, context)
    kind = text_of(report.get("type"))
    if kind in _INBOUND:
        return [NoStatus(kind)]
    for name, trigger in _NOT_DELIVERIES.items():
        if name in report:
            return [NoStatus(trigger)]
    raise PayloadError("neither a delivery report of the SMS API nor a callback of the Conversation API")


def _sms(report: dict[str, Any], context: Context) -> list[Finding]:
    native_id = required(report.get("batch_id"), "batch id ('batch_id')")
    reference = report.get("client_reference")
    places = ({"client_reference": reference}, reference_of(reference))
    time = time_of(report.get("at")) or time_of(report.get("operator_status_at")) or context.received
    subject = Subject(native_id, time, ours_in(context, *places), context, id_covers_several=True)
    statuses = report.get("statuses")
    if not isinstance(statuses, list):
        recipient = identifier(report.get("recipient"))
        return [_finding(subject, text_of(report.get("status")), recipient, text_of(report.get("code")), None)]
    told = [(recipient, status) for status in statuses for recipient in _recipients(status)]
    if len(told) > _MAX_RECIPIENTS:
        raise PayloadError(f"a report on {len(told)} recipients")
    if told:
        subject = subject._replace(names_several=len(told) > 1)
    # A summary counts its recipients and does not name them: it tells what became of one only where there is one.
    elif len(statuses) == 1 and _is_one(statuses[0].get("count")) and _is_one(report.get("total_message_count", 1)):
        told, subject = [(None, statuses[0])], subject._replace(id_covers_several=False)
    else:
        return [NoStatus("delivery report without recipients")]

    def finding(recipient: object, status: object) -> Finding:
        about = object_of(status)
        return _finding(subject, text_of(about.get("status")), identifier(recipient), text_of(about.get("code")), None)

    recipients, about = zip(*told, strict=True)
    return each_recipient(recipients, subject.ours, context, finding, about)


def _is_one(count: object) -> bool:
    return text_of(count) == "1"


def _recipients(status: object) -> list[Any]:
    """Return the recipients of one status of a batch; what is no status counts as one, to be refused."""
    if not isinstance(status, dict):
        return [None]
    recipients = status.get("recipients")
    return recipients if isinstance(recipients, list) else []


def _conversation(envelope: dict[str, Any], report: dict[str, Any], context: Context) -> list[Finding]:
    identity = part_of(report, "channel_identity")
    reason = part_of(report, "reason")
    # One text of up to 1024 characters that we gave with the message.
    metadata = report.get("metadata") or envelope.get("message_metadata")
    places = ({"metadata": metadata, "message_metadata": metadata}, reference_of(metadata))
    time = time_of(envelope.get("event_time")) or time_of(envelope.get("accepted_time")) or context.received
    subject = Subject(
        required(report.get("message_id"), "message id ('message_id')"),
        time,
        ours_in(context, *places),
        context,
        id_covers_several=False,
    )
    native, code = text_of(report.get("status")), text_of(reason.get("code"))
    return [_finding(subject, native, identifier(identity.get("identity")), code, text_of(reason.get("description")))]


def _finding(
    subject: Subject, native: str | None, recipient: str | None, code: str | None, text: str | None
) -> Finding:
    if native is None:
        raise PayloadError("no status ('status')")
    name = native.upper()
    if name not in TABLE:
        return Unknown(native)
    means = TABLE[name]
    if means is None:
        return NoStatus(native)
    return event_of(
        ADAPTER,
        subject.context,
        subject.native_id,
        subject.ours,
        time=subject.time,
        status=means.status,
        recipient=recipient,
        reason=_reason(name, means, code, text),
        names_several=subject.names_several,
        covers_several=subject.id_covers_several,
        needs_recipient=subject.id_covers_several,
    )


def _reason(name: str, means: Means, code: str | None, text: str | None) -> Reason | None:
    if means.permanence is None:
        return None
    row = ERRORS.get(code.upper()) if code else None
    permanence, category = qualify_by_code(means, row, text, label_stays=name == "EXPIRED")
    return Reason(permanence=permanence, category=category, provider_code=None if code == "0" else code, text=text)


ADAPTER = Adapter("sinch", Channel.SMS, TABLE, read, id_covers_several=True)
