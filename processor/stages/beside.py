"""Handle what few events need besides folding: rerouting, links, rejections, cancels, sightings (see folding.py)."""

from __future__ import annotations

from collections import Counter

from processor.domain.event import Event
from processor.domain.moment import Micros, Millis
from processor.domain.row import Row
from processor.domain.transitions import Node
from processor.engine.stage import Partitioning, Record, Written
from processor.metrics import REROUTED, provider_label
from processor.metrics.labels import ByVerdict
from processor.settings import Settings
from processor.stages.aside import Aside
from processor.stages.cancels import cancel
from processor.stages.dead import DeadLetters
from processor.stages.erasing import Eraser
from processor.stages.expiry import Expiry
from processor.stages.facts import Facts
from processor.stages.link import link_told_by
from processor.stages.orders import Orders
from processor.stages.sightings import sightings_for
from processor.stages.table import Table
from processor.wire.links import LINK_HEADERS, encode_link
from processor.wire.partitioner import partition_of
from processor.wire.topics import EVENTS, RECEIPTS, REJECTED


class Beside:
    """What is done of records besides folding them. An error that it raises is the record's: it is a dead letter."""

    def __init__(  # noqa: PLR0913, PLR0917 - what there is of a partition
        self,
        settings: Settings,
        partitioning: Partitioning,
        table: Table,
        eraser: Eraser,
        aside: Aside,
        dead: DeadLetters,
        expiry: Expiry,
        facts: Facts,
    ) -> None:
        self._table, self._aside, self._dead, self._facts = table, aside, dead, facts
        self._partition = partitioning.number
        self._events_topic, self._receipts_topic = settings.topic(EVENTS), settings.topic(RECEIPTS)
        self._rejected_topic = settings.topic(REJECTED)
        self._partitions = partitioning.counts[self._events_topic]
        self.sightings = sightings_for(settings, partitioning)
        #: Events that were sent on to their own partition.
        self.rerouted: Counter[ByVerdict] = Counter()
        self.obey = Orders(table, eraser, aside).obey
        self.without_erased = eraser.without_erased
        self.refuse_old = expiry.refuse

    def takes(self, record: Record, key: bytes, event: Event) -> bool:
        """Return whether a message that is not known is one of this partition; if not, its event is sent on.

        Raises:
            UnusableError: its row cannot be read.
        """
        home = partition_of(key, self._partitions)
        if home != self._partition:
            headers = tuple(record.headers)
            self._table.outbox.forward(self._events_topic, home, record.timestamp, key, record.value, headers)
            self.rerouted[ByVerdict(event.channel, provider_label(event.provider), REROUTED)] += 1
            return False
        if key in self._aside.notes:
            self._aside.refuse(key)
        return True

    def reject(self, evidence: Written) -> None:
        """Publish an event that contradicts its message."""
        self._table.outbox.to(self._rejected_topic, self._partition).append(evidence)

    def link(self, event: Event, timestamp: Millis) -> None:
        """Tell the receipts of a provider's id whose it is."""
        told = link_told_by(event)
        if told is not None:
            key, link = told
            partition = partition_of(key, self._partitions)
            receipts = self._table.outbox.to(self._receipts_topic, partition)
            receipts.append((timestamp, key, encode_link(link), LINK_HEADERS))

    def see(self, event: Event, node: Node, moment: Micros, before: Row | None, row: Row) -> None:
        """Take what an event says of its message's address."""
        if self.sightings is not None:
            self.sightings.see(event, node, moment, before, row)

    def cancel(self, key: bytes, row: Row, at: Micros) -> None:
        """Apply the cancel of its delivery to a message, if that can still change anything."""
        told = cancel(key.decode(), row, at)
        if told is None:
            return
        event, after, verdict = told
        self._table.put(key, after, row)
        self._facts.note(event, at, self._table.outbox.now, Node.CANCELED, row, after, verdict)

    def refuse(self, record: Record, error: Exception) -> None:
        """Write an unusable record as a dead letter."""
        self._dead.add(record, self._table.outbox, error)
