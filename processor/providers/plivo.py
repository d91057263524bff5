"""Read Plivo message status callbacks: a form body, or the same fields as JSON.

A long message has one callback for each part; `ParentMessageUUID` is the id that the API gave to the whole of it.

Source: Plivo docs, "Message status callbacks" (parameters and states) and "Messaging error codes", 2026-08.

All times are without a zone, so the record's is taken; that of the report goes into the reason's text. Our own ids
travel in the query of the callback's address: with POST they are not among the parameters, so whoever takes the
callback hands the query on (header `query`, or before the form).

In the console: a `url` with each message, whose query holds our ids.

Signature: messaging: V2, HMAC-SHA256 of address and nonce (`X-Plivo-Signature-V2`, `-V2-Nonce`; the main account's in
`-Ma-V2`), over the address without its query, and not over the parameters. V3 is of voice and of inbound messages.

Traps: three tries, 60, 120 and 240 s later, then the callback is gone. `sent` may be the last that is heard. `Sequence`
orders the callbacks of a message, but not against other times.
"""

from __future__ import annotations

import re
from typing import Any

from processor.domain.event import MAX_PARTS
from processor.domain.reason import Category, Reason
from processor.domain.status import Channel, Permanence, Status
from processor.providers.adapter import Adapter, Context, Finding, Means, NoStatus, PayloadError, Unknown
from processor.providers.carried import fields_of
from processor.providers.fields import first_identifier, required, text_of
from processor.providers.identity import event_of, number_of, ours_in
from processor.providers.reasons import qualify_by_code

TABLE: dict[str, Means | None] = {
    # Accepted by the API, and queued.
    "queued": Means(Status.TAKEN_INTO_ACCOUNT),
    # Handed to the carrier; it may stay so, where a carrier sends no reports.
    "sent": Means(Status.SENT),
    # The carrier reports that it was delivered.
    "delivered": Means(Status.RECEIVED_ON_MOBILE),
    # The carrier reports that it was not.
    "undelivered": Means(Status.FAILED, Permanence.PERMANENT),
    # It could not be handed to the carrier.
    "failed": Means(Status.FAILED, Permanence.PERMANENT),
    # Plivo refused it: an invalid number, or the account's credit.
    "rejected": Means(Status.FAILED, Permanence.PERMANENT, Category.REFUSED),
    # WhatsApp: the recipient opened it. Engagement, not delivery.
    "read": None,
    # Inbound.
    "received": None,
}

_P = Permanence.PERMANENT
_G = Permanence.GAVE_UP
_C = Category

#: How final and of what kind, by ErrorCode. A code without a row has its status's own permanence, and is UNDEFINED.
ERRORS: dict[str, tuple[Permanence, Category]] = {
    "10": (_P, _C.REFUSED),  # invalid message, says the carrier
    "20": (_G, _C.UNREACHABLE),  # network error of the carrier
    "30": (_P, _C.REFUSED),  # spam detected
    "40": (_P, _C.REFUSED),  # invalid source number
    "50": (_P, _C.USER_UNKNOWN),  # invalid destination number
    "60": (_P, _C.REFUSED),  # loop detected
    "70": (_P, _C.USER_UNKNOWN),  # destination permanently unavailable
    "80": (_G, _C.NOT_CONNECTED),  # destination temporarily unavailable: off, or out of coverage
    "90": (_G, _C.UNREACHABLE),  # no route available
    "100": (_P, _C.REFUSED),  # prohibited by the carrier: no SMS in that network
    "110": (_P, _C.REFUSED),  # message too long
    "200": (_P, _C.DENYLISTED),  # blocked by STOP from the destination number
    "201": (_P, _C.REFUSED),  # US toll-free numbers may not send to Canada
    "300": (_G, _C.UNREACHABLE),  # failed to dispatch
    "420": (_G, _C.UNREACHABLE),  # message expired in the queue
    "450": (_P, _C.REFUSED),  # destination country barred
    "900": (_G, _C.REFUSED),  # insufficient credit of the account
    "910": (_P, _C.REFUSED),  # account disabled
    "1000": (_G, _C.UNDEFINED),  # unknown error
}

#: "1 of 3": each part has an id of its own, and that of the message as its parent.
_PART_INFO = re.compile(r"\s*(\d{1,3})\s*(?:of|/)\s*(\d{1,3})\s*", re.IGNORECASE)


def read(element: object, context: Context) -> list[Finding]:
    """Read one callback."""
    fields = fields_of(element)
    # The message resource of the API has the same in snake case.
    native = text_of(fields.get("Status")) or text_of(fields.get("status")) or text_of(fields.get("message_state"))
    if native is None:
        if "Text" in fields or "Media0" in fields or "Body" in fields:
            return [NoStatus("inbound message")]
        raise PayloadError("no status ('Status')")
    native = native.lower()
    if native not in TABLE:
        return [Unknown(native)]
    means = TABLE[native]
    if means is None:
        return [NoStatus(native)]
    native_id = required(
        first_identifier(fields.get("ParentMessageUUID"), fields.get("MessageUUID"), fields.get("message_uuid")),
        "message id ('MessageUUID')",
    )
    ours = ours_in(context, fields)
    told = _PART_INFO.fullmatch(text_of(fields.get("PartInfo")) or "")
    if told is not None:
        ours = ours._replace(part=number_of(told[1], MAX_PARTS), parts=number_of(told[2], MAX_PARTS))
    return [
        event_of(
            ADAPTER,
            context,
            native_id,
            ours,
            time=context.received,
            status=means.status,
            recipient=first_identifier(fields.get("To"), fields.get("to_number")),
            reason=_reason(means, fields),
        )
    ]


def _reason(means: Means, fields: dict[str, Any]) -> Reason | None:
    if means.permanence is None:
        return None
    code = text_of(fields.get("ErrorCode")) or text_of(fields.get("error_code"))
    # Codes have two to four digits, and are written with zeros in front where none is told ("000").
    code = code.lstrip("0") or None if code is not None else None
    words = text_of(fields.get("ErrorMessage"))
    permanence, category = qualify_by_code(means, ERRORS.get(code or ""), words)
    told = [words]
    part, reported = text_of(fields.get("PartInfo")), text_of(fields.get("DeliveryReportTime"))
    told.append(f"part {part}" if part else None)
    told.append(f"carrier's report of {reported}" if reported else None)
    text = "; ".join(each for each in told if each)
    return Reason(permanence=permanence, category=category, provider_code=code, text=text_of(text))


ADAPTER = Adapter("plivo", Channel.SMS, TABLE, read)
