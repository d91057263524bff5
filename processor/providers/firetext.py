"""Read Firetext delivery receipts: a form body a message (`status`, and `code` where it failed).

Source: Firetext API documentation, "Delivery receipts" (status and codes); GOV.UK Notify tells how final each code is
(alphagov/notifications-api, app/clients/sms/firetext.py, MIT), 2026-08.

At Firetext: a receipt address (`receipt`) with each message, and an id of ours as its `reference`, which comes back
and, with the recipient, names the message here: one request may have 50 recipients. Where it is our message id itself,
`reference` belongs to the configured names of it.

Traps: Firetext gives no id of its own. Status 1 alone says that it failed, and `code` how finally; many
receipts have none. `time` is British time without a zone: it goes into the reason's text.

Signature: none; a secret in the address.
"""

from __future__ import annotations

from typing import Any

from processor.domain.reason import Category, Reason
from processor.domain.status import Channel, Permanence, Status
from processor.providers.adapter import Adapter, Context, Finding, Means, Memory, PayloadError, Unknown
from processor.providers.carried import fields_of
from processor.providers.fields import identifier, required, text_of
from processor.providers.identity import event_of, ours_in
from processor.providers.reasons import qualify_by_code

TABLE: dict[str, Means | None] = {
    # Delivered to the handset.
    "0": Means(Status.RECEIVED_ON_MOBILE),
    # Declined: not delivered.
    "1": Means(Status.FAILED, Permanence.PERMANENT),
    # Pending: the network has it and keeps trying.
    "2": Means(Status.TAKEN_INTO_ACCOUNT, Permanence.TRANSIENT, Category.UNREACHABLE),
}

_P = Permanence.PERMANENT
_G = Permanence.GAVE_UP
_C = Category

#: How final and of what kind, by code.
CODES: dict[str, tuple[Permanence, Category]] = {
    "000": (_G, _C.UNDEFINED),  # no error reported
    "101": (_P, _C.USER_UNKNOWN),  # unknown subscriber
    "102": (_G, _C.NOT_CONNECTED),  # absent subscriber
    "103": (_G, _C.UNREACHABLE),  # subscriber busy
    "104": (_G, _C.MAILBOX_FULL),  # no subscriber memory
    "201": (_P, _C.USER_UNKNOWN),  # invalid number
    "301": (_P, _C.REFUSED),  # SMS not supported
    "302": (_G, _C.REFUSED),  # SMS not supported, for now
    "401": (_P, _C.REFUSED),  # message rejected
    "900": (_G, _C.UNREACHABLE),  # routing error
}


def read(element: object, context: Context) -> list[Finding]:
    """Read one receipt."""
    fields = fields_of(element)
    native = text_of(fields.get("status"))
    if native is None:
        raise PayloadError("no status ('status')")
    means = TABLE.get(native)
    if means is None:
        return [Unknown(native)]
    native_id = required(fields.get("reference"), "message id ('reference')")
    ours = ours_in(context, fields)
    code, recipient = _code(fields.get("code")), identifier(fields.get("mobile"))
    name = f"{native_id} {recipient}"
    permanence, category = qualify_by_code(means, CODES.get(code or ""))
    if means.permanence is Permanence.TRANSIENT:
        _remember_pending(name, context.memory)
    elif code is None and context.memory is not None and context.memory.recall(name):
        permanence = Permanence.GAVE_UP
    return [
        event_of(
            ADAPTER,
            context,
            native_id,
            ours,
            time=context.received,
            status=means.status,
            recipient=recipient,
            reason=None if means.permanence is None else _reason(native, permanence, category, code, fields),
        )
    ]


def _code(value: object) -> str | None:
    # Codes have three digits; a number in JSON has lost its zeros.
    code = text_of(value)
    return code.zfill(3) if code is not None else None


def _remember_pending(name: str, memory: Memory | None) -> None:
    """Note that the network kept trying: what then fails without a code is given up, as GOV.UK Notify reads it."""
    if memory is not None:
        memory.keep(name, ("pending",))


def _reason(
    native: str, permanence: Permanence | None, category: Category | None, code: str | None, fields: dict[str, Any]
) -> Reason:
    time = text_of(fields.get("time"))
    text = f"time {time}" if time is not None else None
    return Reason(permanence=permanence, category=category, code=native, provider_code=code, text=text_of(text))


ADAPTER = Adapter("firetext", Channel.SMS, TABLE, read, remembers=True, id_covers_several=True)
