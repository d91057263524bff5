"""Read raw provider payloads into canonical events: the list of adapters, one file for each provider.

To add a provider, add a file beside this one, a line to the list below, and a file of samples; then give it a route at
the gateway, or name it among those that do not call (docs/providers/ADDING_A_PROVIDER.md).
"""

from __future__ import annotations

import re
from codecs import BOM_UTF8
from collections import Counter
from collections.abc import Iterable, Sequence
from importlib import import_module
from typing import Literal, get_args

import orjson

from processor.domain.event import Event
from processor.providers.adapter import (
    UNKNOWN_MAX,
    UNREADABLE_MAX,
    Adapter,
    Context,
    Finding,
    Memory,
    NoStatus,
    PayloadError,
    Room,
    Unknown,
    Unreadable,
    left_unread,
)
from processor.providers.fields import CONTAINERS_MAX, TooManyError, json_of

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

#: A detail is read by people; what a payload can blow up is cut.
_MAX_DETAIL = 300


# What a decoder need not be asked of is most of what is sent as a form or a line of a log: an error costs more than to
# read it. A text, an array, an object; or all of it a number or a word.
_MAY_BE_JSON = re.compile(rb'[ \t\r\n]*(?:[{\["]|(?:true|false|null|-?[0-9][0-9.eE+-]*)[ \t\r\n]*\Z)')


def decode_payload(value: bytes) -> object:
    """Decode a record's value as JSON if it parses, else as text; lines that are each an object are an array.

    Octets that are no UTF-8 are replaced: the words of one server in one line of a log do not spoil the others.

    Raises:
        TooManyError: it is JSON with more arrays and objects than any batch has.
        ValueError: it is neither JSON nor, for the most part, text.
    """
    value = value.removeprefix(BOM_UTF8)
    if value[:1] == b"{" or _MAY_BE_JSON.match(value):
        try:
            return orjson.loads(value) if len(value) <= CONTAINERS_MAX else json_of(value)
        except orjson.JSONDecodeError:
            pass
        try:
            return json_of(value)
        except TooManyError:
            raise
        except ValueError:
            pass
        if value[:1] == b"{" and b"\n{" in value:
            return [_line(line) for line in value.split(b"\n") if line and not line.isspace()]
    try:
        return value.decode()
    except UnicodeDecodeError as error:
        text = value.decode(errors="replace")
        if text.count("\N{REPLACEMENT CHARACTER}") * _LEAST_TEXT > len(text):
            raise ValueError(f"neither JSON nor UTF-8 text: {error.reason} at byte {error.start}") from None
        return text


#: Where one character in so many, or more, is none, it is no text.
_LEAST_TEXT = 4


def _line(line: bytes) -> object:
    """Decode one line of several as JSON, else as text, for its adapter to refuse."""
    try:
        return json_of(line)
    except ValueError:
        return line.decode(errors="replace")


def read(provider: str | Adapter, payload: object, context: Context) -> list[Finding]:
    """Read a payload into findings, at least one. It never raises.

    A bad element of a batch becomes one `Unreadable`, and the others are read; after the thousandth bad one, or the two
    thousandth unknown one, the rest is one `Unreadable` of the whole payload. Any exception of an adapter is taken as a
    fault of the element: no payload may stop the stream.
    """
    adapter = ADAPTERS.get(provider) if isinstance(provider, str) else provider
    if adapter is None:
        return [Unreadable(f"no adapter for provider {provider!r:.50}; there are: {', '.join(ADAPTERS)}")]
    if adapter.remembers and context.memory is None:
        context = context._replace(memory=Memory())
    findings: list[Finding] = []
    bad = unknown = 0
    try:
        elements = adapter.split(payload)
        if adapter.unpacks and isinstance(elements, list):
            context = context._replace(room=Room())
        for element in elements:
            if bad >= UNREADABLE_MAX or unknown >= UNKNOWN_MAX:
                findings.append(Unreadable(f"not what {adapter.name} sends: {left_unread(bad + unknown)}"))
                break
            place = None if element is payload else element
            try:
                for finding in adapter.read(element, context):
                    if type(finding) is Event:
                        findings.append(finding)
                    elif type(finding) is Unknown:
                        unknown += 1
                        findings.append(Unknown(finding.native, place))
                    elif type(finding) is Unreadable:
                        bad += 1
                        findings.append(finding if finding.element is not None else Unreadable(finding.detail, place))
                    else:
                        findings.append(finding)
            except Exception as error:
                bad += 1
                findings.append(Unreadable(_explain(adapter, error), place))
    except Exception as error:
        findings.append(Unreadable(_explain(adapter, error)))
    return findings or [Unreadable(f"not what {adapter.name} sends: an empty array")]


def _explain(adapter: Adapter, error: Exception) -> str:
    # An adapter words what it refuses; anything else is a shape that it did not expect.
    words = str(error) if isinstance(error, PayloadError) else f"{type(error).__name__}: {error}"
    return f"not what {adapter.name} sends: {words}"[:_MAX_DETAIL]


#: The word for a payload with such findings, the first that fits.
_WORDS: tuple[tuple[type, Outcome], ...] = (
    (Event, "events"),
    (Unreadable, "dead"),
    (Unknown, "unknown"),
    (NoStatus, "no_status"),
)


def outcome_word(findings: Iterable[Finding]) -> Outcome:
    """Return "events" when any finding is an event, else the gravest of "dead", "unknown", "no_status"."""
    kinds = set(map(type, findings))
    return next((word for kind, word in _WORDS if kind in kinds), "no_status")


def outcome(findings: Sequence[Finding]) -> tuple[Outcome, str]:
    """Sum up the findings of one payload in a word and a detail, which mentions all that is not an event."""
    told: dict[str, Counter[str]] = {"dead": Counter(), "unknown": Counter(), "no_status": Counter()}
    for finding in findings:
        if isinstance(finding, Unreadable):
            told["dead"][finding.detail] += 1
        elif isinstance(finding, Unknown):
            told["unknown"][f"unknown native status: {finding.native}"] += 1
        elif isinstance(finding, NoStatus):
            told["no_status"][f"no bearing on status: {finding.native}"] += 1
    return outcome_word(findings), "; ".join(_tell(counted) for counted in told.values() if counted)


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
    "outcome_word",
    "read",
]
