"""The status of one partition of a worker."""

from __future__ import annotations

from typing import NamedTuple


class PartitionStatus(NamedTuple):
    """State, lag and progress of one partition that this worker has."""

    stage: str
    topic: str
    partition: int
    state: str
    #: Records still to commit; None: the broker has not told yet.
    lag: int | None
    #: How much of the changelog has been read, from 0 to 1, while it recovers.
    progress: float | None
