"""Amazon SNS over HTTPS: RSA over chosen fields, with a certificate that the message names the address of.

Source: Amazon SNS Developer Guide, "Verifying the signatures of Amazon SNS messages" and "HTTP/HTTPS notification JSON
format". A right signature proves that it is *some* topic of AWS: anybody may have one. So the topic must be among ours
before anything that the message names is fetched. SNS repeats a message with the time of its publication, for an hour
at most. Raw message delivery has no signature.
"""

from __future__ import annotations

import re
from typing import NamedTuple
from urllib.parse import parse_qs

import orjson

from processor.gateway.verifiers.call import Call, Refused, Trust, base64_of, seconds_of

_TYPE = "x-amz-sns-message-type"
MARKS = (_TYPE,)

_NOTIFICATION = ("Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type")
_CONFIRMATION = ("Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type")
#: What is signed, by Type.
_SIGNED = {
    "Notification": _NOTIFICATION,
    "SubscriptionConfirmation": _CONFIRMATION,
    "UnsubscribeConfirmation": _CONFIRMATION,
}
#: Headers that repeat fields; who reads only these must not be told something else.
_REPEATED = {
    _TYPE: "Type",
    "x-amz-sns-message-id": "MessageId",
    "x-amz-sns-topic-arn": "TopicArn",
}
_VERSIONS = ("1", "2")

# The name of a region, and nothing else: `sns.s3-eu-west-1.amazonaws.com` is a bucket that somebody has called "sns".
_HOST = r"https://sns\.[a-z]{2,}(?:-[a-z]+)+-[0-9]+\.amazonaws\.com(?:\.cn)?"
_CERTIFICATE = re.compile(_HOST + r"/SimpleNotificationService-[a-z0-9]+\.pem")
_CONFIRM = re.compile(_HOST + r"/\?([!-~]*)")

#: Seconds: a delivery policy repeats for an hour at most.
_REPEATS = 3600


class Message(NamedTuple):
    """A message of SNS whose topic is ours, and whose addresses may be fetched."""

    fields: dict[str, str]
    certificate_url: str

    @property
    def subscribe_url(self) -> str | None:
        """The address that confirms the subscription, of a message that has been verified; else None."""
        return self.fields["SubscribeURL"] if self.fields["Type"] == "SubscriptionConfirmation" else None


def is_handshake(call: Call) -> bool:
    """Return whether a call says that it is about a subscription and no notification."""
    return any(kind != "Notification" for kind in call.headers.get(_TYPE, ()))


def verify(trust: Trust, call: Call, now: float | None) -> str:
    """Verify the call: its topic is ours, and its signature that of a certificate of SNS."""
    from processor.gateway.verifiers import public_keys  # noqa: PLC0415 - most calls need no public key

    message = message_of(trust, call)
    fields = message.fields
    published = seconds_of(fields["Timestamp"])
    if published is None:
        raise Refused("SNS: its Timestamp is none")
    if now is not None and not -trust.max_age <= now - published <= _REPEATS + trust.max_age:
        raise Refused("SNS: published too long ago, or in the future")
    names = [name for name in _SIGNED[fields["Type"]] if name in fields]
    signed = "".join(f"{name}\n{fields[name]}\n" for name in names).encode()
    signature = base64_of(fields["Signature"], "SNS: its Signature")
    certificate = trust.certificate_of(message.certificate_url)
    if not public_keys.certificate_verifies(certificate, fields["SignatureVersion"], signature, signed, now):
        raise Refused("SNS: its Signature is wrong: the message was changed on its way")
    checked = f"{fields['TopicArn']}" if trust.topics is not None else "whatever its topic"
    return f"SNS signature, version {fields['SignatureVersion']}, {checked}"


def message_of(trust: Trust, call: Call) -> Message:
    """Read a message, and refuse it unless its topic is ours and each address in it is one of SNS; fetch nothing."""
    fields = _fields(call)
    if trust.topics is not None and fields["TopicArn"] not in trust.topics:
        raise Refused(f"SNS: {fields['TopicArn']:.200} is not among the topics of the route")
    for header, name in _REPEATED.items():
        if call.has(header) and call.header(header) != fields[name]:
            raise Refused(f"SNS: header {header} says something else than {name}")
    if fields["SignatureVersion"] not in _VERSIONS:
        raise Refused("SNS: its SignatureVersion is neither 1 nor 2")
    if not _CERTIFICATE.fullmatch(fields["SigningCertURL"]):
        raise Refused("SNS: SigningCertURL is not an address of SNS")
    if "SubscribeURL" in _SIGNED[fields["Type"]]:
        found = _CONFIRM.fullmatch(fields["SubscribeURL"])
        asked = parse_qs(found[1]) if found else {}
        if asked.get("Action") != ["ConfirmSubscription"] or asked.get("TopicArn") != [fields["TopicArn"]]:
            raise Refused("SNS: SubscribeURL is not an address of SNS that confirms this topic")
    return Message(fields, fields["SigningCertURL"])


def _fields(call: Call) -> dict[str, str]:
    try:
        read = orjson.loads(call.body)
    except ValueError:
        read = None
    if not isinstance(read, dict) or "Signature" not in read:
        raise Refused("SNS: no signed message; raw message delivery is not signed: switch it off, or verify by basic")
    fields = {name: value for name, value in read.items() if isinstance(value, str)}
    needed = _SIGNED.get(fields.get("Type", ""), ())
    if not needed:
        raise Refused("SNS: its Type is none of SNS's")
    if missing := {*needed, "SignatureVersion", "Signature", "SigningCertURL"} - fields.keys() - {"Subject"}:
        raise Refused(f"SNS: no {', '.join(sorted(missing))}")
    return fields
