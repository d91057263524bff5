"""Dead letters of a chunk: written in its transaction, counted after it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from processor.engine.stage import Outbox, Partitioning, Record, UnreadableRecord
from processor.logs import get_logger
from processor.metrics import Metrics, count, provider_label
from processor.metrics.labels import ByDeadReason
from processor.watch.board import Board
from processor.wire.deadletters import DeadReason, Headers, Letter, Origin, UnusableError, fitted, headers_of
from processor.wire.topics import OUTPUT_MAX_BYTES

log = get_logger(__name__)


class DeadLetters:
    """Puts records aside for one partition."""

    def __init__(self, topic: str, read: Partitioning, metrics: Metrics, board: Board) -> None:
        self._topic, self._read, self._metrics, self._board = topic, read, metrics, board
        self._partitions = read.counts[topic]
        self._counts: Counter[ByDeadReason] = Counter()
        #: Of each reason: how many, and the last one's place, timestamp and detail.
        self._newest: dict[DeadReason, tuple[int, Origin, int, str]] = {}

    def add(  # noqa: PLR0913 - what is known of a record that is put aside
        self,
        record: Record,
        outbox: Outbox,
        error: Exception,
        *,
        provider: str | None = None,
        value: bytes | None = None,
        notes: Headers = (),
    ) -> None:
        """Put a record aside; what does not fit into a record of the topic is cut.

        Args:
            record: the record as it came.
            outbox: of the chunk's transaction.
            error: a UnusableError says why; any other is a fault of ours, and its stack trace goes with the record.
            provider: whose record it is, where that is known.
            value: the one bad element, where the rest of the record is good; None: all of the record.
            notes: headers that say more of it.
        """
        if isinstance(error, UnusableError):
            reason, detail, fault = error.reason, error.detail, None
        else:
            reason, detail, fault = DeadReason.INTERNAL_ERROR, repr(error), error
        origin = Origin(self._read.topic, self._read.number, record.offset)
        came = Letter(record.key, record.value if value is None else value, tuple(record.headers) + notes)
        letter = fitted(came, headers_of(origin, record.timestamp, reason, detail, fault), OUTPUT_MAX_BYTES)
        outbox.add(self._topic, self._read.number % self._partitions, outbox.now, *letter)
        self._counts[ByDeadReason(reason, provider_label(provider))] += 1
        number, *_ = self._newest.get(reason, (0,))
        self._newest[reason] = number + 1, origin, record.timestamp, detail

    def add_unreadable(self, unreadable: Iterable[UnreadableRecord], outbox: Outbox) -> None:
        """Put aside what could not be read."""
        for each in unreadable:
            self.add(each, outbox, each.error, notes=each.notes)

    def committed(self) -> None:
        """Count what was put aside, and say so in one line a chunk and reason."""
        if not self._counts:
            return
        count(self._metrics.dead_letters, self._counts)
        for (reason, provider), number in self._counts.items():
            log.warning("dead_letters", reason=reason.value, provider=provider, records=number, topic=self._topic)
        for why, newest in self._newest.items():
            self._board.see_dead(why, *newest)
        self._counts.clear()
        self._newest.clear()
