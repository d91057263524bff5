"""Commands that read committed rows: `message`, `export`."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import AsyncIterator
from typing import Any

import click
import msgspec
import orjson

from processor.cli.common import EXIT_NOT_FOUND, Failure, echo, echo_table, json_option, progress
from processor.cli.connection import run_async, settings_from_environment
from processor.cli.unreadable import RUNBOOK, describe, read_row
from processor.domain.moment import to_rfc3339
from processor.domain.status import DEFINITIONS, Status
from processor.domain.transitions import NODE_NAMES
from processor.engine.admin import count_partitions
from processor.engine.records import Stored
from processor.engine.streams import read_to_end
from processor.providers.native_keys import key_of_name
from processor.settings import Settings
from processor.wire.correlations import unpack_known
from processor.wire.counts import decode_counts_of
from processor.wire.links import is_moved
from processor.wire.partitioner import partition_of
from processor.wire.readback import UnreadableError
from processor.wire.rows import RowRecord, decode_row_record, encode_folded, unpack_row
from processor.wire.topics import CORRELATIONS, COUNTS, MESSAGES, Topic

#: How many records that cannot be read are named.
_TOLD = 20


@click.command()
@click.argument("message_id")
@json_option
def message(message_id: str, as_json: bool) -> None:
    """Show one message: status, since when, reason, and what was reported.

    The id is yours, or `provider:id` with the provider's.
    """
    settings = settings_from_environment()
    record = run_async(settings, lambda: _last_row(settings, message_id))
    if record is None:
        raise Failure(f"message {message_id!r} is not known", EXIT_NOT_FOUND)
    if as_json:
        click.get_binary_stream("stdout").write(msgspec.json.encode(record) + b"\n")
    else:
        _tell_message(record)


async def _last_row(settings: Settings, message_id: str) -> RowRecord | None:
    try:
        key = message_id.encode()
    except UnicodeEncodeError:
        raise Failure(f"message {message_id!r} is not UTF-8: no event can have named it", EXIT_NOT_FOUND) from None
    last = await _last_of(settings, MESSAGES, key)
    if last is None or is_moved(last.value or b""):
        linked = await linked_message(settings, message_id)
        last = None if linked is None else await _last_of(settings, MESSAGES, linked.encode())
    if last is None or last.value is None:
        return None
    try:
        return decode_row_record(last.value)
    except UnreadableError as error:
        raise Failure(f"the message is there and cannot be read: {describe(last, error)}; {RUNBOOK}") from None


async def _last_of(settings: Settings, topic: Topic, key: bytes) -> Stored | None:
    """Return the last record of a key that has a value."""
    name = settings.topic(topic)
    number = partition_of(key, await count_partitions(settings, name))
    last = None
    async for record in read_to_end(settings, name, [number]):
        if record.key == key:
            last = record
    return None if last is None or last.value is None else last


async def linked_message(settings: Settings, provisional: str) -> str | None:
    """Return the message that a provider's id, as `provider:id`, was linked to last; None where it was to none."""
    named = key_of_name(provisional)
    last = None if named is None else await _last_of(settings, CORRELATIONS, named[1].encode())
    if last is None or last.value is None:
        return None
    try:
        links = unpack_known(last.value).links
    except UnreadableError as error:
        raise Failure(f"its links are there and cannot be read: {describe(last, error)}; {RUNBOOK}") from None
    return links[-1].message_id if links else None


def _tell_message(record: RowRecord) -> None:
    label = DEFINITIONS[record.status].english
    echo(f"{record.message_id}: {label}" + (f" ({record.permanence.value})" if record.permanence else ""))
    facts = {
        "since": record.since,
        "channel": record.channel.value,
        "delivery": record.delivery_id,
        "recipient": record.recipient,
        "provider": " ".join(filter(None, (record.provider, record.provider_message_id))),
        "attempt": record.attempt,
        "reason": _told_reason(record),
        "rejected": ", ".join(record.rejected),
    }
    for name, fact in facts.items():
        if fact:
            echo(f"  {name:10}{fact}")
    ordered = sorted(unpack_row(record.memory).observations, key=lambda at: (at.attempt, at.first))
    echo_table(
        ("reported", "attempt", "first", "last"),
        [(NODE_NAMES[at.node], at.attempt, to_rfc3339(at.first), to_rfc3339(at.last)) for at in ordered],
    )


def _told_reason(record: RowRecord) -> str:
    reason = record.reason
    if reason is None:
        return ""
    kinds = [kind.value for kind in (reason.permanence, reason.category) if kind is not None]
    return " ".join([*kinds, *filter(None, (reason.code, reason.provider_code, reason.text))])


@click.command()
@click.option("--deliveries", is_flag=True, help="Write the counts of every delivery instead.")
@json_option
def export(deliveries: bool, as_json: bool) -> None:  # noqa: ARG001 - it always writes JSON
    """Write all committed rows as JSON Lines, in the format of `fold`, sorted within each partition."""
    settings = settings_from_environment()
    left_out: list[str] = []
    lines = _delivery_lines(settings, left_out) if deliveries else _row_lines(settings, left_out)

    async def main() -> None:
        output = click.get_binary_stream("stdout")
        with progress("export", None) as advance:
            async for line in lines:
                output.write(line + b"\n")
                advance(1)
        output.flush()

    run_async(settings, main)
    if left_out:
        told = "".join([f"\n  - {each}" for each in left_out[:_TOLD]])
        raise Failure(f"{len(left_out)} records cannot be read and were left out; {RUNBOOK}:{told}")


async def _row_lines(settings: Settings, left_out: list[str]) -> AsyncIterator[bytes]:
    topic = settings.topic(MESSAGES)
    for number in range(await count_partitions(settings, topic)):
        latest: dict[bytes, bytes] = {}
        bad: dict[bytes, str] = {}
        async for record in read_to_end(settings, topic, [number]):
            if record.key is None:
                continue
            latest.pop(record.key, None)
            bad.pop(record.key, None)
            try:
                row = read_row(record)
            except UnreadableError as error:
                bad[record.key] = describe(record, error)
            else:
                if row is not None and record.value is not None:
                    latest[record.key] = record.value
        for key in sorted(latest):
            published = decode_row_record(latest[key])
            yield encode_folded(published.message_id, unpack_row(published.memory))
        left_out += bad.values()


async def _delivery_lines(settings: Settings, left_out: list[str]) -> AsyncIterator[bytes]:
    totals = await delivery_totals(settings, COUNTS, left_out)
    for delivery_id in sorted(totals):
        yield orjson.dumps(_delivery_line(delivery_id, totals[delivery_id]))


async def delivery_totals(settings: Settings, topic: Topic, left_out: list[str]) -> dict[str, dict[Status, int]]:
    """Sum the last counts of every partition, by delivery.

    Args:
        settings: where the topic is.
        topic: COUNTS, of this installation or of the live one.
        left_out: takes the descriptions of records that cannot be read.
    """
    latest: dict[bytes | None, Stored] = {}
    async for record in read_to_end(settings, settings.topic(topic)):
        latest[record.key] = record
    totals: dict[str, dict[Status, int]] = defaultdict(lambda: dict.fromkeys(Status, 0))
    for record in latest.values():
        if record.value is None:
            continue
        try:
            counts = decode_counts_of(record.value, record.key)
        except UnreadableError as error:
            left_out.append(describe(record, error))
            continue
        for status, number in counts.statuses.items():
            totals[counts.delivery_id][status] += number
    return totals


def _delivery_line(delivery_id: str, counts: dict[Status, int]) -> dict[str, Any]:
    statuses = {status.value: number for status, number in counts.items()}
    return {"delivery_id": delivery_id, "messages": sum(counts.values()), "statuses": statuses}
