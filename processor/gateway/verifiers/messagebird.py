"""MessageBird: a JSON Web Token with the hashes of the address and of the body, valid for a minute.

Source: MessageBird docs, "Verifying HTTP requests"; messagebird/python-rest-api, request_validator. The order of the
query counts. The hash of the body is there if, and only if, there is a body.
"""

from __future__ import annotations

import hmac
from hashlib import sha256

from processor.gateway.verifiers import jwt
from processor.gateway.verifiers.call import Call, Refused, Trust, octets_of

_TOKEN = "messagebird-signature-jwt"  # noqa: S105 - the name of a header
MARKS = (_TOKEN,)


def verify(trust: Trust, call: Call, now: float | None) -> str:
    """Verify the call with one of the signing keys."""
    claims, told = jwt.claims_of(call.header(_TOKEN), trust, ("HS256", "HS384", "HS512"), _TOKEN)
    if claims.get("iss") != "MessageBird":
        raise Refused(f"{_TOKEN}: not issued by MessageBird")
    if not {"nbf", "exp"} <= claims.keys():
        raise Refused(f"{_TOKEN}: it does not say how long it is valid")
    jwt.check_times(claims, now, _TOKEN)
    if not _is_hash_of(claims.get("url_hash"), octets_of(call.url)):
        raise Refused(f"{_TOKEN}: signed for another address")
    if bool(call.body) != bool(claims.get("payload_hash")):
        raise Refused(f"{_TOKEN}: {'a body that was not signed' if call.body else 'the body is missing'}")
    if call.body and not _is_hash_of(claims["payload_hash"], call.body):
        raise Refused(f"{_TOKEN}: signed for another body")
    return told


def _is_hash_of(claimed: object, octets: bytes) -> bool:
    return isinstance(claimed, str) and hmac.compare_digest(claimed.encode(), sha256(octets).hexdigest().encode())
