"""The whole way of a record without a broker: the real normalize stage, then the real fold, under judges."""

from __future__ import annotations

import logging
import re
import time
from collections import Counter
from typing import NamedTuple

import pytest
import structlog

from processor.domain.event import Event
from processor.engine.stage import Outbox, Partitioning, Positions
from processor.metrics import Metrics
from processor.providers.adapter import Finding, NoStatus, Unreadable
from processor.settings import Settings
from processor.stages import dead, fold, normalize
from processor.watch.board import Board
from processor.wire.counts import encode_counts
from tests.fuzz.records import USUAL, Read

SETTINGS = Settings(topic_prefix="f.", smpp_receipts_by_text=True, link_wait=0.0)
COUNTS = {f"f.{name}.v1": 1 for name in ("mta", "events", "messages", "counts", "rejected", "dead")}
RAW, EVENTS, MESSAGES, LEDGER, DEAD = "f.mta.v1", "f.events.v1", "f.messages.v1", "f.counts.v1", "f.dead.v1"

#: Two days after the first of the usual records.
NOW = USUAL // 1_000 + 2 * 86_400

#: How an error of Python begins that no adapter has put into words of its own.
_RAW_ERROR = re.compile(r"^not what \w+ sends: (\w*(?:Error|Exception): .{0,60})", re.DOTALL)


_SILENT = structlog.make_filtering_bound_logger(logging.CRITICAL)


#: A record of more bytes may take longer in proportion.
USUAL_BYTES = 64 * 1024


class Slowest(NamedTuple):
    """The record that took longest for its size, by the thread's own CPU time."""

    #: In all, and for each USUAL_BYTES of it when it is larger.
    seconds: float
    relative: float
    provider: str
    record: Read


class Line:
    """Normalizes records one by one, and folds what comes of them chunk by chunk.

    Everything that must hold for any record is asserted on the way. It patches `normalize.read`, to see the findings.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.outcomes: Counter[str] = Counter()
        #: Why records were dead letters, and the errors of Python among the reasons.
        self.dead: Counter[str] = Counter()
        self.raw_errors: Counter[str] = Counter()
        self.slowest = Slowest(0, 0, "", Read(0, 0, None, None))
        self._findings: list[Finding] = []
        self._metrics = Metrics(["normalize", "fold"])
        self._board = Board(self._metrics)
        read = normalize.read

        def seen(*arguments: object) -> list[Finding]:
            self._findings = read(*arguments)
            return self._findings

        monkeypatch.setattr(normalize, "read", seen)
        # A line a chunk and reason: a million records would be told in hundreds of thousands.
        monkeypatch.setattr(dead, "log", structlog.wrap_logger(None, wrapper_class=_SILENT))
        stage = normalize.stage(SETTINGS, self._metrics, self._board, lambda: NOW)
        self._normalize = stage.start(Partitioning(RAW, 0, COUNTS, "cluster"))
        self._begin()

    def _begin(self) -> None:
        stage = fold.stage(SETTINGS, self._metrics, self._board, lambda: NOW)
        self._fold = stage.start(Partitioning(EVENTS, 0, COUNTS, "cluster"))
        self._rows: list[Read] = []
        self._ledger: list[Read] = []

    def pass_chunk(self, provider: str, records: list[Read]) -> None:
        """Take one chunk of a provider's records all the way."""
        events: list[Read] = []
        for record in records:
            events += self._normalized(provider, record)
        self._normalize.committed(Positions())
        self._fold_events(events)

    def _normalized(self, provider: str, record: Read) -> list[Read]:
        """Normalize one record; give the events as the fold stage reads them."""
        self._findings = []
        outbox = Outbox(NOW * 1_000)
        began = time.thread_time()
        self._normalize.process([record], outbox)
        seconds = time.thread_time() - began
        relative = seconds / max(1.0, len(record.value or b"") / USUAL_BYTES)
        if relative > self.slowest.relative:
            self.slowest = Slowest(seconds, relative, provider, record)
        first, last = outbox.kept
        events = [
            Read(0, timestamp if first <= timestamp <= last else outbox.now, key, value, headers)
            for timestamp, key, value, headers in outbox.records.get((EVENTS, 0), [])
        ]
        self._judge(record, len(events), self._reasons(record, outbox))
        return events

    def _reasons(self, record: object, outbox: Outbox) -> list[str]:
        """Give the reasons of the dead letters; none may be a fault of ours."""
        reasons = []
        for _, _, _, headers in outbox.records.get((DEAD, 0), []):
            told = dict(headers)
            reasons.append(told["delivery.dead.reason"].decode())
            assert reasons[-1] != "internal_error", (told["__streams.errors.stacktrace"].decode(), record)
        self.dead.update(reasons)
        return reasons

    def _judge(self, record: Read, events: int, reasons: list[str]) -> None:
        """See that every finding has one outcome, and a record without findings one dead letter."""
        told = Counter(type(finding).__name__ for finding in self._findings)
        self.outcomes.update(told or ["refused"])
        for finding in self._findings:
            if isinstance(finding, Unreadable) and (match := _RAW_ERROR.match(finding.detail)):
                self.raw_errors[match[1]] += 1
        without = len(self._findings) - told[NoStatus.__name__]
        if not self._findings:
            assert (events, len(reasons)) == (0, 1), record
        else:
            # An element is put aside once, whatever of it cannot be used, and very many are put aside as one.
            assert bool(reasons) == (events < without), record
            assert events + len(reasons) <= without, record
        assert events <= told[Event.__name__], record

    def _fold_events(self, events: list[Read]) -> None:
        """Fold events; every one has its effect."""
        outbox = Outbox(NOW * 1_000)
        self._fold.process(events, outbox)
        for timestamp, key, value, headers in outbox.records.get((DEAD, 0), []):
            raise AssertionError((timestamp, key, value, headers))
        for topic, kept in ((MESSAGES, self._rows), (LEDGER, self._ledger)):
            kept += [Read(0, *written) for written in outbox.records.get((topic, 0), [])]
        self._fold.committed(Positions(len(self._rows)))

    def finish(self) -> None:
        """Restore all rows and counts from what was written of them, compare, and begin anew without any."""
        assert self._fold.audit() == 0
        rows, ledger, known = self._rows, self._ledger, state_of(self._fold)
        self._fold.close()
        self._begin()
        self._fold.restore(rows, len(rows))
        self._fold.restore_ledger(ledger, len(ledger))
        assert state_of(self._fold) == known
        assert not self._fold._aside.notes
        assert not self._fold._books._lost.notes
        self._fold.restored()
        assert self._fold.audit() == 0
        self._fold.suspended()
        self._fold.close()
        self._begin()


def state_of(work: fold.Fold) -> tuple[object, object]:
    """Give what a partition knows: its rows, and its deliveries' counts."""
    counts = work._books.counts.deliveries
    return dict(work._store.items()), {each: encode_counts(each, 0, counts[each]) for each in counts}
