"""The normalize stage: reads providers' raw payloads; writes canonical events and dead letters. It is stateless."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import datetime, timezone
from typing import NamedTuple

import orjson

from processor.domain.addresses import Sighting
from processor.domain.event import Event
from processor.domain.moment import Millis, from_seconds, stamp_of, to_micros, to_microseconds, to_millis
from processor.engine.stage import Outbox, Partitioning, Positions, Record, Stage, UnreadableRecord, Work
from processor.metrics import Metrics, count, provider_label
from processor.metrics.labels import ByOutcome, ByProvider
from processor.providers import ADAPTERS, decode_payload, outcome_word, read
from processor.providers.adapter import NO_NOTATIONS, Adapter, Context, Finding, Memory, NoStatus, Unknown, Unreadable
from processor.providers.carried import query_of
from processor.providers.fields import TooManyError, time_of
from processor.providers.native_keys import key_of_receipt
from processor.providers.reason_text import is_unqualified
from processor.settings import Settings
from processor.stages.dead import DeadLetters
from processor.stages.sightings import Sightings, sightings_for
from processor.watch.board import Board
from processor.wire.deadletters import DeadReason, UnusableError, size_of
from processor.wire.events import decode_event, encode_event
from processor.wire.partitioner import partition_of
from processor.wire.received import received_at
from processor.wire.topics import DEAD, EVENTS, MTA, RECEIPTS, RECIPIENTS, SMS
from processor.wire.trace import carried

#: Headers of a raw record, in any case: provider, account, time of receipt, and the query of the called URL.
PROVIDER_HEADER, ACCOUNT_HEADER, RECEIVED_HEADER, QUERY_HEADER = "provider", "account", "received", "query"

#: Bad elements of one record that become a dead letter each. Every letter has the record's headers, too: where those
#: are large, fewer do.
_ELEMENTS_MAX = 1_000
_LEAST_LETTER = 4_096


def stage(settings: Settings, metrics: Metrics, board: Board, clock: Callable[[], float] = time.time) -> Stage:
    """Declare the stage; the clock returns seconds since the epoch."""

    def start(partitioning: Partitioning) -> Work:
        return Normalize(settings, metrics, partitioning, board, clock)

    feed = (RECIPIENTS,) if settings.addresses_key else ()
    return Stage(name="normalize", inputs=(MTA, SMS), outputs=(EVENTS, RECEIPTS, DEAD, *feed), start=start)


class Source(NamedTuple):
    """The record that a finding comes from, when it came in (milliseconds), and whose it is."""

    record: Record
    timestamp: Millis
    adapter: Adapter
    account: str


class _Refused(NamedTuple):
    """What of a record cannot be used, and why."""

    reason: DeadReason
    detail: str
    #: The element that is put aside; None: the whole record.
    element: object = None
    #: How much of it cannot be used.
    times: int = 1

    def and_others(self, times: int) -> _Refused:
        """Add others of which the same is said."""
        return self._replace(times=self.times + times)

    @property
    def error(self) -> UnusableError:
        """What the dead letter says."""
        first = self.detail if self.times == 1 else f"{self.times} of its elements, the first: {self.detail}"
        return UnusableError(self.reason, first)


class Normalize(Work):
    """One partition of raw records."""

    def __init__(
        self,
        settings: Settings,
        metrics: Metrics,
        partitioning: Partitioning,
        board: Board,
        clock: Callable[[], float],
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._metrics = metrics
        self._events_topic = settings.topic(EVENTS)
        self._receipts_topic = settings.topic(RECEIPTS)
        self._partitions = partitioning.counts
        dead_topic = settings.topic(DEAD)
        self._dead = DeadLetters(dead_topic, partitioning, metrics, board)
        self._topic = partitioning.topic
        self._default_provider = (settings.provider_by_topic or {}).get(partitioning.topic)
        # What adapters recall of earlier records, best effort: no state of the stage, so a restart begins without.
        self._context = Context(
            received=datetime.fromtimestamp(0, timezone.utc),
            message_id_names=settings.message_id_names,
            delivery_id_names=settings.delivery_id_names,
            attempt_names=settings.attempt_names,
            message_id_covers_send=settings.message_id_covers == "send",
            receipts_by_text=settings.smpp_receipts_by_text,
            id_notations=settings.smpp_id_notations or NO_NOTATIONS,
            memory=Memory(),
        )
        self._sightings = sightings_for(settings, partitioning)
        self._outcomes: Counter[ByOutcome] = Counter()
        self._unknown: Counter[ByProvider] = Counter()
        self._unqualified: Counter[ByProvider] = Counter()

    def put_aside(self, unreadable: Sequence[UnreadableRecord], outbox: Outbox) -> None:
        """Write unreadable records as dead letters."""
        self._dead.add_unreadable(unreadable, outbox)

    def process(self, records: Sequence[Record], outbox: Outbox) -> None:
        """Read every payload; each unusable element becomes a dead letter, the others become events."""
        now = to_millis(from_seconds(self._clock()))
        for record in records:
            provider = None
            try:
                provider = self._provider_of(record)
                # A topic may let records in from years ahead.
                stamp = min(stamp_of(record.timestamp, now), max(now, outbox.now))
                timestamp = received_at(record.headers, stamp)
                self._normalize(record, timestamp, _adapter(provider), outbox)
            except Exception as error:
                self._outcomes[ByOutcome(provider_label(provider), "dead")] += 1
                self._dead.add(record, outbox, error, provider=provider)
        if self._sightings is not None:
            self._sightings.write(outbox)

    def _provider_of(self, record: Record) -> str:
        for name, value in record.headers:
            if name.lower() == PROVIDER_HEADER and value:
                return value.decode(errors="replace").strip().lower()
        if self._default_provider is None:
            raise UnusableError(
                DeadReason.NO_PROVIDER,
                f"no header `{PROVIDER_HEADER}`, and DELIVERY_PROVIDER_BY_TOPIC does not name {self._topic}",
            )
        return self._default_provider

    def _normalize(self, record: Record, timestamp: Millis, adapter: Adapter, outbox: Outbox) -> None:
        context = self._context_of(record, timestamp)
        source = Source(record, timestamp, adapter, context.account)
        findings = read(adapter, self._payload(record), context)
        self._outcomes[ByOutcome(provider_label(adapter.name), outcome_word(findings))] += 1
        refused: dict[tuple[int, DeadReason], _Refused] = {}
        for finding in findings:
            refusal = self._refusal(finding, source, outbox)
            if refusal is not None:
                # An element is put aside once, whatever of it cannot be used.
                place = id(refusal.element), refusal.reason
                known = refused.get(place)
                refused[place] = refusal if known is None else known.and_others(1)
        if refused:
            self._put_elements_aside(list(refused.values()), record, adapter, outbox)

    def _put_elements_aside(
        self, refused: Sequence[_Refused], record: Record, adapter: Adapter, outbox: Outbox
    ) -> None:
        """Write each bad element as a dead letter, or the whole record if that would multiply its size."""
        if len(refused) * max(1, size_of(None, None, tuple(record.headers)) // _LEAST_LETTER) > _ELEMENTS_MAX:
            others = sum(each.times for each in refused[1:])
            self._dead.add(record, outbox, refused[0].and_others(others).error, provider=adapter.name)
            return
        whole: dict[DeadReason, _Refused] = {}
        for each in refused:
            value = _written(each.element)
            if value is not None:
                self._dead.add(record, outbox, each.error, provider=adapter.name, value=value)
            else:
                known = whole.get(each.reason)
                whole[each.reason] = each if known is None else known.and_others(each.times)
        # What cannot stand alone is put aside with its whole record: once, or many would be many times the record.
        for each in whole.values():
            self._dead.add(record, outbox, each.error, provider=adapter.name)

    def _context_of(self, record: Record, timestamp: Millis) -> Context:
        """Return the context of a payload: settings, and values from the record's headers."""
        received = datetime.fromtimestamp(timestamp / 1000, timezone.utc)
        context = self._context._replace(received=received)
        for name, value in record.headers:
            told = (value or b"").decode(errors="replace")
            header = name.lower()
            if header == ACCOUNT_HEADER:
                context = context._replace(account=told)
            elif header == QUERY_HEADER:
                context = context._replace(query=query_of(told))
            elif header == RECEIVED_HEADER:
                context = context._replace(received=time_of(told) or received)
        return context

    def _refusal(self, finding: Finding, source: Source, outbox: Outbox) -> _Refused | None:
        """Use a finding; say why it cannot be used, if so."""
        if isinstance(finding, Event):
            try:
                self._write(finding, source, outbox)
            except UnusableError as refusal:
                return _Refused(refusal.reason, refusal.detail)
            if is_unqualified(finding):
                self._unqualified[ByProvider(provider_label(source.adapter.name))] += 1
        elif isinstance(finding, Unknown):
            self._unknown[ByProvider(provider_label(source.adapter.name))] += 1
            detail = f"{source.adapter.name} sends {finding.native!r}, not in our table"
            return _Refused(DeadReason.UNKNOWN_STATUS, detail, finding.element)
        elif isinstance(finding, NoStatus):
            if finding.objections and self._sightings is not None:
                self._object(finding, source, self._sightings)
        elif isinstance(finding, Unreadable):
            return _Refused(DeadReason.UNREADABLE_PAYLOAD, finding.detail, finding.element)
        return None

    @staticmethod
    def _object(finding: NoStatus, source: Source, sightings: Sightings) -> None:
        """Take what an element says of addresses; what a clock that is ahead tells is of now."""
        for objection in finding.objections:
            moment = min(to_microseconds(objection.time), to_micros(source.timestamp))
            sightings.add(source.adapter.channel, objection.recipient, Sighting(moment, objection.kind))

    def _payload(self, record: Record) -> object:
        value = record.value
        if value is None:
            raise UnusableError(DeadReason.NULL_VALUE, "the record has no value")
        if not value:
            raise UnusableError(DeadReason.EMPTY_VALUE, "the record's value has no bytes")
        limit = self._settings.max_record_bytes
        if len(value) > limit:
            detail = f"{len(value)} bytes, and DELIVERY_MAX_RECORD_BYTES is {limit}"
            raise UnusableError(DeadReason.RECORD_TOO_LARGE, detail)
        try:
            return decode_payload(value)
        except TooManyError as error:
            raise UnusableError(DeadReason.RECORD_TOO_LARGE, str(error)) from None
        except ValueError as error:
            raise UnusableError(DeadReason.INVALID_ENCODING, str(error)) from None

    def _write(self, event: Event, source: Source, outbox: Outbox) -> None:
        record, timestamp = source.record, source.timestamp
        event.from_payload = True
        value = encode_event(event)
        # What would be refused as an event is refused here, while the provider's own bytes are at hand.
        decode_event(value, timestamp)
        native_key = key_of_receipt(source.adapter, event, source.account) if self._settings.link_wait else None
        topic = self._events_topic if native_key is None else self._receipts_topic
        key = (event.message_id if native_key is None else native_key).encode()
        headers = carried(record.headers) if self._settings.trace else ()
        # With the raw record's timestamp: the rule about times ahead is about when the report came in.
        outbox.forward(topic, partition_of(key, self._partitions[topic]), timestamp, key, value, headers)

    def committed(self, positions: Positions) -> None:  # noqa: ARG002 - no changelog
        """Count the findings of the last chunk."""
        count(self._metrics.normalized, self._outcomes)
        count(self._metrics.unknown_native_status, self._unknown)
        count(self._metrics.unqualified_reasons, self._unqualified)
        self._outcomes.clear()
        self._unknown.clear()
        self._unqualified.clear()
        self._dead.committed()


def _written(element: object) -> bytes | None:
    """Write an element as JSON; None, for the whole record, where there is none, or it nests too deep."""
    try:
        return None if element is None else orjson.dumps(element)
    except TypeError:
        return None


def _adapter(provider: str) -> Adapter:
    adapter = ADAPTERS.get(provider)
    if adapter is None:
        raise UnusableError(
            DeadReason.UNKNOWN_PROVIDER, f"no adapter for provider {provider!r}; there are: {', '.join(ADAPTERS)}"
        )
    return adapter
