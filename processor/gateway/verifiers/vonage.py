"""Vonage: `sig` over the sorted parameters (SMS API), and a JSON Web Token with the hash of the body (Messages API).

Source: Vonage docs, "Signing messages" and "Signed webhooks"; vonage-python-sdk, http_client/auth. A signature's length
tells its algorithm, but for 32 digits: HMAC-MD5, or the older MD5 of parameters and secret. Vonage says that it may, by
an error of its own, send a callback unsigned, and signs it when it is answered with 5xx.
"""

from __future__ import annotations

import hashlib
import hmac
import re

import orjson

from processor.gateway.verifiers import jwt
from processor.gateway.verifiers.call import Call, Refused, Trust, check_age, first_match, octets_of
from processor.gateway.verifiers.forms import fields_of, query_of

#: Headers that show that a call is signed by a token.
MARKS = ("authorization",)

#: By the number of a signature's digits.
_HASHES = {32: "md5", 40: "sha1", 64: "sha256", 128: "sha512"}
_BEARER = re.compile(r"bearer +(\S+)", re.IGNORECASE)


def verify_messages(trust: Trust, call: Call, now: float | None) -> str:
    """Verify a call of the Messages API with one of the signature secrets."""
    found = _BEARER.fullmatch(call.header("authorization"))
    if found is None:
        raise Refused("no JSON Web Token in header authorization", again=True)
    claims, told = jwt.claims_of(found[1], trust, ("HS256",), "authorization")
    if claims.get("iss", "Vonage") != "Vonage":
        raise Refused("authorization: not issued by Vonage")
    check_age(claims.get("iat"), now, trust.max_age)
    jwt.check_times(claims, now, "authorization")
    right = hashlib.sha256(call.body).hexdigest().encode()
    claimed = claims.get("payload_hash")
    if not isinstance(claimed, str) or not hmac.compare_digest(claimed.lower().encode(), right):
        raise Refused("authorization: signed for another body")
    return told


def verify_sms(trust: Trust, call: Call, now: float | None) -> str:
    """Verify a call of the SMS API with one of the signature secrets: GET, form or JSON."""
    refused = Refused("no parameters")
    for parameters in _covered(call):
        try:
            return _verify_parameters(trust, parameters, now)
        except Refused as error:
            refused = error
    raise refused


def _verify_parameters(trust: Trust, parameters: dict[bytes, bytes], now: float | None) -> str:
    given = parameters.get(b"sig", b"").lower()
    if not given:
        raise Refused("no parameter sig: unsigned", again=True)
    algorithm = _HASHES.get(len(given))
    if algorithm is None:
        raise Refused("sig has another length than that of any algorithm")
    if now is not None or b"timestamp" in parameters:
        check_age(parameters.get(b"timestamp", b"").decode(errors="replace"), now, trust.max_age)
    if any(b"&" in name or b"=" in name for name in parameters):
        # Names are signed as they are: one could stand for several parameters.
        raise Refused("a parameter's name has & or = in it")
    signed = b"".join(
        b"&" + name + b"=" + value.replace(b"&", b"_").replace(b"=", b"_")
        for name, value in sorted(parameters.items())
        if name != b"sig"
    )
    secrets = (octets_of(secret.strip()) for secret in trust.secrets)
    return first_match((_signatures(algorithm, secret, signed) for secret in secrets), [given], "sig")


def _signatures(algorithm: str, secret: bytes, signed: bytes) -> list[bytes]:
    right = [hmac.digest(secret, signed, algorithm).hex().encode()]
    if algorithm == "md5":
        # Vonage's "MD5 hash signature": weak, and an account's own choice.
        right.append(hashlib.md5(signed + secret).hexdigest().encode())  # noqa: S324 - said above
    return right


def _covered(call: Call) -> list[dict[bytes, bytes]]:
    """Return the parameters that may be signed: those of the body, with or without those of the address's query."""
    query = dict(fields_of(query_of(call.url)))
    if not call.body:
        return [query]
    body = _json_fields(call.body) if call.body.lstrip()[:1] == b"{" else dict(fields_of(call.body))
    return [body, query | body]


def _json_fields(body: bytes) -> dict[bytes, bytes]:
    try:
        read = orjson.loads(body)
    except ValueError:
        raise Refused("the body is broken JSON") from None
    fields: dict[bytes, bytes] = {}
    for name, value in read.items():
        if isinstance(value, dict | list):
            raise Refused("parameters inside parameters, as the SMS API never sends", again=True)
        fields[name.encode()] = value.encode() if isinstance(value, str) else orjson.dumps(value)
    return fields
