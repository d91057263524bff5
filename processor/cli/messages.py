"""Commands that look for messages in the messages topic: `messages`, `find`."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Callable, Iterable
from datetime import datetime
from heapq import nlargest
from typing import Any, NamedTuple

import click
import msgspec

from processor.cli.common import EXIT_NOT_FOUND, EXIT_USAGE, Failure, echo, echo_table, json_option, progress
from processor.cli.connection import run_async, settings_from_environment
from processor.cli.inspect import linked_message
from processor.cli.known import known_deliveries, present
from processor.cli.options import names_of, parse_moment
from processor.cli.unreadable import RUNBOOK, describe, read_row
from processor.domain.moment import Micros, to_microseconds
from processor.domain.reason import Category
from processor.domain.row import Row
from processor.domain.standing import Mark
from processor.domain.status import Channel, Permanence, Status
from processor.domain.traits import SuccessFrom
from processor.domain.waiting import stuck_before
from processor.engine.admin import count_partitions
from processor.engine.streams import read_to_end
from processor.printable import printable
from processor.settings import Settings
from processor.views import message_csv
from processor.views.finding import FOUND_MAX, FindList, FoundThing, Kind, Matched, each_once, find_deliveries
from processor.views.message_list import MessageItem, item_of
from processor.views.message_query import DEFAULT_LIMIT, CountedAs, Judge, MessageQuery, Wanted
from processor.wire.readback import UnreadableError
from processor.wire.rows import unpack_row
from processor.wire.topics import MESSAGES

#: How many records that cannot be read are named.
_TOLD = 20


#: Whether a row at its mark is sought.
Has = Callable[[Mark, Row], bool]


class Found(NamedTuple):
    """A row that was found; found ones are in the order of lists."""

    since: Micros
    key: bytes
    packed: bytes

    @property
    def item(self) -> MessageItem:
        """The message as it stands in a list."""
        return item_of(self.key.decode(), unpack_row(self.packed))


async def _rows(settings: Settings, has: Has, left_out: list[str]) -> AsyncIterator[list[Found]]:
    """Yield the rows that match, by partition; the last record of a message counts."""
    topic = settings.topic(MESSAGES)
    with progress("messages", None) as advance:
        for number in range(await count_partitions(settings, topic)):
            found: dict[bytes, Found] = {}
            bad: dict[bytes, str] = {}
            async for record in read_to_end(settings, topic, [number]):
                advance(1)
                if record.key is None:
                    continue
                found.pop(record.key, None)
                bad.pop(record.key, None)
                try:
                    read = read_row(record)
                except UnreadableError as error:
                    bad[record.key] = describe(record, error)
                else:
                    if read is not None and has((read[1].since, record.key), read[1]):
                        found[record.key] = Found(read[1].since, record.key, read[0])
            left_out += bad.values()
            yield list(found.values())


async def _newest(settings: Settings, query: MessageQuery, limit: int | None, left_out: list[str]) -> list[Found]:
    """Return the messages that match, newest change first."""
    holds = (await known_deliveries(settings)).holds if query.stuck is not None else {}
    wanted = Wanted(query, Judge(stuck_before(settings.stuck_after, present()), holds))
    found: list[Found] = []
    async for of_partition in _rows(settings, wanted.has_at, left_out):
        found += of_partition
        if limit is not None:
            found = nlargest(limit, found)
    return sorted(found, reverse=True)


def _tell_left_out(left_out: list[str]) -> None:
    if left_out:
        told = "".join([f"\n  - {each}" for each in left_out[:_TOLD]])
        raise Failure(f"{len(left_out)} records cannot be read and were left out; {RUNBOOK}:{told}")


@click.command()
@click.option("--delivery", help="Only messages of this delivery.")
@click.option("--channel", type=names_of(Channel), help="Only messages on one channel.")
@click.option("--status", type=names_of(Status), help="Only messages at one status.")
@click.option("--category", type=names_of(Category), metavar="NAME", help="Only those with a reason of this category.")
@click.option("--permanence", type=names_of(Permanence), help="Only those that failed so, or whose last attempt did.")
@click.option("--indicator", type=names_of(CountedAs), help="Only those that an indicator of their delivery counts.")
@click.option("--provider", help="Only messages of this provider.")
@click.option("--domain", help="Only messages to this mail domain or calling code (+46).")
@click.option("--recipient", metavar="ADDRESS", help="Only messages to this whole address or number.")
@click.option("--provider-message-id", metavar="ID", help="Only messages with this id at their provider.")
@click.option("--since", callback=parse_moment, metavar="TIME", help="Only those at their status since then or later.")
@click.option("--until", callback=parse_moment, metavar="TIME", help="Only those at it since then or earlier.")
@click.option("--stuck/--not-stuck", default=None, help="Only those that are stuck, or that are not.")
@click.option("--limit", type=click.IntRange(min=1), help=f"Maximum number; of a table {DEFAULT_LIMIT} unless given.")
@click.option("--csv", "as_csv", is_flag=True, help="Write CSV, with the columns of the API.")
@json_option
def messages(
    since: datetime | None, until: datetime | None, limit: int | None, as_csv: bool, as_json: bool, **given: Any
) -> None:
    """List messages, newest change first. --json writes one object a line.

    It reads the whole topic of messages, which takes some seconds a million; a worker's API has an index.
    """
    if as_csv and as_json:
        raise click.UsageError("--csv and --json exclude each other")
    kinds = {
        "channel": Channel,
        "status": Status,
        "category": Category,
        "permanence": Permanence,
        "indicator": CountedAs,
    }
    for name, kind in kinds.items():
        given[name] = None if given[name] is None else kind(given[name])
    for name, time in (("since", since), ("until", until)):
        given[name] = None if time is None else to_microseconds(time)
    settings = settings_from_environment()
    query = MessageQuery(**given, success_from=SuccessFrom(settings.success_from))
    left_out: list[str] = []
    most = limit or (None if as_csv or as_json else DEFAULT_LIMIT)
    found = run_async(settings, lambda: _newest(settings, query, None if most is None else most + 1, left_out))
    shown = found if most is None else found[:most]
    if as_csv:
        _write_csv(shown)
    elif as_json:
        _write_json(each.item for each in shown)
    else:
        _tell_messages(shown)
        if len(found) > len(shown):
            echo("there are more; --limit shows them, --csv and --json show all, and filters fewer")
    _tell_left_out(left_out)


def _write_csv(found: Iterable[Found]) -> None:
    # A terminal must not obey what is foreign; a file gets it as it is.
    is_shown = sys.stdout.isatty()
    output = click.get_binary_stream("stdout")
    for text in (message_csv.header(), *(message_csv.lines_of([each.item]) for each in found)):
        output.write(f"{printable(text.rstrip())}\n".encode() if is_shown else text.encode())


def _write_json(values: Iterable[object]) -> None:
    output = click.get_binary_stream("stdout")
    for value in values:
        output.write(msgspec.json.encode(value) + b"\n")


def _tell_messages(found: Iterable[Found]) -> None:
    rows = [
        (
            item.message_id,
            item.delivery_id or "",
            item.status.value + (f" ({item.permanence.value})" if item.permanence else ""),
            item.since,
            item.recipient or "",
            _told_reason(item),
        )
        for item in (each.item for each in found)
    ]
    echo_table(("message", "delivery", "status", "since", "recipient", "reason"), rows)


def _told_reason(item: MessageItem) -> str:
    reason = item.reason
    if reason is None:
        return ""
    return " ".join(filter(None, (reason.category and reason.category.value, reason.code)))


# Finding


@click.command()
@click.argument("text")
@json_option
def find(text: str, as_json: bool) -> None:
    """Find messages by id, provider's id or whole address, and deliveries by id or a part of the label.

    It reads the whole topic of messages, which takes some seconds a million; a worker's API has an index.
    """
    sought = text.strip()
    if not sought:
        raise Failure("there is nothing to find", EXIT_USAGE)
    settings = settings_from_environment()
    left_out: list[str] = []
    found = run_async(settings, lambda: _find(settings, sought, left_out))
    if as_json:
        _write_json([FindList(found, ())])
    elif found:
        echo_table(("kind", "id", "matched"), [(each.kind.value, each.id, each.matched.value) for each in found])
    _tell_left_out(left_out)
    if not found:
        raise Failure(f"nothing is found by {text!r}", EXIT_NOT_FOUND)


async def _find(settings: Settings, text: str, left_out: list[str]) -> tuple[FoundThing, ...]:
    try:
        key = text.encode()
    except UnicodeEncodeError:
        # No event can have named it.
        return ()
    linked = await linked_message(settings, text)
    keys = {key, key if linked is None else linked.encode()}
    judge = Judge({})
    native = Wanted(MessageQuery(provider_message_id=text), judge)
    recipient = Wanted(MessageQuery(recipient=text), judge)

    def matched(mark: Mark, row: Row) -> Matched | None:
        if mark[1] == key:
            return Matched.MESSAGE_ID
        if mark[1] in keys or native.has(row):
            return Matched.PROVIDER_MESSAGE_ID
        return Matched.RECIPIENT if recipient.has(row) else None

    found: dict[Matched, list[Found]] = {each: [] for each in Matched}
    async for of_partition in _rows(settings, lambda mark, row: matched(mark, row) is not None, left_out):
        for each in of_partition:
            how = matched((each.since, each.key), unpack_row(each.packed))
            if how is not None:
                found[how].append(each)
    things = [_thing(each, how) for how, those in found.items() for each in nlargest(FOUND_MAX, those)]
    return each_once([*things, *find_deliveries(await known_deliveries(settings), text)])


def _thing(found: Found, matched: Matched) -> FoundThing:
    message_id = found.key.decode()
    return FoundThing(Kind.MESSAGE, message_id, matched, message_id)
