"""The command `erase`: remove what is told of a person, by the address."""

from __future__ import annotations

import click
import msgspec

from processor.cli.auditing import write_down
from processor.cli.common import EXIT_FAILED, EXIT_USAGE, Failure, echo, echo_table, json_option
from processor.cli.connection import run_async, settings_from_environment
from processor.engine.replaying import TakenOverError
from processor.printable import printable
from processor.settings import Settings
from processor.web.erasing import ErasureReport, ask, finish, is_whole, plan
from processor.wire.audit import Deed


@click.command()
@click.option("--recipient", required=True, metavar="ADDRESS", help="The whole address or number, as people write it.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option(
    "--wait",
    type=click.FloatRange(min=0),
    default=60.0,
    show_default=True,
    metavar="SECONDS",
    help="Maximum time to wait for the workers.",
)
@json_option
def erase(recipient: str, yes: bool, wait: float, as_json: bool) -> None:
    """Erase a person's data by the address, and tell what is gone and when the rest will be.

    It cannot be undone. Rows keep status and counts; recipient and texts are removed from rows, change feed, links and
    dead letters, and are not taken from later events. Exit code 1: the workers have not confirmed it yet.
    """
    settings = settings_from_environment()
    if not is_whole(recipient):
        raise click.UsageError("--recipient needs a whole address or number")
    if not yes:
        _confirm(recipient)

    async def main() -> ErasureReport:
        erasure = await plan(settings, recipient)
        await write_down(settings, Deed.ERASE, erasure.erasure_id)
        await ask(settings, erasure)
        return await finish(settings, recipient, erasure, wait)

    try:
        report = run_async(settings, main)
    except TakenOverError as error:
        raise Failure(f"the workers were asked; of the dead letters nothing is known: {error}") from None
    if as_json:
        click.get_binary_stream("stdout").write(msgspec.json.encode(report) + b"\n")
    else:
        _tell(settings, report)
    if not report.is_done:
        raise Failure(
            "the workers have not confirmed it: they erase as soon as they run; `erase` again shows it", EXIT_FAILED
        )


def _confirm(recipient: str) -> None:
    try:
        agreed = click.confirm(f"Erase what is told of {printable(recipient)}? This cannot be undone.", err=True)
    except click.Abort:
        raise Failure("nobody is there to confirm it; --yes does not ask", EXIT_USAGE) from None
    if not agreed:
        raise Failure("nothing was erased")


def _tell(settings: Settings, report: ErasureReport) -> None:
    echo(
        f"erased from {report.messages:,} messages, {report.native_keys:,} provider's ids that wait or are linked, "
        f"{report.links:,} links and {report.dead_letters:,} dead letters of {settings.topic_prefix}*"
    )
    until = "for ever" if report.remembered_until is None else f"until {report.remembered_until}"
    echo(f"later events of this address are erased as they come, {until}")
    echo_table(
        ("topic", "newest values", "older bytes gone by", "set by"),
        [
            (
                each.topic,
                "erased" if each.is_erased else "as they came",
                each.gone_by or "no date is set",
                each.by,
            )
            for each in report.topics
        ],
    )
