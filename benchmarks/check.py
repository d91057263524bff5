"""Compare what a contender published with the fold, run offline over the same events."""

from __future__ import annotations

import sys
from collections import Counter, defaultdict
from collections.abc import Iterable
from datetime import datetime, timezone
from typing import Any, NamedTuple

import msgspec
from aiokafka import TopicPartition
from contenders import Contender

from processor.domain.fold import Verdict, fold
from processor.domain.row import Row
from processor.domain.status import Status
from processor.engine import clients
from processor.providers import ADAPTERS, decode_payload, read
from processor.providers.adapter import Context
from processor.settings import Settings
from processor.wire.counts import decode_counts
from processor.wire.events import decode_event, encode_event
from processor.wire.rows import RowRecord, encode_row, pack_row, unpack_row
from processor.wire.topics import EVENTS, SMS

_decode_json = msgspec.json.Decoder(RowRecord).decode

#: Events of partition 0 that are folded offline.
_EVENTS = 10_000


class Checked(NamedTuple):
    """How much of what was published was compared, and how much of it was wrong."""

    compared: int
    wrong: int

    def and_also(self, other: Checked) -> Checked:
        """Add what else was compared."""
        return Checked(self.compared + other.compared, self.wrong + other.wrong)


async def check(settings: Settings, contender: Contender) -> Checked:
    """Compare the first rows of partition 0, message by message in their order, with the fold.

    A contender that was stopped early has published the start of what is expected: that much is compared.
    """
    events = await _records(settings, settings.topic(EVENTS), _EVENTS)
    expected = _expected(contender, (record.value for record in events))
    published: dict[bytes, list[Any]] = defaultdict(list)
    wanted = sum(map(len, expected.values()))
    # Some of these belong to messages whose events come later.
    for record in await _records(settings, contender.feed_topic(settings.topic_prefix), wanted):
        if record.key in expected:
            published[record.key].append(_decoded(contender, record.value))
    rows = wrong = 0
    for key, found in published.items():
        for row, right in zip(found, expected[key], strict=False):
            rows += 1
            wrong += row != right
    checked = Checked(rows, wrong)
    # Who has published nothing is not asked for its counts.
    return checked.and_also(await _check_counts(settings, contender)) if rows else checked


async def _check_counts(settings: Settings, contender: Contender) -> Checked:
    """Compare the counts of partition 0 with a recount of the rows published there, wherever it was stopped."""
    topic = contender.counts_topic(settings.topic_prefix)
    if not topic:
        return Checked(0, 0)
    latest = {each.key: each.value for each in await _records(settings, contender.feed_topic(settings.topic_prefix))}
    recount: Counter[tuple[str, Status]] = Counter()
    for value in latest.values():
        row = _decode_json(value)
        recount[row.delivery_id or "", row.status] += 1
    published: Counter[tuple[str, Status]] = Counter()
    for value in {each.key: each.value for each in await _records(settings, topic)}.values():
        counts = decode_counts(value)
        published.update({(counts.delivery_id, status): number for status, number in counts.statuses.items()})
    places = recount.keys() | published.keys()
    return Checked(len(places), sum(recount[place] != published[place] for place in places))


async def check_normalized(settings: Settings) -> Checked:
    """Compare the first events of partition 0 with what the adapter of Twilio reads in its payloads."""
    payloads = await _records(settings, settings.topic(SMS), _EVENTS)
    events = await _records(settings, settings.topic(EVENTS), _EVENTS)
    wrong = 0
    for payload, record in zip(payloads, events, strict=False):
        context = Context(datetime.fromtimestamp(payload.timestamp / 1000, timezone.utc))
        [expected] = read(ADAPTERS["twilio"], decode_payload(payload.value), context)
        expected.from_payload = True
        wrong += decode_event(encode_event(expected), None) != decode_event(record.value, None)
    return Checked(min(len(payloads), len(events)), wrong)


def _expected(contender: Contender, values: Iterable[bytes]) -> dict[bytes, list[Any]]:
    rows: dict[str, Row] = {}
    expected: dict[bytes, list[Any]] = defaultdict(list)
    for value in values:
        event, node, time = decode_event(value, None)
        before = rows.get(event.message_id)
        row, verdict = fold(before, event, node, time)
        rows[event.message_id] = row
        if verdict is not Verdict.DUPLICATE:
            published = pack_row(row) if contender.row_format == "packed" else encode_row(event.message_id, row, before)
            expected[event.message_id.encode()].append(_decoded(contender, published))
    return expected


def _decoded(contender: Contender, value: bytes) -> Any:
    """Return what people read of a row, with its former status, and what the fold remembers; or the latter alone."""
    if contender.row_format == "packed":
        return unpack_row(value)
    # Not `decode_row_record`, which looks into the memory: that of a peer has a form of its own.
    record = _decode_json(value)
    readable = msgspec.structs.replace(record, memory=b"")
    return readable, None if contender.row_format == "readable" else unpack_row(record.memory)


async def _records(settings: Settings, topic: str, limit: int = sys.maxsize) -> list[Any]:
    """Read the first committed records of partition 0."""
    partition = TopicPartition(topic, 0)
    reader = clients.reader(settings)
    await reader.start()
    try:
        reader.assign([partition])
        [begin] = (await reader.beginning_offsets([partition])).values()
        [end] = (await reader.end_offsets([partition])).values()
        reader.seek(partition, begin)
        records: list[Any] = []
        while len(records) < limit and await reader.position(partition) < end:
            fetched = await reader.getmany(timeout_ms=500)
            if not fetched and records:
                # What is left are records of a transaction that nobody ended.
                break
            records.extend(fetched.get(partition, ()))
        return records[:limit]
    finally:
        await reader.stop()
