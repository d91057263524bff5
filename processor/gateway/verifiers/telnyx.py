"""Telnyx: Ed25519 over time and body, with the account's public key.

Source: Telnyx docs, "Webhook signing"; telnyx-python, lib/webhooks.
"""

from __future__ import annotations

from processor.gateway.verifiers.call import Call, Trust, base64_of, check_age

_SIGNATURE = "telnyx-signature-ed25519"
_TIME = "telnyx-timestamp"
MARKS = (_SIGNATURE,)


def verify(trust: Trust, call: Call, now: float | None) -> str:
    """Verify the call with one of the public keys: base64 of its 32 octets, as the portal shows it, hex, DER or PEM."""
    from processor.gateway.verifiers import public_keys  # noqa: PLC0415 - most calls need no public key

    signature = base64_of(call.header(_SIGNATURE), _SIGNATURE)
    time = call.header(_TIME)
    check_age(time, now, trust.max_age)
    keys = [public_keys.ed25519(secret) for secret in trust.secrets]
    signed = time.encode() + b"|" + call.body
    return public_keys.first_that_verifies(keys, public_keys.ed25519_verifies, signature, signed, _SIGNATURE)
