"""Read Postfix's log: lines of syslog (RFC 3164, RFC 5424, RFC 3339 times), bare lines, and log shippers' JSON.

The JSON is an object, or a batch of Loki or OpenTelemetry.

Source: Postfix's source code (bounce, defer, sent, verify and log_adhoc in src/global; qmgr_active.c) and its
FILTER_README, ADDRESS_VERIFICATION_README and postconf(5), 3.11.

Only the delivery agents' lines (`to=<…>, …, status=…`) are reports on a message. A line "host … said: 4xx" without
`to=` is one server of several; a rejection (NOQUEUE, milter-reject) is of mail that never was a message here.

A queue id covers all recipients of a message, so a message is named by its id and its recipient: the address that we
sent to (`orig_to`), not what an alias made of it. The id is our own where headers are logged (header_checks with INFO),
else the Message-ID, as the cleanup line tells it for its queue id; else the queue id. Lines of one message are in one
payload, or close to each other in one partition; the memory that joins them is best effort (`adapter.Memory`), so who
needs stable names publishes each host's log to one partition. Short queue ids are used again after `removed`, and then
their memory is gone.

How final a failure is comes from the status, and its shade from `dsn=`: "bounced" is permanent unless it says 4.x.x.

In its configuration: the mail log, each host's to one partition; `enable_long_queue_ids = yes`; for our ids a
`header_checks` line with INFO for the header that holds them.

Signature: none: it is a log.

Traps: syslog's own time has no year and no zone. A content filter logs `sent` twice: to itself first. Short queue ids
are used again.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import datetime
from typing import Any, NamedTuple

from processor.domain.event import Event
from processor.domain.reason import Category, Reason
from processor.domain.status import Channel, Permanence, Status
from processor.providers.adapter import (
    Adapter,
    Context,
    Finding,
    Means,
    Memory,
    NoStatus,
    PayloadError,
    Unknown,
    elements_of,
)
from processor.providers.fields import MAX_ID, identifier, object_of, text_of, time_of, time_of_epoch
from processor.providers.identity import NOTHING_OF_OURS, Ours, event_of, of_one_recipient, ours_in
from processor.providers.reasons import qualify, telling_code
from processor.providers.shipped import LINE_NAMES, lines_in

TABLE: dict[str, Means | None] = {
    # The next server accepted it, or it was put into a mailbox here.
    "sent": Means(Status.SENT),
    # A content filter took it, and hands it back under another queue id: it has not left yet.
    "sent (content filter)": Means(Status.TAKEN_INTO_ACCOUNT),
    # A content filter, or an administrator's table, threw it away: it will never arrive, and no further line follows.
    "sent (discarded)": Means(Status.FAILED, Permanence.PERMANENT, Category.REFUSED),
    # An alias or .forward made a new message of it, which has not left yet.
    "sent (forwarded)": Means(Status.TAKEN_INTO_ACCOUNT),
    # One attempt failed; it stays in the queue.
    "deferred": Means(Status.TAKEN_INTO_ACCOUNT, Permanence.TRANSIENT),
    # soft_bounce=yes: it would have bounced, but stays in the queue.
    "SOFTBOUNCE": Means(Status.TAKEN_INTO_ACCOUNT, Permanence.TRANSIENT),
    # Refused for good; the sender is told.
    "bounced": Means(Status.FAILED, Permanence.PERMANENT),
    # It exceeded its lifetime in the queue: for all recipients that were still deferred.
    "expired": Means(Status.FAILED, Permanence.GAVE_UP, Category.UNREACHABLE),
    # An operator expired it (postsuper -e). Since 3.5.
    "force-expired": Means(Status.CANCELED),
    # An operator deleted it (postsuper -d): for all recipients that were still deferred.
    "removed by postsuper": Means(Status.CANCELED),
    # Probes of an address: there is no message. ("undeliverable-but-not-cached" is not documented, so it is unknown.)
    "deliverable": None,
    "undeliverable": None,
}

# What a bare line begins with: a queue id, what stands in its place, or words of the daemons about no message.
_BARE = re.compile(
    r"(?:[0-9A-Za-z]{5,25}|proxy-(?:accept|reject)): |connect (?:to|from) |disconnect from |daemon started "
    r"|(?:lost connection|timeout|improper command pipelining) after |\w{1,20} TLS connection established "
)
# RFC 5424: "<22>1 time host program pid msgid structured-data line". Structured data is bounded.
_RFC5424 = re.compile(
    r"<\d{1,3}>1 (\S{1,50}) (\S{1,255}) (\S{1,100}) \S{1,100} \S{1,100} (?:-|(?:\[[^\]]{0,500}\]){1,9}) ?\ufeff?"
)
# All others: a time of any form, a host, then "program[pid]: "; Solaris adds its message id.
_TAG = re.compile(
    r"(?:^|\s)(?:([\w./@+-]{1,100})\[\d{1,10}\]|(postfix[\w./-]{0,90})): (?:\[ID \d{1,10} [\w.]{1,30}\] )?"
)
_RFC3164 = re.compile(r"(?:<\d{1,3}>)?([A-Z][a-z]{2} [ \d]\d (?:\d{4} )?\d\d:\d\d:\d\d(?:\.\d{1,9})?) (\S{1,255})")
_RFC3339 = re.compile(r"(?:<\d{1,3}>)?(\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d\S{0,20}) (\S{1,255})")
# Where syslog's own part of a line ends, at the latest; what follows may be anybody's text.
_HEAD = 400
#: Longer than what syslog carries (rsyslog: 8 KiB); the rest is cut off.
_MAX_LINE = 10_000

_QUEUED = re.compile(r"([0-9A-Za-z]{5,25}): ")
_ADDRESS = r"(?:<([^>]{0,600})>|([^\s,<]{1,320}))"
_DELIVERY = re.compile(
    rf"to={_ADDRESS}, (?:orig_to={_ADDRESS}, )?(.{{0,800}}?)\bstatus=([\w-]{{1,60}})(?: \((.*))?", re.DOTALL
)
# A fixed beginning is found at the speed of C.
_RELAY = re.compile(r"relay=([^,]{1,300})")
_DSN = re.compile(r"dsn=(\d\.\d{1,3}\.\d{1,3})")
_EXPIRED = re.compile(r"from=<[^>]{0,600}>, status=((?:force-)?expired)\b(.{0,100})")
_MESSAGE_ID = re.compile(r"message-id=<?([^\s<>]{1,500})")
_LOGGED_HEADER = re.compile(r"(?:info|warning|prepend|replace): header ([!-9;-~]{1,80}): (.{1,400}?) from ")
# The reply of a server within what Postfix says of it: numbers elsewhere are ports and addresses.
_REPLY = re.compile(r"(?:^|said: |to talk to me: )([245]\d\d)(?=[ -])")
# Postfix's own words for a domain that cannot have mail: they come with 5.4.4 or 5.1.0, which say less.
_NO_DOMAIN = re.compile(r"type=(?:A|AAAA|MX): Host not found(?!, try again)|nullMX|[Dd]omain not found")
# Ports that FILTER_README and amavis use between Postfix and a content filter, and services named after one.
_FILTER_RELAY = re.compile(r":100[23]\d$|^[^\[]*(?:spam|filter|amavis|clam|virus|dkim)[^\[]*$", re.IGNORECASE)
# amavis: "250 2.0.0 from MTA(smtp:[127.0.0.1]:10025): 250 2.0.0 Ok: queued as …".
_FILTER_TEXT = " from MTA("
_TO_FILTER = "sent (content filter)"
_QUEUED_AS = re.compile(r"queued as ([0-9A-Za-z]{5,25})")
# amavis: "250 2.7.0 Ok, discarded, id=… - spam", "250 2.5.0 Ok, id=…, BOUNCE", "…, DISCARD(bounce.suppressed)";
# ClamSMTP: "250 Virus Detected; Discarded Email".
_DISCARDED = re.compile(r"\bOk, discarded\b|\bid=[\w-]{1,40}, (?:BOUNCE\b|DISCARD\()|\bVirus Detected; Discarded\b")
# rsyslog: equal lines, told once more.
_REPEATED = re.compile(r"message repeated \d{1,9} times: \[ ?(.*)\]", re.DOTALL)

#: Of one queue id's deferred recipients, so many are remembered: a queue file has no more by default.
_MAX_RECIPIENTS = 1000
#: Of one queue id's logged headers, so many.
_MAX_HEADERS = 20
#: Names of what else a log shipper's object has beside the line.
_HOST_NAMES = ("host", "hostname", "_HOSTNAME", "HOST")
_PROGRAM_NAMES = ("SYSLOG_IDENTIFIER", "ident", "program", "programname", "appname", "app_name", "syslogtag", "PROGRAM")
_TIME_NAMES = ("time", "timestamp", "@timestamp", "timereported", "ts", "ISODATE", "__REALTIME_TIMESTAMP")


class Line(NamedTuple):
    """One line of the log, without what syslog put before it."""

    #: "postfix/smtp"; empty in a bare line.
    program: str
    host: str
    text: str
    time: datetime | None
    #: The time as it stands there, where it has no zone.
    naive: str | None


def split(payload: object) -> Iterable[object]:
    """Split a text into its lines, a batch of a log shipper into its, and a JSON array into its items."""
    lines = lines_in(payload)
    if lines is not None:
        return lines
    if isinstance(payload, str) and "\n" in payload:
        return [line for line in payload.split("\n") if not line.isspace() and line]
    return elements_of(payload)


def read(element: object, context: Context) -> list[Finding]:
    """Read one line."""
    line = _line(element) if isinstance(element, str) else _line_in(object_of(element))
    found = _QUEUED.match(line.text)
    if found is None:
        repeated = _REPEATED.match(line.text)
        line = line._replace(text=repeated[1]) if repeated is not None else line
        found = _QUEUED.match(line.text) if repeated is not None else None
    if found is None:
        return [NoStatus(line.program)]
    queue_id, text = found[1], line.text[found.end() :]
    if text.startswith("to="):
        return [_delivery(queue_id, text, line, context)]
    memory = context.memory if context.memory is not None else Memory()
    key = f"{line.host} {queue_id}"
    if text.startswith("from="):
        expired = _EXPIRED.match(text)
        if expired is not None:
            return _ended(expired[1], f"{expired[1]}{expired[2]}", queue_id, line, context)
    elif text.startswith(("message-id=", "info: ", "warning: ", "prepend: ", "replace: ")):
        _remember_ids(text, key, memory)
    elif text == "removed":
        if line.program.endswith("postsuper"):
            findings = _ended("removed by postsuper", text, queue_id, line, context)
            _forget(key, memory)
            return findings
        _forget(key, memory)
    elif text.startswith(("client=", "uid=")):
        # A new message under a queue id that may have been used before.
        _forget(key, memory)
    return [NoStatus(line.program or "a line about no delivery")]


def _line(text: str) -> Line:
    text = text[:_MAX_LINE].strip()
    if _BARE.match(text):
        return Line("", "", text, None, None)
    found = _RFC5424.match(text)
    if found is not None:
        time = time_of(found[1])
        return Line(found[3], found[2], text[found.end() :], time, None)
    tag = _TAG.search(text, 0, _HEAD)
    if tag is None:
        raise PayloadError("no line of a mail log (neither a queue id nor 'program[pid]: ')")
    program, rest = tag[1] or tag[2], text[tag.end() :]
    head = _RFC3339.match(text)
    if head is not None:
        time = time_of(head[1])
        return Line(program, head[2], rest, time, head[1] if time is None else None)
    head = _RFC3164.match(text)
    return Line(program, head[2] if head else "", rest, None, head[1] if head else None)


def _line_in(record: dict[str, Any]) -> Line:
    """Take the line out of a log shipper's object, with what the object says of it."""
    text = _first(record, LINE_NAMES)
    if text is None:
        raise PayloadError("no log line ('message')")
    program = (_first(record, _PROGRAM_NAMES) or "")[:100].partition("[")[0]
    # The program in a field of its own stands for the tag; else the line has one, or is bare.
    if program and _TAG.search(text, 0, _HEAD) is None:
        line = Line(program, "", text[:_MAX_LINE].strip(), None, None)
    else:
        line = _line(text)
    host = line.host or (_first(record, _HOST_NAMES) or "")[:255]
    return line._replace(host=host, time=line.time or _time_in(record), program=line.program or program)


def _time_in(record: dict[str, Any]) -> datetime | None:
    for name in _TIME_NAMES:
        value = record.get(name)
        time = time_of(value) or time_of_epoch(value)
        if time is not None:
            return time
    return None


def _first(record: dict[str, Any], names: tuple[str, ...]) -> str | None:
    for name in names:
        value = record.get(name)
        if isinstance(value, list):
            # journald writes a text that is not all UTF-8 as numbers.
            value = _text_of_octets(value)
        if isinstance(value, str) and value:
            return value
    return None


def _text_of_octets(value: list[Any]) -> str:
    if not all(type(octet) is int and 0 <= octet < 256 for octet in value[:_MAX_LINE]):
        return ""
    return bytes(value[:_MAX_LINE]).decode(errors="replace")


def _delivery(queue_id: str, text: str, line: Line, context: Context) -> Finding:
    found = _DELIVERY.match(text)
    if found is None:
        raise PayloadError("a delivery without 'status=' (is the line cut off?)")
    to, bare_to, orig_to, bare_orig_to, attributes, status, words = found.groups()
    relay = _RELAY.search(attributes)
    row = _row(line.program, status, relay[1] if relay else "", words or "")
    if row not in TABLE:
        return Unknown(row)
    means = TABLE[row]
    if means is None:
        return NoStatus(row)
    addressed, before = identifier(to or bare_to), identifier(orig_to or bare_orig_to)
    recipient = before or _before_filter(f"{line.host} {queue_id}", addressed, context.memory)
    if recipient is None:
        raise PayloadError("a delivery without a recipient")
    if row == _TO_FILTER and before is not None and addressed is not None:
        _remember_name(line.host, words or "", addressed, before, context.memory)
    if context.memory is not None:
        _remember_recipient(f"{line.host} {queue_id}", recipient, context.memory, means)
    dsn = _DSN.search(attributes)
    return _event(queue_id, recipient, means, _reason(means, dsn[1] if dsn else None, words, line.naive), line, context)


def _row(program: str, status: str, relay: str, words: str) -> str:
    if status == "sent":
        if program.endswith("/discard") or _DISCARDED.search(words):
            return "sent (discarded)"
        if _is_filter(program, relay, words):
            return _TO_FILTER
        if words.startswith("forwarded as "):
            return "sent (forwarded)"
    return "SOFTBOUNCE" if status == "softbounce" else status


def _is_filter(program: str, relay: str, words: str) -> bool:
    """Return whether a content filter took the mail, to hand it back; a store may listen on a filter's port.

    A store, and a proxy in front of one, answers by LMTP for each recipient, and has queued nothing.
    """
    if _FILTER_TEXT in words:
        return True
    return bool(_FILTER_RELAY.search(relay)) and (not program.endswith("/lmtp") or bool(_QUEUED_AS.search(words)))


def _before_filter(key: str, addressed: str | None, memory: Memory | None) -> str | None:
    """Return the recipient as it was addressed before a content filter, which hands on what an alias made of it."""
    if addressed is None or memory is None:
        return addressed
    known = memory.recall(f"{key} names")
    return dict(zip(known[::2], known[1::2], strict=True)).get(addressed, addressed) if known else addressed


def _remember_name(host: str, words: str, addressed: str, before: str, memory: Memory | None) -> None:
    found = _QUEUED_AS.search(words)
    if found is None or memory is None:
        return
    name = f"{host} {found[1]} names"
    known = memory.recall(name)
    if addressed not in known[::2] and len(known) < 2 * _MAX_RECIPIENTS:
        memory.keep(name, (*known, addressed, before))


def _ended(row: str, words: str, queue_id: str, line: Line, context: Context) -> list[Finding]:
    """Report the end for all recipients still deferred, or one event without a recipient if none is remembered."""
    means = TABLE[row]
    assert means is not None  # noqa: S101 - rows that end a message have a meaning
    recipients = _deferred(f"{line.host} {queue_id}", context.memory)
    text = _with_time(words.strip(), line.naive)
    code = "4.4.7" if means.permanence is Permanence.GAVE_UP else None
    reason = Reason(permanence=means.permanence, category=means.category, code=code, text=text)
    return [_event(queue_id, recipient, means, reason, line, context) for recipient in recipients or (None,)]


def _event(  # noqa: PLR0913, PLR0917 - what an event is made of
    queue_id: str, recipient: str | None, means: Means, reason: Reason | None, line: Line, context: Context
) -> Event:
    ours, message_id = _named(f"{line.host} {queue_id}", context)
    if ours.message_id is None and message_id is not None and recipient is not None:
        # The Message-ID of upstream's making names the mail, which may have several recipients.
        ours = of_one_recipient(ours._replace(message_id=message_id), recipient, context)
    return event_of(
        ADAPTER,
        context,
        queue_id,
        ours,
        time=line.time or context.received,
        status=means.status,
        recipient=recipient,
        reason=reason,
    )


def _reason(means: Means, code: str | None, words: str | None, naive: str | None) -> Reason | None:
    if means.status is Status.TAKEN_INTO_ACCOUNT and means.permanence is None:
        return None
    text = text_of(words[:-1] if words and words.endswith(")") else words)
    code = telling_code(code, text)
    found = _REPLY.search(text) if text else None
    reply = found[1] if found else None
    shown = _with_time(text, naive)
    if means.permanence is None:
        # The answer to a success is kept as evidence ("250 2.0.0 Ok: queued as …").
        return Reason(code=code, provider_code=reply, text=shown) if text else None
    own = Category.INVALID_DOMAIN if text and _has_no_domain(text) else means.category
    permanence, category = qualify(means.permanence, own=own, enhanced_code=code, reply_code=reply, text=text)
    return Reason(permanence=permanence, category=category, code=code, provider_code=reply, text=shown)


def _has_no_domain(text: str) -> bool:
    # Few texts are worth the search; a server's words, of its sender perhaps, are for the table of phrases.
    return ("not found" in text or "nullMX" in text) and "said: " not in text and _NO_DOMAIN.search(text) is not None


def _with_time(text: str | None, naive: str | None) -> str | None:
    # A time without a year or a zone is evidence, and no more.
    return text_of(f"{text[:450]} (logged {naive})") if text and naive else text


def _named(key: str, context: Context) -> tuple[Ours, str | None]:
    """Return what of ours was logged for a queue id, and the Message-ID."""
    known = context.memory.recall(f"{key} ids") if context.memory is not None else ()
    if not known:
        return NOTHING_OF_OURS, None
    place = dict(zip(known[::2], known[1::2], strict=True))
    return ours_in(context, place), place.get("message-id")


def _remember_ids(text: str, key: str, memory: Memory) -> None:
    found = _MESSAGE_ID.match(text)
    name, value = ("message-id", found[1]) if found else ("", "")
    header = _LOGGED_HEADER.match(text) if found is None else None
    if header is not None:
        name, value = header[1], header[2].strip().strip("<>")
    if not value or len(value) > MAX_ID or value.startswith("="):  # "=?utf-8?…": an encoded word is no id
        return
    known = memory.recall(f"{key} ids")
    if value not in known and len(known) < 2 * _MAX_HEADERS:
        memory.keep(f"{key} ids", (*known, name, value))


def _remember_recipient(key: str, recipient: str, memory: Memory, means: Means) -> None:
    known = _deferred(key, memory)
    if means.permanence is Permanence.TRANSIENT:
        if recipient not in known and len(known) < _MAX_RECIPIENTS:
            memory.keep(f"{key} deferred", (*known, recipient))
    elif recipient in known:
        memory.keep(f"{key} deferred", tuple(other for other in known if other != recipient))


def _deferred(key: str, memory: Memory | None) -> tuple[str, ...]:
    return memory.recall(f"{key} deferred") if memory is not None else ()


def _forget(key: str, memory: Memory) -> None:
    memory.forget(f"{key} ids")
    memory.forget(f"{key} deferred")
    memory.forget(f"{key} names")


ADAPTER = Adapter("postfix", Channel.EMAIL, TABLE, read, split, remembers=True, id_covers_several=True)
