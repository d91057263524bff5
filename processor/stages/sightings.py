"""Gather what one chunk says of addresses, by their partitions: a record for each address, not for each report."""

from __future__ import annotations

from collections import defaultdict

from processor.domain.addresses import CODE_MAX, Kind, Sighting, kind_of_report
from processor.domain.erasure import may_quote_address
from processor.domain.event import Event
from processor.domain.moment import Micros
from processor.domain.reason import ERASED, Reason
from processor.domain.row import Row
from processor.domain.status import Channel
from processor.domain.transitions import Node
from processor.engine.stage import Outbox, Partitioning
from processor.providers.address_keys import AddressKeys
from processor.providers.addresses import domain_of
from processor.settings import Settings
from processor.wire.addresses import Seen, SeenRecord, encode_seen
from processor.wire.partitioner import partition_of
from processor.wire.topics import RECIPIENTS

#: Sightings of one record at most: it stays far below what a record may have.
_IN_A_RECORD = 2_000

#: Each event that may say something is compared with it, and to ask an enumeration for its member takes as long.
_SUCCESS = Kind.SUCCESS

#: Characters of a domain that are kept.
_DOMAIN_MAX = 255


def sightings_for(settings: Settings, partitioning: Partitioning) -> Sightings | None:
    """Return where a stage puts what it sees of addresses; None: there is no feed."""
    if not settings.addresses_key:
        return None
    topic = settings.topic(RECIPIENTS)
    return Sightings(AddressKeys(settings.addresses_key), topic, partitioning.counts[topic])


class Sightings:
    """The sightings of one chunk, by the partition of their address."""

    def __init__(self, keys: AddressKeys, topic: str, partitions: int) -> None:
        self._keys, self._topic, self._partitions = keys, topic, partitions
        #: Addresses that were reached, and when; and all else.
        self._reached: dict[int, tuple[list[str], list[Micros]]] = defaultdict(lambda: ([], []))
        self._seen: dict[int, list[Seen]] = defaultdict(list)

    def see(self, event: Event, node: Node, moment: Micros, before: Row | None, row: Row) -> None:
        """Take what an event says of its message's address; all that the row knows, if it names the address first.

        Repetitions are taken, too: which times a row remembers depends on the order in which they came.
        """
        named = row.names.recipient
        if named is None or named == ERASED:
            return
        if before is not None and before.names.recipient is None:
            self._see_all(row, named)
        recipient = event.recipient or named
        if recipient == ERASED:
            return
        kind = kind_of_report(row.channel, node, event.reason)
        if kind is _SUCCESS:
            self._reach(row.channel, recipient, moment)
        elif kind is not None:
            self.add(row.channel, recipient, sighting_of(recipient, kind, moment, event.reason))

    def _see_all(self, row: Row, recipient: str) -> None:
        """Take what was reported before the address was known."""
        reasons = {given.node: given for given in row.reasons}
        for seen in row.observations:
            given = reasons.get(seen.node)
            reason = None if given is None else given.reason
            kind = kind_of_report(row.channel, seen.node, reason)
            if kind is None:
                continue
            times = {seen.first, seen.last} if reason is None or given is None else {given.time}
            for time in times:
                if kind is _SUCCESS:
                    self._reach(row.channel, recipient, time)
                else:
                    self.add(row.channel, recipient, sighting_of(recipient, kind, time, reason))

    def _reach(self, channel: Channel, recipient: str, time: Micros) -> None:
        key = self._keys.key_of(channel, recipient)
        keys, times = self._reached[partition_of(key.encode(), self._partitions)]
        keys.append(key)
        times.append(time)

    def add(self, channel: Channel, recipient: str, sighting: Sighting) -> None:
        """Take one sighting."""
        key = self._keys.key_of(channel, recipient)
        self._seen[partition_of(key.encode(), self._partitions)].append(Seen(key, sighting))

    def write(self, outbox: Outbox) -> None:
        """Write what was seen, and forget it."""
        for partition, (keys, times) in self._reached.items():
            for start in range(0, len(keys), _IN_A_RECORD):
                end = start + _IN_A_RECORD
                self._put(partition, SeenRecord(tuple(keys[start:end]), tuple(times[start:end])), outbox)
        for partition, seen in self._seen.items():
            for start in range(0, len(seen), _IN_A_RECORD):
                self._put(partition, SeenRecord(seen=tuple(seen[start : start + _IN_A_RECORD])), outbox)
        self._reached.clear()
        self._seen.clear()

    def _put(self, partition: int, seen: SeenRecord, outbox: Outbox) -> None:
        outbox.add(self._topic, partition, outbox.now, None, encode_seen(seen))


def sighting_of(recipient: str, kind: Kind, time: Micros, reason: Reason | None) -> Sighting:
    """Return a sighting of an error, with the evidence that it is remembered by."""
    if reason is None:
        return Sighting(time, kind)
    code = reason.code or reason.provider_code or ""
    if may_quote_address(code):
        code = ""
    domain = domain_of(recipient)
    return Sighting(time, kind, reason.category, code[:CODE_MAX], None if domain is None else domain[:_DOMAIN_MAX])
