"""Read MMG delivery receipts: a JSON object a message (`status` and `substatus`), or the same names as a form.

Source: MMG's API guide is not public; its statuses and substatuses are known from GOV.UK Notify
(alphagov/notifications-api, app/clients/sms/mmg.py, MIT), 2026-08.

At MMG: a delivery receipt address (`delurl`) with each message, and an id of ours as its `cid`, which comes back as
`CID` and names the message here; `reference` is MMG's own, and stands in where there is no CID. Where `cid` is our
message id itself, `CID` belongs to the configured names of it.

Traps: status 3 is a success in two shades, the operator has it (2) or the handset (5). `deliverytime` is British time
without a zone: it goes into the reason's text.

Signature: none; basic auth or a token.
"""

from __future__ import annotations

from processor.domain.reason import Category, Reason
from processor.domain.status import Channel, Permanence, Status
from processor.providers.adapter import Adapter, Context, Finding, Means, PayloadError, Unknown
from processor.providers.carried import fields_of
from processor.providers.fields import first_identifier, identifier, required, text_of
from processor.providers.identity import event_of, ours_in
from processor.providers.reasons import qualify

_GAVE_UP = Permanence.GAVE_UP
_PERMANENT = Permanence.PERMANENT

#: By "status/substatus"; the row without a substatus is for one that has no row of its own.
TABLE: dict[str, Means | None] = {
    # Delivered.
    "3": Means(Status.RECEIVED_ON_MOBILE),
    "3/2": Means(Status.SENT),  # delivered to the operator
    "3/5": Means(Status.RECEIVED_ON_MOBILE),  # delivered to the handset
    # Undeliverable.
    "2": Means(Status.FAILED, _PERMANENT, Category.UNDEFINED),
    "2/1": Means(Status.FAILED, _PERMANENT, Category.USER_UNKNOWN),  # number does not exist
    "2/4": Means(Status.FAILED, _PERMANENT, Category.REFUSED),  # rejected by the operator
    "2/5": Means(Status.FAILED, _PERMANENT, Category.USER_UNKNOWN),  # unidentified subscriber
    "2/9": Means(Status.FAILED, _PERMANENT, Category.UNREACHABLE),  # undelivered
    "2/11": Means(Status.FAILED, _PERMANENT, Category.ACCOUNT_DISABLED),  # service for the subscriber suspended
    "2/12": Means(Status.FAILED, _PERMANENT, Category.ACCOUNT_DISABLED),  # illegal equipment
    "2/2049": Means(Status.FAILED, _PERMANENT, Category.REFUSED),  # the subscriber's IMSI is on a blocklist
    "2/2050": Means(Status.FAILED, _PERMANENT, Category.DENYLISTED),  # on a do-not-disturb list
    "2/2052": Means(Status.FAILED, _PERMANENT, Category.DENYLISTED),  # the destination is on a blocklist
    "2/2053": Means(Status.FAILED, _PERMANENT, Category.REFUSED),  # the sender is on a blocklist
    # A temporary condition outlived the tries.
    "4": Means(Status.FAILED, _GAVE_UP, Category.UNDEFINED),
    "4/6": Means(Status.FAILED, _GAVE_UP, Category.NOT_CONNECTED),  # absent subscriber
    "4/8": Means(Status.FAILED, _GAVE_UP, Category.NOT_CONNECTED),  # roaming not allowed
    "4/13": Means(Status.FAILED, _GAVE_UP, Category.REFUSED),  # SMS not supported
    "4/15": Means(Status.FAILED, _GAVE_UP, Category.UNREACHABLE),  # expired
    "4/27": Means(Status.FAILED, _GAVE_UP, Category.NOT_CONNECTED),  # absent subscriber
    "4/29": Means(Status.FAILED, _GAVE_UP, Category.UNREACHABLE),  # invalid delivery report
    "4/32": Means(Status.FAILED, _GAVE_UP, Category.UNREACHABLE),  # delivery failure
    # Rejected by MMG or on the way.
    "5": Means(Status.FAILED, _PERMANENT, Category.REFUSED),
    "5/6": Means(Status.FAILED, _PERMANENT, Category.UNREACHABLE),  # network out of coverage
    "5/8": Means(Status.FAILED, _PERMANENT, Category.USER_UNKNOWN),  # incorrect number prefix
    "5/10": Means(Status.FAILED, _PERMANENT, Category.DENYLISTED),  # number on a do-not-disturb service
    "5/11": Means(Status.FAILED, _PERMANENT, Category.REFUSED),  # sender id not registered
    "5/13": Means(Status.FAILED, _PERMANENT, Category.REFUSED),  # sender id on a blocklist
    "5/14": Means(Status.FAILED, _PERMANENT, Category.DENYLISTED),  # destination number on a blocklist
    "5/19": Means(Status.FAILED, _PERMANENT, Category.UNREACHABLE),  # routing unavailable
    "5/20": Means(Status.FAILED, _PERMANENT, Category.REFUSED),  # rejected by the protection against floods
    "5/21": Means(Status.FAILED, _PERMANENT, Category.UNREACHABLE),  # system error
    "5/23": Means(Status.FAILED, _PERMANENT, Category.DUPLICATE),  # duplicate message id
    "5/24": Means(Status.FAILED, _PERMANENT, Category.REFUSED),  # message formatted incorrectly
    "5/25": Means(Status.FAILED, _PERMANENT, Category.REFUSED),  # message too long
    "5/51": Means(Status.FAILED, _PERMANENT, Category.ADDRESS_NOT_SPECIFIED),  # missing recipient
    "5/52": Means(Status.FAILED, _PERMANENT, Category.USER_UNKNOWN),  # invalid destination
}


def read(element: object, context: Context) -> list[Finding]:
    """Read one receipt."""
    fields = fields_of(element)
    status, substatus = text_of(fields.get("status")), text_of(fields.get("substatus"))
    if status is None:
        raise PayloadError("no status ('status')")
    means = TABLE.get(f"{status}/{substatus}") or TABLE.get(status)
    if means is None or "/" in status:
        return [Unknown(f"{status}/{substatus}" if substatus else status)]
    native_id = required(
        first_identifier(fields.get("CID"), fields.get("reference")), "message id ('CID' or 'reference')"
    )
    ours = ours_in(context, fields)
    return [
        event_of(
            ADAPTER,
            context,
            native_id,
            ours,
            time=context.received,
            status=means.status,
            recipient=identifier(fields.get("MSISDN")),
            reason=_reason(status, substatus, means, text_of(fields.get("deliverytime"))),
        )
    ]


def _reason(status: str, substatus: str | None, means: Means, delivered: str | None) -> Reason | None:
    if means.permanence is None and substatus is None:
        return None
    text = f"delivery time {delivered}" if delivered is not None else None
    category = means.category
    if means.permanence is not None:
        _, category = qualify(means.permanence, own=means.category)
    return Reason(
        permanence=means.permanence, category=category, code=status, provider_code=substatus, text=text_of(text)
    )


ADAPTER = Adapter("mmg", Channel.SMS, TABLE, read)
