"""Read KumoMTA log records, from log hooks (one object, or an array in batches), log files and log shippers.

A log shipper writes them inside an object, or into a batch of Loki or OpenTelemetry.

Source: docs.kumomta.com, reference/log_record (every record type), and the enums RecordType and
PreDefinedBounceClass of its source code, 2026-08.

How final a failure is comes from the record type, and only its shade from the code:

* TransientFailure and Delayed are still trying, whatever the code (a 552, or any error at connect time, is retried);
* Expiration gave up, whatever the code (kumod itself writes 551 5.4.7);
* Bounce and OOB ended the delivery: permanent, but with 4.x.x or x.4.7 a temporary condition was given up on.

`num_attempts` counts KumoMTA's own retries within one hand-over of ours, so `attempt` stays 1.

An OOB record carries the spool id of the *incoming report*, not of the message that bounced: only our own id, in
`meta` or `headers`, ties it to its message.

In its configuration: a log hook (HTTP, Kafka, AMQP or NATS) or the log files; `headers` and `meta` list what carries
our ids.

Signature: none; who hooks by HTTP adds a token of its own.

Traps: the log hook of the documentation rejects with 500 what the receiver does not answer with 2xx, and a 5xx is not
tried again: let its script reject with 4xx. A 552, or any error while connecting, is retried, so the code alone never
says that it is over. A hook delivers at least once. Records of the hook's own messages (`reception_protocol` LogRecord)
are left out.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from processor.domain.event import Event
from processor.domain.reason import Category, Reason
from processor.domain.status import Channel, Permanence, Status
from processor.providers.adapter import (
    Adapter,
    Context,
    Finding,
    Means,
    NoStatus,
    Objection,
    PayloadError,
    Unknown,
    elements_of,
)
from processor.providers.fields import (
    MAX_TEXT,
    identifier,
    json_of,
    object_of,
    part_of,
    required,
    text_of,
    time_of,
    time_of_epoch,
)
from processor.providers.identity import NOTHING_OF_OURS, Ours, each_recipient, event_of, ours_in
from processor.providers.objections import COMPLAINT, is_complaint, objections
from processor.providers.reasons import qualify, telling_code
from processor.providers.shipped import LINE_NAMES, lines_in

TABLE: dict[str, Means | None] = {
    # Received by SMTP or HTTP injection.
    "Reception": Means(Status.TAKEN_INTO_ACCOUNT),
    # Accepted by the recipient's server (or delivered to Maildir, or by Lua).
    "Delivery": Means(Status.SENT),
    # One attempt failed; it stays in the queue.
    "TransientFailure": Means(Status.TAKEN_INTO_ACCOUNT, Permanence.TRANSIENT),
    # Why it waits in the scheduled queue without a failed attempt: throttle, suspension, watchdog. Since 2025.01.23.
    "Delayed": Means(Status.TAKEN_INTO_ACCOUNT, Permanence.TRANSIENT),
    # The name of "Delayed" in the documentation of 2025.01.
    "Delay": Means(Status.TAKEN_INTO_ACCOUNT, Permanence.TRANSIENT),
    # A permanent failure response: the end of the attempts.
    "Bounce": Means(Status.FAILED, Permanence.PERMANENT),
    # It exceeded its lifetime in the queue.
    "Expiration": Means(Status.FAILED, Permanence.GAVE_UP, Category.UNREACHABLE),
    # An operator failed it through the bounce API.
    "AdminBounce": Means(Status.CANCELED),
    # An out-of-band bounce: a delivery report (RFC 3464) with action "failed" came in, one record a recipient.
    "OOB": Means(Status.FAILED, Permanence.PERMANENT),
    # A feedback report (ARF): a complaint says nothing of delivery.
    "Feedback": None,
    # KumoMTA refused an incoming command: there is no message yet.
    "Rejection": None,
    # Moved from one queue to another.
    "AdminRebind": None,
    # Moved out of the deferred injection queue.
    "DeferredInjectionRebind": None,
    # Handed to another node, which is now responsible. Since 2025.12.02.
    "XferOut": None,
    # Taken over from another node. Since 2025.12.02.
    "XferIn": None,
}

#: What records say of addresses.
OBJECTIONS = {"Feedback": COMPLAINT}

#: Kind of reason by built-in bounce class; None says nothing of the kind, then the codes speak.
#: A custom classifier may write any other string; so may "Uncategorized", when the classifier is off.
BOUNCE_CLASSES: dict[str, Category | None] = {
    "InvalidRecipient": Category.USER_UNKNOWN,
    "DNSFailure": Category.INVALID_DOMAIN,
    "SpamBlock": Category.REFUSED,  # from a known spam source
    "SpamContent": Category.REFUSED,
    "ProhibitedAttachment": Category.REFUSED,
    "RelayDenied": Category.REFUSED,
    "AutoReply": None,
    "TransientFailure": None,
    "Subscribe": None,
    "Unsubscribe": None,
    "ChallengeResponse": None,
    "BadConfiguration": Category.UNREACHABLE,  # of the remote host
    "BadConnection": Category.UNREACHABLE,
    "BadDomain": Category.INVALID_DOMAIN,
    "ContentRelated": Category.REFUSED,
    "InactiveMailbox": Category.ACCOUNT_DISABLED,
    "InvalidSender": Category.REFUSED,
    "MessageExpired": Category.UNREACHABLE,
    "NoAnswerFromHost": Category.UNREACHABLE,
    "PolicyRelated": Category.REFUSED,
    "ProtocolErrors": Category.REFUSED,
    "QuotaIssues": Category.MAILBOX_FULL,
    "RelayingIssues": Category.REFUSED,
    "RoutingErrors": Category.UNREACHABLE,
    "SpamRelated": Category.REFUSED,
    "VirusRelated": Category.REFUSED,
    "AuthenticationFailed": Category.REFUSED,  # SPF, DKIM, DMARC
    "TooManyRecipients": Category.REFUSED,
    "Uncategorized": None,
}

#: Classes of what came back and is no bounce: the mail was delivered, and a person or a program answers.
_ANSWERS = frozenset({"AutoReply", "Subscribe", "Unsubscribe", "ChallengeResponse"})


def read(element: object, context: Context) -> Iterable[Finding]:
    """Read one log record."""
    record = object_of(element)
    if "type" not in record:
        record = _shipped(record)
    kind = record.get("type")
    if not isinstance(kind, str):
        raise PayloadError("no record type ('type')")
    if record.get("reception_protocol") == "LogRecord":
        # A log hook's own records travel as messages, and are logged in their turn.
        return [NoStatus("LogRecord")]
    means = TABLE.get(kind)
    if means is None:
        return [NoStatus(kind, _objections(kind, record, context)) if kind in TABLE else Unknown(kind[:MAX_TEXT])]

    if kind == "OOB" and record.get("bounce_classification") in _ANSWERS:
        return [NoStatus(f"{kind} {record['bounce_classification']}")]
    native_id = required(record.get("id"), "spool id ('id')")
    ours = NOTHING_OF_OURS
    if record.get("meta") or record.get("headers") or context.query:
        ours = ours_in(context, part_of(record, "meta"), part_of(record, "headers"))
    recipient = record.get("recipient")
    time = time_of(record.get("event_time")) or time_of_epoch(record.get("timestamp")) or context.received
    reason = _reason(record, means)
    if isinstance(recipient, list) and recipient:
        return _events(recipient, context, native_id, ours, time, means.status, reason)
    address = identifier(recipient)
    return (
        event_of(ADAPTER, context, native_id, ours, time=time, status=means.status, recipient=address, reason=reason),
    )


def _objections(kind: str, record: dict[str, Any], context: Context) -> tuple[Objection, ...]:
    report = part_of(record, "feedback_report")
    if not is_complaint(report.get("feedback_type")):
        return ()
    told = report.get("original_rcpt_to")
    time = time_of(record.get("event_time")) or time_of_epoch(record.get("timestamp"))
    return objections(OBJECTIONS, kind, told if isinstance(told, list) else [told], time, context)


def _events(  # noqa: PLR0913, PLR0917 - what the events of one record share
    recipients: list[Any],
    context: Context,
    native_id: str,
    ours: Ours,
    time: datetime,
    status: Status,
    reason: Reason | None,
) -> list[Finding]:
    """Make one event a recipient: since 2025.12.02 they are an array where a message has several."""

    def event(recipient: object) -> Event:
        return event_of(
            ADAPTER,
            context,
            native_id,
            ours,
            time=time,
            status=status,
            names_several=len(recipients) > 1,
            recipient=identifier(recipient),
            reason=reason,
        )

    return each_recipient(recipients, ours, context, event)


def split(payload: object) -> Iterable[object]:
    """Split an array, or the batch of a log shipper."""
    if isinstance(payload, dict) and "type" in payload:
        return (payload,)
    if isinstance(payload, str) and "\n" in payload:
        # A piece of a log file.
        return [{_LINE: line} for line in payload.split("\n") if line and not line.isspace()]
    lines = lines_in(payload)
    if lines is None:
        return elements_of(payload)
    # The labels of a batch are not the record's: one of them may be called "type".
    return [{_LINE: line[_LINE]} if isinstance(line, dict) and _LINE in line else line for line in lines]


def _shipped(record: dict[str, Any]) -> dict[str, Any]:
    """Take the log record out of a log shipper's object; what holds none is its own."""
    for name in LINE_NAMES:
        line = record.get(name)
        if isinstance(line, dict):
            return line
        if isinstance(line, str) and line.lstrip()[:1] == "{":
            try:
                return object_of(json_of(line))
            except ValueError as error:
                raise PayloadError(f"broken JSON: {error}") from None
    return record


_LINE = LINE_NAMES[0]


def _reason(record: dict[str, Any], means: Means) -> Reason | None:
    response = part_of(record, "response")
    text = text_of(response.get("content"))
    code = _enhanced_code(response.get("enhanced_code"))
    reply = text_of(response.get("code"))
    permanence = means.permanence
    if permanence is None:
        # The answer to a success is kept as evidence ("250 OK id=..."); an empty one is none.
        return Reason(code=code, provider_code=reply, text=text) if text or code else None
    code = telling_code(code, text)
    label = record.get("bounce_classification")
    own = (BOUNCE_CLASSES.get(label) if isinstance(label, str) else None) or means.category
    # Expiration gave up, whatever the code.
    stays = permanence is Permanence.GAVE_UP
    permanence, category = qualify(
        permanence, own=own, enhanced_code=code, reply_code=reply, text=text, label_stays=stays
    )
    return Reason(permanence=permanence, category=category, code=code, provider_code=reply, text=text)


def _enhanced_code(code: object) -> str | None:
    if not isinstance(code, dict):
        return None
    digit, subject, detail = code.get("class"), code.get("subject"), code.get("detail")
    if type(digit) is not int or type(subject) is not int or type(detail) is not int:
        return None
    return f"{digit}.{subject}.{detail}" if 2 <= digit <= 5 and 0 <= subject <= 999 and 0 <= detail <= 999 else None


ADAPTER = Adapter("kumomta", Channel.EMAIL, TABLE, read, split, id_covers_several=True)
