"""JSON Web Tokens signed with a shared secret (RFC 7515, RFC 7519): just what two providers need of them."""

from __future__ import annotations

import base64
import binascii
import hmac
from collections.abc import Collection
from typing import Any

import orjson

from processor.gateway.verifiers.call import Refused, Trust, first_match, octets_of

#: Seconds by which clocks may differ.
_LEEWAY = 5
_HASHES = {"HS256": "sha256", "HS384": "sha384", "HS512": "sha512"}


def claims_of(token: str, trust: Trust, algorithms: Collection[str], what: str) -> tuple[dict[str, Any], str]:
    """Return the claims of a token that one of the secrets has signed, and which of them; else refuse the call.

    What the claims say is yet to be checked, their times as well.
    """
    signed, _, signature = token.rpartition(".")
    head, _, claimed = signed.partition(".")
    header = _object(head, what)
    algorithm = header.get("alg")
    if algorithm not in algorithms or not isinstance(algorithm, str):
        raise Refused(f"{what}: its algorithm is not one of {', '.join(algorithms)}")
    if "crit" in header:
        raise Refused(f"{what}: it wants what is not known here")
    hashed = (
        [hmac.digest(octets_of(secret.strip()), octets_of(signed), _HASHES[algorithm])] for secret in trust.secrets
    )
    told = first_match(hashed, [_octets(signature, what)], what)
    return _object(claimed, what), told


def check_times(claims: dict[str, Any], now: float | None, what: str) -> None:
    """Refuse claims that are not valid yet or no longer, where they say so."""
    begins, ends = (_number(claims.get(name, default), what) for name, default in (("nbf", 0), ("exp", float("inf"))))
    if now is not None and now < begins - _LEEWAY:
        raise Refused(f"{what}: not valid for another {begins - now:.0f} s")
    if now is not None and now > ends + _LEEWAY:
        raise Refused(f"{what}: it expired {now - ends:.0f} s ago")


def _number(value: object, what: str) -> float:
    if type(value) not in (int, float):
        raise Refused(f"{what}: a time in it is no number")
    return float(value)  # type: ignore[arg-type] # an int or a float, as asked above


def _object(part: str, what: str) -> dict[str, Any]:
    try:
        read = orjson.loads(_octets(part, what))
    except ValueError:
        read = None
    if not isinstance(read, dict):
        raise Refused(f"{what}: not a JSON Web Token")
    return read


def _octets(part: str, what: str) -> bytes:
    try:
        return base64.b64decode(part + "=" * (-len(part) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raise Refused(f"{what}: not a JSON Web Token") from None
