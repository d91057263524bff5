"""How many wrong tokens are taken, from one address and in all: some at once, and then fewer.

An allowance comes back as time passes, so one who waits is let try again. Where many addresses guess at once, those
that have told a right token before need not wait for the others.
"""

from __future__ import annotations

import ipaddress
import time
from collections import OrderedDict
from typing import NamedTuple


class _Allowance(NamedTuple):
    """So many at once, and one more after so many seconds."""

    at_once: int
    seconds: float

    def wait(self, spent_until: float, now: float) -> float:
        return max(0.0, spent_until - now - (self.at_once - 1) * self.seconds)


_OF_ONE = _Allowance(10, 6.0)
_OF_ALL = _Allowance(100, 0.6)

#: Addresses that are remembered: those that were wrong last, and those that were right last.
_WRONG_MAX = 10_000
_RIGHT_MAX = 1_000


class Attempts:
    """Counts wrong tokens by address, and in all."""

    def __init__(self) -> None:
        #: By address, the oldest first: when what it has spent will all have come back.
        self._spent: OrderedDict[str, float] = OrderedDict()
        self._spent_by_all = 0.0
        self._right: OrderedDict[str, None] = OrderedDict()

    def wait(self, address: str) -> float:
        """Give the seconds that an address has to wait before its next attempt; 0: none."""
        now, home = time.monotonic(), _home(address)
        of_one = _OF_ONE.wait(self._spent.get(home, 0.0), now)
        return of_one if home in self._right else max(of_one, _OF_ALL.wait(self._spent_by_all, now))

    def wrong(self, address: str) -> None:
        """Count a wrong token."""
        now, home = time.monotonic(), _home(address)
        self._spent[home] = max(self._spent.pop(home, 0.0), now) + _OF_ONE.seconds
        self._spent_by_all = max(self._spent_by_all, now) + _OF_ALL.seconds
        if len(self._spent) > _WRONG_MAX:
            self._spent.popitem(last=False)

    def right(self, address: str) -> None:
        """Remember an address that has told a right token."""
        home = _home(address)
        self._right[home] = None
        self._right.move_to_end(home)
        if len(self._right) > _RIGHT_MAX:
            self._right.popitem(last=False)


def _home(address: str) -> str:
    """Give what one client has: an address, or of IPv6 the network of 64 bits, in which it may take any."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address[:100]
    if parsed.version == 4:
        return str(parsed)
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(ipaddress.ip_network((int(parsed), 64), strict=False))
