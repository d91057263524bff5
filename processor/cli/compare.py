"""The command `compare`: how many messages have another status in two results of the same events, and which."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from typing import BinaryIO, NamedTuple

import click
import msgspec

from processor.cli.buckets import Side, side_by_side
from processor.cli.common import EXIT_FAILED, Failure, echo, echo_table, json_option
from processor.cli.lines import lines_of
from processor.cli.options import parse_moment
from processor.domain.status import Status
from processor.views.comparison import Comparison, CountsDifference, Difference, Kind, Standing

#: How many messages of each kind are named unless another number is given; how many moves are listed.
_NAMED, _MOVES = 10, 30
#: How many records that cannot be read are named.
_LEFT_OUT_TOLD = 20

_encode = msgspec.json.Encoder().encode
_decode_standing = msgspec.json.Decoder(Standing).decode

Write = Callable[[Difference | CountsDifference], None]


class _Line(msgspec.Struct, frozen=True):
    """The names in a line of `export`: a message's, or with --deliveries a delivery's."""

    message_id: str | None = None
    delivery_id: str | None = None
    statuses: dict[Status, int] | None = None


_decode_line = msgspec.json.Decoder(_Line).decode


class Source(NamedTuple):
    """One side: its messages, and the counts of its deliveries."""

    side: Side
    counts: dict[str, dict[Status, int]]


@click.command()
@click.argument("files", nargs=-1, type=click.File("rb"), metavar="[LIVE SHADOW]")
@click.option(
    "--until",
    callback=parse_moment,
    metavar="TIME",
    help="Leave out messages that a side moved after this time: the other may not have heard of it yet.",
)
@click.option(
    "--named", type=click.IntRange(min=0), default=_NAMED, show_default=True, help="Messages of each kind to name."
)
@click.option("--all", "as_stream", is_flag=True, help="Write each difference as a line of JSON instead.")
@json_option
def compare(files: tuple[BinaryIO, ...], until: datetime | None, named: int, as_stream: bool, as_json: bool) -> None:
    """Compare two exports, or a shadow with the live topics; name messages that differ; exit 1 if any do.

    LIVE and SHADOW are files (plain or zstd) of `export`, of `export --deliveries`, of both, or lists of the API as
    JSON Lines; one of them may be `-`. Without files, the topics are compared: those of DELIVERY_SHADOW_OF with the
    shadow's own, counts of deliveries included unless --until is given, since counts have no times.
    """
    if len(files) not in {0, 2}:
        raise click.UsageError("give two files, or none to compare topics")
    comparison, left_out = Comparison(named, until), list[str]()
    with Side() as ours, Side() as theirs:
        sources = Source(ours, {}), Source(theirs, {})
        if files:
            for source, file in zip(sources, files, strict=True):
                _read(source, file)
        else:
            _read_topics(*sources, left_out, with_counts=until is None)
        judge(comparison, *sources, _write_line if as_stream else _keep_quiet)
    agrees = tell(comparison, as_json=as_json, as_stream=as_stream)
    if left_out:
        told = "".join([f"\n  - {each}" for each in left_out[:_LEFT_OUT_TOLD]])
        raise Failure(f"{len(left_out)} records cannot be read and were not compared:{told}")
    if not agrees:
        raise click.exceptions.Exit(EXIT_FAILED)


def _read_topics(live: Source, shadow: Source, left_out: list[str], *, with_counts: bool) -> None:
    # Files are compared without a client of Kafka.
    from processor.cli.compare_topics import read_counts, read_sides
    from processor.cli.connection import run_async, settings_from_environment

    settings = settings_from_environment()
    if not settings.shadow_of:
        raise click.UsageError("give two files, or set DELIVERY_SHADOW_OF to the prefix of the live topics")

    async def main() -> None:
        await read_sides(settings, (live.side, shadow.side), left_out)
        if with_counts:
            for source, counts in zip((live, shadow), await read_counts(settings, left_out), strict=True):
                source.counts.update(counts)

    run_async(settings, main)


def _read(source: Source, file: BinaryIO) -> None:
    for number, line in lines_of(file):
        try:
            names = _decode_line(line)
            if names.message_id is not None:
                source.side.put(names.message_id.encode(), _encode(_decode_standing(line)))
            elif names.delivery_id is not None and names.statuses is not None:
                source.counts[names.delivery_id] = names.statuses
            else:
                raise msgspec.ValidationError("it names neither a message nor the counts of a delivery")
        except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
            raise Failure(f"{file.name}, line {number}: {error}; `delivery-status export` writes such lines") from None


def judge(comparison: Comparison, live: Source, shadow: Source, write: Write) -> None:
    """Compare two sides, and hand over each difference."""
    for key, ours, theirs in side_by_side(live.side, shadow.side):
        if ours == theirs and ours is not None:
            comparison.see_equal()
            continue
        sides = [None if each is None else _decode_standing(each) for each in (ours, theirs)]
        difference = comparison.see(key.decode(), *sides)
        if difference is not None:
            write(difference)
    if live.counts or shadow.counts:
        for counted in comparison.see_counts(live.counts, shadow.counts):
            write(counted)


def _keep_quiet(_: Difference | CountsDifference) -> None:
    """Write nothing: the sum says it."""


def _write_line(difference: Difference | CountsDifference) -> None:
    click.get_binary_stream("stdout").write(_encode(difference) + b"\n")


# The sum


def tell(comparison: Comparison, *, as_json: bool, as_stream: bool) -> bool:
    """Write the sum of a comparison; return whether the sides agree."""
    if as_stream:
        # Standard output has the differences alone.
        echo(_told_sum(comparison), err=True)
    elif as_json:
        click.get_binary_stream("stdout").write(_encode(_as_data(comparison)) + b"\n")
    else:
        _tell_tables(comparison)
    return comparison.agrees


def _told_sum(comparison: Comparison) -> str:
    kinds = comparison.kinds
    parts = [
        f"{comparison.live:,} messages live and {comparison.shadow:,} shadow",
        f"{comparison.equal:,} equal",
        f"{kinds[Kind.STATUS]:,} with another status",
        f"{kinds[Kind.DETAILS]:,} with other details",
        f"{kinds[Kind.ONLY_LIVE]:,} only live",
        f"{kinds[Kind.ONLY_SHADOW]:,} only shadow",
    ]
    if comparison.until is not None:
        parts.append(f"{comparison.left_out:,} left out")
    if comparison.deliveries is not None:
        parts.append(f"{comparison.counts_differ:,} of {comparison.deliveries:,} deliveries counted otherwise")
    return "; ".join(parts)


def _as_data(comparison: Comparison) -> dict[str, object]:
    kinds = comparison.kinds
    moves = [{**move._asdict(), "messages": number} for move, number in comparison.moves.most_common()]
    data: dict[str, object] = {
        "agrees": comparison.agrees,
        "live": comparison.live,
        "shadow": comparison.shadow,
        "equal": comparison.equal,
        "left_out": comparison.left_out,
        **{kind.value: kinds[kind] for kind in Kind},
        "moves": moves,
        "fields": dict(comparison.fields),
        "named": [each for those in comparison.named.values() for each in those],
    }
    if comparison.deliveries is not None:
        told = {"compared": comparison.deliveries, "differ": comparison.counts_differ, "named": comparison.counts_named}
        data["deliveries"] = told
    return data


def _tell_tables(comparison: Comparison) -> None:
    echo(_told_sum(comparison))
    moves = comparison.moves.most_common()
    if moves:
        rows = [
            (move.live or "-", move.shadow or "-", move.provider or "-", move.category or "-", number)
            for move, number in moves[:_MOVES]
        ]
        echo_table(("live", "shadow", "provider", "reason", "messages"), rows)
    if len(moves) > _MOVES:
        echo(f"and {len(moves) - _MOVES} moves more; --json lists all")
    for name, number in comparison.fields.most_common():
        echo(f"{number:,} stand at the same status with another {name}")
    _tell_named(comparison)
    if comparison.counts_named:
        echo_table(("delivery", "live", "shadow"), map(_counts_row, comparison.counts_named))


def _tell_named(comparison: Comparison) -> None:
    rows = [
        (each.message_id, _told_kind(each), _told(each.live), _told(each.shadow))
        for those in comparison.named.values()
        for each in those
    ]
    if rows:
        echo_table(("message", "difference", "live", "shadow"), rows)
    if sum(comparison.kinds.values()) > len(rows):
        echo("there are more; --named shows more of them, --all writes all")


def _told_kind(difference: Difference) -> str:
    is_of_details = difference.difference is Kind.DETAILS
    return ", ".join(difference.fields) if is_of_details else difference.difference.value


def _told(side: Standing | None) -> str:
    return "-" if side is None else side.place


def _counts_row(counted: CountsDifference) -> Iterable[str]:
    def told(numbers: dict[Status, int]) -> Iterator[str]:
        return (f"{status.value} {number:,}" for status, number in numbers.items())

    return counted.delivery_id, ", ".join(told(counted.live)), ", ".join(told(counted.shadow))
