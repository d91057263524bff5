"""The interface of a worker to its partitions: what they ask of it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Protocol

from aiokafka import TopicPartition
from aiokafka.structs import OffsetAndMetadata

from processor.engine.clock import BrokerClock
from processor.engine.inbox import InputBuffer
from processor.engine.pin import Pin
from processor.engine.predecessors import Undecided
from processor.engine.rounds import Rounds
from processor.engine.shared_reader import PartitionReader
from processor.metrics import Metrics
from processor.settings import Settings


class Host(Protocol):
    """The worker, as its partitions see it."""

    settings: Settings
    metrics: Metrics
    #: The brokers' time, and seconds that nobody sets.
    clock: BrokerClock
    monotonic: Callable[[], float]

    #: Partitions of each topic, and the cluster's id.
    partition_counts: dict[str, int]
    cluster: str

    #: The worker's transactions, and what waits for them.
    rounds: Rounds
    input_buffer: InputBuffer

    def reader(self) -> PartitionReader:
        """Make a reader of the committed records of one partition."""

    async def committed_offset(self, tp: TopicPartition, pin: Pin) -> OffsetAndMetadata | None:
        """Ask a broker that knows our membership for the group's committed offset."""

    async def holders(self, tp: TopicPartition | None) -> frozenset[Undecided]:
        """Ask the brokers whose transactions hold up a partition, or the group's offsets (None)."""

    async def predecessors(
        self, tp: TopicPartition, producer_ids: Collection[int], *, spares_members: bool
    ) -> Sequence[str]:
        """Ask the brokers which transactional ids of some producers may be ended for a partition.

        Args:
            tp: the input partition.
            producer_ids: whose transactions it waits for, as far as known.
            spares_members: whether to leave out the open transactions of the group's present members.
        """

    async def bounds(self, tp: TopicPartition) -> tuple[int, int]:
        """Ask the broker for the oldest offset of a partition and the one after its last that is committed."""

    async def high_watermark(self, tp: TopicPartition) -> int:
        """Ask the broker for the offset after a partition's last record, of open transactions too."""

    async def seek(self, tp: TopicPartition, offset: int) -> None:
        """Make `offset` the next that is fetched."""

    def position(self, tp: TopicPartition) -> int | None:
        """Return the offset that the fetch hands out next, without waiting; None when the partition is not assigned."""

    def wake(self) -> None:
        """Make the fetch look again at which partitions have room."""
