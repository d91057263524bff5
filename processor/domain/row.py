"""The row of one message: the join of all its reports, and the status that follows from it.

Each part of a row is a join (minimum, maximum, union): commutative, associative and idempotent. So the same reports
give the same row, in any order and with any repetitions.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Annotated

import msgspec

from processor.domain.moment import FIRST, LAST, Micros, Moment
from processor.domain.reason import ERASED, Reason
from processor.domain.status import Channel, Permanence, Status
from processor.domain.traits import IS_UNDER_WAY
from processor.domain.transitions import NODE_PERMANENCE, NODE_STATUS, Node

#: The layout version at the start of a packed row. Another order, number or meaning of the packed fields is another
#: version; what the earlier ones wrote is read by wire/former_rows.py. The format of stores on disk
#: (engine/store/rocksdb.py) is raised with this one.
ROW_LAYOUT = 2

#: Instead of a part's number: the message as a whole.
WHOLE = 0

Part = Annotated[int, msgspec.Meta(ge=0, le=255)]
Attempt = Annotated[int, msgspec.Meta(ge=1, le=99)]
_After = Annotated[int, msgspec.Meta(ge=0, le=LAST - FIRST)]
_Apart = Annotated[int, msgspec.Meta(ge=FIRST - LAST, le=LAST - FIRST)]

#: A spot is part, attempt and node of an observation in one number, in this order from the highest bits down: so the
#: order of spots is that of observations, and the spots of the first attempts take one byte.
NODE_BITS = 4
_NODE_MASK = (1 << NODE_BITS) - 1
_PART_SHIFT = NODE_BITS + 7
_ATTEMPT_MASK = (1 << 7) - 1

#: The first spot of a part; those of the whole message are below.
FIRST_OF_PARTS = 1 << _PART_SHIFT

_NODES = tuple(Node)


class Observation(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """A node reported in an attempt, of a part: the first and the last event time, in microseconds."""

    attempt: Attempt
    node: Node
    first: Moment
    last: Moment
    #: The number of the part; WHOLE: the message.
    part: Part = WHOLE


#: `Names.after` in full, where it is empty.
AT_ONCE = (0, 0, 0, 0)

#: A name and the event time of who gave it, in microseconds; None: nothing was named.
Claim = tuple[str | None, Micros | None]


class Names(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """Names from events: the first by event time wins, the smallest value on a tie."""

    delivery_id: str | None = None
    recipient: str | None = None
    provider: str | None = None
    provider_message_id: str | None = None
    #: The event time of each, in microseconds after the first of the row, and 0 where nothing was named. Empty, which
    #: is usual: all were named at the first one.
    after: tuple[_Apart, ...] = ()

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

    All of it is made so that it is packed as it is, and takes few bytes: most times are differences to the first one.
    """

    channel: Channel
    #: The end of the walk: node, event time (microseconds) and attempt.
    node: Node
    since: Moment
    #: Microseconds from the first event time of all to `since`.
    age: _After
    attempt: Attempt
    #: Nodes that contradict the walk, in order of rank.
    rejected: tuple[Node, ...]
    #: The observations, three numbers for each: its spot, its first time in microseconds after the first of all, and
    #: its last one in microseconds after that. In order of spots: observations of the whole message come first.
    seen: Annotated[tuple[_After, ...], msgspec.Meta(min_length=3)]
    names: Names
    #: In order of node.
    reasons: tuple[NodeReason, ...] = ()
    #: The largest reported number of the message's parts; 0: none was reported.
    parts: Part = 0

    @property
    def first(self) -> Micros:
        """The first event time of all."""
        return Micros(self.since - self.age)

    @property
    def observations(self) -> tuple[Observation, ...]:
        """What was observed, in order of (part, attempt, node)."""
        first, seen = self.since - self.age, self.seen
        return tuple(
            [
                Observation(
                    spot >> NODE_BITS & _ATTEMPT_MASK,
                    _NODES[spot & _NODE_MASK],
                    Micros(first + after),
                    Micros(first + after + lasted),
                    spot >> _PART_SHIFT,
                )
                for spot, after, lasted in zip(seen[::3], seen[1::3], seen[2::3], strict=True)
            ]
        )

    @property
    def claims(self) -> tuple[Claim, ...]:
        """The names, in the order of `Names`, each with its event time."""
        first, names = self.since - self.age, self.names
        named = (names.delivery_id, names.recipient, names.provider, names.provider_message_id)
        return tuple(
            [
                (None, None) if name is None else (name, Micros(first + after))
                for name, after in zip(named, names.after or AT_ONCE, strict=True)
            ]
        )

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


def row_of(  # noqa: PLR0913, PLR0917 - the parts of a row
    channel: Channel,
    node: Node,
    since: Micros,
    attempt: int,
    rejected: tuple[Node, ...],
    observations: Sequence[Observation],
    claims: Iterable[Claim],
    reasons: tuple[NodeReason, ...] = (),
    parts: int = 0,
) -> Row:
    """Return a row from its parts, with times as they are.

    Args:
        channel: as in the row; so are the others that are not told of here.
        node: where the walk ends.
        since: its time.
        attempt: its attempt.
        rejected: in order of rank.
        observations: at least one, in order of (part, attempt, node).
        claims: in the order of `Names`.
        reasons: in order of node.
        parts: the largest reported number of parts.
    """
    first = min(at.first for at in observations)
    seen: list[int] = []
    for at in observations:
        spot = (at.part << _PART_SHIFT) | (at.attempt << NODE_BITS) | at.node
        seen += spot, at.first - first, at.last - at.first
    names = _names_of(claims, first)
    return Row(channel, node, since, since - first, attempt, rejected, tuple(seen), names, reasons, parts)


def _names_of(claims: Iterable[Claim], first: Micros) -> Names:
    named = tuple(claims)
    delivery_id, recipient, provider, provider_message_id = [name for name, _ in named]
    after = tuple([0 if time is None else time - first for _, time in named])
    return Names(delivery_id, recipient, provider, provider_message_id, after if any(after) else ())
