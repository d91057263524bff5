"""The audit of commands, and the command `audit`."""

from __future__ import annotations

import getpass
import socket
from datetime import datetime, timezone

import click

from processor.cli.common import echo_json, echo_table, json_option
from processor.cli.connection import run_async, settings_from_environment
from processor.cli.options import parse_moment
from processor.domain.moment import to_microseconds, to_rfc3339
from processor.engine.admin import count_partitions
from processor.engine.streams import Outgoing, Writer, read_to_end
from processor.settings import Settings
from processor.wire.audit import SUBJECT_MAX, AuditEntry, Deed, Via, decode_entry, encode_entry
from processor.wire.readback import UnreadableError
from processor.wire.topics import AUDIT


async def write_down(settings: Settings, deed: Deed, subject: str | None, detail: str | None = None) -> None:
    """Write an entry of what a command is about to do.

    Raises:
        MissingTopicError: the audit topic does not exist.
    """
    who = f"{_user()}@{socket.gethostname()}"
    short = None if subject is None else subject[:SUBJECT_MAX]
    entry = AuditEntry(datetime.now(timezone.utc), who[:SUBJECT_MAX], Via.COMMAND, deed, short, detail)
    topic = settings.topic(AUDIT)
    # A producer would wait a minute for a topic that is not there.
    await count_partitions(settings, topic)
    async with Writer(settings) as writer:
        await writer.write(Outgoing(topic, encode_entry(entry)))


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        # A container's user may have no name.
        return "unknown"


@click.command()
@click.option("--since", callback=parse_moment, metavar="TIME", help="Only what was done since then.")
@click.option("--limit", type=click.IntRange(min=1), default=50, show_default=True, help="Maximum number to list.")
@json_option
def audit(since: datetime | None, limit: int, as_json: bool) -> None:
    """List who did what, newest first: writes, and views of unmasked recipients. --json writes one object a line."""
    settings = settings_from_environment()
    entries = run_async(settings, lambda: _newest(settings, since, limit))
    if as_json:
        for entry in entries:
            echo_json({**_told(entry), "detail": entry.detail})
    else:
        echo_table(("when", "who", "from", "by", "deed", "of what"), map(_row, entries))


def _row(entry: AuditEntry) -> tuple[str, ...]:
    what = " ".join(filter(None, (entry.subject, entry.detail)))
    return (
        to_rfc3339(to_microseconds(entry.time)),
        entry.who,
        entry.address or "",
        entry.via.value,
        entry.deed.value,
        what,
    )


def _told(entry: AuditEntry) -> dict[str, str | None]:
    return {
        "time": to_rfc3339(to_microseconds(entry.time)),
        "who": entry.who,
        "address": entry.address,
        "via": entry.via.value,
        "deed": entry.deed.value,
        "subject": entry.subject,
    }


async def _newest(settings: Settings, since: datetime | None, limit: int) -> list[AuditEntry]:
    """Return so many entries at most, the newest first; no more than twice as many are held."""
    entries: list[AuditEntry] = []
    async for record in read_to_end(settings, settings.topic(AUDIT)):
        try:
            entry = decode_entry(record.value or b"")
        except UnreadableError:
            # Whoever may write there can write anything.
            continue
        if since is None or entry.time >= since:
            entries.append(entry)
        if len(entries) == 2 * limit:
            entries = _newest_of(entries)[:limit]
    return _newest_of(entries)[:limit]


def _newest_of(entries: list[AuditEntry]) -> list[AuditEntry]:
    return sorted(entries, key=lambda entry: entry.time, reverse=True)
