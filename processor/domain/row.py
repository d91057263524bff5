"""What is remembered of one message: a join of everything that was reported, and the status that follows from it.

Each part of a row is a join (minimum, maximum, union): commutative, associative and idempotent. So the same
reports give the same row, whatever their order and however often each came.
"""

from __future__ import annotations

import msgspec

from processor.domain.reason import Reason
from processor.domain.status import Channel, Permanence, Status
from processor.domain.transitions import NODE_PERMANENCE, NODE_STATUS, Node


class Observation(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """That a node was reported in an attempt: the first and the last event time, in microseconds."""

    attempt: int
    node: Node
    first: int
    last: int


class Claim(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """A value that events may name: the one named first wins, the smallest value where the times are equal."""

    time: int
    value: str


class NodeReason(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """The reason last given for a node: the latest time wins, the greatest reason where the times are equal."""

    node: Node
    time: int
    reason: Reason


class Row(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """All that is known of one message.

    `node`, `since`, `attempt` and `rejected` are what `resolve` gives for `channel` and `observations`: kept, so that
    the next event usually takes one step, and never a second truth. Immutable: a changed row is a new one.
    """

    channel: Channel
    #: Where the walk stands, since which event time (microseconds), in which attempt.
    node: Node
    since: int
    attempt: int
    #: Nodes that contradict where the walk stood, in order of rank.
    rejected: tuple[Node, ...]
    #: In order of (attempt, node).
    observations: tuple[Observation, ...]
    delivery_id: Claim | None = None
    recipient: Claim | None = None
    provider: Claim | None = None
    provider_message_id: Claim | None = None
    #: In order of node.
    reasons: tuple[NodeReason, ...] = ()

    @property
    def status(self) -> Status:
        """The status that is true now."""
        return NODE_STATUS[self.node]

    @property
    def permanence(self) -> Permanence | None:
        """How final the failure is; None unless the status is failed."""
        return NODE_PERMANENCE[self.node]

    @property
    def delivery(self) -> str:
        """The delivery that this message is counted under; empty until an event names one."""
        return self.delivery_id.value if self.delivery_id is not None else ""

    @property
    def reason(self) -> Reason | None:
        """The reason given for the present node."""
        for given in self.reasons:
            if given.node == self.node:
                return given.reason
        return None
