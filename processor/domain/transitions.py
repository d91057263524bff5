"""What may follow what: the one place that says which status may come after which.

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
    """A place in the diagram; the value is the rank that breaks ties of time, lowest first.

    The values are in every row that is kept: none is changed, and none is used again. A node that comes to stand
    between two others, or that goes, is another layout of rows (`ROW_LAYOUT` in row.py).
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

#: Where a higher attempt may take a message that stands at `failed_gave_up` (those that its channel has).
REOPENING: frozenset[Node] = frozenset({_N.PREPARED, _N.SENT_TO_PROVIDER, _N.TAKEN_INTO_ACCOUNT, _N.SENT})


def _status_of(node: Node) -> Status:
    return Status.FAILED if node is Node.FAILED_GAVE_UP else Status[node.name]


#: The status that people see for each node, by rank.
NODE_STATUS: tuple[Status, ...] = tuple(_status_of(node) for node in Node)

_FAILURES = {Node.FAILED: Permanence.PERMANENT, Node.FAILED_GAVE_UP: Permanence.GAVE_UP}

#: How final the failure of each node is, by rank; None where the node is no failure.
NODE_PERMANENCE: tuple[Permanence | None, ...] = tuple(_FAILURES.get(node) for node in Node)


#: Whether a message may go on from a node to its end, by rank: then a failed attempt is told by the reason.
IS_UNDER_WAY: tuple[bool, ...] = tuple(
    node in {Node.PENDING, Node.PREPARED, Node.SENT_TO_PROVIDER, Node.TAKEN_INTO_ACCOUNT, Node.SENT} for node in Node
)

#: Where a message of several parts stands: at the first of these at which any part does,
ANY_PART: tuple[Node, ...] = (
    Node.FAILED,
    Node.FAILED_GAVE_UP,
    Node.CANCELED,
    Node.IGNORED,
    Node.NOT_APPLICABLE,
)
#: else at the first of these, the least advanced, at which one does.
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


#: The node that a report of (channel, status, permanence) stands for. What is not a key breaks the contract:
#: a status that its channel does not have, or `failed` with `transient`.
NODE_OF_REPORT: dict[tuple[Channel, Status, Permanence | None], Node] = _nodes_by_report()
