"""The worker as the web sees it: the owner of some partitions, and of the rows in them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol, runtime_checkable

from processor.domain.links import Known
from processor.domain.row import Row
from processor.engine.stage import Work
from processor.engine.status import PartitionStatus
from processor.views.message_list import IndexedRows
from processor.wire.topics import EVENTS, RECEIPTS, Topic


class Owner(Protocol):
    """The worker that the web runs in."""

    #: Where the other workers reach it, and the partitions of each topic; empty until it knows them.
    url: str
    partition_counts: dict[str, int]

    @property
    def member_id(self) -> str:
        """Its id in the group; empty while it is in none."""

    def running_work(self, topic: Topic, number: int) -> Work | None:
        """Return the work of an input partition; None: it is not owned here, or has not recovered."""

    def partition_statuses(self) -> Iterable[PartitionStatus]:
        """Return stage, state, lag and progress of each partition."""

    def inputs(self) -> Iterable[tuple[str, str]]:
        """Return stage and full name of every topic that the stages read."""


@runtime_checkable
class Rows(Protocol):
    """The committed rows of one partition of messages."""

    def row(self, key: bytes) -> Row | None:
        """Return the row of a message.

        Raises:
            UnreadableError: it is there, and cannot be read.
        """


@runtime_checkable
class Indexed(Protocol):
    """One partition of messages, which can be listed."""

    @property
    def index(self) -> IndexedRows:
        """What its messages are listed and found by."""


@runtime_checkable
class Links(Protocol):
    """What is known of the providers' ids of one partition of receipts."""

    def known(self, key: bytes) -> Known:
        """Return the links and the waiting receipts of a native key.

        Raises:
            UnreadableError: they are there, and cannot be read.
        """


def index_of(owner: Owner, number: int) -> IndexedRows | None:
    """Return the index of a partition of messages; None: it is not owned here, or has not recovered."""
    work = owner.running_work(EVENTS, number)
    return work.index if work is not None and isinstance(work, Indexed) else None


def rows_of(owner: Owner, number: int) -> Rows | None:
    """Return the rows of a partition of messages; None: it is not owned here, or has not recovered."""
    work = owner.running_work(EVENTS, number)
    return work if work is not None and isinstance(work, Rows) else None


def links_of(owner: Owner, number: int) -> Links | None:
    """Return the links of a partition of receipts; None: it is not owned here, or has not recovered."""
    work = owner.running_work(RECEIPTS, number)
    return work if work is not None and isinstance(work, Links) else None
