"""The correlate stage: receipts that know only the provider's id, and links, in; events of their messages out.

Both sides of the join lie in one partition, keyed by native key. What a receipt does is decided in domain/links.py;
what is known of each key is the stage's state, and its changelog (ADR 0021).

Records become links and receipts in receipts.py; what messages are told of them is written by matched.py; what waits,
and what has expired, is found by watch/key_sweep.py.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence

from processor.domain.links import (
    NOTHING,
    Bounds,
    Known,
    Link,
    Receipt,
    Step,
    expire,
    has_expired,
    take_link,
    take_receipt,
)
from processor.domain.moment import Millis, from_seconds, stamp_of, to_millis
from processor.engine.stage import (
    AuditedWork,
    Outbox,
    Partitioning,
    Positions,
    PunctuatedWork,
    Record,
    Stage,
    StoredWork,
    UnreadableRecord,
    Work,
)
from processor.engine.store import Change, StoreName
from processor.engine.store.opening import open_store
from processor.metrics import Metrics, Provider, count, provider_label
from processor.metrics.labels import ByLink, ByReceipt, LinkOutcome
from processor.providers.native_keys import provider_of
from processor.settings import Settings
from processor.stages.aside import Aside, restore_store
from processor.stages.dead import DeadLetters
from processor.stages.erased_receipts import Erase
from processor.stages.erasures import Erasures, ErasureWalk
from processor.stages.matched import Matched
from processor.stages.receipts import Waited, link_in, receipt_in
from processor.watch.board import Board
from processor.watch.key_sweep import KeySweep
from processor.watch.sweeper import Pace
from processor.watch.waiting import WaitingBoard
from processor.wire.correlations import pack_known, unpack_known
from processor.wire.deadletters import DeadReason, UnusableError
from processor.wire.links import encode_contradiction, is_link
from processor.wire.partitioner import partition_of
from processor.wire.readback import UnreadableError
from processor.wire.topics import CORRELATIONS, DEAD, ERASURES, EVENTS, RECEIPTS, REJECTED

#: Keys, and bytes of what is known of them, that one transaction goes through besides what records change: receipts by
#: the million may expire at once.
_KEYS_AT_A_TIME = 2_000
_BYTES_AT_A_TIME = 2 * 1024 * 1024
#: What a dead letter has beside its receipt, roughly, in bytes.
_LETTER_BESIDE = 1_000

#: Keys of which the store is asked at once when they have expired.
_KEYS_READ_AT_ONCE = 25


def stage(
    settings: Settings,
    metrics: Metrics,
    board: Board,
    clock: Callable[[], float] = time.time,
    erasures: Erasures | None = None,
) -> Stage:
    """Declare the stage; the clock gives seconds since the epoch; the fold stage learns the erasures."""
    erased = Erasures() if erasures is None else erasures
    pace, waiting = Pace(), WaitingBoard(metrics)

    def start(partitioning: Partitioning) -> Work:
        name = StoreName(partitioning.cluster, settings.topic(CORRELATIONS), partitioning.number)
        sweep = KeySweep(settings, open_store(settings, name), partitioning.number, pace, waiting, clock)
        return Correlate(settings, metrics, partitioning, sweep, board, clock, erased)

    outputs = (CORRELATIONS, EVENTS, REJECTED, DEAD, ERASURES)
    return Stage(name="correlate", inputs=(RECEIPTS,), outputs=outputs, start=start, changelog=CORRELATIONS)


class Correlate(StoredWork, PunctuatedWork, AuditedWork):
    """One partition of native keys."""

    def __init__(  # noqa: PLR0913, PLR0917 - what the stage shares among its partitions
        self,
        settings: Settings,
        metrics: Metrics,
        partitioning: Partitioning,
        sweep: KeySweep,
        board: Board,
        clock: Callable[[], float],
        erasures: Erasures,
    ) -> None:
        self._metrics, self._clock, self._sweep = metrics, clock, sweep
        self._store = sweep.store
        self.is_durable = self._store.is_durable
        self._partition = partitioning.number
        events_topic, self._rejected_topic = settings.topic(EVENTS), settings.topic(REJECTED)
        self._changelog_topic = settings.topic(CORRELATIONS)
        events_partitions = partitioning.counts[events_topic]
        self._matched = Matched(events_topic, events_partitions)
        self._rejected_partitions = partitioning.counts[self._rejected_topic]
        self._erasures = ErasureWalk(self._store, erasures, "correlate", self._partition)
        self._erasures_topic = settings.topic(ERASURES)
        self._erase = Erase(erasures, events_partitions)
        self._is_shown = settings.unlinked == "show"
        self._dead = DeadLetters(settings.topic(DEAD), partitioning, metrics, board)
        self._aside = Aside(settings, CORRELATIONS, self._partition, metrics, board)
        #: What the transaction in hand knows and changes, by key; and what the store has of these keys.
        self._hand: dict[bytes, Known] = {}
        self._changed: dict[bytes, bytes | None] = {}
        self._before: dict[bytes, bytes | None] = {}
        #: How many receipts waited for these keys before.
        self._waited: dict[bytes, int] = {}
        #: Receipts by provider and what became of them, and links; counted when they are committed.
        self._receipts: Counter[ByReceipt] = Counter()
        self._links: Counter[ByLink] = Counter()
        #: By how many the receipts of all transactions are off: what came in is matched, waits or has waited in vain.
        self._error = 0

    # State

    @property
    def position(self) -> int:
        """The changelog position that the state reflects."""
        return self._store.position

    def known(self, key: bytes) -> Known:
        """Return what is known of a native key, as it was last committed.

        Raises:
            UnreadableError: it is there, and cannot be read.
        """
        if key in self._aside.notes:
            raise UnreadableError(self._aside.describe(key))
        packed = self._store.get_many([key])[0]
        return NOTHING if packed is None else unpack_known(packed)

    def restore(self, records: Sequence[Record], position: int) -> None:
        """Take what was known of each key; what cannot be read is set aside."""
        restore_store(self._store, records, position, _restored)

    def restored(self) -> None:
        """Name what cannot be read."""
        self._aside.restore(self._store.aside)
        self._aside.tell()
        self._erasures.restart()

    def forget(self) -> None:
        """Forget what is known of all keys."""
        self._store.clear()

    def suspended(self) -> None:
        """Take what this partition shows out of the gauges."""
        self._aside.hide()
        self._sweep.leave()

    def close(self) -> None:
        """Let go of the store."""
        self._sweep.stop()
        self._erasures.stop()
        self._store.close()

    # Work

    @property
    def is_due(self) -> bool:
        """Whether receipts have waited in vain, links have expired, or something is to be erased."""
        return bool(self._sweep.found) or self._erasures.is_due

    def punctuate(self, *, is_behind: bool) -> None:
        """Go on sweeping through the keys: what waits, since when, and what has expired."""
        del is_behind
        self._sweep.advance()

    def put_aside(self, unreadable: Sequence[UnreadableRecord], outbox: Outbox) -> None:
        """Keep what could not be read as dead letters."""
        self._dead.add_unreadable(unreadable, outbox)

    def process(self, records: Sequence[Record], outbox: Outbox) -> None:
        """Match a chunk of receipts and links; then do a share of what is due without one."""
        self._hand, self._changed, self._before, self._waited = {}, {}, {}, {}
        self._load({record.key for record in records if record.key is not None})
        now = to_millis(from_seconds(self._clock()))
        for record in records:
            try:
                self._take(record, stamp_of(record.timestamp, now), outbox)
            except Exception as error:
                self._dead.add(record, outbox, error)
        self._expire_some(outbox)
        self._erase_some(outbox)
        for key, packed in self._changed.items():
            outbox.add(self._changelog_topic, self._partition, outbox.now, key, packed)

    def _load(self, keys: Iterable[bytes]) -> None:
        """Take into the hand what the store knows of keys."""
        missing = [key for key in keys if key not in self._hand]
        for key, packed in zip(missing, self._store.get_many(missing), strict=True):
            known = NOTHING if packed is None else unpack_known(packed)
            self._before[key], self._hand[key], self._waited[key] = packed, known, len(known.waiting)

    def _take(self, record: Record, timestamp: Millis, outbox: Outbox) -> None:
        key, value = record.key, record.value
        if key is None or value is None:
            raise UnusableError(DeadReason.NULL_VALUE, "a record among the receipts needs a key and a value")
        if key in self._aside.notes:
            self._aside.refuse(key)
        known, provider = self._hand[key], _provider_label(key)
        if is_link(record.headers):
            link = link_in(value, timestamp)
            if self._erasures.erasures:
                link = self._erase.link(link)
            self._link(key, known, link, provider, outbox)
        else:
            receipt = receipt_in(record, value, timestamp)
            if self._erasures.erasures:
                receipt = self._erase.receipt(receipt)
            self._receipts[ByReceipt(provider, "received")] += 1
            step = take_receipt(known, receipt)
            if not (step.matches or step.shown):
                self._receipts[ByReceipt(provider, "repeated")] += 1
            self._apply(key, known, step, provider, outbox)

    def _link(self, key: bytes, known: Known, link: Link, provider: Provider, outbox: Outbox) -> None:
        step = take_link(known, link, is_shown=self._is_shown)
        told: LinkOutcome = "contradicted" if step.loser else "repeated" if step.known is known else "new"
        self._links[ByLink(provider, told)] += 1
        if step.loser is not None:
            evidence = encode_contradiction(key.decode(), step.loser, step.known.links)
            named = step.loser.message_id.encode()
            partition = partition_of(named, self._rejected_partitions)
            outbox.add(self._rejected_topic, partition, outbox.now, named, evidence)
        self._apply(key, known, step, provider, outbox)

    def _apply(self, key: bytes, before: Known, step: Step, provider: Provider, outbox: Outbox) -> None:
        """Write what a step says: events of messages, moves of provisional rows, and what is shown meanwhile."""
        for match in step.matches:
            self._matched.match(match, outbox)
        for correction in step.corrections:
            self._matched.correct(correction, outbox)
        for moved in step.moves:
            self._matched.move(moved, outbox)
        for moved in step.forgotten:
            self._matched.forget(moved, outbox)
        if self._is_shown:
            for receipt in step.shown:
                self._matched.show(receipt, outbox)
        if step.unmatched is not None:
            self._give_up(step.unmatched, provider, outbox)
        self._receipts[ByReceipt(provider, "matched")] += len(step.matches)
        self._receipts[ByReceipt(provider, "corrected")] += len(step.corrections)
        self._put(key, before, step.known)

    def _put(self, key: bytes, before: Known, after: Known) -> None:
        if after is before:
            return
        self._hand[key] = after
        self._changed[key] = None if after.is_empty else pack_known(after)

    # What is to be erased

    def _erase_some(self, outbox: Outbox) -> None:
        """Continue to erase what was known when the erasure was heard of."""
        share = self._erasures.share(_KEYS_AT_A_TIME)
        if share is None:
            return
        for key, packed in share:
            known = self._hand[key] if key in self._hand else unpack_known(packed)
            if self._erase.known(known)[0] is not known:
                self._load([key])
                self._erase_key(key, outbox)
        if not share:
            self._erasures.finish(self._erasures_topic, outbox)

    def _erase_key(self, key: bytes, outbox: Outbox) -> None:
        """Erase what is known of a key, and order that the records of its moves go."""
        known = self._hand[key]
        erased, forgotten = self._erase.known(known)
        recipients = {link.recipient for link in known.links} | {receipt.recipient for receipt in known.waiting}
        for recipient in recipients:
            if recipient is not None:
                self._erasures.count(recipient)
        for moved in forgotten:
            self._matched.forget(moved, outbox)
        self._put(key, known, erased)

    # What has expired

    def _expire_some(self, outbox: Outbox) -> None:
        """Expire keys that were found, as many as one transaction takes; the others stay due."""
        bounds, keys, size = self._sweep.bounds(), self._sweep.take(_KEYS_AT_A_TIME), 0
        while keys and size < _BYTES_AT_A_TIME:
            some = keys[-_KEYS_READ_AT_ONCE:]
            del keys[-_KEYS_READ_AT_ONCE:]
            self._load(some)
            size += sum(self._expire(key, bounds, outbox) for key in some)
        self._sweep.put_back(keys)

    def _expire(self, key: bytes, before: Bounds, outbox: Outbox) -> int:
        """Remove what has expired of a key; return how many bytes of a transaction that may take."""
        known = self._hand[key]
        if not has_expired(known, before):
            return 0
        expired = expire(known, before)
        for receipt in expired.vain:
            self._give_up(receipt, _provider_label(key), outbox)
        for moved in expired.forgotten:
            self._matched.forget(moved, outbox)
        self._put(key, known, expired.known)
        return len(self._before[key] or b"") + _LETTER_BESIDE * len(expired.vain)

    def _give_up(self, receipt: Receipt, provider: Provider, outbox: Outbox) -> None:
        """Stop waiting: what was shown stays so, and what was held back is a dead letter."""
        self._receipts[ByReceipt(provider, "unmatched")] += 1
        if not self._is_shown:
            detail = f"no link came for {receipt.message_id!r}"
            error = UnusableError(DeadReason.UNMATCHED, detail)
            self._dead.add(Waited.of(receipt), outbox, error, provider=provider)

    def committed(self, positions: Positions) -> None:
        """Apply the committed chunk to the store and the metrics."""
        growth = sum((new is not None) - (self._before[key] is not None) for key, new in self._changed.items())
        self._check()
        self._store.write(Change(self._changed, growth, max(positions.changelog, self._store.position)))
        self._hand, self._changed, self._before, self._waited = {}, {}, {}, {}
        count(self._metrics.receipts, self._receipts)
        count(self._metrics.links, self._links)
        self._receipts.clear()
        self._links.clear()
        self._dead.committed()

    def _check(self) -> None:
        """Check the law: what came in is matched, known already, waits, or has waited in vain."""
        there = sum(len(self._hand[key].waiting) - self._waited[key] for key in self._changed)
        ends = Counter[str]()
        for at, number in self._receipts.items():
            ends[at.outcome] += number
        self._error += abs(ends["received"] - ends["matched"] - ends["repeated"] - ends["unmatched"] - there)

    def audit(self) -> int:
        """Return by how many receipts the books have been off since the partition was opened."""
        return self._error


def _restored(_key: bytes, value: bytes) -> bytes:
    """Return what the store has of a record of the changelog: the same bytes, once they have been read.

    Raises:
        UnreadableError: it is none of ours, or a newer version wrote it.
    """
    unpack_known(value)
    return value


def _provider_label(key: bytes) -> Provider:
    return provider_label(provider_of(key))
