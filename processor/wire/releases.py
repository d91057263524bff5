"""Releases on the wire: as operators ask for them in control.v1; the published form is schemas/release.json."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Annotated

import msgspec

from processor.domain.addresses import Window, window_of
from processor.domain.moment import FIRST, LAST, Millis, to_microseconds
from processor.wire.deadletters import DeadReason, Headers, UnusableError
from processor.wire.decoding import decode_json, is_ahead

#: The header that tells a release from the other control records.
KIND_HEADER, RELEASE = "delivery.kind", b"release"
RELEASE_HEADERS: Headers = ((KIND_HEADER, RELEASE),)

_Time = Annotated[datetime, msgspec.Meta(tz=True)]
#: The longest window, in microseconds: one that covers more would be no outage.
_LONGEST = 31 * 86_400 * 1_000_000


class ReleaseRecord(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """That what is remembered of an address before a time, or of a domain in a window of time, does not count."""

    time: _Time
    #: `channel|hash` of the address; or the domain, from when, and until when.
    address: Annotated[str, msgspec.Meta(pattern=r"^(email|sms)\|[0-9a-f]{32}$")] | None = None
    domain: Annotated[str, msgspec.Meta(min_length=1, max_length=255)] | None = None
    since: _Time | None = None
    until: _Time | None = None

    @property
    def key(self) -> str:
        """The key of its record: a newer release of the same stands for it."""
        if self.address is not None:
            return f"release|{self.address}"
        return f"release|{self.domain}|{self.since}|{self.until}"

    @property
    def window(self) -> Window | None:
        """The window that it releases; None: it releases an address."""
        if self.domain is None or self.since is None or self.until is None:
            return None
        return window_of(self.domain, to_microseconds(self.since), to_microseconds(self.until))


_decoder = msgspec.json.Decoder(ReleaseRecord)
_encode = msgspec.json.Encoder().encode


def is_release(headers: Iterable[tuple[str, bytes | None]]) -> bool:
    """Return whether a control record asks for a release."""
    return any(name == KIND_HEADER and value == RELEASE for name, value in headers)


def encode_release(release: ReleaseRecord) -> bytes:
    """Write a release as JSON."""
    return _encode(release)


def decode_release(value: bytes, record_ms: Millis | None) -> ReleaseRecord:
    """Decode and check one release.

    Args:
        value: JSON.
        record_ms: the Kafka record's timestamp in milliseconds; None skips the check for times ahead.

    Raises:
        UnusableError: it is none; it says how.
    """
    release = decode_json(_decoder, value, DeadReason.INVALID_CONTROL)
    breach = _breach_of(release)
    if breach is not None:
        raise UnusableError(DeadReason.INVALID_CONTROL, breach)
    for name, moment in (("time", release.time), ("since", release.since), ("until", release.until)):
        if moment is not None and not FIRST + _LONGEST <= to_microseconds(moment) <= LAST - _LONGEST:
            raise UnusableError(DeadReason.INVALID_CONTROL, f"{moment.isoformat()} is no time of ours - at `$.{name}`")
    if is_ahead(to_microseconds(release.time), record_ms):
        detail = f"the time {release.time.isoformat()} is more than 24 h ahead of its record's ({record_ms} ms)"
        raise UnusableError(DeadReason.TIME_AHEAD, detail)
    return release


def _breach_of(release: ReleaseRecord) -> str | None:
    """Return how a release breaks the contract; None: it does not."""
    since, until = release.since, release.until
    if (release.address is None) is (release.domain is None):
        return "it needs either `address` or `domain`"
    if release.domain is None:
        return None if since is None and until is None else "`since` and `until` go with a `domain`"
    if release.domain != release.domain.casefold():
        return "the domain must be in lower case"
    if since is None or until is None or not since < until:
        return "a `domain` needs `since`, and `until` after it"
    if to_microseconds(until) - to_microseconds(since) > _LONGEST:
        return "a window has 31 days at most"
    return None
