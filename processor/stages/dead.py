"""Dead letters of a chunk: written in its transaction, counted after its commit.

Whatever finds a record unusable raises `UnusableError` (wire/deadletters.py, with the reasons and headers); the stages
catch it for each record and call `DeadLetters.add`. Any other exception is a bug, and becomes `internal_error`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from processor.domain.moment import Millis
from processor.engine.stage import Outbox, Partitioning, Record, UnreadableRecord
from processor.logs import get_logger
from processor.metrics import Metrics, count, provider_label
from processor.metrics.labels import ByDeadReason
from processor.watch.board import Board
from processor.wire.deadletters import DeadReason, Headers, Letter, Origin, UnusableError, fitted, headers_of
from processor.wire.topics import OUTPUT_MAX_BYTES

log = get_logger(__name__)


class DeadLetters:
    """Writes the dead letters of one partition."""

    def __init__(self, topic: str, read: Partitioning, metrics: Metrics, board: Board) -> None:
        self._topic, self._read, self._metrics, self._board = topic, read, metrics, board
        self._partitions = read.counts[topic]
        self._counts: Counter[ByDeadReason] = Counter()
        #: Of each reason: how many, and the last one's place, timestamp and detail.
        self._newest: dict[DeadReason, tuple[int, Origin, Millis, str]] = {}

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
        """Write a record as a dead letter, cut if it does not fit into a record of the topic.

        Args:
            record: the record as it came.
            outbox: of the chunk's transaction.
            error: an UnusableError gives the reason; any other is a bug, and its stack trace is added.
            provider: of the record, if known.
            value: the bad element, if the rest of the record is good; None: the whole record.
            notes: further headers.
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
        """Write unreadable records as dead letters."""
        for each in unreadable:
            self.add(each, outbox, each.error, notes=each.notes)

    def committed(self) -> None:
        """Count the chunk's dead letters, and log one line for each reason and provider."""
        if not self._counts:
            return
        count(self._metrics.dead_letters, self._counts)
        for (reason, provider), number in self._counts.items():
            log.warning("dead_letters", reason=reason.value, provider=provider, records=number, topic=self._topic)
        for why, newest in self._newest.items():
            self._board.see_dead(why, *newest)
        self._counts.clear()
        self._newest.clear()
