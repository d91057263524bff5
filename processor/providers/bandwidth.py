"""Read Bandwidth messaging callbacks: an array of them, each about one recipient.

A group message has one id and one callback for each of its recipients, told by `to`; `message.to` lists them all.

Source: Bandwidth docs, "Messaging webhooks" and "Messaging errors", 2026-08.

Our own ids travel in `message.tag`, one text.

In the console: a callback address on the application; our ids in `tag`.

Signature: none: basic auth.

Traps: `message-delivered` is the hand-off to the carrier unless receipts are switched on. Duplicates are documented.
"""

from __future__ import annotations

from typing import Any

from processor.domain.reason import Category, Reason
from processor.domain.status import Channel, Permanence, Status
from processor.providers.adapter import Adapter, Context, Finding, Means, NoStatus, PayloadError, Unknown
from processor.providers.carried import reference_of
from processor.providers.fields import identifier, object_of, part_of, required, text_of, time_of
from processor.providers.identity import event_of, ours_in
from processor.providers.reasons import qualify_by_code

_C = Category

TABLE: dict[str, Means | None] = {
    # Between Bandwidth's acceptance and the end; for MMS only.
    "message-sending": Means(Status.TAKEN_INTO_ACCOUNT),
    # Handed off to the downstream carrier.
    "message-delivered": Means(Status.SENT),
    # It failed, at Bandwidth or at the carrier.
    "message-failed": Means(Status.FAILED, Permanence.PERMANENT),
    # RCS: the recipient opened it. Engagement, not delivery.
    "message-read": None,
    # Inbound: a message, or an answer to an RCS suggestion.
    "message-received": None,
    "request-location-response": None,
    "suggestion-response": None,
}

#: Of a toll-free sender, "message-delivered" with the description "ok" is the receipt of the recipient's device.
_TOLL_FREE = ("+1800", "+1833", "+1844", "+1855", "+1866", "+1877", "+1888")

_P = Permanence.PERMANENT
_G = Permanence.GAVE_UP

#: How final and of what kind, by errorCode.
ERRORS: dict[str, tuple[Permanence, Category]] = {
    # Bandwidth refused it.
    "4001": (_P, _C.REFUSED),  # service not allowed
    "4301": (_P, _C.REFUSED),  # malformed encoding
    "4302": (_P, _C.REFUSED),  # malformed from number
    "4303": (_P, _C.USER_UNKNOWN),  # malformed to number
    "4350": (_P, _C.USER_UNKNOWN),  # malformed for the destination, likely an invalid number
    "4360": (_G, _C.UNREACHABLE),  # not sent: the expiration date has passed
    "4401": (_P, _C.UNREACHABLE),  # routing error
    "4403": (_P, _C.REFUSED),  # forbidden from number
    "4404": (_P, _C.USER_UNKNOWN),  # forbidden to number: not active, or invalid
    "4405": (_P, _C.REFUSED),  # unallocated from number
    "4406": (_P, _C.USER_UNKNOWN),  # unallocated to number
    "4407": (_P, _C.REFUSED),  # from number of another account
    "4408": (_P, _C.USER_UNKNOWN),  # to number of no account
    "4409": (_P, _C.REFUSED),  # invalid destination profile: no MMS
    "4410": (_P, _C.REFUSED),  # media unavailable
    "4411": (_P, _C.REFUSED),  # media too large
    "4412": (_P, _C.REFUSED),  # media content type not supported
    "4420": (_P, _C.UNREACHABLE),  # carrier does not exist
    "4421": (_P, _C.UNREACHABLE),  # no destination
    "4431": (_P, _C.REFUSED),  # short code forbidden
    "4432": (_P, _C.REFUSED),  # country forbidden
    "4433": (_P, _C.REFUSED),  # toll-free forbidden
    "4434": (_P, _C.REFUSED),  # toll-free recipient forbidden
    "4435": (_P, _C.REFUSED),  # too many recipients
    "4451": (_P, _C.REFUSED),  # wrong user id
    "4452": (_P, _C.REFUSED),  # wrong application id
    "4470": (_P, _C.REFUSED),  # spam, detected by Bandwidth
    "4481": (_P, _C.REFUSED),  # from number on a list
    "4482": (_P, _C.DENYLISTED),  # to number on a list
    "4492": (_P, _C.REFUSED),  # emergency number
    "4493": (_P, _C.REFUSED),  # unauthorized
    # The carrier refused it.
    "4700": (_P, _C.REFUSED),  # invalid service type: no SMS or MMS there
    "4701": (_G, _C.UNREACHABLE),  # service not available at the destination
    "4702": (_G, _C.NOT_CONNECTED),  # subscriber unavailable
    "4711": (_P, _C.REFUSED),  # media too large
    "4712": (_P, _C.REFUSED),  # media content type not supported
    "4720": (_P, _C.USER_UNKNOWN),  # invalid destination address
    "4721": (_P, _C.ACCOUNT_DISABLED),  # number on the deactivation list
    "4730": (_P, _C.UNREACHABLE),  # no route to the carrier
    "4740": (_P, _C.REFUSED),  # invalid source address
    "4750": (_P, _C.REFUSED),  # rejected without a reason
    "4751": (_P, _C.REFUSED),  # invalid message length
    "4752": (_P, _C.REFUSED),  # malformed for the carrier
    "4753": (_P, _C.REFUSED),  # the handset rejected it
    "4770": (_P, _C.REFUSED),  # spam, detected by the carrier
    "4771": (_P, _C.REFUSED),  # shortened address
    "4772": (_P, _C.REFUSED),  # sender or receiver blocked
    "4773": (_P, _C.REFUSED),  # inactive campaign
    "4774": (_P, _C.REFUSED),  # number not provisioned in the industry's database
    "4775": (_P, _C.DENYLISTED),  # the user opted out
    "4780": (_G, _C.REFUSED),  # T-Mobile's daily limit
    "4781": (_G, _C.REFUSED),  # AT&T's limit
    "4785": (_G, _C.REFUSED),  # another carrier's limit: retry later
    "4790": (_P, _C.REFUSED),  # short code restriction
    "4791": (_P, _C.REFUSED),  # short code campaign not allowed
    "4792": (_P, _C.REFUSED),  # short code not provisioned
    "4793": (_P, _C.REFUSED),  # short code expired
    "4795": (_P, _C.REFUSED),  # toll-free number not verified
    # Bandwidth failed.
    "5100": (_G, _C.UNREACHABLE),  # temporary application error
    "5101": (_G, _C.UNREACHABLE),  # application shutdown
    "5106": (_G, _C.UNREACHABLE),  # impossible to route, after retries
    "5111": (_G, _C.UNREACHABLE),  # connection closed
    "5201": (_G, _C.UNREACHABLE),  # retries exceeded
    "5211": (_G, _C.UNREACHABLE),  # application busy
    "5220": (_G, _C.UNREACHABLE),  # store error
    "5231": (_G, _C.UNREACHABLE),  # not all parts came in
    "5500": (_G, _C.UNREACHABLE),  # general failure of the carrier
    "5501": (_G, _C.UNREACHABLE),  # no destination available
    "5999": (_G, _C.UNDEFINED),  # unknown error of Bandwidth's
    # The carrier failed.
    "5600": (_G, _C.UNREACHABLE),  # carrier's queue full, congestion, throttling
    "5610": (_G, _C.UNREACHABLE),  # submission failed
    "5620": (_G, _C.UNREACHABLE),  # carrier's application error
    "5630": (_G, _C.UNREACHABLE),  # not acknowledged
    "5650": (_G, _C.UNREACHABLE),  # destination failed
    "9902": (_G, _C.UNDEFINED),  # no receipt in time: it may have been delivered
    "9999": (_G, _C.UNDEFINED),  # unknown error of the carrier's
}


def read(element: object, context: Context) -> list[Finding]:
    """Read one callback."""
    callback = object_of(element)
    native = text_of(callback.get("type"))
    if native is None:
        raise PayloadError("no event type ('type')")
    native = native.lower()
    if native not in TABLE:
        return [Unknown(native)]
    means = TABLE[native]
    if means is None:
        return [NoStatus(native)]
    message = part_of(callback, "message")
    if message.get("direction") == "in":
        return [NoStatus("inbound message")]
    native_id = required(message.get("id"), "message id ('message.id')")
    to = message.get("to")
    recipients = to if isinstance(to, list) else [to]
    recipient = identifier(callback.get("to")) or (identifier(recipients[0]) if len(recipients) == 1 else None)
    tag = message.get("tag")
    places = ({"tag": tag}, reference_of(tag))
    ours = ours_in(context, *places)
    description = text_of(callback.get("description"))
    return [
        event_of(
            ADAPTER,
            context,
            native_id,
            ours,
            time=time_of(callback.get("time")) or context.received,
            status=Status.RECEIVED_ON_MOBILE if _is_on_device(native, message, description) else means.status,
            recipient=recipient,
            names_several=len(recipients) > 1,
            reason=_reason(means, text_of(callback.get("errorCode")), description),
        )
    ]


def _is_on_device(native: str, message: dict[str, Any], description: str | None) -> bool:
    sender = message.get("from")
    return (
        native == "message-delivered"
        and description in ("ok", "OK")
        and isinstance(sender, str)
        and sender.startswith(_TOLL_FREE)
        and not message.get("media")
    )


def _reason(means: Means, code: str | None, description: str | None) -> Reason | None:
    if means.permanence is None:
        return None
    row = ERRORS.get(code or "")
    if row is None and code is not None and code.startswith("5"):
        # By its documentation 4xxx is refused for good, and 5xxx failed on the way.
        row = Permanence.GAVE_UP, Category.UNREACHABLE
    permanence, category = qualify_by_code(means, row, description)
    return Reason(permanence=permanence, category=category, provider_code=code, text=description)


ADAPTER = Adapter("bandwidth", Channel.SMS, TABLE, read, id_covers_several=True)
