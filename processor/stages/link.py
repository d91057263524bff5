"""The link stage: published links in; each goes to the receipts of its native key. It keeps no state."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from processor.domain.event import Event
from processor.domain.moment import from_seconds, stamp_of, to_millis
from processor.engine.stage import Outbox, Partitioning, Positions, Record, Stage, UnreadableRecord, Work
from processor.metrics import Metrics
from processor.providers import ADAPTERS
from processor.providers.native_keys import key_of_link
from processor.settings import Settings
from processor.stages.dead import DeadLetters
from processor.watch.board import Board
from processor.wire.deadletters import DeadReason, UnusableError
from processor.wire.links import LINK_HEADERS, LinkRecord, decode_link
from processor.wire.partitioner import partition_of
from processor.wire.received import received_at
from processor.wire.topics import DEAD, LINKS, RECEIPTS


def stage(settings: Settings, metrics: Metrics, board: Board, clock: Callable[[], float] = time.time) -> Stage:
    """Declare the stage; the clock gives seconds since the epoch."""

    def start(partitioning: Partitioning) -> Work:
        return LinkWork(settings, metrics, partitioning, board, clock)

    return Stage(name="link", inputs=(LINKS,), outputs=(RECEIPTS, DEAD), start=start)


class LinkWork(Work):
    """One partition of published links."""

    def __init__(
        self,
        settings: Settings,
        metrics: Metrics,
        partitioning: Partitioning,
        board: Board,
        clock: Callable[[], float],
    ) -> None:
        self._clock = clock
        self._receipts_topic = settings.topic(RECEIPTS)
        self._partitions = partitioning.counts[self._receipts_topic]
        self._max_bytes = settings.max_record_bytes
        self._dead = DeadLetters(settings.topic(DEAD), partitioning, metrics, board)

    def put_aside(self, unreadable: Sequence[UnreadableRecord], outbox: Outbox) -> None:
        """Keep what could not be read as dead letters."""
        self._dead.add_unreadable(unreadable, outbox)

    def process(self, records: Sequence[Record], outbox: Outbox) -> None:
        """Send every link on to its native key; one that cannot be used is a dead letter."""
        for record in records:
            # The topic is compacted, so a null value is how its owner cleans up: it tells nothing.
            if record.value is not None:
                try:
                    self._send_on(record, record.value, outbox)
                except Exception as error:
                    self._dead.add(record, outbox, error)

    def _send_on(self, record: Record, value: bytes, outbox: Outbox) -> None:
        if len(value) > self._max_bytes:
            detail = f"{len(value)} bytes, and DELIVERY_MAX_RECORD_BYTES is {self._max_bytes}"
            raise UnusableError(DeadReason.RECORD_TOO_LARGE, detail)
        stamp = stamp_of(record.timestamp, to_millis(from_seconds(self._clock())))
        timestamp = received_at(record.headers, stamp)
        link = decode_link(value, timestamp)
        if link.provider not in ADAPTERS:
            detail = f"no adapter for provider {link.provider!r}; there are: {', '.join(ADAPTERS)}"
            raise UnusableError(DeadReason.UNKNOWN_PROVIDER, detail)
        key = key_of_link(link.provider, link.account or "", link.provider_message_id).encode()
        partition = partition_of(key, self._partitions)
        outbox.forward(self._receipts_topic, partition, timestamp, key, value, LINK_HEADERS)

    def committed(self, positions: Positions) -> None:  # noqa: ARG002 - no changelog
        """Count what was put aside."""
        self._dead.committed()


def link_told_by(event: Event) -> tuple[bytes, LinkRecord] | None:
    """Return the native key and the link that an event of ours tells; None where it names no provider's id."""
    provider, native_id = event.provider, event.provider_message_id
    if provider is None or native_id is None or provider not in ADAPTERS:
        return None
    key = key_of_link(provider, "", native_id).encode()
    told = LinkRecord(
        event.time,
        provider,
        native_id,
        event.message_id,
        None,
        event.delivery_id,
        event.recipient,
        event.part,
        event.parts,
    )
    return key, told
