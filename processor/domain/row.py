"""The row of one message: the join of all its reports, and the status that follows from it.

Each part of a row is a join (minimum, maximum, union): commutative, associative and idempotent. So the same reports
give the same row, in any order and with any repetitions.
"""

from __future__ import annotations

from typing import Annotated

import msgspec

from processor.domain.moment import Micros, Moment
from processor.domain.reason import ERASED, Reason
from processor.domain.status import Channel, Permanence, Status
from processor.domain.traits import IS_UNDER_WAY
from processor.domain.transitions import NODE_PERMANENCE, NODE_STATUS, Node

#: The layout version at the start of a packed row. Another order, number or meaning of the packed fields is another
#: version. A store on disk has one layout, so its version (engine/store/rocksdb.py) is raised with this one.
ROW_LAYOUT = 1

#: Instead of a part's number: the message as a whole.
WHOLE = 0

_Part = Annotated[int, msgspec.Meta(ge=0, le=255)]
_Attempt = Annotated[int, msgspec.Meta(ge=1, le=99)]


class Observation(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """A node reported in an attempt, of a part: the first and the last event time, in microseconds."""

    attempt: _Attempt
    node: Node
    first: Moment
    last: Moment
    #: The number of the part; WHOLE: the message.
    part: _Part = WHOLE


class Names(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """Names from events, with the event time of each: the first wins, the smallest value on a tie of times."""

    delivery_id: str | None = None
    recipient: str | None = None
    provider: str | None = None
    provider_message_id: str | None = None
    #: Microseconds; None where nothing was named.
    delivery_id_at: Moment | None = None
    recipient_at: Moment | None = None
    provider_at: Moment | None = None
    provider_message_id_at: Moment | None = None

    @property
    def shown_recipient(self) -> str | None:
        """The recipient; None if none was named, or it was erased."""
        return None if self.recipient == ERASED else self.recipient


class NodeReason(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """The most specific reason given for a node; of equally specific ones the latest, then the greatest."""

    node: Node
    time: Moment
    reason: Reason


class Row(msgspec.Struct, array_like=True, tag=ROW_LAYOUT, frozen=True, gc=False):
    """The state of one message.

    `node`, `since`, `attempt` and `rejected` are what `resolve` gives for `channel`, `observations` and `parts`: kept,
    so that the next event usually takes one step, and never a second truth. Immutable: a changed row is a new one.
    """

    channel: Channel
    #: The end of the walk: node, event time (microseconds) and attempt.
    node: Node
    since: Moment
    attempt: _Attempt
    #: Nodes that contradict the walk, in order of rank.
    rejected: tuple[Node, ...]
    #: In order of (part, attempt, node): observations of the whole message come first.
    observations: Annotated[tuple[Observation, ...], msgspec.Meta(min_length=1)]
    names: Names
    #: In order of node.
    reasons: tuple[NodeReason, ...] = ()
    #: The largest reported number of the message's parts; 0: none was reported.
    parts: _Part = 0

    @property
    def status(self) -> Status:
        """The present status."""
        return NODE_STATUS[self.node]

    @property
    def permanence(self) -> Permanence | None:
        """The permanence of the failure; None unless the status is failed."""
        return NODE_PERMANENCE[self.node]

    @property
    def delivery(self) -> str:
        """The delivery under which this message is counted; empty until an event names one."""
        return self.names.delivery_id or ""

    @property
    def recipient_name(self) -> str | None:
        """The recipient, if an event named one and it was not erased."""
        return self.names.shown_recipient

    @property
    def provider_name(self) -> str | None:
        """The provider, if an event named one."""
        return self.names.provider

    @property
    def provider_message(self) -> str | None:
        """The provider's own id of the message, if an event named it."""
        return self.names.provider_message_id

    @property
    def reason(self) -> Reason | None:
        """The reason given for the present node, or a later transient one while the node is not final."""
        own: NodeReason | None = None
        for given in self.reasons:
            if given.node == self.node:
                own = given
        shown = (IS_UNDER_WAY[self.node] and self._still_tried(self.since if own is None else own.time)) or own
        return None if shown is None else shown.reason.shown()

    def _still_tried(self, since: Micros) -> NodeReason | None:
        """Return the last transient reason that is later than a given time and than the status."""
        found: NodeReason | None = None
        for given in self.reasons:
            if given.reason.permanence is not Permanence.TRANSIENT or given.time <= max(since, self.since):
                continue
            if found is None or (given.time, given.reason.order()) > (found.time, found.reason.order()):
                found = given
        return found
