"""Limits on wrong tokens, for one address and in all: some at once, and then one now and then.

An allowance is refilled as time passes, so an address may try again after a wait. When many addresses guess at once,
those that have presented a right token before need not wait for the others.
"""

from __future__ import annotations

import ipaddress
import time
from collections import OrderedDict
from typing import NamedTuple


class _Allowance(NamedTuple):
    """A number of attempts at once, and the seconds after which there is one more."""

    at_once: int
    seconds: float

    def wait(self, spent_until: float, now: float) -> float:
        return max(0.0, spent_until - now - (self.at_once - 1) * self.seconds)


_OF_ONE = _Allowance(10, 6.0)
_OF_ALL = _Allowance(100, 0.6)

#: Addresses that are remembered: those with the latest wrong tokens, and those with the latest right ones.
_WRONG_MAX = 10_000
_RIGHT_MAX = 1_000


class Attempts:
    """Counts wrong tokens by address, and in all."""

    def __init__(self) -> None:
        #: When the allowance of an address will be full again; the oldest first.
        self._spent: OrderedDict[str, float] = OrderedDict()
        self._spent_by_all = 0.0
        self._right: OrderedDict[str, None] = OrderedDict()

    def wait(self, address: str) -> float:
        """Return the seconds that an address must wait before its next attempt; 0: none."""
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
        """Remember an address that has presented a right token."""
        home = _home(address)
        self._right[home] = None
        self._right.move_to_end(home)
        if len(self._right) > _RIGHT_MAX:
            self._right.popitem(last=False)


def _home(address: str) -> str:
    """Return the addresses that one client controls: one, or of IPv6 a network of 64 bits."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address[:100]
    if parsed.version == 4:
        return str(parsed)
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(ipaddress.ip_network((int(parsed), 64), strict=False))
