"""Sessions of the page: what its cookie holds, and which have ended.

A cookie is good at every worker that has the same tokens: it holds a number, the time it was given, and a MAC of both
with a key made of the token, never the token. Which sessions have ended each worker must remember by itself, so it
takes none that is older than its own memory: one that starts anew asks people to sign in anew.
"""

from __future__ import annotations

import hmac
import re
import secrets
import time
from hashlib import sha256
from typing import Annotated, NamedTuple

import msgspec

#: The cookie of the page.
SESSION_COOKIE = "delivery_session"

#: Seconds that a session lasts; and that the clock of the worker that gave it may be ahead of ours.
SESSION_SECONDS = 12 * 60 * 60
_SKEW_SECONDS = 60

#: Ended sessions that are remembered. When there are more, all end that were given as early as half of them.
_ENDED_MAX = 10_000

_COOKIE = re.compile(r"([0-9]{1,12})\.([0-9a-f]{32})\.([0-9a-f]{64})")


class Session(NamedTuple):
    """A session that goes on."""

    number: str
    #: When it was given, in seconds of the epoch.
    given: int
    #: What it was given for.
    token: str


#: Where workers tell each other of sessions that have ended.
ENDED_PATH = "/internal/v1/ended-sessions"


class Ended(msgspec.Struct, frozen=True):
    """A session that has ended, as workers tell each other: nobody can make a cookie of it."""

    number: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{32}$")]
    given: Annotated[int, msgspec.Meta(ge=0, lt=10**12)]


class Sessions:
    """Gives sessions, knows them again, and ends them.

    Args:
        tokens: for which there are sessions.
    """

    def __init__(self, *tokens: str) -> None:
        self._tokens = tuple(filter(None, tokens))
        #: Sessions that were given earlier may have ended without our knowing, or without our remembering.
        self._remembers_since = time.time()
        #: By number: when they were given.
        self._ended: dict[str, int] = {}

    def start(self, token: str) -> str:
        """Give what the cookie of a new session is to hold; the token has been judged."""
        # Rounded up: nothing is given before it is remembered.
        given, number = str(int(time.time()) + 1), secrets.token_hex(16)
        return f"{given}.{number}.{_mac(token, given, number)}"

    def find(self, cookie: str) -> Session | None:
        """Give the session of a cookie; None: there is none, or it has ended."""
        found = _COOKIE.fullmatch(cookie)
        if found is None:
            return None
        given, now = int(found[1]), time.time()
        if not (self._remembers_since <= given <= now + 1 + _SKEW_SECONDS and now < given + SESSION_SECONDS):
            return None
        for token in self._tokens:
            if hmac.compare_digest(found[3], _mac(token, found[1], found[2])):
                return None if found[2] in self._ended else Session(found[2], given, token)
        return None

    def end(self, number: str, given: int) -> None:
        """End a session, here: it is not found again."""
        self._ended[number] = given
        if len(self._ended) > _ENDED_MAX:
            self._forget()

    def _forget(self) -> None:
        """Forget those that would have ended by themselves; if they are few, the older half, and take none as old."""
        since = int(time.time()) - SESSION_SECONDS
        kept = {number: given for number, given in self._ended.items() if given > since}
        if len(kept) > _ENDED_MAX // 2:
            since = sorted(kept.values())[len(kept) // 2]
            kept = {number: given for number, given in kept.items() if given > since}
            self._remembers_since = max(self._remembers_since, since + 1)
        self._ended = kept


def _mac(token: str, given: str, number: str) -> str:
    said = f"delivery-status session\n{given}\n{number}"
    return hmac.new(token.encode(), said.encode(), sha256).hexdigest()
