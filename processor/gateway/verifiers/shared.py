"""Secrets that travel with each call: for providers that sign nothing, and whoever chooses so.

They are worth what TLS is worth, and nothing covers the body.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence

from processor.gateway.verifiers.call import Call, Refused, Trust, first_match, octets_of
from processor.gateway.verifiers.forms import fields_of, query_of

_ACCESS_KEY = "x-amz-firehose-access-key"
#: Headers that show that Firehose calls.
FIREHOSE_MARKS = (_ACCESS_KEY, "x-amz-firehose-request-id", "x-amz-firehose-protocol-version")


def verify_basic(trust: Trust, call: Call, now: float | None) -> str:  # noqa: ARG001 - there is no time
    """Verify that the user and password are one of the secrets, each "user:password"."""
    scheme, _, encoded = call.header("authorization").partition(" ")
    if scheme.lower() != "basic":
        raise Refused("header authorization is not Basic")
    try:
        given = base64.b64decode(encoded.strip(), validate=True)
    except (binascii.Error, ValueError):
        raise Refused("header authorization is not base64") from None
    return first_match(([octets_of(secret)] for secret in trust.secrets), [given], "user and password")


def verify_bearer(trust: Trust, call: Call, now: float | None) -> str:  # noqa: ARG001 - there is no time
    """Verify that the bearer token is one of the secrets."""
    scheme, _, token = call.header("authorization").partition(" ")
    if scheme.lower() != "bearer":
        raise Refused("header authorization is not Bearer")
    return first_match(
        ([octets_of(secret.strip())] for secret in trust.secrets), [octets_of(token.strip())], "bearer token"
    )


def verify_header(trust: Trust, call: Call, now: float | None) -> str:  # noqa: ARG001 - there is no time
    """Verify that a header is there that one of the secrets tells, each "Name: value"."""
    named = [secret.partition(":") for secret in trust.secrets]
    names = list(dict.fromkeys(name.strip().lower() for name, colon, _ in named if colon))
    if not call.has(*names):
        raise Refused(f"no header {' or '.join(names)}")
    given = [octets_of(f"{name}:{value}") for name in names for value in call.headers.get(name, ())]
    expected = ([octets_of(f"{name.strip().lower()}:{value.strip()}")] for name, _, value in named)
    return first_match(expected, given, "header")


def verify_address(trust: Trust, call: Call, now: float | None) -> str:  # noqa: ARG001 - there is no time
    """Verify that the query of the address has a parameter that is one of the secrets: "name=value", or its value."""
    given = [form for pair in fields_of(query_of(call.url)) for form in (pair[1], b"=".join(pair)) if pair[1]]
    return first_match(([octets_of(secret.strip())] for secret in trust.secrets), given, "secret in the address")


def without_secrets(query: str, secrets: Sequence[str]) -> str:
    """Take the secrets out of a query: it goes into Kafka, and from there to whoever may read it."""
    if not query:
        return query
    known = {octets_of(secret.strip()) for secret in secrets}
    kept = []
    for field in query.split("&"):
        pair = next(iter(fields_of(octets_of(field))), (b"", b""))
        if pair[1] not in known and b"=".join(pair) not in known:
            kept.append(field)
    return "&".join(kept)


def verify_firehose(trust: Trust, call: Call, now: float | None) -> str:  # noqa: ARG001 - there is no time
    """Verify that Firehose's access key is one of the secrets."""
    given = [octets_of(call.header(_ACCESS_KEY))]
    return first_match(([octets_of(secret.strip())] for secret in trust.secrets), given, _ACCESS_KEY)


def verify_any(trust: Trust, call: Call, now: float | None) -> str:
    """Verify a secret wherever it is: user and password, bearer token or header. For trials without a route."""
    refused = Refused("no secret")
    for verify in (verify_basic, verify_bearer, verify_header):
        try:
            return verify(trust, call, now)
        except Refused as error:
            refused = error
    raise refused


def verify_none(trust: Trust, call: Call, now: float | None) -> str:  # noqa: ARG001 - nothing is asked
    """Take every call: said explicitly."""
    return "not verified, as the route says"
