"""Commands that read what was committed: `message`, `export`."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import AsyncIterator, Iterable
from typing import Any

import click
import msgspec
import orjson

from processor.cli.common import (
    EXIT_NOT_FOUND,
    Failure,
    echo,
    echo_table,
    json_option,
    progress,
    run_async,
    settings_from_environment,
)
from processor.codec import RowRecord, decode_counts, decode_row_record, encode_folded, unpack_row
from processor.domain.moment import to_rfc3339
from processor.domain.status import DEFINITIONS, Status
from processor.domain.transitions import NODE_NAMES
from processor.engine.admin import count_partitions
from processor.engine.streams import read_to_end
from processor.partitioner import partition_of
from processor.settings import Settings
from processor.topics import COUNTS, MESSAGES


@click.command()
@click.argument("message_id")
@json_option
def message(message_id: str, as_json: bool) -> None:
    """Tell where one message stands, since when and why, and what was reported of it."""
    settings = settings_from_environment()
    record = run_async(settings, lambda: _last_row(settings, message_id))
    if record is None:
        raise Failure(f"message {message_id!r} is not known", EXIT_NOT_FOUND)
    if as_json:
        click.get_binary_stream("stdout").write(msgspec.json.encode(record) + b"\n")
    else:
        _tell_message(record)


async def _last_row(settings: Settings, message_id: str) -> RowRecord | None:
    topic = settings.topic_prefix + MESSAGES.name
    try:
        key = message_id.encode()
    except UnicodeEncodeError:
        raise Failure(f"message {message_id!r} is not UTF-8: no event can have named it", EXIT_NOT_FOUND) from None
    number = partition_of(key, await count_partitions(settings, topic))
    value = None
    async for record in read_to_end(settings, topic, [number]):
        if record.key == key:
            value = record.value
    return None if value is None else decode_row_record(value)


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
        "refused": ", ".join(record.rejected),
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
    lines = _delivery_lines(settings) if deliveries else _row_lines(settings)

    async def main() -> None:
        output = click.get_binary_stream("stdout")
        with progress("export", None) as advance:
            async for line in lines:
                output.write(line + b"\n")
                advance(1)
        output.flush()

    run_async(settings, main)


async def _row_lines(settings: Settings) -> AsyncIterator[bytes]:
    topic = settings.topic_prefix + MESSAGES.name
    for number in range(await count_partitions(settings, topic)):
        latest: dict[bytes, bytes] = {}
        async for record in read_to_end(settings, topic, [number]):
            if record.key is None:
                continue
            if record.value is None:
                latest.pop(record.key, None)
            else:
                latest[record.key] = record.value
        for key in sorted(latest):
            row = decode_row_record(latest[key])
            yield encode_folded(row.message_id, unpack_row(row.memory))


async def _delivery_lines(settings: Settings) -> AsyncIterator[bytes]:
    totals = await _delivery_totals(settings)
    for delivery_id in sorted(totals):
        yield orjson.dumps(_delivery_line(delivery_id, totals[delivery_id]))


async def _delivery_totals(settings: Settings) -> dict[str, dict[Status, int]]:
    """Sum the last counts of every partition, by delivery."""
    latest: dict[bytes | None, bytes] = {}
    async for record in read_to_end(settings, settings.topic_prefix + COUNTS.name):
        if record.value is not None:
            latest[record.key] = record.value
    totals: dict[str, dict[Status, int]] = defaultdict(lambda: dict.fromkeys(Status, 0))
    for value in latest.values():
        counts = decode_counts(value)
        for status, number in counts.statuses.items():
            totals[counts.delivery_id][status] += number
    return totals


def _delivery_line(delivery_id: str, counts: dict[Status, int]) -> dict[str, Any]:
    statuses = {status.value: number for status, number in counts.items()}
    return {"delivery_id": delivery_id, "messages": sum(counts.values()), "statuses": statuses}


COMMANDS: Iterable[click.Command] = (message, export)
