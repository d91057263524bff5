"""The folding of one chunk: records and stored rows in; rows, their packed bytes, what is published of them, facts out.

All that most records need is done here, in one function, one event after the other: that keeps it in the CPU's caches.
What few of them need, the partition does (`Beside`), at that point: the next record may be of the same message.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, NoReturn

from processor.domain.addresses import LEAST_REACHED
from processor.domain.erasure import erase_event, erase_row
from processor.domain.fold import Verdict, fold
from processor.domain.moment import NO_TIMESTAMP, Micros, Millis
from processor.domain.reason import ERASED
from processor.engine.stage import Record, Written
from processor.stages.beside import Beside
from processor.stages.facts import Facts
from processor.stages.hand import Hand
from processor.wire.deadletters import DeadReason, UnusableError
from processor.wire.events import decode_event, encode_event
from processor.wire.received import received_at
from processor.wire.rejected import encode_rejected
from processor.wire.rows import encode_row, pack_row
from processor.wire.trace import carried

#: To ask an enumeration for its member takes as long as to decode half of an event.
_DUPLICATE, _REJECTED = Verdict.DUPLICATE, Verdict.REJECTED


class Terms(NamedTuple):
    """By what a chunk is folded."""

    #: The bytes that a record may have.
    max_bytes: int
    #: Events of before this time are refused.
    oldest: Micros
    #: The present: of records that have no timestamp.
    now: Millis
    #: When each delivery was cancelled, by its id.
    canceled: Mapping[str, Micros]
    #: Whether any erasure is remembered.
    erases: bool
    #: Whether links are told, trace headers carried, and what is seen of addresses taken.
    links: bool
    traces: bool
    sees: bool


def fold_chunk(  # noqa: PLR0912, PLR0913, PLR0915, PLR0917 - no calls: it is hot
    records: Sequence[Record], hand: Hand, facts: Facts, published: list[Written], terms: Terms, beside: Beside
) -> tuple[Millis, Millis]:
    """Fold events into the rows in hand.

    Args:
        records: of one partition, in their order.
        hand: the rows, as stored; it gets the new ones, and their packed bytes.
        facts: gets those of each event.
        published: gets the records of the messages topic.
        terms: by what they are folded.
        beside: does what few of them need.

    Returns:
        When the last record was received, and the latest timestamp of a record (`NO_TIMESTAMP`: none had one).
    """
    max_bytes, oldest, now, canceled, erases, links, traces, sees = terms
    publish, note = published.append, facts.note
    rows, changed = hand.now, hand.changed
    timestamp = newest = NO_TIMESTAMP
    for record in records:
        value, timestamp, headers = record.value, record.timestamp, record.headers
        if timestamp > newest:
            newest = timestamp
        elif timestamp < 0:
            timestamp = now
        try:
            if headers:
                if beside.obey(record):
                    continue
                timestamp = received_at(headers, timestamp)
            if value is not None and len(value) > max_bytes:
                _refuse_large(len(value), max_bytes)
            event, node, moment = decode_event(value, timestamp)
            if moment < oldest:
                beside.refuse_old(moment)
            told = event
            if erases:
                event = beside.without_erased(event)
            key = event.message_id.encode()
            # Another key than its message's id: null, or whatever upstream had in mind.
            known = rows[key] if key in rows else hand.row(key)
            if known is None:
                if not beside.takes(record, key, event):
                    continue
            elif known.names.recipient == ERASED and event is told:
                event = erase_event(event)
            row, verdict = fold(known, event, node, moment)
            if verdict is not _DUPLICATE:
                if row.names.recipient == ERASED:
                    row = erase_row(row)
                packed = pack_row(row)
                trace = carried(headers) if traces and headers else ()
                written = timestamp, key, encode_row(event.message_id, row, known, packed), trace
                if verdict is _REJECTED:
                    evidence = value or b"null" if event is told else encode_event(event)
                    beside.reject((timestamp, key, encode_rejected(evidence, row, node), trace))
                # What could fail has been done: an event's effect is whole, or it is a dead letter.
                publish(written)
                rows[key], changed[key] = row, packed
            if (
                links
                and event.provider_message_id is not None
                # The first to name it; also when that comes again: a backup may have the row, and not yet the link.
                and (known is None or known.names.provider_message_id is None or verdict is _DUPLICATE)
                and not event.from_payload
            ):
                beside.link(told, timestamp)
        except Exception as error:
            beside.refuse(record, error)
        else:
            note(event, moment, timestamp, node, known, row, verdict)
            if sees and (
                node >= LEAST_REACHED
                or event.reason is not None
                or (known is not None and known.names.recipient is None)
            ):
                beside.see(event, node, moment, known, row)
            if canceled and (at := canceled.get(row.names.delivery_id or "")) is not None:
                beside.cancel(key, row, at)
    return timestamp, newest


def _refuse_large(size: int, limit: int) -> NoReturn:
    raise UnusableError(DeadReason.RECORD_TOO_LARGE, f"{size} bytes, and DELIVERY_MAX_RECORD_BYTES is {limit}")
