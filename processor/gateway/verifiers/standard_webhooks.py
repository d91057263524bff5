"""Standard Webhooks, also known as Svix: HMAC-SHA256 over id, time and body. Resend, and Bird's newer API.

Source: standard-webhooks/standard-webhooks, spec/standard-webhooks.md; docs.svix.com, "Verifying webhooks manually".
"""

from __future__ import annotations

import base64
import binascii
import hmac

from processor.gateway.verifiers.call import Call, Refused, Trust, base64_among, check_age, first_match, octets_of

#: The same three headers under two names.
_FAMILIES = ("svix", "webhook")
#: Headers that show that a call is signed so.
MARKS = tuple(f"{family}-signature" for family in _FAMILIES)
_PREFIX = "whsec_"
#: More signatures than secrets can be valid at once are an attack on time.
_MAX_SIGNATURES = 20


def verify(trust: Trust, call: Call, now: float | None) -> str:
    """Verify the call: one of its signatures is right with one of the secrets."""
    family = next((family for family in _FAMILIES if call.has(f"{family}-signature")), _FAMILIES[0])
    identity, time = call.header(f"{family}-id"), call.header(f"{family}-timestamp")
    given = [one for value in call.headers.get(f"{family}-signature", ()) for one in value.split()]
    versioned = [one.partition(",") for one in given[:_MAX_SIGNATURES]]
    signed_v1 = [one for version, _, one in versioned if version == "v1"]
    if not signed_v1:
        raise Refused(f"no signature of version 1 in header {family}-signature")
    signatures = base64_among(signed_v1, f"{family}-signature")
    check_age(time, now, trust.max_age)
    signed = octets_of(f"{identity}.{time}.") + call.body
    expected = ([hmac.digest(key, signed, "sha256") for key in _keys_of(secret)] for secret in trust.secrets)
    return first_match(expected, signatures, f"{family}-signature")


def _keys_of(secret: str) -> list[bytes]:
    """Return the key of a secret: base64 after `whsec_`; a secret without that prefix may be a key as it is.

    One that is cut off behind the prefix has none: with a key of no octets, anybody could sign.
    """
    text = secret.strip().removeprefix(_PREFIX)
    try:
        decoded = [base64.b64decode(text + "=" * (-len(text) % 4), validate=True)]
    except (binascii.Error, ValueError):
        decoded = []
    keys = decoded if secret.strip().startswith(_PREFIX) else [*decoded, octets_of(secret.strip())]
    return [key for key in keys if key]


def secret_fault(secret: str) -> str | None:
    """Return what is wrong with a secret; None: nothing that could be known beforehand."""
    return None if _keys_of(secret) else f"{_PREFIX} is to be followed by a key in base64"
