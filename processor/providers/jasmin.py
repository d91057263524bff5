"""Read Jasmin SMS Gateway delivery receipts: what its DLRThrower sends to a `dlr-url`, by GET, POST or as JSON.

Level 1 is the answer of the SMS centre to the submission (`message_status` is an SMPP command_status, "ESME_…"),
level 2 the receipt of the terminal (an SMPP state); who asks for level 3 gets both. Which of the two a callback is
shows in `message_status`.

Source: Jasmin documentation, "HTTP API", "Receiving DLR"; jasmin/managers/dlr.py and jasmin/routing/throwers.py of its
source code (0.10, 0.11); SMPP 3.4, 5.1.3 and appendix B.

In its configuration: `dlr=yes`, `dlr-level=3` and a `dlr-url` with each message, whose query may hold our own ids: with
POST they are not among the parameters, so whoever takes the callback hands the query on (header `query`, or before the
form). The receiver answers with a status below 400 and the body `ACK/Jasmin`, exactly; else the receipt comes again,
three times, 30 s apart, and is then gone.

Traps: receipts get lost when the SMS centre is quicker than Jasmin's store, or its `stat` is not in the list. No
callback names the recipient. `subdate` and `donedate` have no zone: they go into the reason's text.

Signature: none; a secret in the address.
"""

from __future__ import annotations

from typing import Any

from processor.domain.reason import Category, Reason
from processor.domain.status import Channel, Permanence, Status
from processor.providers.adapter import Adapter, Context, Finding, Means, PayloadError, Unknown
from processor.providers.carried import fields_of
from processor.providers.fields import identifier, required, text_of
from processor.providers.identity import event_of, ours_in
from processor.providers.reasons import COMMAND_STATUS, qualify
from processor.providers.smpp_receipt import STATES, state_of

TABLE: dict[str, Means | None] = {
    # Level 1: the SMS centre took it.
    "ESME_ROK": Means(Status.TAKEN_INTO_ACCOUNT),
    # Level 1: it refused, for a reason that SMPP does not name. The named ones follow below.
    "ESME_*": Means(Status.FAILED, Permanence.PERMANENT, Category.UNDEFINED),
}
#: Level 1, by the name of the command_status. Of those that Jasmin tries again (submit_error_retrial) it reports the
#: first try, and never the last.
_RETRIED = ("ESME_RSYSERR", "ESME_RTHROTTLED", "ESME_RMSGQFUL", "ESME_RINVSCHED")
TABLE |= {
    name: Means(Status.TAKEN_INTO_ACCOUNT, Permanence.TRANSIENT, kind)
    if name in _RETRIED
    else Means(Status.FAILED, permanence, kind)
    for name, permanence, kind in COMMAND_STATUS.values()
}
#: Level 2, by the state in the receipt.
TABLE |= STATES

#: How Python's SMPP library writes an enumeration, in some versions.
_PREFIX = "CommandStatus."


def read(element: object, context: Context) -> list[Finding]:
    """Read one receipt."""
    fields = fields_of(element)
    native = text_of(fields.get("message_status"))
    if native is None:
        raise PayloadError("no status ('message_status')")
    native = native.removeprefix(_PREFIX).upper()
    if native.startswith("ESME_"):
        means = TABLE.get(native, TABLE["ESME_*"])
    else:
        native = state_of(native)
        means = TABLE.get(native)
        if means is not None and means.status is Status.TAKEN_INTO_ACCOUNT and _error(fields):
            # The centre goes on trying after an attempt that failed.
            means = means._replace(permanence=Permanence.TRANSIENT)
    if means is None:
        return [Unknown(native)]
    native_id = required(fields.get("id"), "message id ('id')")
    ours = ours_in(context, fields)
    return [
        event_of(
            ADAPTER,
            context,
            native_id,
            ours,
            time=context.received,
            status=means.status,
            recipient=identifier(fields.get("to")),
            reason=_reason(native, means, fields),
        )
    ]


def _error(fields: dict[str, Any]) -> str:
    """Return the error of a receipt, or "" where none is told."""
    return (text_of(fields.get("err")) or "").strip("0")


def _reason(native: str, means: Means, fields: dict[str, Any]) -> Reason | None:
    if native == "ESME_ROK":
        return None
    # `err` has no standard meaning (1 to 4 alphanumerics of the operator's): kept, never interpreted.
    told = (("done date", "donedate"), ("id at the SMS centre", "id_smsc"))
    words = [f"{label} {value}" for label, name in told if (value := text_of(fields.get(name))) is not None]
    category = means.category
    if means.permanence is not None:
        _, category = qualify(means.permanence, own=means.category)
    return Reason(
        permanence=means.permanence,
        category=category,
        code=native,
        provider_code=text_of(fields.get("err")),
        text=text_of(", ".join(words)),
    )


ADAPTER = Adapter("jasmin", Channel.SMS, TABLE, read)
