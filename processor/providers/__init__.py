"""Read raw provider payloads into canonical events: the list of adapters, one file for each provider.

To add a provider, add a file beside this one, a line to the list below, and a file of samples.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from importlib import import_module
from typing import Literal, get_args

import orjson

from processor.domain.event import Event
from processor.providers.adapter import (
    UNREADABLE_MAX,
    Adapter,
    Context,
    Finding,
    Memory,
    NoStatus,
    PayloadError,
    Unknown,
    Unreadable,
    left_unread,
)
from processor.providers.fields import json_of

#: The files beside this one; a file's name is the provider's name on the wire.
PROVIDERS = (
    "aws_eum_sms",
    "aws_sns_sms",
    "bandwidth",
    "brevo",
    "firetext",
    "infobip",
    "jasmin",
    "kannel",
    "kumomta",
    "mailgun",
    "mailjet",
    "messagebird",
    "mmg",
    "plivo",
    "postfix",
    "postmark",
    "powermta",
    "resend",
    "sendgrid",
    "ses",
    "sinch",
    "smpp",
    "sparkpost",
    "telnyx",
    "twilio",
    "vonage",
)

ADAPTERS: dict[str, Adapter] = {name: import_module(f"{__name__}.{name}").ADAPTER for name in PROVIDERS}

#: What a raw record came to: see `outcome`.
Outcome = Literal["events", "dead", "unknown", "no_status"]
OUTCOMES: tuple[Outcome, ...] = get_args(Outcome)
_BY_GRAVITY = OUTCOMES[1:]

#: A detail is read by people; what a payload can blow up is cut.
_MAX_DETAIL = 300


def decode_payload(value: bytes) -> object:
    """Decode a record's value as JSON if it parses, else as text.

    Raises:
        ValueError: it is neither JSON nor valid UTF-8.
    """
    try:
        return json_of(value)
    except ValueError:
        pass
    try:
        return value.decode()
    except UnicodeDecodeError as error:
        raise ValueError(f"neither JSON nor UTF-8 text: {error.reason} at byte {error.start}") from None


def read(provider: str | Adapter, payload: object, context: Context) -> list[Finding]:
    """Read a payload into findings, at least one. It never raises.

    A bad element of a batch becomes one `Unreadable`, and the others are read; after the thousandth bad one, the rest
    is one `Unreadable` of the whole payload. Any exception of an adapter is taken as a fault of the element: no payload
    may stop the stream.
    """
    adapter = ADAPTERS.get(provider) if isinstance(provider, str) else provider
    if adapter is None:
        return [Unreadable(f"no adapter for provider {provider!r:.50}; there are: {', '.join(ADAPTERS)}")]
    if adapter.remembers and context.memory is None:
        context = context._replace(memory=Memory())
    findings: list[Finding] = []
    bad = 0
    try:
        for element in adapter.split(payload):
            if bad >= UNREADABLE_MAX:
                findings.append(Unreadable(f"not what {adapter.name} sends: {left_unread(bad)}"))
                break
            try:
                for finding in adapter.read(element, context):
                    if isinstance(finding, Unreadable):
                        bad += 1
                        findings.append(finding._replace(element=_quotable(finding.element, payload)))
                    else:
                        findings.append(finding)
            except Exception as error:
                bad += 1
                findings.append(Unreadable(_explain(adapter, error), _quotable(element, payload)))
    except Exception as error:
        findings.append(Unreadable(_explain(adapter, error)))
    return findings or [Unreadable(f"not what {adapter.name} sends: an empty array")]


def _explain(adapter: Adapter, error: Exception) -> str:
    # An adapter words what it refuses; anything else is a shape that it did not expect.
    words = str(error) if isinstance(error, PayloadError) else f"{type(error).__name__}: {error}"
    return f"not what {adapter.name} sends: {words}"[:_MAX_DETAIL]


def _quotable(element: object, payload: object) -> object:
    # A dead letter quotes the element as JSON; what nests too deep for that is quoted with its whole payload.
    if element is payload:
        return None
    try:
        orjson.dumps(element)
    except TypeError:
        return None
    return element


def outcome(findings: Iterable[Finding]) -> tuple[Outcome, str]:
    """Sum up the findings of one payload in a word and a detail.

    The word is "events" when there is any event, else the gravest of "dead", "unknown" and "no_status"; the detail
    mentions all that is not an event.
    """
    events = False
    told: dict[Outcome, Counter[str]] = {}
    for finding in findings:
        if isinstance(finding, Event):
            events = True
        elif isinstance(finding, Unreadable):
            told.setdefault("dead", Counter())[finding.detail] += 1
        elif isinstance(finding, Unknown):
            told.setdefault("unknown", Counter())[f"unknown native status: {finding.native}"] += 1
        else:
            told.setdefault("no_status", Counter())[f"no bearing on status: {finding.native}"] += 1
    words = [word for word in _BY_GRAVITY if word in told]
    return "events" if events else next(iter(words), "no_status"), "; ".join(_tell(told[word]) for word in words)


def _tell(counted: Counter[str]) -> str:
    return "; ".join(text[:_MAX_DETAIL] + (f" (x{times})" if times > 1 else "") for text, times in counted.items())


__all__ = [
    "ADAPTERS",
    "OUTCOMES",
    "PROVIDERS",
    "Adapter",
    "Context",
    "Finding",
    "Memory",
    "NoStatus",
    "Outcome",
    "Unknown",
    "Unreadable",
    "decode_payload",
    "outcome",
    "read",
]
