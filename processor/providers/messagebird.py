"""Read MessageBird (Bird) reports: SMS status reports, Conversations API messages, and Bird's channel web hooks.

A status report comes as the query of a GET; gateways hand it on as a form body or JSON. Its id is that of one request
with up to 50 recipients, so a message is (id, recipient): always, as a report does not say how many others there are.
Only our own id names a message alone. Conversations API and Bird give each message an id of its own.

Source: MessageBird docs, "SMS API: status reports, statuses, status reasons and error codes" and "Conversations API:
web hooks"; Bird docs, "Message status and interactions" and "SMS platform extended error codes", 2026-08.

In the console: a `reportUrl` with each message or on the account; our ids in `reference`.

Signature: JWT with the hashes of address and body (`MessageBird-Signature-JWT`).

Traps: a status report comes by GET, and only of a message that was sent with a `reference`. `statusDatetime` needs its
`+` encoded in the query: proxies break it. There is no event id.
"""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any, NamedTuple

from processor.domain.reason import Category, Reason
from processor.domain.status import Channel, Permanence, Status
from processor.providers.adapter import Adapter, Context, Finding, Means, NoStatus, PayloadError, Unknown
from processor.providers.carried import fields_of, reference_of
from processor.providers.fields import identifier, part_of, required, text_of, time_of
from processor.providers.identity import event_of, ours_in
from processor.providers.reasons import GSM_MAP, qualify_by_code

_C = Category

TABLE: dict[str, Means | None] = {
    # Held until its date: MessageBird has it, so it is no longer pending with us.
    "scheduled": Means(Status.TAKEN_INTO_ACCOUNT),
    # Bird: accepted by the API.
    "accepted": Means(Status.TAKEN_INTO_ACCOUNT),
    # Bird: being prepared for its channel.
    "processing": Means(Status.TAKEN_INTO_ACCOUNT),
    # Conversations API: on its way to the channel.
    "pending": Means(Status.TAKEN_INTO_ACCOUNT),
    # Sent to the operator or to the next provider.
    "sent": Means(Status.SENT),
    # Conversations API: handed to the channel.
    "transmitted": Means(Status.SENT),
    # The operator holds it, for the phone is not reachable.
    "buffered": Means(Status.TAKEN_INTO_ACCOUNT, Permanence.TRANSIENT),
    # Delivered.
    "delivered": Means(Status.RECEIVED_ON_MOBILE),
    # The validity period ran out.
    "expired": Means(Status.FAILED, Permanence.GAVE_UP, _C.UNREACHABLE),
    # A negative report came in.
    "delivery_failed": Means(Status.FAILED, Permanence.PERMANENT),
    # Bird: it could not be sent to the operator.
    "sending_failed": Means(Status.FAILED, Permanence.PERMANENT),
    # Bird and Conversations API: refused before it was sent.
    "rejected": Means(Status.FAILED, Permanence.PERMANENT, _C.REFUSED),
    # Conversations API: it failed.
    "failed": Means(Status.FAILED, Permanence.PERMANENT),
    # Conversations API: the channel does not support this message.
    "unsupported": Means(Status.FAILED, Permanence.PERMANENT, _C.REFUSED),
    # Bird: not sent, deliberately, as when a rule blocks the recipient.
    "skipped": Means(Status.IGNORED, category=_C.EXCLUDED_BY_RULE),
    # Someone deleted it from the conversation.
    "deleted": None,
    # The recipient opened it. Engagement, not delivery.
    "read": None,
    # Inbound.
    "received": None,
}

_P = Permanence.PERMANENT
_G = Permanence.GAVE_UP

#: How final and of what kind, by `statusReason`; None leaves that to `statusErrorCode`.
REASONS: dict[str, tuple[Permanence, Category] | None] = {
    "successfully delivered": None,
    "pending dlr": None,  # waits for the report
    "dlr not received": (_G, _C.UNREACHABLE),  # no report within the validity period
    "incorrect number": (_P, _C.USER_UNKNOWN),  # not a valid number
    "unknown subscriber": (_P, _C.USER_UNKNOWN),  # no active line
    "unavailable subscriber": (_G, _C.NOT_CONNECTED),  # temporarily: off, or out of coverage
    "expired": (_G, _C.UNREACHABLE),  # before it could be sent
    "opted out": (_P, _C.DENYLISTED),
    "received network error": None,  # the error code says which
    "insufficient balance": (_G, _C.REFUSED),  # of the recipient
    "carrier rejected": (_P, _C.REFUSED),
    "capacity limit reached": (_G, _C.REFUSED),  # volume or throughput of the sender
    "generic delivery failure": None,
    "system failure": None,
}

#: How final and of what kind, by `statusErrorCode`; up to 72 they are MAP errors, of which GSM_MAP has those that
#: these have not.
ERRORS: dict[str, tuple[Permanence, Category]] = {
    "2": (_G, _C.UNREACHABLE),  # EC_UNKNOWN_BASE_STATION
    "3": (_G, _C.UNREACHABLE),  # EC_UNKNOWN_MSC
    "7": (_P, _C.REFUSED),  # EC_UNKNOWN_EQUIPMENT
    "20": (_G, _C.REFUSED),  # EC_SS_INCOMPATIBILITY
    "51": (_G, _C.UNREACHABLE),  # EC_RESOURCE_LIMITATION
    "71": (_P, _C.REFUSED),  # EC_UNKNOWN_ALPHABET
    "72": (_G, _C.UNREACHABLE),  # EC_USSD_BUSY
    "101": (_G, _C.REFUSED),  # EC_SUBSCRIBER_INSUFFICIENT_BALANCE
    "103": (_P, _C.DENYLISTED),  # EC_SUBSCRIBER_OPTEDOUT
    "104": (_P, _C.REFUSED),  # EC_SENDER_UNREGISTERED
    "105": (_P, _C.REFUSED),  # EC_CONTENT_UNREGISTERED
    "106": (_G, _C.REFUSED),  # EC_CAMPAIGN_VOLUME_EXCEEDED
    "107": (_G, _C.REFUSED),  # EC_CAMPAIGN_THROUGHPUT_EXCEEDED
    "110": (_P, _C.REFUSED),  # EC_MESSAGE_FILTERED
    "256": (_G, _C.MAILBOX_FULL),  # EC_SM_DF_memoryCapacityExceeded
    "257": (_G, _C.UNREACHABLE),  # EC_SM_DF_equipmentProtocolError
    "258": (_G, _C.REFUSED),  # EC_SM_DF_equipmentNotSM_Equipped
    "500": (_G, _C.UNREACHABLE),  # EC_PROVIDER_GENERAL_ERROR
    "502": (_G, _C.UNREACHABLE),  # EC_NO_RESPONSE
    "2048": (_G, _C.UNREACHABLE),  # EC_TIME_OUT
    "2049": (_P, _C.DENYLISTED),  # EC_IMSI_BLACKLISTED
    "2050": (_P, _C.DENYLISTED),  # EC_DEST_ADDRESS_BLACKLISTED
}

#: "details: system failure; reason: received_network_error; code: 34", Bird's reason for an SMS.
_DETAIL = re.compile(r"\b(details|reason|code): ?([^;]{1,60})")
_SPACE_FOR_PLUS = re.compile(r" (?=\d\d:?\d\d$)")


class Report(NamedTuple):
    """One report, whatever its shape."""

    native: str | None
    native_id: object
    recipient: object
    time: datetime | None
    #: statusReason: a phrase of the table above, or a text.
    phrase: str | None
    code: str | None
    #: Where our own ids may travel.
    places: tuple[dict[str, Any], ...]
    #: Whether the id may cover several recipients.
    id_covers_several: bool


def read(element: object, context: Context) -> list[Finding]:
    """Read one status."""
    fields = fields_of(element)
    if isinstance(fields.get("payload"), dict):
        report = _bird(fields["payload"])
    elif isinstance(fields.get("message"), dict):
        report = _conversation(fields["message"])
    else:
        report = _status_report(fields)
    if report.native is None:
        if "body" in fields or "originator" in fields:
            return [NoStatus("inbound message")]
        raise PayloadError("no status ('status')")
    native = report.native.lower()
    if native not in TABLE:
        return [Unknown(native)]
    means = TABLE[native]
    if means is None:
        return [NoStatus(native)]
    native_id = required(report.native_id, "message id ('id')")
    recipient = identifier(report.recipient)
    ours = ours_in(context, *report.places)
    return [
        event_of(
            ADAPTER,
            context,
            native_id,
            ours,
            time=report.time or context.received,
            status=means.status,
            recipient=recipient,
            reason=_reason(native, means, report),
            covers_several=report.id_covers_several,
            needs_recipient=report.id_covers_several,
        )
    ]


def _status_report(fields: dict[str, Any]) -> Report:
    reference = fields.get("reference")
    time = fields.get("statusDatetime")
    if isinstance(time, str):
        # A "+" that nobody encoded arrives as a space.
        time = _SPACE_FOR_PLUS.sub("+", time[:64])
    return Report(
        native=text_of(fields.get("status")),
        native_id=fields.get("id"),
        recipient=fields.get("recipient"),
        time=time_of(time),
        phrase=text_of(fields.get("statusReason")),
        code=text_of(fields.get("statusErrorCode")),
        places=(fields, reference_of(reference)),
        id_covers_several=True,
    )


def _conversation(message: dict[str, Any]) -> Report:
    inbound = message.get("direction") == "received"
    error = part_of(message, "error")
    source = message.get("source")
    return Report(
        native="received" if inbound else text_of(message.get("status")),
        native_id=message.get("id"),
        recipient=message.get("to"),
        time=time_of(message.get("updatedDatetime")) or time_of(message.get("createdDatetime")),
        phrase=text_of(error.get("description")),
        code=text_of(error.get("code")),
        places=(reference_of(source),),
        id_covers_several=False,
    )


def _bird(payload: dict[str, Any]) -> Report:
    inbound = payload.get("direction") == "incoming"
    failure = part_of(payload, "failure")
    details = dict(_DETAIL.findall(text_of(payload.get("reason")) or ""))
    code = text_of(part_of(failure, "source").get("code")) or details.get("code")
    phrase = details.get("details") or text_of(payload.get("reason")) or text_of(failure.get("description"))
    reference = payload.get("reference")
    return Report(
        native="received" if inbound else text_of(payload.get("status")),
        native_id=payload.get("id"),
        recipient=_receiver(payload),
        time=next(
            (
                time
                for name in ("lastStatusAt", "updatedAt", "createdAt")
                if (time := time_of(payload.get(name))) is not None
            ),
            None,
        ),
        phrase=phrase,
        code=code or text_of(failure.get("code")),
        places=({"reference": reference}, reference_of(reference), reference_of(payload.get("tags"))),
        id_covers_several=False,
    )


def _receiver(payload: dict[str, Any]) -> object:
    contacts = part_of(payload, "receiver").get("contacts")
    contact = contacts[0] if isinstance(contacts, list) and contacts else None
    return contact.get("identifierValue") if isinstance(contact, dict) else None


def _reason(native: str, means: Means, report: Report) -> Reason | None:
    if means.permanence is None and means.category is None:
        return None
    code = None if report.code == "0" else report.code
    found = REASONS.get((report.phrase or "").lower().replace("_", " ")) or _error(code)
    row = found if means.permanence is not None else None
    permanence, category = qualify_by_code(means, row, report.phrase, label_stays=native == "expired")
    return Reason(permanence=permanence, category=category, provider_code=code, text=report.phrase)


def _error(code: str | None) -> tuple[Permanence, Category] | None:
    if code is None:
        return None
    return ERRORS.get(code) or (GSM_MAP.get(int(code)) if len(code) <= 4 and code.isdecimal() else None)


ADAPTER = Adapter("messagebird", Channel.SMS, TABLE, read, id_covers_several=True)
