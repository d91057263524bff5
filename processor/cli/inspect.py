"""Commands that read: `topics`, `message`, `delivery`, `export`, `check`."""

from __future__ import annotations

import ssl
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Iterable, Sequence
from typing import Any

import click
import msgspec
import orjson

from processor.cli.common import (
    EXIT_FAILED,
    EXIT_NOT_FOUND,
    Failure,
    echo_json,
    echo_table,
    json_option,
    progress,
    run_async,
    settings_from_environment,
)
from processor.codec import RowRecord, decode_counts, decode_event, decode_row_record, encode_folded, to_row
from processor.deadletter import RefusedError
from processor.domain.moment import to_rfc3339
from processor.domain.status import DEFINITIONS, Status
from processor.engine.admin import TopicsError, check_topics, count_partitions, create_topics
from processor.engine.streams import read_to_end
from processor.partitioner import partition_of
from processor.settings import Settings, SettingsError
from processor.stages import setting_problems
from processor.topics import COUNTS, EVENTS, MESSAGES

#: How many of each partition's newest events `check` looks at.
_SAMPLED_EVENTS = 100


@click.group()
def topics() -> None:
    """Create the topics, or check them against what the processor needs."""


@topics.command("create")
@json_option
def topics_create(as_json: bool) -> None:
    """Create the topics that do not exist yet."""
    settings = settings_from_environment()
    try:
        created = run_async(settings, lambda: create_topics(settings))
    except TopicsError as error:
        raise Failure(str(error)) from None
    if as_json:
        echo_json({"created": created})
    else:
        click.echo("\n".join(f"created {name}" for name in created) or "all topics exist")


@topics.command("check")
@json_option
def topics_check(as_json: bool) -> None:
    """Compare the topics with their declaration; exit 1 when something is wrong."""
    settings = settings_from_environment()
    problems = run_async(settings, lambda: check_topics(settings))
    _report({"topics": problems}, as_json)


@click.command()
@json_option
def check(as_json: bool) -> None:
    """Check settings, brokers and topics: say what is wrong and how to mend it; exit 1 when something is."""
    try:
        settings = settings_from_environment()
    except SettingsError as error:
        _report({"settings": list(error.problems)}, as_json)
        return
    findings: dict[str, list[str]] = {"settings": setting_problems(settings)}
    notes: list[str] = []
    try:
        findings["topics"] = run_async(settings, lambda: check_topics(settings))
        findings["brokers"] = []
        if not findings["topics"]:
            notes = run_async(settings, lambda: _look_at_events(settings))
    except Failure as error:
        findings["brokers"] = [error.message]
    except (OSError, ssl.SSLError) as error:
        findings["settings"] += [f"the TLS files cannot be used: {error}"]
    _report(findings, as_json, notes)


async def _look_at_events(settings: Settings) -> list[str]:
    """Say what the newest events show of those who publish them."""
    topic = settings.topic_prefix + EVENTS.name
    count = await count_partitions(settings, topic)
    refused: Counter[str] = Counter()
    seen = astray = 0
    async for record in read_to_end(settings, topic, newest=_SAMPLED_EVENTS):
        seen += 1
        try:
            event, _, _ = decode_event(record.value, record.timestamp)
        except RefusedError as error:
            refused[str(error)] += 1
        else:
            astray += partition_of(event.message_id.encode(), count) != record.partition
    notes = [f"{number} of the {seen} newest events break the contract: {error}" for error, number in refused.items()]
    if astray:
        notes.append(
            f"{astray} of the {seen} newest events are not in the partition of their message id: they are sent on, "
            "which costs twice; key them by message id, with Kafka's own partitioner (librdkafka: murmur2_random)"
        )
    return notes


def _report(findings: dict[str, list[str]], as_json: bool, notes: Sequence[str] = ()) -> None:
    """Tell findings, which are problems, and notes, which are not."""
    problems = [problem for found in findings.values() for problem in found]
    if as_json:
        echo_json({"ok": not problems, "findings": findings, "notes": list(notes)})
    else:
        for part, found in findings.items():
            click.echo(f"{part}: {'ok' if not found else ''}")
            for problem in found:
                click.echo(f"  - {problem}")
        for note in notes:
            click.echo(f"note: {note}")
    if problems:
        raise click.exceptions.Exit(EXIT_FAILED)


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
    key = message_id.encode()
    number = partition_of(key, await count_partitions(settings, topic))
    value = None
    async for record in read_to_end(settings, topic, [number]):
        if record.key == key:
            value = record.value
    return None if value is None else decode_row_record(value)


def _tell_message(record: RowRecord) -> None:
    label = DEFINITIONS[record.status].english
    click.echo(f"{record.message_id}: {label}" + (f" ({record.permanence.value})" if record.permanence else ""))
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
            click.echo(f"  {name:10}{fact}")
    ordered = sorted(record.observations, key=lambda seen: (seen[1], seen[2]))
    echo_table(
        ("reported", "attempt", "first", "last"),
        [(node, attempt, to_rfc3339(first), to_rfc3339(last)) for node, attempt, first, last in ordered],
    )


def _told_reason(record: RowRecord) -> str:
    reason = record.reason
    if reason is None:
        return ""
    kinds = [kind.value for kind in (reason.permanence, reason.category) if kind is not None]
    return " ".join([*kinds, *filter(None, (reason.code, reason.provider_code, reason.text))])


@click.command()
@click.argument("delivery_id")
@json_option
def delivery(delivery_id: str, as_json: bool) -> None:
    """Count one delivery's messages by status."""
    settings = settings_from_environment()
    totals = run_async(settings, lambda: _delivery_totals(settings))
    if delivery_id not in totals:
        raise Failure(f"delivery {delivery_id!r} is not known", EXIT_NOT_FOUND)
    counts = totals[delivery_id]
    if as_json:
        echo_json(_delivery_line(delivery_id, counts))
    else:
        shown = [(DEFINITIONS[status].english, counts[status]) for status in Status if counts[status]]
        echo_table(("status", "messages"), [*shown, ("all", sum(counts.values()))], title=delivery_id)


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
            yield encode_folded(row.message_id, to_row(row))


async def _delivery_lines(settings: Settings) -> AsyncIterator[bytes]:
    totals = await _delivery_totals(settings)
    for delivery_id in sorted(totals):
        yield orjson.dumps(_delivery_line(delivery_id, totals[delivery_id]))


COMMANDS: Iterable[click.Command] = (topics, check, message, delivery, export)
