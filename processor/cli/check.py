"""Commands that check an installation: `topics`, `check`."""

from __future__ import annotations

import ssl
from collections import Counter
from collections.abc import Sequence

import click

from processor.cli.common import EXIT_FAILED, Failure, echo, echo_json, json_option, progress
from processor.cli.connection import run_async, settings_from_environment
from processor.cli.unreadable import RUNBOOK, unreadable_records
from processor.engine.admin import TopicsError, check_topics, count_partitions, create_topics
from processor.engine.clients import KafkaError
from processor.engine.clock import TOLD_FROM, measure_skew
from processor.engine.streams import read_to_end
from processor.settings import Settings, SettingsError
from processor.stages import setting_problems
from processor.wire.control import is_marker
from processor.wire.deadletters import DeadReason, UnusableError
from processor.wire.events import decode_event
from processor.wire.partitioner import partition_of
from processor.wire.topics import DEAD, EVENTS

#: How many of each partition's newest records `check` looks at, and how many different findings it tells.
_SAMPLED = 100
_TOLD = 5
#: How many of the records that cannot be read it names.
_ROWS_TOLD = 50


@click.group()
def topics() -> None:
    """Create the topics, or compare them with their declaration."""


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
        for name in created:
            echo(f"created {name}")
        if not created:
            echo("all topics exist")


@topics.command("check")
@json_option
def topics_check(as_json: bool) -> None:
    """Compare the topics with their declaration; exit 1 if they differ."""
    settings = settings_from_environment()
    problems = run_async(settings, lambda: check_topics(settings))
    _report({"topics": problems}, as_json)


@click.command()
@json_option
def check(as_json: bool) -> None:
    """Check settings, brokers and topics; name each problem with its remedy, and exit 1 if there are any."""
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
            findings["rows"] = run_async(settings, lambda: _rows(settings))
            notes = run_async(settings, lambda: _notes(settings))
    except Failure as error:
        findings["brokers"] = [error.message]
    except (OSError, ssl.SSLError) as error:
        findings["settings"] += [f"the TLS files cannot be used: {error}"]
    _report(findings, as_json, notes)


async def _rows(settings: Settings) -> list[str]:
    """Describe the records of our own topics that cannot be read."""
    with progress("check", None) as advance:
        found = await unreadable_records(settings, advance)
    if len(found) > _ROWS_TOLD:
        found[_ROWS_TOLD:] = [f"and {len(found) - _ROWS_TOLD} more"]
    return [*found, RUNBOOK] if found else []


async def _notes(settings: Settings) -> list[str]:
    """Describe what the newest records show about their producers."""
    looks = _look_at_events, _look_at_unknown_statuses, _look_at_clock
    return [note for look in looks for note in await look(settings)]


async def _look_at_clock(settings: Settings) -> list[str]:
    """Describe the difference between this machine's clock and the brokers', if there is one."""
    try:
        skew = await measure_skew(settings)
    except KafkaError as error:
        return [f"the brokers do not tell their time: {error!r}"]
    if skew is None or abs(skew) < TOLD_FROM:
        return []
    side = "ahead of" if skew > 0 else "behind"
    return [f"this machine's clock is {abs(skew):.0f} s {side} the brokers': set it by NTP (chronyc, timedatectl)"]


async def _look_at_events(settings: Settings) -> list[str]:
    """Describe the newest events that break the contract or are in the wrong partition."""
    topic = settings.topic(EVENTS)
    count = await count_partitions(settings, topic)
    refused: Counter[str] = Counter()
    seen = astray = 0
    async for record in read_to_end(settings, topic, newest=_SAMPLED):
        seen += 1
        if is_marker(record.headers):
            refused["a cancel marker: only control records cancel"] += 1
            continue
        try:
            event, _, _ = decode_event(record.value, record.timestamp)
        except UnusableError as error:
            refused[str(error)] += 1
        else:
            astray += partition_of(event.message_id.encode(), count) != record.partition
    worst = refused.most_common(_TOLD)
    notes = [f"{number} of the {seen} newest events break the contract: {error}" for error, number in worst]
    if astray:
        notes.append(
            f"{astray} of the {seen} newest events are not in the partition of their message id: they are sent on, "
            "which costs twice; key them by message id, with Kafka's own partitioner (librdkafka: murmur2_random)"
        )
    return notes


async def _look_at_unknown_statuses(settings: Settings) -> list[str]:
    """Describe the provider statuses without a mapping among the newest dead letters."""
    unknown: Counter[str] = Counter()
    async for record in read_to_end(settings, settings.topic(DEAD), newest=_SAMPLED):
        headers = dict(record.headers)
        if headers.get("delivery.dead.reason") == DeadReason.UNKNOWN_STATUS.value.encode():
            unknown[headers.get("__streams.errors.message", b"").decode(errors="replace")] += 1
    return [f"{number} of the newest dead letters: {said}" for said, number in unknown.most_common(_TOLD)]


def _report(findings: dict[str, list[str]], as_json: bool, notes: Sequence[str] = ()) -> None:
    """Print findings, which are problems, and notes, which are not."""
    problems = [problem for found in findings.values() for problem in found]
    if as_json:
        echo_json({"ok": not problems, "findings": findings, "notes": list(notes)})
    else:
        for part, found in findings.items():
            echo(f"{part}: {'ok' if not found else ''}")
            for problem in found:
                echo(f"  - {problem}")
        for note in notes:
            echo(f"note: {note}")
    if problems:
        raise click.exceptions.Exit(EXIT_FAILED)
