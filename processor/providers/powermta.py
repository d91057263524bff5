"""Read PowerMTA accounting records: CSV with its header line, or JSON objects of the same fields.

Source: PowerMTA User's Guide 5.x, "Accounting records", "Accounting file format" and "Bounce categories"; the JSON is
what fluentd and the known webhook bridges make of it, 2026-08. The CSV is that of RFC 4180; columns are the operator's
choice, in any order, and the union over the types of record in a file.

How final a bounce is comes from the category `message-expired`, else from the class digit of the enhanced status code,
else from the category.

PowerMTA writes no message id by itself. A record is named by the first of these that its columns have, and by its
recipient: our own id in a logged header (`header_*`), the Message-ID header, `envId`, `jobId`. Without any of them it
is named by its sender and the second in which it was queued, which is as near to an id as such a file has.

In its configuration: `<acct-file>` with the record types d, b, t, rb, rs (r for what came in) and, for our ids,
`header_*` columns of the headers that hold them; publish each file's header line with its lines.

Signature: none: it is a file.

Traps: columns and their order are the operator's. `tq` records are about queues and have no recipient. By default only
d and b are written.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Iterator
from datetime import datetime
from functools import lru_cache
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
from processor.providers.fields import identifier, object_of, required, text_of, time_of, time_of_epoch
from processor.providers.identity import event_of, ours_in, own_id
from processor.providers.objections import COMPLAINT, is_complaint, objections
from processor.providers.reasons import enhanced_code_in, qualify, reply_code_in, telling_code

#: By record type; a remote status by "rs dsnAction".
TABLE: dict[str, Means | None] = {
    # Received by SMTP, API or pickup.
    "r": Means(Status.TAKEN_INTO_ACCOUNT),
    # Delivered: the next server took it (dsnAction "relayed"), or it was the last one ("delivered").
    "d": Means(Status.SENT),
    # One attempt failed; it stays in the queue.
    "t": Means(Status.TAKEN_INTO_ACCOUNT, Permanence.TRANSIENT),
    # A transient error of a whole queue: about no message.
    "tq": None,
    # Bounced: refused for good, or given up.
    "b": Means(Status.FAILED, Permanence.PERMANENT),
    # A remote bounce: a report came in that a server further on could not deliver it.
    "rb": Means(Status.FAILED, Permanence.PERMANENT),
    # A remote status: a report came in, by its dsnAction (RFC 3464).
    "rs delivered": Means(Status.SENT),
    # Passed on to a server that sends no reports.
    "rs relayed": Means(Status.SENT),
    # Delivered to a list, which sends it on.
    "rs expanded": Means(Status.SENT),
    # A server further on keeps trying.
    "rs delayed": Means(Status.TAKEN_INTO_ACCOUNT, Permanence.TRANSIENT),
    "rs failed": Means(Status.FAILED, Permanence.PERMANENT),
    # A feedback loop's report: a complaint says nothing of delivery.
    "f": None,
}

#: What records say of their address.
OBJECTIONS = {"f": COMPLAINT}

#: The long names that the configuration uses for the types, and that some versions write.
_LONG_NAMES = {
    "received": "r",
    "delivery": "d",
    "delivered": "d",
    "transient": "t",
    "transient-queue": "tq",
    "bounce": "b",
    "bounced": "b",
    "remote-bounce": "rb",
    "remote-status": "rs",
    "feedback": "f",
    "feedback-loop": "f",
}

_P = Permanence.PERMANENT
_G = Permanence.GAVE_UP
_C = Category

#: How final and of what kind, by bounceCat (User's Guide, "Bounce categories"); None: the codes speak.
BOUNCE_CATEGORIES: dict[str, tuple[Permanence, Category | None]] = {
    "bad-mailbox": (_P, _C.USER_UNKNOWN),  # bad, invalid or non-existent address
    "inactive-mailbox": (_P, _C.ACCOUNT_DISABLED),  # expired, inactive or disabled
    "bad-domain": (_P, _C.INVALID_DOMAIN),  # invalid or non-existent domain
    "routing-errors": (_P, _C.UNREACHABLE),  # mail routing of the recipient's domain
    "bad-connection": (_G, _C.UNREACHABLE),  # the connection to the remote host
    "no-answer-from-host": (_G, _C.UNREACHABLE),  # no response after connecting
    "quota-issues": (_G, _C.MAILBOX_FULL),
    "message-expired": (_G, _C.UNREACHABLE),  # not delivered before bounce-after
    "spam-related": (_P, _C.REFUSED),
    "content-related": (_P, _C.REFUSED),
    "policy-related": (_P, _C.REFUSED),
    "virus-related": (_P, _C.REFUSED),
    "protocol-errors": (_P, _C.REFUSED),  # SMTP syntax or sequence
    "relaying-issues": (_P, _C.REFUSED),  # the remote server does not relay
    "bad-configuration": (_P, _C.UNREACHABLE),  # of the remote host
    "invalid-sender": (_P, _C.REFUSED),  # DNS or MX of the sending domain
    "other": (_P, None),
    "success": (_P, None),  # seen on deliveries
}

_EXPIRED = "message-expired"
_HEADER = re.compile(r'\ufeff?"?type"?,', re.IGNORECASE)
#: Before a column that repeats a header of the message.
_HEADER_COLUMN = "header_"
#: The columns that are read here, by their names in lower case without underscores, as some bridges rewrite them.
_COLUMNS = {
    name.lower(): name
    for name in (
        "type",
        "timeLogged",
        "timeQueued",
        "orig",
        "rcpt",
        "dsnAction",
        "dsnStatus",
        "dsnDiag",
        "bounceCat",
        "jobId",
        "envId",
    )
}


def is_header(line: str) -> bool:
    """Return whether a line is a header: the first column is always the type."""
    return _HEADER.match(line) is not None


def split(payload: object) -> Iterable[object]:
    """Split CSV text into its rows, and a JSON array into its items."""
    if isinstance(payload, str) and not payload.lstrip().startswith(("{", "[")):
        return _rows(payload)
    return elements_of(payload)


def _rows(text: str) -> Iterator[object]:
    """Yield each row as an object; a row that does not fit under the header stays a list."""
    header: list[str] | None = None
    empty = True
    for row in _csv_rows(text.lstrip("\ufeff\r\n").replace("\0", "\N{REPLACEMENT CHARACTER}")):
        if not row:
            continue
        if _is_header_row(row):
            # Files that were joined have several headers.
            header = row
            continue
        if header is None:
            raise PayloadError("CSV without its header line ('type,timeLogged,...')")
        empty = False
        yield dict(zip(header, row, strict=True)) if len(row) == len(header) else row
    if empty:
        raise PayloadError("CSV without a line of data")


def _csv_rows(text: str) -> Iterator[list[str]]:
    """Yield the rows of CSV; a quote that nobody closed costs the line that it is in, and not those behind it."""
    lines = list(io.StringIO(text, newline=""))
    reader, columns, begins = csv.reader(lines), 0, 0
    try:
        for row in reader:
            columns = len(row) if not columns or _is_header_row(row) else columns
            of_row = lines[begins : reader.line_num]
            if len(of_row) > 1 and (len(row) != columns or sum(line.count('"') for line in of_row) % 2):
                yield from _rows_of_lines(of_row)
            else:
                yield row
            begins = reader.line_num
    except csv.Error:
        # Such a quote goes on for longer than any field may be.
        yield from _rows_of_lines(lines[begins:])


def _rows_of_lines(lines: Iterable[str]) -> Iterator[list[str]]:
    for line in lines:
        try:
            yield from csv.reader([line])
        except csv.Error:
            yield [line]


def _is_header_row(row: list[str]) -> bool:
    return bool(row) and row[0].lower() == "type"


@lru_cache(maxsize=8)
def _header_columns(columns: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    """Return the columns that hold a message's headers, with the headers' names; a file's rows share their columns."""
    return tuple((name, name[len(_HEADER_COLUMN) :]) for name in columns if name[:7].lower() == _HEADER_COLUMN)


def read(element: object, context: Context) -> list[Finding]:
    """Read one record."""
    if isinstance(element, list) and all(isinstance(value, str) for value in element):
        raise PayloadError(f"a row of {len(element)} columns, which are not as many as the header's")
    record = object_of(element)
    if "timeLogged" not in record or "type" not in record:
        record = {_COLUMNS.get(name.lower().replace("_", ""), name): value for name, value in record.items()}
    kind = text_of(record.get("type"))
    if kind is None:
        raise PayloadError("no record type ('type')")
    kind = kind.lower()
    row = _LONG_NAMES.get(kind, kind)
    if row == "rs":
        row = f"rs {(text_of(record.get('dsnAction')) or 'without dsnAction').lower()}"
    if row not in TABLE:
        return [Unknown(row)]
    means = TABLE[row]
    if means is None:
        told = [record.get("rcpt")] if is_complaint(record.get("feedbackType")) else []
        return [NoStatus(row, objections(OBJECTIONS, row, told, _time(record.get("timeLogged")), context))]

    recipient = required(record.get("rcpt"), "recipient ('rcpt')")
    headers = {header: record[column] for column, header in _header_columns(tuple(record))}
    native_id = _native_id(record, headers)
    ours = ours_in(context, record, headers)
    logged = record.get("timeLogged")
    time = _time(logged)
    return [
        event_of(
            ADAPTER,
            context,
            native_id,
            ours,
            time=time or context.received,
            status=means.status,
            recipient=recipient,
            reason=_reason(means, record, text_of(logged) if time is None else None),
        )
    ]


def _native_id(record: dict[str, Any], headers: dict[str, Any]) -> str:
    message_id = own_id(("message-id",), headers) if headers else None
    found = (message_id or "").strip("<>") or identifier(record.get("envId")) or identifier(record.get("jobId"))
    if found:
        return found
    queued = identifier(record.get("timeQueued")) or identifier(record.get("timeLogged"))
    parts = [part for part in (identifier(record.get("orig")), queued) if part]
    if not parts:
        raise PayloadError("no message id: none of header_Message-Id, envId, jobId, orig, timeQueued")
    return "/".join(parts)


def _time(value: object) -> datetime | None:
    """Read `YYYY-MM-DD HH:MM:SS+HHMM`, or time_t, which CSV has as text."""
    if isinstance(value, str):
        value = value.strip()
        return time_of(value) or time_of_epoch(value)
    return time_of_epoch(value)


def _reason(means: Means, record: dict[str, Any], logged: str | None) -> Reason | None:
    if means.status is Status.TAKEN_INTO_ACCOUNT and means.permanence is None:
        return None
    status = text_of(record.get("dsnStatus"))
    text = text_of(record.get("dsnDiag")) or status
    code = telling_code(enhanced_code_in(status), text)
    reply = reply_code_in(text)
    if text is not None and logged is not None:
        text = text_of(f"{text[:400]} (logged {logged[:40]})")
    if means.permanence is None:
        # The answer to a success is kept as evidence ("smtp;250 OK id=...").
        return Reason(code=code, provider_code=reply, text=text) if text else None
    label = (text_of(record.get("bounceCat")) or "").lower()
    how_final, own = BOUNCE_CATEGORIES.get(label, (_P, None))
    if means.permanence is Permanence.TRANSIENT:
        how_final = Permanence.TRANSIENT
    permanence, category = qualify(
        how_final, own=own, enhanced_code=code, reply_code=reply, text=text, label_stays=label == _EXPIRED
    )
    return Reason(
        permanence=permanence,
        category=category,
        code=code or label or None,
        provider_code=reply,
        text=text,
    )


ADAPTER = Adapter("powermta", Channel.EMAIL, TABLE, read, split, is_header=is_header, id_covers_several=True)
