"""Remember the tokens of calls that were taken, so that none is used again for another event."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Mapping

#: Tokens that are remembered at most: 15 minutes at a hundred calls a second.
_MOST = 100_000


class Tokens(Mapping[str, bytes]):
    """The digests of bodies by the tokens that they came with.

    They are forgotten with the process: a replay does no more than repeat what was said, or is too old.

    Args:
        seconds: for which a token is good.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        #: With each, when it came.
        self._seen: OrderedDict[str, tuple[bytes, float]] = OrderedDict()

    def remember(self, token: str, digest: bytes, now: float) -> None:
        """Remember a token, and forget those that are too old to be good."""
        self._seen.setdefault(token, (digest, now))
        while self._seen:
            oldest = next(iter(self._seen.values()))[1]
            if now - oldest <= self._seconds and len(self._seen) <= _MOST:
                break
            self._seen.popitem(last=False)

    def __getitem__(self, token: str) -> bytes:
        return self._seen[token][0]

    def __iter__(self) -> Iterator[str]:
        return iter(self._seen)

    def __len__(self) -> int:
        return len(self._seen)
