"""Read Kannel delivery reports: the query or form that its `dlr-url` makes, or the same names as a JSON object.

The names are whatever the dlr-url says, so those in common use are understood: the kind of report (%d) as `type`,
`dlr`, `status` or `d`; the answer of the SMS centre (%A) as `answer` or `reply`; its id (%F), or one of our own, as
`id` or `smsid`; the time (%T, seconds) as `time` or `timestamp`; the numbers (%p, %P) as `to` and `from`.

Source: Kannel User's Guide 1.4.5, "Delivery reports" and "Parameters (escape codes)"; gw/dlr.h (the values),
gw/bb_smscconn_cb.c (NACK) and gw/smsc/smsc_smpp.c (how SMPP states become values) of its source code.

In its configuration: `dlr-mask=31` and a `dlr-url` such as
`https://…/kannel?message_id=m-1&type=%d&id=%F&smscid=%i&to=%p&time=%T&answer=%A` with each message.

Traps: the values are bits, yet one report has one of them (two in 34 and 66). Kannel writes 2 for SMPP's UNKNOWN: the
receipt inside `answer` tells it apart. `http-request-retry` is 0 by default: a callback is tried
once and then lost, so set it, and `http-queue-delay`. `%t` is
a time without a zone, and is never event time.

Signature: none; a secret in the address.
"""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any
from urllib.parse import unquote_plus

import msgspec

from processor.domain.event import Event
from processor.domain.reason import Category, Reason
from processor.domain.status import Channel, Permanence, Status
from processor.providers import smpp
from processor.providers.adapter import Adapter, Context, Finding, Means, PayloadError, Unknown
from processor.providers.carried import fields_of
from processor.providers.fields import identifier, required, text_of, time_of_epoch
from processor.providers.identity import event_of, ours_in
from processor.providers.reasons import COMMAND_STATUS, qualify

TABLE: dict[str, Means | None] = {
    # Delivered to the phone.
    "1": Means(Status.RECEIVED_ON_MOBILE),
    # Not delivered to the phone: expired, deleted, undeliverable, rejected, or of unknown fate.
    "2": Means(Status.FAILED, Permanence.PERMANENT, Category.UNREACHABLE),
    # Queued in the SMS centre: SMPP's ENROUTE, ACCEPTED, SCHEDULED.
    "4": Means(Status.TAKEN_INTO_ACCOUNT),
    # The SMS centre took it.
    "8": Means(Status.TAKEN_INTO_ACCOUNT),
    # The SMS centre refused it, or all tries to hand it over failed.
    "16": Means(Status.FAILED, Permanence.PERMANENT, Category.REFUSED),
    # 0x22, not delivered and expired.
    "34": Means(Status.FAILED, Permanence.GAVE_UP, Category.UNREACHABLE),
}

#: Names of parameters in use by what they hold, most telling first; single letters are the escape codes themselves.
_NAMES: dict[str, tuple[str, ...]] = {
    "kind": (
        "type",
        "dlr",
        "status",
        "dlr-type",
        "dlr_type",
        "dlrtype",
        "dlr-value",
        "dlr_status",
        "dlrvalue",
        "report",
        "d",
    ),
    "id": (
        "id",
        "msgid",
        "msg_id",
        "mid",
        "dlrid",
        "dlr_id",
        "smsid",
        "sms_id",
        "foreign_id",
        "foreignid",
        "fid",
        "uuid",
        "F",
    ),
    "answer": ("answer", "reply", "smsc_reply", "smscreply", "reason", "receipt", "text", "msg", "message", "A", "a"),
    "time": ("time", "timestamp", "epoch", "T"),
    "phone": (
        "recipient",
        "msisdn",
        "mobile",
        "phone",
        "destination",
        "dest",
        "to",
        "receiver",
        "p",
        "from",
        "sender",
        "P",
    ),
}
_ROLES = {name: (role, rank) for role, names in _NAMES.items() for rank, name in enumerate(names)}

# A subscriber: 7 to 15 digits (E.164). What is shorter, or has letters, is the sender's short code or name.
_SUBSCRIBER = re.compile(r"\+?\d{7,15}")
# Nothing, or an escape code that a proxy or a test has left as it is.
_EMPTY = re.compile(r"(?:%[a-zA-Z])?")
# What a refusal says: a command_status in hex or decimal, and words ("NACK/0x0000000b/Invalid Destination Address").
_NACK = re.compile(r"NACK/(?:(0x[0-9a-fA-F]{1,8}|\d{1,10})(?:/|$))?(.*)", re.DOTALL)
#: SMPP's state for a message of unknown fate.
_SAYS_NOTHING = "UNKNOWN"
#: Where there was no command_status: the words of Kannel itself, in lower case.
_WORDS: dict[str, tuple[Permanence, Category]] = {
    "retries exceeded": (Permanence.GAVE_UP, Category.UNREACHABLE),
    "malformed": (Permanence.PERMANENT, Category.REFUSED),
    "discarded": (Permanence.GAVE_UP, Category.UNREACHABLE),
    "rejected": (Permanence.PERMANENT, Category.REFUSED),
}


def read(element: object, context: Context) -> list[Finding]:
    """Read one report."""
    fields = fields_of(element)
    told = _told(fields)
    native = _number(told.get("kind"))
    if native is None:
        raise PayloadError("no kind of report (%d, as 'type', 'dlr', 'status' or 'd')")
    means = TABLE.get(native)
    answer = text_of(told.get("answer"))
    receipt = _receipt(answer, context) if answer is not None and means is not None else None
    if isinstance(receipt, Unknown) and receipt.native == _SAYS_NOTHING:
        return [Unknown(f"{native} ({receipt.native})")]
    if means is None:
        return [Unknown(native)]
    if isinstance(receipt, Unknown):
        # A word that nobody knows: Kannel knew better, from message_state or from its centre's manual.
        receipt = None
    ours = ours_in(context, fields)
    native_id = identifier(told.get("id")) or (receipt.provider_message_id if receipt else None)
    # A dlr-url need not ask for Kannel's ids; then our own is all there is.
    native_id = required(native_id or ours.message_id, "message id ('id', or an id of our own)")
    return [
        event_of(
            ADAPTER,
            context,
            native_id,
            ours,
            time=_time(told.get("time")) or context.received,
            status=means.status,
            recipient=identifier(told.get("phone")),
            reason=_reason(native, means, answer, receipt),
        )
    ]


def _told(fields: dict[str, Any]) -> dict[str, object]:
    """Sort what is told by what it is: of several names for the same, the most telling counts.

    Of the two numbers the subscriber's does: which is which depends on who wrote the dlr-url.
    """
    told: dict[str, object] = {}
    ranks: dict[str, int] = {}
    for name, value in fields.items():
        role, rank = _ROLES.get(name if len(name) == 1 else name.lower(), ("", 0))
        if not role or value is None or (isinstance(value, str) and _EMPTY.fullmatch(value)):
            continue
        if role == "phone" and not (isinstance(value, str) and _SUBSCRIBER.fullmatch(value)):
            rank += len(_ROLES)
        if rank < ranks.get(role, rank + 1):
            told[role], ranks[role] = value, rank
    return told


def _number(value: object) -> str | None:
    """Write the kind of report in decimal, whatever the notation; words stay as they are."""
    text = text_of(value)
    if text is None:
        return None
    try:
        return str(int(text, 16 if text[:2].lower() == "0x" else 10)) if len(text) <= 10 else text
    except ValueError:
        return text


def _receipt(answer: str, context: Context) -> Event | Unknown | None:
    """Read the SMPP receipt inside an answer; None when there is none."""
    # Some templates encode %A, which is encoded already.
    text = unquote_plus(answer) if "stat%3A" in answer or "stat%3a" in answer else answer
    if "stat:" not in text:
        return None
    try:
        (found,) = smpp.read(text, context)
    except PayloadError:
        return None
    return found if isinstance(found, Event | Unknown) else None


def _time(value: object) -> datetime | None:
    # Seconds, or milliseconds of a gateway: digits of another number are a date without a zone.
    return time_of_epoch(value) if not isinstance(value, str) or len(value) in {10, 13} else None


def _reason(native: str, means: Means, answer: str | None, receipt: Event | None) -> Reason | None:
    said = receipt.reason if receipt is not None else None
    if means.permanence is None:
        if said is not None and said.permanence not in {None, Permanence.TRANSIENT}:
            # Kannel has told what it is; what a receipt says otherwise is evidence, and no failure's reason.
            said = msgspec.structs.replace(said, permanence=None, category=None)
        return said or (Reason(code=native, text=answer) if answer else None)
    if said is not None and said.permanence is not None:
        # The receipt inside says more than the value that Kannel made of it.
        return said
    match = _NACK.match(answer) if answer else None
    status = match[1] if match else None
    row = None
    if status is not None:
        found = COMMAND_STATUS.get(int(status, 16 if status[:2].lower() == "0x" else 10))
        row = found[1:] if found else None
    elif match:
        row = _WORDS.get(match[2].strip().lower())
    permanence, category = qualify(means.permanence, row=row, text=answer, otherwise=means.category)
    return Reason(permanence=permanence, category=category, code=native, provider_code=status, text=answer)


ADAPTER = Adapter("kannel", Channel.SMS, TABLE, read)
