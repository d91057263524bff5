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
from processor.domain.transitions import IS_UNDER_WAY, NODE_PERMANENCE, NODE_STATUS, Node

#: The version of the layout that a packed row begins with: another order, number or meaning of what is packed is
#: another version. Stores on disk are of one layout, so theirs (engine/store/rocksdb.py) is raised with it.
ROW_LAYOUT = 1

#: In the place of a part's number: the message as a whole.
WHOLE = 0

_Part = Annotated[int, msgspec.Meta(ge=0, le=255)]
_Attempt = Annotated[int, msgspec.Meta(ge=1, le=99)]


class Observation(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """That a node was reported in an attempt, of a part: the first and the last event time, in microseconds."""

    attempt: _Attempt
    node: Node
    first: Moment
    last: Moment
    #: The number of the part that it was said of; WHOLE: of the message.
    part: _Part = WHOLE


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
    """The most telling reason given for a node; of equally telling ones the latest, then the greatest."""

    node: Node
    time: Moment
    reason: Reason


class Row(msgspec.Struct, array_like=True, tag=ROW_LAYOUT, frozen=True, gc=False):
    """All that is known of one message.

    `node`, `since`, `attempt` and `rejected` are what `resolve` gives for `channel`, `observations` and `parts`: kept,
    so that the next event usually takes one step, and never a second truth. Immutable: a changed row is a new one.
    """

    channel: Channel
    #: Where the walk stands, since which event time (microseconds), in which attempt.
    node: Node
    since: Moment
    attempt: _Attempt
    #: Nodes that contradict where the walk stood, in order of rank.
    rejected: tuple[Node, ...]
    #: In order of (part, attempt, node): what was said of the whole comes first.
    observations: Annotated[tuple[Observation, ...], msgspec.Meta(min_length=1)]
    names: Names
    #: In order of node.
    reasons: tuple[NodeReason, ...] = ()
    #: How many parts the message has, the largest number that was said; 0: none was.
    parts: _Part = 0

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
        """The reason given for the present node; while that is not final, a transient one that came later."""
        own: NodeReason | None = None
        for given in self.reasons:
            if given.node == self.node:
                own = given
        shown = (IS_UNDER_WAY[self.node] and self._still_tried(self.since if own is None else own.time)) or own
        return None if shown is None else shown.reason

    def _still_tried(self, since: int) -> NodeReason | None:
        """Give the last transient reason that came later than a moment, and than the status itself."""
        found: NodeReason | None = None
        for given in self.reasons:
            if given.reason.permanence is not Permanence.TRANSIENT or given.time <= max(since, self.since):
                continue
            if found is None or (given.time, given.reason.order()) > (found.time, found.reason.order()):
                found = given
        return found
