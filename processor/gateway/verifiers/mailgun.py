"""Mailgun: HMAC-SHA256 over a time and a token, inside the body.

Source: documentation.mailgun.com, "Securing webhooks". The event is *not* covered: whoever has seen one signature can
sign any event with it. So a token is good for one body only, as long as its time is; who takes a call remembers it.
"""

from __future__ import annotations

import hmac
import re
from hashlib import sha256
from typing import Any, NamedTuple

import orjson

from processor.gateway.verifiers.call import Call, Refused, Trust, check_age, first_match, octets_of
from processor.gateway.verifiers.forms import fields_of, parts_of

_NAMES = ("timestamp", "token", "signature")
_MAX_TOKEN = 200
_SIGNATURE = re.compile(r"[0-9a-fA-F]{64}")


class _Signed(NamedTuple):
    timestamp: str
    token: str
    signature: str


def verify(trust: Trust, call: Call, now: float | None) -> str:
    """Verify the call with one of the signing keys: its own signature, or that of the parent account."""
    signed = _signatures(call)
    for one in signed:
        check_age(one.timestamp, now, trust.max_age)
        seen = trust.tokens.get(one.token)
        if seen is not None and not hmac.compare_digest(seen, digest_of(call)):
            raise Refused("its token has come with another event")
    refused = Refused("no signature")
    for one in signed:
        told = f"{one.timestamp}{one.token}".encode()
        expected = ([hmac.digest(octets_of(secret.strip()), told, "sha256")] for secret in trust.secrets)
        try:
            return first_match(expected, [bytes.fromhex(one.signature)], "signature")
        except Refused as error:
            refused = error
    raise refused


def tokens_of(call: Call) -> list[str]:
    """Return the tokens to remember of a verified call that was taken, each with `digest_of` the call."""
    return [one.token for one in _signatures(call)]


def digest_of(call: Call) -> bytes:
    """Return what tells a call's body from any other."""
    return sha256(call.body).digest()


def _signatures(call: Call) -> list[_Signed]:
    body = _read(call)
    places = [place for name in ("signature", "parent-signature") if isinstance(place := body.get(name), dict)]
    return [_signed(place) for place in places or [body]]


def _signed(place: dict[str, Any]) -> _Signed:
    timestamp, token, signature = (str(place.get(name, "")) for name in _NAMES)
    if not token or len(token) > _MAX_TOKEN or not _SIGNATURE.fullmatch(signature):
        raise Refused("no signature of timestamp, token and signature in the body")
    return _Signed(timestamp, token, signature)


def _read(call: Call) -> dict[str, Any]:
    """Read the body: JSON, or the forms of the legacy webhooks."""
    kind = next(iter(call.headers.get("content-type", ())), "")
    if call.body.lstrip()[:1] == b"{":
        try:
            read = orjson.loads(call.body)
        except ValueError:
            raise Refused("the body is broken JSON") from None
        return read if isinstance(read, dict) else {}
    multipart = kind.lower().startswith("multipart/form-data")
    pairs = parts_of(kind, call.body) if multipart else fields_of(call.body)
    return {name.decode(errors="replace"): value.decode(errors="replace") for name, value in pairs}
