"""Sign calls as each provider signs them: for a trial of a route, and for simulated providers.

The counterpart of `verifiers`, and written apart from them, so that one does not repeat the other's mistakes; their
docstrings name the sources. Pure: the caller says when it is, and gives the number that is used once.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Callable, Mapping
from typing import NamedTuple
from urllib.parse import parse_qsl, urlencode

import orjson

from processor.gateway.private_keys import sign_ed25519, sign_elliptic
from processor.gateway.verifiers import Call

#: Providers whose private keys nobody else has: a trial needs a pair of its own.
KEY_PAIRS = ("sendgrid", "telnyx")
#: Providers that report by a query alone, where their payload is one.
_BY_QUERY = ("kannel", "messagebird")

_FORM, _JSON = "application/x-www-form-urlencoded", "application/json"


class Once(NamedTuple):
    """What a signature covers beside the call."""

    #: Seconds since 1970.
    at: int
    #: Letters and digits that no other call has.
    nonce: str


def call_with(provider: str, address: str, payload: bytes) -> Call:
    """Return the unsigned call with which a provider brings a payload to an address: JSON, a form or a query."""
    if payload.lstrip()[:1] in (b"{", b"["):
        # SendGrid ends its bodies so, and signs that.
        body = payload + b"\r\n" if provider == "sendgrid" else payload
        return Call("POST", address, {"content-type": (_JSON,)}, body)
    if provider in _BY_QUERY:
        return Call("GET", _asking(address, payload.decode()), {}, b"")
    return Call("POST", address, {"content-type": (_FORM,)}, payload)


def sign(provider: str, way: str, secret: str, call: Call, once: Once) -> Call:
    """Return the call as a route verifies it.

    Args:
        provider: who calls.
        way: how the route verifies: "signature", "basic", "bearer", "header" or "none".
        secret: what the route has; of `KEY_PAIRS`, the private key of it.
        call: without a signature.
        once: when it is, and a nonce.

    Raises:
        KeyFaultError: the secret is no private key.
    """
    sign = _SIGNATURES[provider] if way == "signature" else _SHARED[way]
    return sign(secret, call, once)


_Sign = Callable[[str, Call, Once], Call]


# Shared secrets


def _basic(secret: str, call: Call, _once: Once) -> Call:
    return _with(call, authorization=f"Basic {_base64(secret.encode())}")


def _bearer(secret: str, call: Call, _once: Once) -> Call:
    return _with(call, authorization=f"Bearer {secret.strip()}")


def _header(secret: str, call: Call, _once: Once) -> Call:
    name, _, value = secret.partition(":")
    return _with(call, **{name.strip().lower(): value.strip()})


def _none(_secret: str, call: Call, _once: Once) -> Call:
    return call


def _in_address(secret: str, call: Call, _once: Once) -> Call:
    name, equals, value = secret.strip().partition("=")
    pair = (name, value) if equals and name.isidentifier() else ("token", secret.strip())
    return call._replace(url=_asking(call.url, urlencode([pair])))


def _firehose(secret: str, call: Call, once: Once) -> Call:
    packed = {"requestId": once.nonce, "timestamp": once.at * 1000, "records": [{"data": _base64(call.body)}]}
    headers = {"x-amz-firehose-access-key": secret.strip(), "x-amz-firehose-request-id": once.nonce}
    return _with(call._replace(body=orjson.dumps(packed)), **headers)


# Signatures


def _mailgun(secret: str, call: Call, once: Once) -> Call:
    at, token = str(once.at), hashlib.sha256(once.nonce.encode()).hexdigest()[:50]
    signature = {"timestamp": at, "token": token, "signature": _mac(secret, at + token).hex()}
    return call._replace(body=orjson.dumps(orjson.loads(call.body) | {"signature": signature}))


def _messagebird(secret: str, call: Call, once: Once) -> Call:
    if secret.strip().startswith("whsec_"):
        return _standard("webhook", secret, call, once)
    claims: dict[str, object] = {
        "iss": "MessageBird",
        "nbf": once.at,
        "exp": once.at + 60,
        "jti": once.nonce,
        "url_hash": _hash(call.url),
    }
    if call.body:
        claims["payload_hash"] = _hash(call.body)
    return _with(call, **{"messagebird-signature-jwt": _token(secret, claims)})


def _plivo(secret: str, call: Call, once: Once) -> Call:
    """Sign by V2, as messages are."""
    address = call.url.partition("#")[0].partition("?")[0]
    signature = _base64(_mac(secret, address + once.nonce))
    return _with(call, **{"x-plivo-signature-v2": signature, "x-plivo-signature-v2-nonce": once.nonce})


def _resend(secret: str, call: Call, once: Once) -> Call:
    return _standard("svix", secret, call, once)


def _sendgrid(secret: str, call: Call, once: Once) -> Call:
    name = "x-twilio-email-event-webhook"
    signature = _base64(sign_elliptic(secret, str(once.at).encode() + call.body))
    return _with(call, **{f"{name}-signature": signature, f"{name}-timestamp": str(once.at)})


def _sinch(secret: str, call: Call, once: Once) -> Call:
    name = "x-sinch-webhook-signature"
    signature = _base64(_mac(secret, call.body + f".{once.nonce}.{once.at}".encode()))
    more = {f"{name}-nonce": once.nonce, f"{name}-timestamp": str(once.at), f"{name}-algorithm": "HmacSHA256"}
    return _with(call, **{name: signature, **more})


def _standard(family: str, secret: str, call: Call, once: Once) -> Call:
    key = base64.b64decode(secret.strip().removeprefix("whsec_"))
    identity = f"msg_{once.nonce}"
    signed = f"{identity}.{once.at}.".encode() + call.body
    signature = f"v1,{_base64(hmac.digest(key, signed, 'sha256'))}"
    names = {"id": identity, "timestamp": str(once.at), "signature": signature}
    return _with(call, **{f"{family}-{name}": value for name, value in names.items()})


def _telnyx(secret: str, call: Call, once: Once) -> Call:
    signature = _base64(sign_ed25519(secret, f"{once.at}|".encode() + call.body))
    return _with(call, **{"telnyx-signature-ed25519": signature, "telnyx-timestamp": str(once.at)})


def _twilio(secret: str, call: Call, once: Once) -> Call:
    if _is_json(call):
        call = call._replace(url=_asking(call.url, f"bodySHA256={_hash(call.body)}"))
        parameters = ""
    else:
        pairs = sorted(set(parse_qsl(call.body.decode(), keep_blank_values=True)))
        parameters = "".join(name + value for name, value in pairs)
    signature = _base64(_mac(secret, call.url + parameters, "sha1"))
    return _with(call, **{"x-twilio-signature": signature, "i-twilio-idempotency-token": once.nonce})


def _vonage(secret: str, call: Call, once: Once) -> Call:
    """Sign a status of the Messages API by a token, a receipt of the SMS API by its parameters."""
    if _is_json(call):
        claims: dict[str, object] = {
            "iat": once.at,
            "jti": once.nonce,
            "iss": "Vonage",
            "payload_hash": _hash(call.body),
        }
        return _with(call, authorization=f"Bearer {_token(secret, claims)}")
    fields = dict(parse_qsl(call.body.decode(), keep_blank_values=True)) | {"timestamp": str(once.at)}
    told = "".join(f"&{name}={value.translate(_VONAGE)}" for name, value in sorted(fields.items()))
    return call._replace(body=urlencode(fields | {"sig": _mac(secret, told).hex()}).encode())


#: What stands for what separates parameters.
_VONAGE = str.maketrans("&=", "__")


# Pieces


def _with(call: Call, **headers: str) -> Call:
    return call._replace(headers={**call.headers, **{name: (value,) for name, value in headers.items()}})


def _asking(address: str, query: str) -> str:
    return f"{address}{'&' if '?' in address else '?'}{query}"


def _is_json(call: Call) -> bool:
    return call.headers.get("content-type") == (_JSON,)


def _octets(text: str | bytes) -> bytes:
    return text.encode() if isinstance(text, str) else text


def _mac(secret: str, signed: str | bytes, algorithm: str = "sha256") -> bytes:
    return hmac.digest(secret.strip().encode(), _octets(signed), algorithm)


def _hash(text: str | bytes) -> str:
    return hashlib.sha256(_octets(text)).hexdigest()


def _base64(octets: bytes) -> str:
    return base64.b64encode(octets).decode()


def _token(secret: str, claims: Mapping[str, object]) -> str:
    head = _part(orjson.dumps({"alg": "HS256", "typ": "JWT"})) + "." + _part(orjson.dumps(claims))
    return f"{head}.{_part(_mac(secret, head))}"


def _part(octets: bytes) -> str:
    return base64.urlsafe_b64encode(octets).rstrip(b"=").decode()


_SHARED: dict[str, _Sign] = {"basic": _basic, "bearer": _bearer, "header": _header, "none": _none}

#: By provider, as `SIGNATURES`. Of SNS only AWS has the key: its providers' calls are signed as Firehose's.
_SIGNATURES: dict[str, _Sign] = {
    "aws_eum_sms": _firehose,
    "aws_sns_sms": _firehose,
    "firetext": _in_address,
    "jasmin": _in_address,
    "kannel": _in_address,
    "mailgun": _mailgun,
    "messagebird": _messagebird,
    "plivo": _plivo,
    "resend": _resend,
    "sendgrid": _sendgrid,
    "ses": _firehose,
    "sinch": _sinch,
    "telnyx": _telnyx,
    "twilio": _twilio,
    "vonage": _vonage,
}
