"""The input of a verifier, and how it says no."""

from __future__ import annotations

import base64
import binascii
import hmac
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import datetime
from types import MappingProxyType
from typing import NamedTuple

import msgspec

#: Seconds that a signed time may lie before the present or after it, unless the route says otherwise.
MAX_AGE = 300


class Refused(Exception):  # noqa: N818 - an answer and no error: the caller is a stranger, or the secret is wrong
    """A call is not verified; the text says why, for people, and never quotes a secret.

    Args:
        reason: why.
        again: the provider's own documentation asks for an answer that makes it try again.
    """

    def __init__(self, reason: str, *, again: bool = False) -> None:
        super().__init__(reason)
        self.again = again


class Call(NamedTuple):
    """A request, as it came."""

    method: str
    #: As the provider signed it: scheme, public host, path and query, none of them decoded.
    url: str
    #: By name in lower case; a header may come more than once.
    headers: Mapping[str, tuple[str, ...]]
    body: bytes

    def header(self, name: str) -> str:
        """Return the value of a header that must be there once; else refuse the call."""
        values = self.headers.get(name, ())
        if len(values) != 1:
            raise Refused(f"{'no' if not values else 'more than one'} header {name}")
        return values[0]

    def has(self, *names: str) -> bool:
        """Return whether any of these headers is there."""
        return any(name in self.headers for name in names)


def headers_of(pairs: Iterable[tuple[str, str]]) -> dict[str, tuple[str, ...]]:
    """Collect headers by their names in lower case, in the order in which they came."""
    headers: dict[str, tuple[str, ...]] = {}
    for name, value in pairs:
        folded = name.strip().lower()
        # Most come once.
        headers[folded] = (*headers[folded], value.strip()) if folded in headers else (value.strip(),)
    return headers


def _no_certificate(_: str) -> str:
    raise Refused("no certificate is known")


class Trust(NamedTuple):
    """What a route trusts."""

    #: Any of them verifies: the old and the new one, while they are changed.
    secrets: Sequence[str] = ()
    #: Seconds that a signed time may be off.
    max_age: float = MAX_AGE
    #: SNS: ARNs of topics that are ours; None: any, which only a trial may say.
    topics: Collection[str] | None = ()
    #: SNS: gives the certificate (PEM) of an address that has been judged; it may refuse the call.
    certificate_of: Callable[[str], str] = _no_certificate
    #: Mailgun: the tokens of calls that were taken lately, each with the digest of the body that it came with.
    tokens: Mapping[str, bytes] = MappingProxyType({})


#: Gives what has verified the call, for people, or raises `Refused`; with None for now, rules about time are off.
Verify = Callable[[Trust, Call, float | None], str]


def octets_of(text: str) -> bytes:
    """Return a header or an address as it came: what was no UTF-8 has been escaped on its way in."""
    return text.encode(errors="surrogateescape")


def first_match(expected: Iterable[Collection[bytes]], given: Collection[bytes], what: str) -> str:
    """Return which secret it is whose signature was given; all are compared, each in constant time.

    Args:
        expected: what is right with each of the secrets, in their order; of one, there may be several spellings.
        given: what came.
        what: the name of it, for people.
    """
    found = 0
    for number, spellings in enumerate(expected, start=1):
        for right in spellings:
            for one in given:
                if hmac.compare_digest(right, one) and not found:
                    found = number
    if not found:
        raise Refused(f"{what} is wrong: another secret, or the call was changed on its way")
    return f"{what}, secret {found}"


def check_age(signed: object, now: float | None, max_age: float) -> None:
    """Refuse a time (seconds since 1970, also as a text) that is none, or too far from the present."""
    text = str(signed) if type(signed) in (int, float) else signed
    if not isinstance(text, str) or not _SECONDS.fullmatch(text):
        raise Refused("the signed time is none")
    if now is not None and abs(now - float(text)) > max_age:
        raise Refused(f"signed {abs(now - float(text)):.0f} s {'ago' if now > float(text) else 'in the future'}")


_SECONDS = re.compile(r"[0-9]{1,12}(\.[0-9]{1,9})?", re.ASCII)


def seconds_of(text: str) -> float | None:
    """Read an RFC 3339 time as seconds since 1970; None when it is none, or has no zone."""
    try:
        time = msgspec.convert(text, datetime)
    except msgspec.ValidationError:
        return None
    return time.timestamp() if time.tzinfo is not None else None


def base64_among(texts: Iterable[str], what: str) -> list[bytes]:
    """Decode several signatures, of which one is enough: those that are none count for nothing; refuse if all are."""
    found, refused = [], Refused(f"no {what}")
    for text in texts:
        try:
            found.append(base64_of(text, what))
        except Refused as error:
            refused = error
    if not found:
        raise refused
    return found


def base64_of(text: str, what: str) -> bytes:
    """Decode base64, as most signatures come; refuse the call when it is none."""
    try:
        return base64.b64decode(text.encode(), validate=True)
    except (binascii.Error, ValueError):
        raise Refused(f"{what} is not base64") from None
