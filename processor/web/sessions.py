"""Sessions of the page: what the cookie holds, and which sessions have ended.

A cookie is valid at every worker with the same tokens: it holds a number, the time of its issue, whose it is, and a MAC
of these with a key made of the token, never the token. Each worker remembers by itself which sessions have ended, so it
accepts none that is older than its own memory: after a restart it asks people to sign in again.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import re
import secrets
import time
from collections.abc import Callable
from hashlib import sha256
from typing import Annotated, NamedTuple

import msgspec

#: The cookie of the page.
SESSION_COOKIE = "delivery_session"

#: Seconds that a session lasts; and seconds that the clock of the issuing worker may be ahead of ours.
SESSION_SECONDS = 12 * 60 * 60
_SKEW_SECONDS = 60

#: Ended sessions that are remembered. When there are more, all sessions end that are as old as the older half.
_ENDED_MAX = 10_000

_COOKIE = re.compile(r"([0-9]{1,12})\.([0-9a-f]{32})\.([A-Za-z0-9_-]{2,600})\.([0-9a-f]{64})")


class Session(NamedTuple):
    """A session that has not ended."""

    number: str
    #: When it was issued, in seconds since the epoch.
    given: int
    #: The name of the user that it was issued for.
    name: str


#: Where workers report ended sessions to each other.
ENDED_PATH = "/internal/v1/ended-sessions"


class Ended(msgspec.Struct, frozen=True):
    """An ended session, as workers report it to each other: nobody can make a cookie of it."""

    number: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{32}$")]
    given: Annotated[int, msgspec.Meta(ge=0, lt=10**12)]


class Sessions:
    """Issues sessions, verifies their cookies, and ends them.

    Args:
        key_of: gives the key of a user's sessions by the user's name; None: nobody is called so.
    """

    def __init__(self, key_of: Callable[[str], bytes | None]) -> None:
        self._key_of = key_of
        #: Sessions issued earlier may have ended unknown to this worker, or forgotten by it.
        self._remembers_since = time.time()
        #: When each was issued, by number.
        self._ended: dict[str, int] = {}

    def start(self, name: str) -> str | None:
        """Return the cookie of a new session of a user, whose token has been checked; None: nobody is called so."""
        key = self._key_of(name)
        if key is None:
            return None
        # Rounded up: nothing is issued before this worker remembers.
        given, number = str(int(time.time()) + 1), secrets.token_hex(16)
        return f"{given}.{number}.{_encoded(name)}.{_mac(key, given, number, name)}"

    def find(self, cookie: str) -> Session | None:
        """Return the session of a cookie; None: it is invalid, or the session has ended."""
        found = _COOKIE.fullmatch(cookie)
        if found is None:
            return None
        given, now = int(found[1]), time.time()
        if not (self._remembers_since <= given <= now + 1 + _SKEW_SECONDS and now < given + SESSION_SECONDS):
            return None
        name = _decoded(found[3])
        key = None if name is None else self._key_of(name)
        if name is None or key is None or not hmac.compare_digest(found[4], _mac(key, found[1], found[2], name)):
            return None
        return None if found[2] in self._ended else Session(found[2], given, name)

    def end(self, number: str, given: int) -> None:
        """End a session at this worker."""
        self._ended[number] = given
        if len(self._ended) > _ENDED_MAX:
            self._forget()

    def _forget(self) -> None:
        """Forget sessions that have run out; if these are few, the older half, and accept none that is as old."""
        since = int(time.time()) - SESSION_SECONDS
        kept = {number: given for number, given in self._ended.items() if given > since}
        if len(kept) > _ENDED_MAX // 2:
            since = sorted(kept.values())[len(kept) // 2]
            kept = {number: given for number, given in kept.items() if given > since}
            self._remembers_since = max(self._remembers_since, since + 1)
        self._ended = kept


def _mac(key: bytes, given: str, number: str, name: str) -> str:
    text = f"delivery-status session\n{given}\n{number}\n{name}"
    return hmac.new(key, text.encode(), sha256).hexdigest()


def _encoded(name: str) -> str:
    return base64.urlsafe_b64encode(name.encode()).rstrip(b"=").decode()


def _decoded(encoded: str) -> str | None:
    try:
        return base64.b64decode(encoded + "=" * (-len(encoded) % 4), altchars=b"-_", validate=True).decode()
    except (binascii.Error, ValueError):
        return None
