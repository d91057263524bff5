"""Read Twilio message statuses: status callbacks (form body, or the same keys as JSON) and Event Streams.

Source: Twilio docs, "Track the message status of outbound messages", "Message resource: status values",
"Event Streams: outbound message", and the Error and Warning Dictionary, 2026-08.

A callback carries no time, so the record's is taken; `RawDlrDoneDate` is carrier time without a zone and goes into the
reason's text. Our own ids travel in the query of the callback's address: with POST they are not among the parameters,
so whoever takes the callback hands the query on (header `query`, or before the form). Event Streams write the status in
upper case, and sometimes a time where `datacontenttype` belongs.

In the console: a `StatusCallback` with each message, or on the messaging service; our ids in that address's query. Or
an Event Streams sink.

Signature: HMAC-SHA1 of address and parameters (`X-Twilio-Signature`).

Traps: without more in the address's fragment (`#rc=5&…`) a callback that fails is not repeated; all tries fall within
15 s. Callbacks come in any order, and none is made for the first status. Parameters may be added at any time.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, NamedTuple

from processor.domain.reason import Category, Reason
from processor.domain.status import Channel, Permanence, Status
from processor.providers.adapter import Adapter, Context, Finding, Means, NoStatus, PayloadError, Unknown
from processor.providers.carried import fields_of, query_of
from processor.providers.fields import first_identifier, identifier, part_of, required, text_of, time_of
from processor.providers.identity import event_of, ours_in
from processor.providers.reasons import qualify_by_code

TABLE: dict[str, Means | None] = {
    # Accepted by the API; a messaging service has yet to choose a sender. No callback is sent for it at first.
    "accepted": Means(Status.TAKEN_INTO_ACCOUNT),
    # Twilio holds it until its date: the provider has it, so it is no longer pending with us.
    "scheduled": Means(Status.TAKEN_INTO_ACCOUNT),
    # Queued to be sent from its sender.
    "queued": Means(Status.TAKEN_INTO_ACCOUNT),
    # Being dispatched to the nearest upstream carrier.
    "sending": Means(Status.TAKEN_INTO_ACCOUNT),
    # The nearest upstream carrier accepted it.
    "sent": Means(Status.SENT),
    # Delivery confirmed by the upstream carrier and, where available, the handset.
    "delivered": Means(Status.RECEIVED_ON_MOBILE),
    # In the API's enumeration only: some parts were delivered.
    "partially_delivered": Means(Status.RECEIVED_ON_MOBILE),
    # A delivery receipt says that it was not delivered.
    "undelivered": Means(Status.FAILED, Permanence.PERMANENT),
    # It could not be sent: queue overflow, suspension, an error.
    "failed": Means(Status.FAILED, Permanence.PERMANENT),
    # A scheduled message was cancelled.
    "canceled": Means(Status.CANCELED),
    # WhatsApp, RCS: the recipient opened it. Engagement, not delivery.
    "read": None,
    # Inbound.
    "receiving": None,
    "received": None,
}

_P = Permanence.PERMANENT
_G = Permanence.GAVE_UP
_C = Category

#: How final and of what kind, by ErrorCode: those that a status of an outbound message may carry. What may work on
#: another try is `gave_up`. A code without a row has the status's own permanence, and is UNDEFINED.
ERRORS: dict[str, tuple[Permanence, Category]] = {
    # API and account: the message was never handed to a carrier.
    "10001": (_P, _C.REFUSED),  # account is not active
    "14107": (_G, _C.REFUSED),  # send rate limit exceeded: a loop between two numbers
    "20429": (_G, _C.UNREACHABLE),  # too many requests
    "21211": (_P, _C.USER_UNKNOWN),  # invalid 'To' phone number
    "21212": (_P, _C.REFUSED),  # invalid 'From' number
    "21408": (_P, _C.REFUSED),  # permission to send to the region has not been enabled
    "21601": (_P, _C.REFUSED),  # phone number is not a valid SMS-capable inbound number
    "21602": (_P, _C.REFUSED),  # message body is required
    "21603": (_P, _C.REFUSED),  # 'From' is required
    "21604": (_P, _C.ADDRESS_NOT_SPECIFIED),  # 'To' is required
    "21605": (_P, _C.REFUSED),  # maximum body length exceeded
    "21606": (_P, _C.REFUSED),  # 'From' is not a valid, SMS-capable number of the account
    "21608": (_P, _C.REFUSED),  # 'To' is not verified (trial account)
    "21610": (_P, _C.DENYLISTED),  # attempt to send to an unsubscribed recipient
    "21611": (_G, _C.UNREACHABLE),  # 'From' has exceeded its queue
    "21612": (_P, _C.UNREACHABLE),  # 'To' is not reachable from this 'From'
    "21614": (_P, _C.USER_UNKNOWN),  # 'To' is not a valid mobile number
    "21617": (_P, _C.REFUSED),  # body exceeds 1600 characters
    "21620": (_P, _C.REFUSED),  # invalid media URL
    "21635": (_P, _C.USER_UNKNOWN),  # 'To' is a landline
    "21659": (_P, _C.REFUSED),  # 'From' is not a number of Twilio's, or of another country
    "21660": (_P, _C.REFUSED),  # 'From' belongs to another account
    "21656": (_P, _C.PERSONALIZATION),  # content variables are invalid
    "21703": (_P, _C.REFUSED),  # the messaging service has no phone numbers
    # Delivery.
    "30001": (_G, _C.UNREACHABLE),  # queue overflow
    "30002": (_P, _C.REFUSED),  # account suspended
    "30003": (_G, _C.NOT_CONNECTED),  # unreachable destination handset: off, or out of service
    "30004": (_P, _C.REFUSED),  # message blocked
    "30005": (_P, _C.USER_UNKNOWN),  # unknown destination handset
    "30006": (_P, _C.UNREACHABLE),  # landline or unreachable carrier
    "30007": (_P, _C.REFUSED),  # message filtered
    "30008": (_G, _C.UNDEFINED),  # unknown error
    "30009": (_G, _C.UNREACHABLE),  # missing inbound segment
    "30010": (_P, _C.REFUSED),  # message price exceeds the maximum price
    "30011": (_P, _C.REFUSED),  # MMS not supported by the receiving number in this region
    "30012": (_P, _C.REFUSED),  # validity period too small
    "30013": (_P, _C.REFUSED),  # validity period too large
    "30017": (_G, _C.UNREACHABLE),  # carrier network congestion
    "30018": (_P, _C.REFUSED),  # destination carrier requires sender ID pre-registration
    "30019": (_P, _C.REFUSED),  # content size exceeds the carrier's limit
    "30020": (_G, _C.UNREACHABLE),  # internal failure of a messaging service
    "30021": (_G, _C.UNREACHABLE),  # internal failure of the messaging service orchestrator
    "30022": (_G, _C.REFUSED),  # US A2P 10DLC: rate limits exceeded
    "30023": (_G, _C.REFUSED),  # US A2P 10DLC: daily message cap reached
    "30024": (_P, _C.REFUSED),  # numeric sender ID not provisioned on the carrier
    "30027": (_G, _C.REFUSED),  # US A2P 10DLC: T-Mobile daily message limit reached
    "30032": (_P, _C.REFUSED),  # toll-free number has not been verified
    "30033": (_P, _C.REFUSED),  # US A2P 10DLC: campaign suspended
    "30034": (_P, _C.REFUSED),  # US A2P 10DLC: message from an unregistered number
    "30035": (_P, _C.REFUSED),  # US A2P 10DLC: message from a number whose registration is pending
    "30036": (_G, _C.UNREACHABLE),  # validity period expired
    "30037": (_P, _C.REFUSED),  # outbound messaging disabled
    "30038": (_P, _C.REFUSED),  # OTP message body filtered
    "30039": (_P, _C.REFUSED),  # message loop detected
    "30044": (_P, _C.REFUSED),  # trial message length exceeded
    "30410": (_G, _C.UNREACHABLE),  # provider timeout
    "30450": (_P, _C.REFUSED),  # delivery blocked: SMS pumping protection
    "30500": (_G, _C.UNREACHABLE),  # provider internal error
    "60005": (_G, _C.UNREACHABLE),  # carrier error
    # Channels: WhatsApp, RCS, Messenger.
    "63001": (_P, _C.REFUSED),  # channel could not authenticate the request
    "63002": (_P, _C.REFUSED),  # channel could not find the 'From' address
    "63003": (_P, _C.USER_UNKNOWN),  # channel could not find the 'To' address
    "63005": (_P, _C.REFUSED),  # channel did not accept the content
    "63006": (_P, _C.REFUSED),  # could not format the content for the channel
    "63007": (_P, _C.REFUSED),  # no channel with the 'From' address
    "63008": (_P, _C.REFUSED),  # channel module misconfigured
    "63009": (_G, _C.UNREACHABLE),  # channel provider returned an error
    "63010": (_G, _C.UNREACHABLE),  # channels: internal error
    "63011": (_G, _C.UNREACHABLE),  # channel provider failed to process the request
    "63012": (_G, _C.UNREACHABLE),  # channel provider returned an internal service error
    "63013": (_P, _C.REFUSED),  # violates the channel provider's policy
    "63014": (_P, _C.DENYLISTED),  # blocked by a user action
    "63015": (_P, _C.REFUSED),  # sandbox: the recipient has not joined
    "63016": (_P, _C.REFUSED),  # outside the messaging window
    "63017": (_G, _C.REFUSED),  # rate limited by the channel
    "63018": (_G, _C.REFUSED),  # rate limit exceeded for the channel
    "63019": (_P, _C.REFUSED),  # media failed to download
    "63020": (_P, _C.REFUSED),  # business did not accept the invitation
    "63021": (_P, _C.REFUSED),  # channel invalid content
    "63022": (_P, _C.REFUSED),  # invalid certificate of the business's name
    "63023": (_G, _C.UNDEFINED),  # channel generic error
    "63024": (_P, _C.USER_UNKNOWN),  # invalid message recipient
    "63025": (_P, _C.REFUSED),  # media already exists
    "63026": (_P, _C.REFUSED),  # message type not supported by the channel
    "63027": (_P, _C.PERSONALIZATION),  # template does not exist for the language
    "63028": (_P, _C.PERSONALIZATION),  # number of parameters does not match the template
    "63029": (_G, _C.UNREACHABLE),  # receiver failed to download the template
    "63030": (_P, _C.REFUSED),  # unsupported parameter
    "63031": (_P, _C.REFUSED),  # 'From' and 'To' are the same
    "63032": (_P, _C.REFUSED),  # the recipient is in an experiment of the provider's
    "63033": (_P, _C.USER_UNKNOWN),  # recipient unavailable on the channel (deprecated)
    "63038": (_G, _C.REFUSED),  # account exceeded the daily messages limit
    "63049": (_G, _C.REFUSED),  # the provider chose not to deliver this marketing message
}


#: Never sent, whatever the status says: the recipient has opted out (STOP).
_OPTED_OUT = "21610"

#: Event types of Event Streams that are not about an outbound message's status.
_NOT_OUTBOUND = ("com.twilio.messaging.inbound-message.", "com.twilio.engagement.")


class Report(NamedTuple):
    """One report, whatever its shape: its fields by the names of the callback, and what only a CloudEvent has."""

    fields: dict[str, Any]
    time: datetime | None
    #: Where our own ids may travel.
    places: tuple[dict[str, Any], ...]


def read(element: object, context: Context) -> list[Finding]:
    """Read one status."""
    report = _report(element)
    if isinstance(report, NoStatus | Unknown):
        return [report]
    fields = report.fields
    native = text_of(fields.get("MessageStatus")) or text_of(fields.get("SmsStatus"))
    if native is None:
        raise PayloadError("no status ('MessageStatus')")
    native = native.lower()
    if native not in TABLE:
        return [Unknown(native)]
    means = TABLE[native]
    if means is None:
        return [NoStatus(native)]
    native_id = required(first_identifier(fields.get("MessageSid"), fields.get("SmsSid")), "message id ('MessageSid')")
    ours = ours_in(context, *report.places)
    reason = _reason(fields, means)
    opted_out = reason is not None and reason.provider_code == _OPTED_OUT
    return [
        event_of(
            ADAPTER,
            context,
            native_id,
            ours,
            time=report.time or context.received,
            status=Status.IGNORED if opted_out and means.status is Status.FAILED else means.status,
            recipient=identifier(fields.get("To")),
            reason=reason,
        )
    ]


def _report(element: object) -> Report | NoStatus | Unknown:
    record = fields_of(element)
    data = record.get("data")
    if not isinstance(data, dict):
        return Report(record, None, (record,))
    kind = text_of(record.get("type")) or "an event without a type"
    if kind.startswith(_NOT_OUTBOUND):
        return NoStatus(kind)
    if "messageStatus" not in data:
        return Unknown(kind)
    # Event Streams: the callback's names in lower camel case.
    fields = {name[:1].upper() + name[1:]: value for name, value in data.items()}
    time = time_of(record.get("time")) or time_of(data.get("timestamp"))
    return Report(fields, time, (part_of(data, "tags"), _query_of(data.get("statusCallBackUrl"))))


def _query_of(address: object) -> dict[str, Any]:
    # The callback address's query, which a callback has among its parameters.
    return query_of(address.partition("?")[2]) if isinstance(address, str) else {}


def _reason(fields: dict[str, Any], means: Means) -> Reason | None:
    code = text_of(fields.get("ErrorCode"))
    if code in (None, "0") and means.status is not Status.FAILED:
        return None
    text = text_of(fields.get("ErrorMessage"))
    permanence, category = qualify_by_code(means, ERRORS.get(code or ""), text)
    done = text_of(fields.get("RawDlrDoneDate"))
    if done is not None:
        text = text_of(f"carrier's done date {done}; {text}" if text else f"carrier's done date {done}")
    if code == _OPTED_OUT:
        permanence = None
    return Reason(permanence=permanence, category=category, provider_code=code, text=text)


ADAPTER = Adapter("twilio", Channel.SMS, TABLE, read)
