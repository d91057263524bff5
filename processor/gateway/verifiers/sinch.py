"""Sinch: HMAC-SHA256 over body, nonce and time, where the account manager has switched it on.

Source: Sinch docs, "Webhooks: callback signing"; sinch-sdk-java, WebHooksService.
"""

from __future__ import annotations

import hmac

from processor.gateway.verifiers.call import Call, Refused, Trust, base64_of, check_age, first_match, octets_of

_SIGNATURE = "x-sinch-webhook-signature"
MARKS = (_SIGNATURE,)
_ALGORITHM = f"{_SIGNATURE}-algorithm"


def verify(trust: Trust, call: Call, now: float | None) -> str:
    """Verify the call with one of the secrets."""
    signature = base64_of(call.header(_SIGNATURE), _SIGNATURE)
    nonce, time = call.header(f"{_SIGNATURE}-nonce"), call.header(f"{_SIGNATURE}-timestamp")
    if call.has(_ALGORITHM) and call.header(_ALGORITHM).lower().replace("-", "") != "hmacsha256":
        raise Refused(f"{_ALGORITHM} is not HmacSHA256")
    check_age(time, now, trust.max_age)
    signed = call.body + octets_of(f".{nonce}.{time}")
    expected = ([hmac.digest(octets_of(secret.strip()), signed, "sha256")] for secret in trust.secrets)
    return first_match(expected, [signature], _SIGNATURE)
