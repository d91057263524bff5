"""Verify a call that was written down: one line of `gateway verify`."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
from datetime import datetime
from typing import Literal

import msgspec

from processor.gateway.verifiers import ANY_SHARED, SHARED, SIGNATURES, Call, Refused, Trust, choose, headers_of, verify

_CERTIFICATE = "-----BEGIN CERTIFICATE-----"
_TOPIC = "arn:"


class Line(msgspec.Struct):
    """A call as JSON: what was received, and what it is to be verified with."""

    #: Of SNS: its certificate as PEM, and ARNs of topics; without an ARN, the topic is not checked.
    secrets: list[str] = []
    method: str = "POST"
    #: As signed.
    url: str = ""
    headers: dict[str, str | int | list[str | int]] = {}
    body: str | None = None
    body_base64: str | None = None
    #: None: rules about time are off.
    now: datetime | None = None
    #: As in the gateway's file; without it, what the provider signs with, or any secret where it signs nothing.
    verify: Literal["signature", "basic", "bearer", "header", "none"] = "signature"


def judge(provider: str, text: bytes) -> tuple[bool, str]:
    """Return whether the call of a line is accepted, and what verified it or why it is refused."""
    try:
        line = _DECODER.decode(text)
        call = _call_of(line)
        now = _now_of(line)
    except ValueError as error:
        return False, f"the line cannot be read: {error}"
    schemes = SIGNATURES.get(provider, (ANY_SHARED,)) if line.verify == "signature" else (SHARED[line.verify],)
    refused = Refused("no secret")
    for trust in _trusts(line):
        try:
            return True, verify(choose(schemes, call), trust, call, now)
        except Refused as error:
            refused = error
    return False, str(refused)


_DECODER = msgspec.json.Decoder(Line)


def _call_of(line: Line) -> Call:
    if line.body is not None and line.body_base64 is not None:
        raise ValueError("both body and body_base64")
    body = (line.body or "").encode()
    if line.body_base64 is not None:
        try:
            body = base64.b64decode(line.body_base64, validate=True)
        except binascii.Error as error:
            raise ValueError(f"body_base64: {error}") from None
    pairs = ((name, value) for name, values in line.headers.items() for value in _listed(values))
    return Call(line.method, line.url, headers_of(pairs), body)


def _listed(values: str | int | list[str | int]) -> list[str]:
    return [str(value) for value in values] if isinstance(values, list) else [str(values)]


def _now_of(line: Line) -> float | None:
    if line.now is not None and line.now.tzinfo is None:
        raise ValueError("now has no zone")
    return line.now.timestamp() if line.now is not None else None


def _trusts(line: Line) -> list[Trust]:
    """Return what the line trusts: once with each of its certificates, if it has any."""
    topics = [secret for secret in line.secrets if secret.startswith(_TOPIC)] or None
    trust = Trust(secrets=line.secrets, topics=topics)
    certificates = [secret for secret in line.secrets if _CERTIFICATE in secret]
    return [trust._replace(certificate_of=_always(one)) for one in certificates] or [trust]


def _always(certificate: str) -> Callable[[str], str]:
    def give(_: str) -> str:
        return certificate

    return give
