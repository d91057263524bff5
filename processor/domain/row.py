"""What is remembered of one message: a join of everything that was reported, and the status that follows from it.

Each part of a row is a join (minimum, maximum, union): commutative, associative and idempotent. So the same
reports give the same row, whatever their order and however often each came.
"""

from __future__ import annotations

from typing import Annotated

import msgspec

from processor.domain.moment import Moment
from processor.domain.reason import Reason
from processor.domain.status import Channel, Permanence, Status
from processor.domain.transitions import NODE_PERMANENCE, NODE_STATUS, Node

#: The version of the layout that a packed row begins with: another order, number or meaning of what is packed is
#: another version. Stores on disk are of one layout, so theirs (engine/store/rocksdb.py) is raised with it.
ROW_LAYOUT = 1

_Attempt = Annotated[int, msgspec.Meta(ge=1, le=99)]


class Observation(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """That a node was reported in an attempt: the first and the last event time, in microseconds."""

    attempt: _Attempt
    node: Node
    first: Moment
    last: Moment


class Names(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """What events named, and the event time at which each was: the first wins, the smallest value on a tie of times."""

    delivery_id: str | None = None
    recipient: str | None = None
    provider: str | None = None
    provider_message_id: str | None = None
    #: Microseconds; None where nothing was named.
    delivery_id_at: Moment | None = None
    recipient_at: Moment | None = None
    provider_at: Moment | None = None
    provider_message_id_at: Moment | None = None


class NodeReason(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """The reason last given for a node: the latest time wins, the greatest reason where the times are equal."""

    node: Node
    time: Moment
    reason: Reason


class Row(msgspec.Struct, array_like=True, tag=ROW_LAYOUT, frozen=True, gc=False):
    """All that is known of one message.

    `node`, `since`, `attempt` and `rejected` are what `resolve` gives for `channel` and `observations`: kept, so that
    the next event usually takes one step, and never a second truth. Immutable: a changed row is a new one.
    """

    channel: Channel
    #: Where the walk stands, since which event time (microseconds), in which attempt.
    node: Node
    since: Moment
    attempt: _Attempt
    #: Nodes that contradict where the walk stood, in order of rank.
    rejected: tuple[Node, ...]
    #: In order of (attempt, node).
    observations: Annotated[tuple[Observation, ...], msgspec.Meta(min_length=1)]
    names: Names
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
        return self.names.delivery_id or ""

    @property
    def recipient_name(self) -> str | None:
        """Who the message is for, where an event named them."""
        return self.names.recipient

    @property
    def provider_name(self) -> str | None:
        """Who reports on the message, where an event named them."""
        return self.names.provider

    @property
    def provider_message(self) -> str | None:
        """The provider's own id of the message, where an event named it."""
        return self.names.provider_message_id

    @property
    def reason(self) -> Reason | None:
        """The reason given for the present node."""
        for given in self.reasons:
            if given.node == self.node:
                return given.reason
        return None
