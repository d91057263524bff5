"""The transitions between statuses: the only place that defines which status may follow which.

Two rules for this file:

* every transition that the product allows is a row of a table here, and no other file knows one;
* every node is a key, also those with no exits, so that "nothing may follow" is visible rather than absent.

Theory of operation. A *node* is a status, except that a failure is two nodes: `failed` (permanent, final) and
`failed_gave_up` (a temporary condition outlived the retries; late truth may still correct it). A row of a table
means: these may come after it, directly, or because the steps between were never reported.

Beside the tables there is one rule, for both channels: a new attempt reopens a gave-up failure. When the walk
stands at `failed_gave_up` and an observation has a higher attempt, it may also move to a node of `REOPENING`.

The diagrams of docs/statuses.md are drawn from this file.
"""

from __future__ import annotations

from enum import IntEnum

from processor.domain.status import Channel, Permanence, Status


class Node(IntEnum):
    """A node of the state diagram; the value is the rank that breaks ties of time, lowest first.

    The values are stored, in `memory` of every record of the messages topic and in stores on disk: never change or
    reuse one. A new node with the highest rank takes the next value. Any other new or removed node changes ranks, and
    so needs a new layout of rows (`ROW_LAYOUT` in row.py).
    """

    PENDING = 0
    PREPARED = 1
    CANCELED = 2
    NOT_APPLICABLE = 3
    IGNORED = 4
    SENT_TO_PROVIDER = 5
    TAKEN_INTO_ACCOUNT = 6
    SENT = 7
    FAILED_GAVE_UP = 8
    FAILED = 9
    RECEIVED_ON_MOBILE = 10


#: The name of each node on the wire, by rank.
NODE_NAMES: tuple[str, ...] = tuple(node.name.lower() for node in Node)

_N = Node

EMAIL: dict[Node, frozenset[Node]] = {
    _N.PENDING: frozenset(
        {_N.TAKEN_INTO_ACCOUNT, _N.SENT, _N.FAILED, _N.FAILED_GAVE_UP, _N.IGNORED, _N.CANCELED, _N.NOT_APPLICABLE}
    ),
    _N.TAKEN_INTO_ACCOUNT: frozenset(
        {_N.SENT, _N.FAILED, _N.FAILED_GAVE_UP, _N.IGNORED, _N.CANCELED, _N.NOT_APPLICABLE}
    ),
    # An asynchronous bounce, or expiry.
    _N.SENT: frozenset({_N.FAILED, _N.FAILED_GAVE_UP}),
    _N.FAILED_GAVE_UP: frozenset({_N.SENT, _N.FAILED}),
    # The cancel came too late.
    _N.CANCELED: frozenset({_N.SENT, _N.FAILED, _N.FAILED_GAVE_UP}),
    _N.FAILED: frozenset(),
    _N.IGNORED: frozenset(),
    _N.NOT_APPLICABLE: frozenset(),
}

SMS: dict[Node, frozenset[Node]] = {
    _N.PENDING: frozenset(Node) - {_N.PENDING},
    _N.PREPARED: frozenset(Node) - {_N.PENDING, _N.PREPARED},
    _N.SENT_TO_PROVIDER: frozenset(
        {
            _N.TAKEN_INTO_ACCOUNT,
            _N.SENT,
            _N.RECEIVED_ON_MOBILE,
            _N.FAILED,
            _N.FAILED_GAVE_UP,
            _N.IGNORED,
            _N.CANCELED,
        }
    ),
    _N.TAKEN_INTO_ACCOUNT: frozenset(
        {_N.SENT, _N.RECEIVED_ON_MOBILE, _N.FAILED, _N.FAILED_GAVE_UP, _N.IGNORED, _N.CANCELED}
    ),
    _N.SENT: frozenset({_N.RECEIVED_ON_MOBILE, _N.FAILED, _N.FAILED_GAVE_UP}),
    _N.FAILED_GAVE_UP: frozenset({_N.RECEIVED_ON_MOBILE, _N.FAILED}),
    _N.CANCELED: frozenset({_N.SENT, _N.RECEIVED_ON_MOBILE, _N.FAILED, _N.FAILED_GAVE_UP}),
    _N.FAILED: frozenset(),
    _N.RECEIVED_ON_MOBILE: frozenset(),
    _N.IGNORED: frozenset(),
    _N.NOT_APPLICABLE: frozenset(),
}

TRANSITIONS: dict[Channel, dict[Node, frozenset[Node]]] = {Channel.EMAIL: EMAIL, Channel.SMS: SMS}

#: The nodes to which a higher attempt may move a message from `failed_gave_up`, if the channel has them.
REOPENING: frozenset[Node] = frozenset({_N.PREPARED, _N.SENT_TO_PROVIDER, _N.TAKEN_INTO_ACCOUNT, _N.SENT})


def _status_of(node: Node) -> Status:
    return Status.FAILED if node is Node.FAILED_GAVE_UP else Status[node.name]


#: The status of each node, by rank.
NODE_STATUS: tuple[Status, ...] = tuple(_status_of(node) for node in Node)

_FAILURES = {Node.FAILED: Permanence.PERMANENT, Node.FAILED_GAVE_UP: Permanence.GAVE_UP}

#: The permanence of each node, by rank; None if the node is no failure.
NODE_PERMANENCE: tuple[Permanence | None, ...] = tuple(_FAILURES.get(node) for node in Node)

#: The node of a message of several parts is the first of these at which any part is,
ANY_PART: tuple[Node, ...] = (
    Node.FAILED,
    Node.FAILED_GAVE_UP,
    Node.CANCELED,
    Node.IGNORED,
    Node.NOT_APPLICABLE,
)
#: else the first, the least advanced, of these at which any part is.
LEAST_ADVANCED: tuple[Node, ...] = (
    Node.PENDING,
    Node.PREPARED,
    Node.SENT_TO_PROVIDER,
    Node.TAKEN_INTO_ACCOUNT,
    Node.SENT,
    Node.RECEIVED_ON_MOBILE,
)


def _nodes_by_report() -> dict[tuple[Channel, Status, Permanence | None], Node]:
    found: dict[tuple[Channel, Status, Permanence | None], Node] = {}
    for channel, table in TRANSITIONS.items():
        for node in table:
            status = NODE_STATUS[node]
            if status is not Status.FAILED:
                for permanence in (None, *Permanence):
                    found[channel, status, permanence] = node
        found[channel, Status.FAILED, None] = Node.FAILED
        found[channel, Status.FAILED, Permanence.PERMANENT] = Node.FAILED
        found[channel, Status.FAILED, Permanence.GAVE_UP] = Node.FAILED_GAVE_UP
    return found


#: The node of a report of (channel, status, permanence). Other combinations break the contract: a status that the
#: channel does not have, or `failed` with `transient`.
NODE_OF_REPORT: dict[tuple[Channel, Status, Permanence | None], Node] = _nodes_by_report()
