"""The command `reasons`: the reasons that providers gave for failures, most frequent first, for people to map."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any, BinaryIO, NamedTuple

import click

from processor.cli.common import echo, echo_json, echo_table, json_option
from processor.domain.event import Event
from processor.domain.moment import Millis
from processor.domain.status import Permanence, Status
from processor.providers.reason_text import is_unqualified, normalize_text
from processor.wire.deadletters import UnusableError
from processor.wire.events import decode_event

#: How many of each partition's newest events are looked at, where no file is given.
_NEWEST = 20_000
#: Maximum number of different reasons: texts that vary in unknown ways must not use up memory.
_MOST = 50_000


class Said(NamedTuple):
    """The key of a reason: texts that differ in numbers, addresses or ids alone are the same."""

    provider: str
    category: str
    code: str
    provider_code: str
    text: str


class Reasons:
    """Counts reasons, and keeps the first text of each as it came."""

    def __init__(self, *, unqualified: bool) -> None:
        self._unqualified = unqualified
        self._counted: Counter[Said] = Counter()
        self._examples: dict[Said, str] = {}
        self.refused = 0
        self.left_out = 0

    def take(self, value: bytes | None, timestamp: Millis | None = None) -> None:
        """Count one canonical event of a failure; count anything that is no event as refused."""
        try:
            event, _, _ = decode_event(value, timestamp)
        except UnusableError:
            self.refused += 1
            return
        if not (is_unqualified(event) if self._unqualified else _is_of_failure(event)):
            return
        said, example = _said(event)
        if said not in self._counted and len(self._counted) >= _MOST:
            self.left_out += 1
            return
        self._counted[said] += 1
        self._examples.setdefault(said, example)

    def most_common(self, limit: int) -> Iterator[dict[str, Any]]:
        """Yield one line for each reason, most frequent first."""
        ordered = sorted(self._counted.items(), key=lambda counted: (-counted[1], counted[0]))
        for said, number in ordered[:limit]:
            yield {"events": number, **said._asdict(), "example": self._examples[said]}


def _is_of_failure(event: Event) -> bool:
    transient = event.reason is not None and event.reason.permanence is Permanence.TRANSIENT
    return transient or event.status is Status.FAILED


def _said(event: Event) -> tuple[Said, str]:
    reason, provider = event.reason, event.provider or ""
    if reason is None:
        return Said(provider, "", "", "", ""), ""
    category = reason.category.value if reason.category is not None else ""
    text = reason.text or ""
    said = Said(provider, category, reason.code or "", reason.provider_code or "", normalize_text(text))
    return said, text


@click.command()
@click.option("--unqualified", is_flag=True, help="Only those that no rule maps to a category.")
@click.option("--limit", default=50, show_default=True, type=click.IntRange(1), help="Maximum number of reasons.")
@click.argument("files", nargs=-1, type=click.File("rb"))
@json_option
def reasons(unqualified: bool, limit: int, files: tuple[BinaryIO, ...], as_json: bool) -> None:
    """List the reasons that providers gave for failures, most frequent first, without numbers, addresses and ids.

    It reads canonical events (JSON Lines) from FILES, or, without any, the newest part of the topic of events.
    """
    found = Reasons(unqualified=unqualified)
    if files:
        _take_lines(found, (line for file in files for line in file))
    else:
        _take_newest(found)
    lines = list(found.most_common(limit))
    if as_json:
        for line in lines:
            echo_json(line)
    elif lines:
        columns = [name for name in lines[0] if not unqualified or name != "category"]
        echo_table([name.replace("_", " ") for name in columns], ([line[name] for name in columns] for line in lines))
    else:
        echo("none" if unqualified else "no failures")
    if found.refused:
        echo(f"{found.refused} lines or records are no events", err=True)
    if found.left_out:
        echo(f"{found.left_out} events are left out: more than {_MOST} different reasons", err=True)


def _take_lines(found: Reasons, lines: Iterable[bytes]) -> None:
    for line in lines:
        stripped = line.strip()
        if stripped:
            found.take(stripped)


def _take_newest(found: Reasons) -> None:
    # Reading files needs no Kafka client, whose import takes time.
    from processor.cli.connection import run_async, settings_from_environment
    from processor.engine.streams import read_to_end
    from processor.wire.control import is_marker
    from processor.wire.topics import EVENTS

    settings = settings_from_environment()

    async def take() -> None:
        async for record in read_to_end(settings, settings.topic(EVENTS), newest=_NEWEST):
            if not is_marker(record.headers):
                found.take(record.value, record.timestamp)

    run_async(settings, take)
