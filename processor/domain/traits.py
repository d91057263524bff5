"""The traits of statuses: a row for each node, a column for each rule that is asked of statuses elsewhere.

Two rules for this file:

* every rule that sorts statuses is a column here, and no other file lists statuses for one: stages, watch, views, page,
  command line and metrics ask the columns, or the sets below that are made of them. Two are where they are used: which
  node has reached an address (`REACHED` in addresses.py, asked of every event), and what a message waits for (`WAITS`
  in views/messages.py, in words of the view);
* every node is a row.

What may follow what is in transitions.py, what people are told of a status in status.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import NamedTuple

from processor.domain.status import Channel, Status
from processor.domain.transitions import NODE_STATUS, TRANSITIONS, Node

_HOUR = 3_600.0
#: How long an MTA goes on trying.
_TRIED = 84 * _HOUR
#: How long an SMS is kept for a handset that is off.
_KEPT = 72 * _HOUR


class Indicator(Enum):
    """Which of Adobe's indicators of a delivery counts a message; their sum is *processed*."""

    PREPARED = "prepared"
    SUCCESS = "success"
    ERROR = "error"


class Ending(str, Enum):
    """How a message ends with its provider."""

    #: It was sent or arrived.
    SUCCESS = "success"
    #: It failed for good.
    FAILED = "failed"
    #: The provider gave up.
    GAVE_UP = "gave_up"


_NOWHERE: Mapping[Channel, float] = {}


class Traits(NamedTuple):
    """What one node counts as."""

    #: By channel, where a message waits here for somebody: the seconds after which it is stuck, unless a setting
    #: differs. Elsewhere nobody waits: nothing may follow, or what may follow is an exception (a bounce after `sent` by
    #: mail, late truth after a failure that was given up, a cancel that came too late).
    stuck_after: Mapping[Channel, float] = _NOWHERE
    #: None: it is in none of Adobe's indicators.
    indicator: Indicator | None = None
    #: What the provider has answered; None: nothing yet, or it was not asked.
    ending: Ending | None = None
    #: Whether a message may go on from here to its end: then a failed attempt is told by the reason.
    is_under_way: bool = False
    #: Whether the MTA or the provider took the message.
    is_taken: bool = False
    #: Whether its sender still has it: a delivery that is paused or not yet due keeps it here.
    may_be_held: bool = False
    #: Whether it was handed over and waits for the provider's answer.
    is_handed_over: bool = False
    #: Whether a provider goes on trying here: a transient reason rides on reports of these nodes.
    is_retried: bool = False
    #: Whether it is counted for which reason a message got here.
    is_counted_by_reason: bool = False


_EMAIL, _SMS = Channel.EMAIL, Channel.SMS

TRAITS: dict[Node, Traits] = {
    Node.PENDING: Traits(
        stuck_after={_EMAIL: _HOUR, _SMS: _HOUR}, is_under_way=True, may_be_held=True, is_retried=True
    ),
    Node.PREPARED: Traits(
        stuck_after={_SMS: _HOUR}, indicator=Indicator.PREPARED, is_under_way=True, is_taken=True, may_be_held=True
    ),
    Node.CANCELED: Traits(),
    Node.NOT_APPLICABLE: Traits(),
    Node.IGNORED: Traits(is_counted_by_reason=True),
    Node.SENT_TO_PROVIDER: Traits(
        stuck_after={_SMS: _KEPT}, is_under_way=True, is_taken=True, is_handed_over=True, is_retried=True
    ),
    Node.TAKEN_INTO_ACCOUNT: Traits(
        stuck_after={_EMAIL: _TRIED, _SMS: _TRIED},
        indicator=Indicator.SUCCESS,
        is_under_way=True,
        is_taken=True,
        is_handed_over=True,
        is_retried=True,
    ),
    Node.SENT: Traits(
        stuck_after={_SMS: _KEPT},
        indicator=Indicator.SUCCESS,
        ending=Ending.SUCCESS,
        is_under_way=True,
        is_taken=True,
    ),
    Node.FAILED_GAVE_UP: Traits(
        indicator=Indicator.ERROR, ending=Ending.GAVE_UP, is_taken=True, is_counted_by_reason=True
    ),
    Node.FAILED: Traits(indicator=Indicator.ERROR, ending=Ending.FAILED, is_taken=True, is_counted_by_reason=True),
    Node.RECEIVED_ON_MOBILE: Traits(indicator=Indicator.SUCCESS, ending=Ending.SUCCESS, is_taken=True),
}


# The columns, by rank: for what is asked of every row.

IS_UNDER_WAY: tuple[bool, ...] = tuple(TRAITS[node].is_under_way for node in Node)
MAY_BE_HELD: tuple[bool, ...] = tuple(TRAITS[node].may_be_held for node in Node)
IS_HANDED_OVER: tuple[bool, ...] = tuple(TRAITS[node].is_handed_over for node in Node)
IS_COUNTED_BY_REASON: tuple[bool, ...] = tuple(TRAITS[node].is_counted_by_reason for node in Node)
ENDING: tuple[Ending | None, ...] = tuple(TRAITS[node].ending for node in Node)


# The columns, as sets of what they hold for.

#: Seconds after which a message is called stuck, by the places where it waits. A label, never a status.
STUCK_AFTER: dict[tuple[Channel, Status], float] = {
    (channel, NODE_STATUS[node]): traits.stuck_after[channel]
    for channel in Channel
    for node, traits in TRAITS.items()
    if channel in traits.stuck_after
}

#: Where a cancel still stops a message: no column, for the tables of transitions say it.
CANCELABLE: dict[Channel, frozenset[Node]] = {
    channel: frozenset(node for node, may_follow in table.items() if Node.CANCELED in may_follow)
    for channel, table in TRANSITIONS.items()
}

#: The statuses that each of Adobe's indicators counts.
STATUSES_OF: dict[Indicator, frozenset[Status]] = {
    indicator: frozenset(NODE_STATUS[node] for node, traits in TRAITS.items() if traits.indicator is indicator)
    for indicator in Indicator
}


class SuccessFrom(str, Enum):
    """From where on a message is a success; the sum *processed* is the same."""

    #: The provider took it into account, as Adobe counts.
    TAKEN = "taken"
    #: It was sent: what is only taken into account counts as prepared.
    SENT = "sent"


_ONLY_TAKEN = frozenset(NODE_STATUS[node] for node in TRAITS if TRAITS[node].is_handed_over)

#: The same, by where success begins.
INDICATED: dict[SuccessFrom, dict[Indicator, frozenset[Status]]] = {
    SuccessFrom.TAKEN: STATUSES_OF,
    SuccessFrom.SENT: {
        Indicator.PREPARED: STATUSES_OF[Indicator.PREPARED] | (STATUSES_OF[Indicator.SUCCESS] & _ONLY_TAKEN),
        Indicator.SUCCESS: STATUSES_OF[Indicator.SUCCESS] - _ONLY_TAKEN,
        Indicator.ERROR: STATUSES_OF[Indicator.ERROR],
    },
}

#: The statuses of messages that the MTA or the provider took.
TAKEN: frozenset[Status] = frozenset(NODE_STATUS[node] for node, traits in TRAITS.items() if traits.is_taken)
