"""Commands about dead letters: `dead list`, `count`, `show`, `replay`, `discard`."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import aclosing
from typing import Any, TypeVar

import click
import msgspec

from processor.cli.auditing import write_down
from processor.cli.common import EXIT_NOT_FOUND, EXIT_USAGE, Failure, echo, echo_json, echo_table, json_option, progress
from processor.cli.connection import run_async, settings_from_environment
from processor.cli.options import names_of, parse_moment
from processor.domain.moment import to_microseconds, to_millis
from processor.engine.letters import DeadLetterTopic
from processor.engine.replaying import (
    Settler,
    TakenOverError,
    letters,
    letters_at,
    settle_all,
)
from processor.printable import printable
from processor.settings import Settings
from processor.views.dead_letters import (
    DEFAULT_LIMIT,
    RUNBOOK,
    LetterItem,
    LetterQuery,
    LetterState,
    LetterView,
    counts_of,
    item_of,
    view_of,
    without_bulk,
)
from processor.wire.audit import DEEDS
from processor.wire.deadletters import DeadReason
from processor.wire.letters import DeadLetter, LetterId
from processor.wire.settled import Outcome

#: How many letters that cannot be replayed are named.
_TOLD = 20

_Command = TypeVar("_Command", bound=Callable[..., Any])

_FILTERS = (
    click.option("--reason", type=names_of(DeadReason), help="Only those with one reason."),
    click.option("--provider", help="Only those whose record names this provider."),
    click.option("--topic", help="Only those that came from this topic, with or without the prefix."),
    click.option("--since", callback=parse_moment, metavar="TIME", help="Only those written since then."),
    click.option("--until", callback=parse_moment, metavar="TIME", help="Only those written before then."),
)


def _filters(command: _Command) -> _Command:
    for option in reversed(_FILTERS):
        command = option(command)
    return command


def _query(given: dict[str, Any], state: LetterState | None) -> LetterQuery:
    reason, provider = given["reason"], given["provider"]
    moments = {name: given[name] and to_millis(to_microseconds(given[name])) for name in ("since", "until")}
    return LetterQuery(
        reason=None if reason is None else DeadReason(reason),
        provider=None if provider is None else provider.strip().lower(),
        topic=given["topic"],
        state=state,
        **moments,
    )


def _ids(_context: click.Context, parameter: click.Parameter, given: Sequence[str]) -> tuple[LetterId, ...]:
    found = [LetterId.parse(text) for text in given]
    if None in found:
        wrong = given[found.index(None)]
        raise click.BadParameter(
            f"{printable(wrong)!r} is no id like 3-104233, which `dead list` tells", param=parameter
        )
    return tuple([each for each in dict.fromkeys(found) if each is not None])


@click.group()
def dead() -> None:
    """List, show, replay and discard dead letters: records that could not be used."""


# Asking


@dead.command("list")
@_filters
@click.option(
    "--state",
    type=click.Choice([*(state.value for state in LetterState), "any"]),
    default=LetterState.WAITING.value,
    show_default=True,
    help="Only those where this was done; `waiting`: nothing.",
)
@click.option(
    "--limit", type=click.IntRange(min=1), default=DEFAULT_LIMIT, show_default=True, help="Maximum number to list."
)
@json_option
def list_(state: str, limit: int, as_json: bool, **given: Any) -> None:
    """List dead letters, newest first. --json writes one object a line."""
    settings = settings_from_environment()
    query = _query(given, None if state == "any" else LetterState(state))
    found, more = run_async(settings, lambda: _newest(settings, query, limit))
    if as_json:
        for item in found:
            click.get_binary_stream("stdout").write(msgspec.json.encode(item) + b"\n")
        return
    columns = ("id", "written", "reason", "provider", "from", "size", "state", "detail")
    echo_table(columns, [_row(item) for item in found])
    if more:
        echo("there are more; --limit shows them, --reason and the other filters fewer")


def _row(item: LetterItem) -> tuple[object, ...]:
    state = item.state.value
    if item.rounds:
        state += f", round {item.rounds + 1}"
    if item.obstacle is not None and item.state is LetterState.WAITING:
        state += ", cannot be replayed"
    came_from = "" if item.topic is None else f"{item.topic}[{item.partition}] {item.offset}"
    reason = "" if item.reason is None else item.reason.value
    return item.id, item.written, reason, item.provider or "", came_from, item.size, state, item.detail


async def _newest(settings: Settings, query: LetterQuery, limit: int) -> tuple[list[LetterItem], bool]:
    """Return the newest letters that are chosen, and whether there are more."""
    topic = DeadLetterTopic(settings, without_bulk)
    # One more than is asked for tells whether there are more.
    page = await topic.page(query.has, limit + 1, since=query.since, until=query.until)
    return [item_of(*known) for known in page.found[:limit]], len(page.found) > limit


@dead.command()
@json_option
def count(as_json: bool) -> None:
    """Count the dead letters that are kept, by reason and by what became of them. It reads the whole topic."""
    settings = settings_from_environment()
    counter = run_async(settings, lambda: DeadLetterTopic(settings, without_bulk).count())
    found = counts_of(counter.counts, is_whole=counter.is_whole)
    if as_json:
        click.get_binary_stream("stdout").write(msgspec.json.encode(found) + b"\n")
        return
    rows = [
        (each.reason.value if each.reason else "(not ours)", each.waiting, each.replayed, each.discarded)
        for each in found.items
    ]
    echo_table(("reason", "waiting", "replayed", "discarded"), rows)


@dead.command()
@click.argument("letter", nargs=1, callback=lambda context, parameter, given: _ids(context, parameter, [given])[0])
@click.option("--raw", is_flag=True, help="Write the value's bytes and nothing else, to a file or a pipe.")
@json_option
def show(letter: LetterId, raw: bool, as_json: bool) -> None:
    """Show one dead letter with its bytes, by its id from `dead list`."""
    if raw and sys.stdout.isatty():
        raise Failure("--raw writes foreign bytes, which a terminal would obey: write to a file", EXIT_USAGE)
    settings = settings_from_environment()
    found, view = run_async(settings, lambda: _shown(settings, letter))
    output = click.get_binary_stream("stdout")
    if raw:
        output.write(found.value or b"")
    elif as_json:
        output.write(msgspec.json.encode(view) + b"\n")
    else:
        _tell(view)


async def _shown(settings: Settings, wanted: LetterId) -> tuple[DeadLetter, LetterView]:
    known = await DeadLetterTopic(settings, without_bulk).one(wanted)
    if known is None:
        raise Failure(f"there is no dead letter {wanted}: `delivery-status dead list` lists them", EXIT_NOT_FOUND)
    return known.letter, view_of(*known)


def _tell(view: LetterView) -> None:
    echo(f"{view.id}: {'not written by this version' if view.reason is None else view.reason.value}")
    facts = {
        "detail": view.detail,
        "written": view.written,
        "state": view.state.value,
        "replay": "it can be replayed" if view.obstacle is None else f"cannot be: {view.obstacle}",
        "from": view.topic and f"{view.topic}[{view.partition}] offset {view.offset}",
        "first": view.first_origin
        and f"{view.first_origin.topic}[{view.first_origin.partition}] offset {view.first_origin.offset}, "
        f"replayed {view.rounds} times since",
        "timestamp": view.timestamp,
        "key": view.key,
        "size": f"{view.size:,} bytes",
        "what to do": view.runbook,
    }
    for name, fact in facts.items():
        if fact:
            echo(f"  {name:12}{fact}")
    for header in view.headers:
        echo(f"  header      {header.name}: {header.value}")
    for line in view.stacktrace.splitlines():
        echo(f"  {line}")
    if view.text is not None:
        for line in view.text.split("\n"):
            echo(line)
    elif view.base64 is not None:
        echo(f"base64: {view.base64}")
    else:
        echo("no value")
    if view.is_cut:
        echo("(only the beginning)")


# Settling


_ids_argument = click.argument("ids", nargs=-1, callback=_ids, metavar="[ID]...")
_all_option = click.option("--all", "is_all", is_flag=True, help="All that nothing was done about.")
_limit_option = click.option("--limit", type=click.IntRange(min=1), help="At most this many; default: no limit.")
_dry_run_option = click.option("--dry-run", is_flag=True, help="Only tell what would be done.")


@dead.command()
@_ids_argument
@_filters
@_all_option
@_limit_option
@click.option(
    "--rate", type=click.FloatRange(min=0.1), default=200.0, show_default=True, help="Records a second at most."
)
@click.option("--force", is_flag=True, help="Also those that were replayed or discarded before.")
@_dry_run_option
@json_option
def replay(ids: tuple[LetterId, ...], **given: Any) -> None:
    """Publish dead letters again to the topics that they came from, each once.

    Key, value and headers are as they came, with headers that mark a record as replayed. A replay that was stopped
    goes on where it ended when it is run again.
    """
    _settle(Outcome.REPLAYED, ids, given)


@dead.command()
@_ids_argument
@_filters
@_all_option
@_limit_option
@_dry_run_option
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option
def discard(ids: tuple[LetterId, ...], yes: bool, **given: Any) -> None:
    """Decide that nothing is to be done about dead letters.

    Their bytes stay in the topic until its retention removes them.
    """
    if not yes and not given["dry_run"]:
        chosen = f"{len(ids)} dead letters" if ids else "all dead letters that are chosen"
        try:
            agreed = click.confirm(f"Discard {chosen}? They are not listed or replayed any more.", err=True)
        except click.Abort:
            raise Failure("nobody is there to confirm it; --yes does not ask", EXIT_USAGE) from None
        if not agreed:
            raise Failure("nothing was discarded")
    _settle(Outcome.DISCARDED, ids, {**given, "rate": None, "force": False})


class _Chosen:
    """Chooses letters, and remembers those that are refused."""

    def __init__(self, settler: Settler, outcome: Outcome, *, force: bool, limit: int | None) -> None:
        self._settler, self._outcome, self._force, self._limit = settler, outcome, force, limit
        self.refusals: list[tuple[LetterId, str]] = []
        self.refused: Counter[str] = Counter()
        self.seen: set[LetterId] = set()

    async def of(
        self, found: AsyncIterator[DeadLetter], query: LetterQuery, *, are_named: bool
    ) -> AsyncIterator[DeadLetter]:
        """Yield the letters that are chosen and not refused."""
        given = 0
        async for letter in found:
            if given == self._limit:
                return
            if not query.has(letter, None):
                continue
            why = self._settler.refusal(letter, self._outcome, force=self._force)
            if why is None:
                given += 1
                yield letter
            else:
                self.refused[why] += 1
                if len(self.refusals) < _TOLD:
                    self.refusals.append((letter.id, why))
            if are_named:
                self.seen.add(letter.id)


def _told_filters(filters: dict[str, Any]) -> str:
    return " ".join(f"{name}={value}" for name, value in filters.items() if value) or "all"


def _settle(outcome: Outcome, ids: tuple[LetterId, ...], given: dict[str, Any]) -> None:
    filters = {name: given[name] for name in ("reason", "provider", "topic", "since", "until")}
    if not ids and not given["is_all"] and not any(filters.values()):
        raise click.UsageError("name dead letters by their ids, choose them by filters, or take --all")
    if ids and (given["is_all"] or any(filters.values())):
        raise click.UsageError("name dead letters by their ids or choose them by filters, not both")
    settings = settings_from_environment()
    query = _query(filters, None)
    done = 0

    async def main() -> _Chosen:
        nonlocal done
        if not given["dry_run"]:
            await write_down(settings, DEEDS[outcome], " ".join(map(str, ids)) or _told_filters(filters))
        async with Settler(settings, is_reading_only=given["dry_run"]) as settler:
            chosen = _Chosen(settler, outcome, force=given["force"], limit=given["limit"])
            async with aclosing(letters_at(settings, ids) if ids else letters(settings, since=query.since)) as found:
                wanted = chosen.of(found, query, are_named=bool(ids))
                if given["dry_run"]:
                    async for _ in wanted:
                        done += 1
                    return chosen
                with progress(outcome.value, None) as advance:
                    async for number in settle_all(settler, wanted, outcome, rate=given["rate"]):
                        done += number
                        advance(number)
        return chosen

    try:
        chosen = run_async(settings, main)
    except TakenOverError as error:
        raise Failure(f"{done:,} {outcome.value}; {error}") from None
    _tell_settled(outcome, done, chosen, given)
    missing = [str(each) for each in ids if each not in chosen.seen]
    if missing:
        raise Failure(f"there is no dead letter {', '.join(missing)}", EXIT_NOT_FOUND)
    if ids and chosen.refused:
        raise Failure(f"{chosen.refused.total()} of the {len(ids)} named were left as they are")


def _tell_settled(outcome: Outcome, done: int, chosen: _Chosen, given: dict[str, Any]) -> None:
    if given["as_json"]:
        refusals = [{"id": str(letter), "why": why} for letter, why in chosen.refusals]
        told = {"dry_run": given["dry_run"], outcome.value: done, "refused": chosen.refused.total()}
        echo_json({**told, "refusals": refusals})
        return
    echo(f"{'would be ' if given['dry_run'] else ''}{outcome.value}: {done:,}")
    for why, number in chosen.refused.most_common(_TOLD):
        echo(f"left as they are: {number:,}, because {why}")
    if any(not why.startswith("it was ") for why in chosen.refused):
        echo(f"{RUNBOOK} says what to do about those that cannot be replayed")
