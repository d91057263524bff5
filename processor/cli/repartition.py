"""Spread a backup over another number of partitions: each record goes to that of its key.

What a partition said of itself cannot be spread. Counts are counted anew from the rows, with the messages that
retention has removed: of each delivery in one partition. Released windows go to every partition. What partitions had
erased, they erase again. Samples of the counts (`history.v1`) are left out, for they are compared by partition.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from copy import deepcopy

from processor.cli.buckets import Side
from processor.domain.addresses import Window
from processor.domain.counts import Counts, DeliveryCounts
from processor.engine.streams import Outgoing
from processor.settings import Settings
from processor.stages.books import row_place
from processor.wire.addresses import RELEASES_KEY, decode_releases, encode_releases
from processor.wire.counts import CountsRecord, decode_counts_of, encode_counts, to_counts
from processor.wire.links import is_moved
from processor.wire.partitioner import partition_of
from processor.wire.readback import UnreadableError
from processor.wire.rows import row_in
from processor.wire.topics import ADDRESSES, COUNTS, ERASURES, HISTORY, MESSAGES


class Repartition:
    """Finds the places of records among another number of partitions.

    Args:
        settings: those of the new topics.
        partitions: how many they have.
        rows: keeps the last row of each message, until they are counted.
    """

    def __init__(self, settings: Settings, partitions: int, rows: Side) -> None:
        self._settings, self._partitions, self._rows = settings, partitions, rows
        #: The last counts of each delivery and former partition.
        self._counts: dict[bytes, CountsRecord] = {}
        #: The last windows that each former partition had released.
        self._releases: dict[int | None, tuple[Window, ...]] = {}

    def place(self, record: Outgoing) -> Outgoing | None:
        """Return a record with its new place; None: it has none, or comes with `rest`.

        Raises:
            UnreadableError: what a partition says of itself cannot be read.
        """
        key, topic, name_of = record.key, record.topic, self._settings.topic
        if key is None or topic == name_of(HISTORY) or (topic == name_of(ERASURES) and b"|" in key):
            return None
        if topic == name_of(COUNTS):
            self._take_counts(key, record.value)
            return None
        if topic == name_of(ADDRESSES) and key == RELEASES_KEY:
            self._releases[record.partition] = () if record.value is None else decode_releases(record.value)
            return None
        if topic == name_of(MESSAGES):
            self._rows.put(key, None if record.value is None or is_moved(record.value) else record.value)
        return record._replace(partition=self._home(key))

    def _home(self, key: bytes) -> int:
        return partition_of(key, self._partitions)

    def _take_counts(self, key: bytes, value: bytes | None) -> None:
        if value is None:
            self._counts.pop(key, None)
        else:
            self._counts[key] = decode_counts_of(value, key)

    def rest(self) -> Iterator[Outgoing]:
        """Yield what each partition says of itself, when all records have been placed."""
        windows = tuple(sorted({window for released in self._releases.values() for window in released}))
        if windows:
            for partition in range(self._partitions):
                topic = self._settings.topic(ADDRESSES)
                yield Outgoing(topic, encode_releases(windows), RELEASES_KEY, partition=partition)
        yield from self._count()

    def _count(self) -> Iterator[Outgoing]:
        here, whole = [Counts() for _ in range(self._partitions)], Counts()
        for key, value in self._rows.items():
            try:
                place = row_place(row_in(value)[1])
            except UnreadableError:
                # It is set aside where it is recovered, and counted nowhere.
                continue
            here[self._home(key)].move({(None, place): 1})
            whole.move({(None, place): 1})
        for delivery_id, told in self._by_delivery().items():
            home = here[self._home(delivery_id.encode())].delivery(delivery_id)
            _add_removed(home, whole.delivery(delivery_id), _sum(told))
        for partition, counts in enumerate(here):
            for delivery_id, counted in counts.deliveries.items():
                key, value = encode_counts(delivery_id, partition, counted)
                yield Outgoing(self._settings.topic(COUNTS), value, key, partition=partition)

    def _by_delivery(self) -> dict[str, list[DeliveryCounts]]:
        found: dict[str, list[DeliveryCounts]] = defaultdict(list)
        for record in self._counts.values():
            found[record.delivery_id].append(to_counts(record))
        return found


def _sum(told: Iterable[DeliveryCounts]) -> DeliveryCounts:
    """Add what the former partitions counted of one delivery. Its cancel is learned again."""
    total = DeliveryCounts()
    for each in told:
        total.statuses = _added(total.statuses, each.statuses)
        for channel, number in each.channels.items():
            total.channels[channel] += number
            total.live[channel] = _added(total.live[channel], each.live[channel])
        for numbers, more in _named_numbers(total, each):
            numbers.update(Counter(numbers) + Counter(more))
        if each.first is not None and each.last is not None:
            total.see(each.first, each.last)
    return total


def _added(numbers: list[int], more: Iterable[int]) -> list[int]:
    return [number + other for number, other in zip(numbers, more, strict=True)]


def _named_numbers(one: DeliveryCounts, other: DeliveryCounts) -> Iterator[tuple[dict[str, int], dict[str, int]]]:
    yield one.failed, other.failed
    yield one.ignored, other.ignored
    yield one.providers, other.providers


def _add_removed(home: DeliveryCounts, rows: DeliveryCounts, published: DeliveryCounts) -> None:
    """Add to one partition's counts the messages that were published and that no row has any more.

    Args:
        home: of the partition.
        rows: over all partitions.
        published: over all former partitions.
    """
    total = deepcopy(rows)
    total.take_over(published)
    home.first, home.last = published.first, published.last
    home.statuses = _added(home.statuses, map(int.__sub__, total.statuses, rows.statuses))
    for channel, number in total.channels.items():
        home.channels[channel] += number - rows.channels[channel]
    for (numbers, counted), (_, all_of_it) in zip(_named_numbers(home, rows), _named_numbers(home, total), strict=True):
        numbers.update(Counter(numbers) + (Counter(all_of_it) - Counter(counted)))
