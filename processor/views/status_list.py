"""The statuses: what each means, and which may follow it."""

from __future__ import annotations

import msgspec

from processor.domain.status import DEFINITIONS, Channel, Status
from processor.domain.transitions import NODE_NAMES, NODE_STATUS, TRANSITIONS


class StatusDefinition(msgspec.Struct, frozen=True):
    """One status: its meaning, the channels that have it, and the statuses that may follow, by channel."""

    status: Status
    english: str
    swedish: str
    meaning: str
    channels: tuple[Channel, ...]
    #: By node: the status, or `failed_gave_up` for a failure that a later report may correct.
    may_follow: dict[str, dict[str, tuple[str, ...]]]


class StatusList(msgspec.Struct, frozen=True):
    """The ten statuses."""

    items: tuple[StatusDefinition, ...]


def status_list() -> StatusList:
    """Return the ten statuses."""
    return StatusList(
        tuple(
            [
                StatusDefinition(
                    status,
                    definition.english,
                    definition.swedish,
                    definition.meaning,
                    tuple([channel for channel in Channel if channel in definition.channels]),
                    {
                        channel.value: {
                            NODE_NAMES[node]: tuple([NODE_NAMES[after] for after in sorted(afters)])
                            for node, afters in table.items()
                            if NODE_STATUS[node] is status
                        }
                        for channel, table in TRANSITIONS.items()
                        if channel in definition.channels
                    },
                )
                for status, definition in DEFINITIONS.items()
            ]
        )
    )
