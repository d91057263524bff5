"""Rows as earlier versions packed them: they are read for ever, and written no more."""

from __future__ import annotations

from typing import Annotated

import msgspec

from processor.domain.moment import Moment
from processor.domain.row import Attempt, NodeReason, Observation, Part, Row, row_of
from processor.domain.status import Channel
from processor.domain.transitions import Node


class FormerNames(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """Names, each with its event time; None where nothing was named."""

    delivery_id: str | None = None
    recipient: str | None = None
    provider: str | None = None
    provider_message_id: str | None = None
    delivery_id_at: Moment | None = None
    recipient_at: Moment | None = None
    provider_at: Moment | None = None
    provider_message_id_at: Moment | None = None


class FormerRow(msgspec.Struct, array_like=True, tag=1, frozen=True, gc=False):
    """Layout 1: observations are arrays, and all times are since the epoch."""

    channel: Channel
    node: Node
    since: Moment
    attempt: Attempt
    rejected: tuple[Node, ...]
    observations: Annotated[tuple[Observation, ...], msgspec.Meta(min_length=1)]
    names: FormerNames
    reasons: tuple[NodeReason, ...] = ()
    parts: Part = 0

    def row(self) -> Row:
        """Return the row that this is."""
        names = self.names
        return row_of(
            self.channel,
            self.node,
            self.since,
            self.attempt,
            self.rejected,
            self.observations,
            (
                (names.delivery_id, names.delivery_id_at),
                (names.recipient, names.recipient_at),
                (names.provider, names.provider_at),
                (names.provider_message_id, names.provider_message_id_at),
            ),
            self.reasons,
            self.parts,
        )


#: Before layouts had versions: as layout 1, without the version, and without the number of parts.
Unversioned = tuple[
    Channel,
    Node,
    Moment,
    int,
    tuple[Node, ...],
    Annotated[tuple[Observation, ...], msgspec.Meta(min_length=1)],
    FormerNames,
    tuple[NodeReason, ...],
]
