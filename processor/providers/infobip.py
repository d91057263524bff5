"""Read Infobip delivery reports: SMS v2 and v3, Messages API, and the same reports of its other channels.

A report is `{"results": [...]}`, up to 100 of them, or one of these alone. The *name* of the status decides: its id
means something else on other channels, and group DELIVERED holds a status that is not final. A name without a row
takes its group's row, for Infobip has hundreds of names and adds more; not so in group DELIVERED.

Source: Infobip docs, "Response status and error codes", and the API clients' models (RcsStatusReason lists the names),
2026-08. A report to an e-mail address is about an e-mail.

`error.permanent` says whether the *number* is dead, so it is the shade of a failure and never makes one.

In the console: a subscription or `notifyUrl` for delivery reports; our ids in `callbackData`.

Signature: by subscription: basic, OAuth or HMAC.

Traps: DELIVERED_TO_OPERATOR is in group DELIVERED and not final. Ids of statuses overlap between channels. Duplicates
inside one POST are seen.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

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
from processor.providers.carried import reference_of
from processor.providers.fields import identifier, object_of, part_of, required, text_of, time_of
from processor.providers.identity import event_of, ours_in
from processor.providers.reasons import enhanced_code_in, qualify, reply_code_in

_C = Category
_ACCEPTED = Means(Status.TAKEN_INTO_ACCOUNT)
_GAVE_UP = Means(Status.FAILED, Permanence.GAVE_UP, _C.UNREACHABLE)
_LATER = Means(Status.FAILED, Permanence.GAVE_UP, _C.REFUSED)
_REFUSED = Means(Status.FAILED, Permanence.PERMANENT, _C.REFUSED)
_NO_NUMBER = Means(Status.FAILED, Permanence.PERMANENT, _C.USER_UNKNOWN)
_IGNORED = Means(Status.IGNORED, category=_C.DENYLISTED)

TABLE: dict[str, Means | None] = {
    # Group ACCEPTED, of the newer APIs: Infobip has it.
    "ACCEPTED": _ACCEPTED,
    # Group PENDING: intermediate.
    "PENDING": _ACCEPTED,
    "PENDING_ACCEPTED": _ACCEPTED,  # accepted, on its way to the operator
    "PENDING_TIME_VIOLATION": _ACCEPTED,  # held until the hours in which it may be sent
    "PENDING_WAITING_DELIVERY": Means(Status.SENT),  # sent to the operator, waits for its report
    "PENDING_ENROUTE": Means(Status.SENT),  # passed on to the next instance
    # Group UNDELIVERABLE: sent to the operator and not delivered.
    "UNDELIVERABLE": Means(Status.FAILED, Permanence.PERMANENT),
    "UNDELIVERABLE_REJECTED_OPERATOR": _REFUSED,  # the operator refused it
    "UNDELIVERABLE_NOT_DELIVERED": Means(Status.FAILED, Permanence.PERMANENT, _C.UNREACHABLE),  # nothing more said
    "UNDELIVERABLE_NOT_SENT": _GAVE_UP,  # it could not be sent
    "UNDELIVERABLE_REJECTED_PLATFORM": _REFUSED,  # an invalid or malformed request
    # Group DELIVERED: without a name no more is known than that the operator has it.
    "DELIVERED": Means(Status.SENT),
    "DELIVERED_TO_OPERATOR": Means(Status.SENT),  # intermediate: the handset may follow
    "DELIVERED_TO_HANDSET": Means(Status.RECEIVED_ON_MOBILE),
    "MO_DELIVERED": None,  # an inbound message was forwarded to us
    # Group EXPIRED: the validity period, 48 hours by default, ran out.
    "EXPIRED": _GAVE_UP,
    "EXPIRED_EXPIRED": _GAVE_UP,
    "EXPIRED_UNKNOWN": _GAVE_UP,
    # Group EXPIRED or REJECTED: blocked as artificial traffic.
    "SIGNALS_BLOCKED": _REFUSED,
    # Group REJECTED: by Infobip, before the operator had it.
    "REJECTED": _REFUSED,
    "REJECTED_NETWORK": _REFUSED,  # the network is not covered, or not set up for the account
    "REJECTED_PREFIX_MISSING": _NO_NUMBER,  # not a valid number prefix
    "REJECTED_DND": _IGNORED,  # on the Do Not Disturb list
    "REJECTED_SOURCE": _REFUSED,  # sender not registered
    "REJECTED_NOT_ENOUGH_CREDITS": _LATER,  # of the account
    "REJECTED_SENDER": _REFUSED,  # sender on a list
    "REJECTED_DESTINATION": _NO_NUMBER,  # not a valid number; with id 14 it is the next, by its older name
    "REJECTED_DESTINATION_BLOCKLISTED": _IGNORED,  # the number is on a list: by its own wish, or by ours
    "REJECTED_NOT_REACHABLE": _NO_NUMBER,  # not a reachable number
    "REJECTED_PREPAID_PACKAGE_EXPIRED": _LATER,  # of the account
    "REJECTED_DESTINATION_NOT_REGISTERED": _REFUSED,  # a trial account sends to registered numbers only
    "REJECTED_ROUTE_NOT_AVAILABLE": _GAVE_UP,  # no route set up
    "REJECTED_FLOODING_FILTER": _LATER,  # too many of the same to one number
    "REJECTED_SYSTEM_ERROR": _GAVE_UP,  # of Infobip's
    "REJECTED_DUPLICATE_MESSAGE_ID": Means(Status.FAILED, Permanence.PERMANENT, _C.DUPLICATE),
    "REJECTED_INVALID_UDH": _REFUSED,  # user data header
    "REJECTED_MESSAGE_TOO_LONG": _REFUSED,
    "REJECTED_NOT_SENT": _LATER,  # refused without a reason
    "REJECTED_MONTHLY_LIMIT_REACHED": _LATER,
    "REJECTED_SMPP_SESSION_CLOSED": _GAVE_UP,
    "REJECTED_GATEWAY_DATA_TOO_LONG": _REFUSED,
    "REJECTED_INVALID_TRACKING_DATA": _REFUSED,
    "REJECTED_INVALID_COUNT": _REFUSED,
    "REJECTED_FREE_TRIAL_EXCEEDED": _REFUSED,
    "REJECTED_SUBSCRIPTION_PLAN_NOT_ACTIVE": _REFUSED,
    "REJECTED_UNREACHABLE_DESTINATION": _NO_NUMBER,
    "REJECTED_BLOCKED_TEMPLATE": _REFUSED,
    "REJECTED_INVALID_PLATFORM_PARAMETERS": _REFUSED,
    "REJECTED_SHORT_DOMAIN_NOT_VERIFIED": _REFUSED,
    "REJECTED_INVALID_BYO_EXTERNAL_ID": _REFUSED,
    "MISSING_TO": Means(Status.FAILED, Permanence.PERMANENT, _C.ADDRESS_NOT_SPECIFIED),
    "MISSING_FROM": _REFUSED,
    "INVALID_DESTINATION_ADDRESS": _NO_NUMBER,
    "CONCATENATED_MESSAGE_TOO_LONG": _REFUSED,
    "INVALID_SUBACCOUNT_NAME": _REFUSED,
    "INVALID_COMPANY_ID": _REFUSED,
    "INVALID_CLIENT_NETWORK": _REFUSED,
    "CURRENCY_CHANGE_IN_PROGRESS": _LATER,
    "SIM_SWAP_DETECTED": _REFUSED,
    "DEACTIVATED_LIST": Means(Status.FAILED, Permanence.PERMANENT, _C.ACCOUNT_DISABLED),  # a number given back
    "VOLUMETRIC_BLOCKED": _REFUSED,  # blocked as artificial traffic
}

#: The operator never said what became of it: neither a success nor a failure. Without rows.
_SAYS_NOTHING = ("EXPIRED_DLR_UNKNOWN",)

#: "REJECTED_DESTINATION" was the name of "REJECTED_DESTINATION_BLOCKLISTED", whose id is 14.
_BLOCKLISTED_ID = (14, "14")

_P = Permanence.PERMANENT
_G = Permanence.GAVE_UP

#: How final, where `permanent` is absent, and of what kind, by the error's name without "EC_", in upper case.
#: The names up to 72 are MAP errors (3GPP TS 29.002).
ERRORS: dict[str, tuple[Permanence, Category]] = {
    # Group HANDSET_ERRORS.
    "UNKNOWN_SUBSCRIBER": (_P, _C.USER_UNKNOWN),  # 1
    "UNKNOWN_BASE_STATION": (_G, _C.UNREACHABLE),  # 2
    "UNKNOWN_MSC": (_G, _C.UNREACHABLE),  # 3
    "UNIDENTIFIED_SUBSCRIBER": (_G, _C.USER_UNKNOWN),  # 5
    "ABSENT_SUBSCRIBER_SM": (_G, _C.NOT_CONNECTED),  # 6
    "UNKNOWN_EQUIPMENT": (_G, _C.REFUSED),  # 7
    "ROAMING_NOT_ALLOWED": (_G, _C.NOT_CONNECTED),  # 8
    "ILLEGAL_SUBSCRIBER": (_P, _C.ACCOUNT_DISABLED),  # 9
    "BEARER_SERVICE_NOT_PROVISIONED": (_P, _C.REFUSED),  # 10
    "TELESERVICE_NOT_PROVISIONED": (_P, _C.REFUSED),  # 11
    "ILLEGAL_EQUIPMENT": (_P, _C.ACCOUNT_DISABLED),  # 12
    "CALL_BARRED": (_P, _C.REFUSED),  # 13
    "SS_INCOMPATIBILITY": (_G, _C.REFUSED),  # 20
    "FACILITY_NOT_SUPPORTED": (_G, _C.REFUSED),  # 21
    "ABSENT_SUBSCRIBER": (_G, _C.NOT_CONNECTED),  # 27
    "SUBSCRIBER_BUSY_FOR_MT_SMS": (_G, _C.UNREACHABLE),  # 31
    "SM_DELIVERY_FAILURE": (_G, _C.UNREACHABLE),  # 32
    "MESSAGE_WAITING_LIST_FULL": (_G, _C.MAILBOX_FULL),  # 33
    "SYSTEM_FAILURE": (_G, _C.UNREACHABLE),  # 34
    "DATA_MISSING": (_G, _C.UNREACHABLE),  # 35
    "UNEXPECTED_DATA_VALUE": (_G, _C.UNREACHABLE),  # 36
    "RESOURCE_LIMITATION": (_G, _C.UNREACHABLE),  # 51
    "NUMBER_CHANGED": (_P, _C.USER_UNKNOWN),
    "UNKNOWN_ALPHABET": (_P, _C.REFUSED),  # 71
    "USSD_BUSY": (_G, _C.UNREACHABLE),  # 72
    "SM_DF_MEMORYCAPACITYEXCEEDED": (_G, _C.MAILBOX_FULL),  # 256: of the handset
    "SM_DF_EQUIPMENTPROTOCOLERROR": (_G, _C.UNREACHABLE),  # 257
    "SM_DF_EQUIPMENTNOTSM_EQUIPPED": (_G, _C.REFUSED),  # 258
    "SM_DF_UNKNOWNSERVICECENTRE": (_G, _C.UNREACHABLE),  # 259
    "SM_DF_SC_CONGESTION": (_G, _C.UNREACHABLE),  # 260
    "SM_DF_INVALIDSME_ADDRESS": (_G, _C.USER_UNKNOWN),  # 261
    "SM_DF_SUBSCRIBERNOTSC_SUBSCRIBER": (_G, _C.REFUSED),  # 262
    # Group OPERATOR_ERRORS and the network's.
    "PROVIDER_GENERAL_ERROR": (_G, _C.UNREACHABLE),  # 500
    "INVALID_RESPONSE_RECEIVED": (_G, _C.UNREACHABLE),  # 501
    "NO_RESPONSE": (_G, _C.UNREACHABLE),  # 502
    "SERVICE_COMPLETION_FAILURE": (_G, _C.UNREACHABLE),  # 503
    "UNEXPECTED_RESPONSE_FROM_PEER": (_G, _C.UNREACHABLE),  # 504
    "MISTYPED_PARAMETER": (_G, _C.REFUSED),  # 507
    "NOT_SUPPORTED_SERVICE": (_G, _C.REFUSED),  # 508
    "DUPLICATED_INVOKE_ID": (_G, _C.UNREACHABLE),  # 509
    "INITIATING_RELEASE": (_G, _C.UNREACHABLE),  # 511
    "OR_REMOTENODENOTREACHABLE": (_G, _C.UNREACHABLE),  # 1031
    "NNR_NOTRANSLATIONFORANADDRESSOFSUCHNATUR": (_G, _C.UNREACHABLE),  # 1152
    "NNR_NOTRANSLATIONFORTHISSPECIFICADDRESS": (_G, _C.UNREACHABLE),  # 1153
    "NNR_SUBSYSTEMCONGESTION": (_G, _C.UNREACHABLE),  # 1154
    "NNR_SUBSYSTEMFAILURE": (_G, _C.UNREACHABLE),  # 1155
    "NNR_MTPFAILURE": (_G, _C.UNREACHABLE),  # 1157
    "NNR_NETWORKCONGESTION": (_G, _C.UNREACHABLE),  # 1158
    "UA_USERSPECIFICREASON": (_G, _C.UNREACHABLE),  # 1281
    "PA_PROVIDERMALFUNCTION": (_G, _C.UNREACHABLE),  # 1536
    "TIME_OUT": (_G, _C.UNREACHABLE),  # 2048
    "IMSI_BLACKLISTED": (_P, _C.DENYLISTED),  # 2049
    "DEST_ADDRESS_BLACKLISTED": (_P, _C.DENYLISTED),  # 2050
    "INVALIDMSCADDRESS": (_G, _C.UNREACHABLE),  # 2051
    "TEXT_BLACKLISTED": (_P, _C.REFUSED),  # 2052
    "INVALIDPDUFORMAT": (_P, _C.REFUSED),  # 4096
    "NOTSUBMITTEDTOGMSC": (_G, _C.UNREACHABLE),  # 4097
    "CANCELLED": (_P, _C.UNDEFINED),  # 4100
    "VALIDITYEXPIRED": (_G, _C.UNREACHABLE),  # 4101
    "NOTSUBMITTEDTOSMPPCHANNEL": (_G, _C.UNREACHABLE),  # 4102
    "DESTINATION_FLOODING": (_G, _C.REFUSED),  # 4103
    "DESTINATION_TXT_FLOODING": (_G, _C.REFUSED),  # 4104
    # Group USER_ERRORS.
    "INVALID_DESTINATION_ADDRESS": (_P, _C.USER_UNKNOWN),
    "INVALID_SOURCE_ADDRESS": (_P, _C.REFUSED),
    "SENDER_NOT_REGISTERED": (_P, _C.REFUSED),
    "SPAM_CONTENT": (_P, _C.REFUSED),
    "UNSUBSCRIBED": (_P, _C.DENYLISTED),
    "SUBSCRIBER_INSUFFICIENT_BALANCE": (_G, _C.REFUSED),
    "UNKNOWN_ERROR": (_G, _C.UNDEFINED),
}

_NO_ERROR = ("NO_ERROR", "OK", "VOICE_ANSWERED")


def split(payload: object) -> Iterable[object]:
    """Split a batch: `results`, alone or in an array of several reports."""
    for element in elements_of(payload):
        results = element.get("results") if isinstance(element, dict) else None
        if isinstance(results, list):
            yield from results
        else:
            yield element


def read(element: object, context: Context) -> list[Finding]:
    """Read one result."""
    report = object_of(element)
    status = part_of(report, "status")
    name = (text_of(status.get("name")) or text_of(status.get("groupName")) or "").upper()
    if not name:
        return [_without_status(report)]
    row = _row(name, status)
    if row is None:
        return [Unknown(name)]
    means = _IGNORED if row == "REJECTED_DESTINATION" and status.get("id") in _BLOCKLISTED_ID else TABLE[row]
    if means is None:
        return [NoStatus(name)]
    native_id = required(report.get("messageId"), "message id ('messageId')")
    recipient = identifier(report.get("to")) or identifier(report.get("destination"))
    is_email = recipient is not None and "@" in recipient
    outcome = means.status
    if is_email and outcome is Status.RECEIVED_ON_MOBILE:
        # The recipient's server took it; there is no handset.
        outcome = Status.SENT
    data = report.get("callbackData")
    places = ({"callbackData": data}, reference_of(data))
    ours = ours_in(context, *places)
    return [
        event_of(
            ADAPTER,
            context,
            native_id,
            ours,
            time=time_of(report.get("doneAt")) or time_of(report.get("sentAt")) or context.received,
            status=outcome,
            recipient=recipient,
            reason=_reason(name, means, status, part_of(report, "error")),
            channel=Channel.EMAIL if is_email else Channel.SMS,
        )
    ]


def _without_status(report: dict[str, Any]) -> NoStatus:
    """Name a result that is not a delivery report: an open, a click, a reply, a "seen"."""
    event = text_of(report.get("notificationType")) or text_of(report.get("event"))
    if event is not None and event.upper() != "DELIVERY":
        return NoStatus(event)
    if "seenAt" in report:
        return NoStatus("seen")
    if "receivedAt" in report:
        return NoStatus("inbound message")
    raise PayloadError("no status ('status.name')")


def _row(name: str, status: dict[str, Any]) -> str | None:
    """Find the row of the table: the name's own, else that of its group; None when neither says anything."""
    if name in TABLE:
        return name
    group = (text_of(status.get("groupName")) or "").upper()
    # A name of group DELIVERED may mean the operator or the handset.
    return group if group in TABLE and group != "DELIVERED" and name not in _SAYS_NOTHING else None


def _reason(name: str, means: Means, status: dict[str, Any], error: dict[str, Any]) -> Reason | None:
    if means.status not in (Status.FAILED, Status.IGNORED):
        return None
    code = text_of(error.get("name"))
    if code is not None and code.upper() in _NO_ERROR:
        code = None
    text = (text_of(error.get("description")) if code else None) or text_of(status.get("description"))
    row = ERRORS.get(code.upper().removeprefix("EC_")) if code else None
    enhanced = enhanced_code_in(text)
    dead = error.get("permanent") if code is not None else None
    # What expired was given up on, whatever the error; and Infobip may say plainly whether an error is for good.
    stays = name.startswith("EXPIRED")
    if isinstance(dead, bool) and means.permanence is not None and not stays:
        means, stays = means._replace(permanence=Permanence.PERMANENT if dead else Permanence.GAVE_UP), True
    permanence, category = qualify(
        means.permanence,
        own=means.category if row is None and enhanced is None else None,
        enhanced_code=enhanced,
        reply_code=reply_code_in(text) if enhanced is not None else None,
        row=row,
        text=text,
        otherwise=means.category,
        label_stays=stays,
    )
    return Reason(permanence=permanence, category=category, code=enhanced or name, provider_code=code, text=text)


ADAPTER = Adapter("infobip", Channel.SMS, TABLE, read, split)
