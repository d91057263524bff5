"""Twilio: HMAC over the address and the sorted parameters of a form; of a JSON body its hash is in the address.

Source: twilio.com/docs/usage/webhooks, "Webhooks security"; twilio-python, request_validator. The address is the one
that Twilio was told, with its query. There is no time in it. Some products leave the port out and some write it, so
both are tried. The key is the account's auth token, or a shared key, with which a header names the algorithm.
"""

from __future__ import annotations

import hmac
import re
from functools import lru_cache
from hashlib import sha256

from processor.gateway.verifiers.call import Call, Refused, Trust, base64_of, first_match, octets_of
from processor.gateway.verifiers.forms import by_name, fields_of, query_of

_SIGNATURE = "x-twilio-signature"
_SETTINGS = "x-twilio-webhooks-signature-settings"
_HASHES = {"HMAC_SHA1": "sha1", "HMAC_SHA256": "sha256"}
MARKS = (_SIGNATURE,)
#: The parameter of the address that holds the hash of a body that is no form.
_BODY_HASH = b"bodySHA256"

_AUTHORITY = re.compile(
    r"(?P<scheme>https?)://(?P<user>[^/?#@]*@)?(?P<host>\[[^\]]*\]|[^/?#:]*)(?P<port>:\d+)?", re.IGNORECASE
)
_PORTS = {"http": "80", "https": "443"}


def verify(trust: Trust, call: Call, now: float | None) -> str:  # noqa: ARG001 - Twilio signs no time
    """Verify the call with one of the auth tokens, or shared keys."""
    algorithm = _algorithm_of(call)
    signature = base64_of(call.header(_SIGNATURE), _SIGNATURE)
    parameters = _parameters(call)
    signed = [octets_of(address) + parameters for address in _spellings(call.url)]
    keys = (octets_of(secret.strip()) for secret in trust.secrets)
    return first_match(([hmac.digest(key, one, algorithm) for one in signed] for key in keys), [signature], _SIGNATURE)


def _algorithm_of(call: Call) -> str:
    if not call.has(_SETTINGS):
        return "sha1"
    named = dict(part.strip().partition("=")[::2] for part in call.header(_SETTINGS).split(","))
    algorithm = named.get("algorithm") or "HMAC_SHA1"
    if algorithm.upper() not in _HASHES:
        raise Refused(f"{_SETTINGS}: an algorithm that is not known here")
    return _HASHES[algorithm.upper()]


def _parameters(call: Call) -> bytes:
    """Return what is signed behind the address: nothing, where the address has the hash of the body."""
    query = query_of(call.url)
    # Most have none, and need not be taken apart.
    fields = fields_of(query) if _BODY_HASH in query or b"%" in query else []
    hashes = [value for name, value in fields if name == _BODY_HASH]
    if hashes:
        right = sha256(call.body).hexdigest().encode()
        if not all(hmac.compare_digest(right, value.lower()) for value in hashes):
            raise Refused("the body is not that of bodySHA256 in the address")
        return b""
    named = by_name(fields_of(call.body))
    return b"".join([name + value for name, values in named.items() for value in dict.fromkeys(values)])


def _spellings(url: str) -> list[str]:
    """Return the address as it is, without its port, with the usual one, and each of these without its fragment."""
    found = _AUTHORITY.match(url)
    if found is None:
        return [url]
    rest = url[found.end() :]
    spelled = [authority + rest for authority in _authorities(found[0])]
    return spelled if "#" not in rest else [*spelled, *(address.partition("#")[0] for address in spelled)]


@lru_cache(maxsize=256)
def _authorities(text: str) -> list[str]:
    found = _AUTHORITY.fullmatch(text)
    if found is None:
        return [text]
    head = f"{found['scheme']}://{found['user'] or ''}{found['host']}"
    port = found["port"] or f":{_PORTS[found['scheme'].lower()]}"
    return list(dict.fromkeys([text, head, head + port]))
