"""Plivo: HMAC-SHA256 with the account's auth token (V2, V3) or the main account's (MA-V2, MA-V3), and a nonce.

Source: docs.plivo.com, messaging, "Signature validation" (V2); plivo-python, utils (V2) and utils/signature_v3. Message
callbacks have V2, which covers neither query nor parameters: whoever has one signature can sign any status with it.
Where V3 comes as well, either is enough, for who wants to forge would leave V3 out.
"""

from __future__ import annotations

import hmac

from processor.gateway.verifiers.call import Call, Refused, Trust, base64_among, first_match, octets_of
from processor.gateway.verifiers.forms import by_name, fields_of, query_of

_V2 = ("x-plivo-signature-v2", "x-plivo-signature-ma-v2")
_V3 = ("x-plivo-signature-v3", "x-plivo-signature-ma-v3")
MARKS = (*_V3, *_V2)
#: More signatures than tokens can be valid at once are an attack on time.
_MAX_SIGNATURES = 20


def verify(trust: Trust, call: Call, now: float | None) -> str:  # noqa: ARG001 - Plivo signs no time
    """Verify the call with one of the auth tokens, by V3 where it comes, else by V2."""
    if call.has(*_V3) and call.has(*_V2):
        try:
            return _verify_v3(trust, call)
        except Refused:
            return _verify_v2(trust, call)
    return _verify_v3(trust, call) if call.has(*_V3) else _verify_v2(trust, call)


def _verify_v2(trust: Trust, call: Call) -> str:
    nonce = octets_of(call.header("x-plivo-signature-v2-nonce"))
    return _first(trust, call, _V2, _address(call) + nonce)


def _verify_v3(trust: Trust, call: Call) -> str:
    nonce = octets_of(call.header("x-plivo-signature-v3-nonce"))
    return _first(trust, call, _V3, _address(call) + _parameters(call) + b"." + nonce)


def _address(call: Call) -> bytes:
    return octets_of(call.url.partition("#")[0].partition("?")[0])


def _parameters(call: Call) -> bytes:
    """Return what V3 signs of a query and a form: "?" and the sorted query, ".", names and values of the form.

    Of a GET, the form belongs to the query, which wins.
    """
    query = by_name(fields_of(query_of(call.url)))
    form = by_name(fields_of(call.body))
    if call.method.upper() == "GET":
        query, form = dict(sorted((form | query).items())), {}
    asked = b"&".join(name + b"=" + value for name, values in query.items() for value in values)
    if not form:
        return b"?" + asked if asked else b""
    posted = b"".join(name + value for name, values in form.items() for value in values)
    return b"?" + asked + (b"." if asked else b"") + posted


def _first(trust: Trust, call: Call, names: tuple[str, ...], signed: bytes) -> str:
    texts = [one.strip() for name in names for value in call.headers.get(name, ()) for one in value.split(",")]
    if not any(texts):
        raise Refused(f"no header {' or '.join(names)}")
    given = base64_among((one for one in texts[:_MAX_SIGNATURES] if one), names[0])
    expected = ([hmac.digest(octets_of(secret.strip()), signed, "sha256")] for secret in trust.secrets)
    return first_match(expected, given, names[0])
