"""Counts by status: derived from rows, never a second truth."""

from __future__ import annotations

from processor.domain.row import Row
from processor.domain.status import Channel, Status
from processor.domain.transitions import NODE_STATUS

#: The place of each status in a list of counts.
STATUS_INDEX: dict[Status, int] = {status: index for index, status in enumerate(Status)}

#: The same, by the rank of a node.
_NODE_INDEX: tuple[int, ...] = tuple(STATUS_INDEX[status] for status in NODE_STATUS)


class Counts:
    """Absolute counts of one partition's rows: by status for each delivery, and by channel and status over all.

    The conservation law: both sum to the number of known messages. `conservation_error` says by how much they do not.
    A delivery whose last message moved away stays, with zeroes: what was published must be corrected, not forgotten.
    """

    def __init__(self) -> None:
        self.deliveries: dict[str, list[int]] = {}
        self.channels: dict[Channel, list[int]] = {channel: [0] * len(Status) for channel in Channel}

    def move(self, before: Row | None, after: Row | None) -> None:
        """Count one row's change; None stands for a row that does not exist."""
        if before is not None:
            self._add(before, -1)
        if after is not None:
            self._add(after, 1)

    def _add(self, row: Row, change: int) -> None:
        index = _NODE_INDEX[row.node]
        delivery = row.delivery_id.value if row.delivery_id is not None else ""
        counts = self.deliveries.get(delivery)
        if counts is None:
            counts = self.deliveries[delivery] = [0] * len(Status)
        counts[index] += change
        self.channels[row.channel][index] += change

    def by_channel(self, channel: Channel) -> dict[Status, int]:
        """Give the counts of one channel, every status a key."""
        return dict(zip(Status, self.channels[channel], strict=True))

    def by_status(self, delivery_id: str) -> dict[Status, int]:
        """Give the counts of one delivery, every status a key."""
        counts = self.deliveries.get(delivery_id) or [0] * len(Status)
        return {status: counts[index] for status, index in STATUS_INDEX.items()}

    def conservation_error(self, known: int) -> int:
        """Give how many messages the counts are off, against the number of known messages; 0 when the law holds."""
        by_delivery = sum(map(sum, self.deliveries.values()))
        by_channel = sum(map(sum, self.channels.values()))
        return abs(by_delivery - known) + abs(by_channel - known)
