"""The command `delivery-status`.

Exit codes: 0 done; 1 it failed, `check` found something wrong, or `compare` a difference; 2 wrong usage or wrong
settings, also other ones than the group's workers have; 3 the brokers cannot be reached; 4 not found; 130 interrupted.
"""

from __future__ import annotations

import io
import os
import sys

import click

from processor.cli.common import EXIT_FAILED, EXIT_UNREACHABLE, EXIT_USAGE, echo, echo_error
from processor.cli.lazy import Lazy, LazyGroup
from processor.installed import UNKNOWN, commit, version
from processor.settings import SettingsError

#: Every command. Its summary is the first sentence of its help.
COMMANDS = {
    "addresses": Lazy(
        "processor.cli.addresses:addresses",
        "Show which addresses not to send to, and release them: the feed of docs/addresses.md.",
    ),
    "audit": Lazy(
        "processor.cli.auditing:audit",
        "List who did what, newest first: writes, and views of unmasked recipients.",
    ),
    "backup": Lazy(
        "processor.cli.backup:backup",
        "Write the state of all messages and deliveries, as it is committed, into a file; `-`: standard output.",
    ),
    "broker": Lazy(
        "processor.cli.run:broker",
        "Run the embedded Kafka until SIGTERM or SIGINT: to try things out, not for production.",
    ),
    "cancel": Lazy(
        "processor.cli.deliveries:cancel",
        "Cancel a delivery, for good.",
    ),
    "check": Lazy(
        "processor.cli.check:check",
        "Check settings, brokers and topics; name each problem with its remedy, and exit 1 if there are any.",
    ),
    "compare": Lazy(
        "processor.cli.compare:compare",
        "Compare two exports, or a shadow with the live topics; name messages that differ; exit 1 if any do.",
    ),
    "control": Lazy(
        "processor.cli.deliveries:control",
        "Publish a control record: an action on a delivery, and facts about it.",
    ),
    "dead": Lazy(
        "processor.cli.dead:dead",
        "List, show, replay and discard dead letters: records that could not be used.",
    ),
    "deliveries": Lazy(
        "processor.cli.deliveries:deliveries",
        "List deliveries with their progress and why they are pending.",
    ),
    "delivery": Lazy(
        "processor.cli.deliveries:delivery",
        "Show one delivery: messages by status, indicators, and why it is pending.",
    ),
    "demo": Lazy(
        "processor.cli.demo:demo",
        "Run everything: an embedded Kafka, a worker with its page, and simulated traffic of all providers.",
    ),
    "erase": Lazy(
        "processor.cli.erasing:erase",
        "Erase a person's data by the address, and tell what is gone and when the rest will be.",
    ),
    "export": Lazy(
        "processor.cli.inspect:export",
        "Write all committed rows as JSON Lines, in the format of `fold`, sorted within each partition.",
    ),
    "find": Lazy(
        "processor.cli.messages:find",
        "Find messages by id, provider's id or whole address, and deliveries by id or a part of the label.",
    ),
    "finish": Lazy(
        "processor.cli.deliveries:finish",
        "Finish a delivery, for good: no more messages come.",
    ),
    "fold": Lazy(
        "processor.cli.offline:fold",
        "Fold canonical events (JSON Lines), and write one row per message, sorted by id.",
    ),
    "gateway": Lazy(
        "processor.cli.gateway:gateway",
        "Receive providers' webhooks until SIGTERM or SIGINT, and publish them as raw records.",
    ),
    "ingest": Lazy(
        "processor.cli.publish:ingest",
        "Publish a provider's log files (plain or zstd) as raw records, one for each line.",
    ),
    "link": Lazy(
        "processor.cli.links:link",
        "Publish that a provider's id is a message of yours: its receipts are that message's from then on.",
    ),
    "message": Lazy(
        "processor.cli.inspect:message",
        "Show one message: status, since when, reason, and what was reported.",
    ),
    "messages": Lazy(
        "processor.cli.messages:messages",
        "List messages, newest change first.",
    ),
    "normalize": Lazy(
        "processor.cli.offline:normalize",
        "Read a provider's payloads, one on each line (plain or zstd), and write the canonical events of each.",
    ),
    "pause": Lazy(
        "processor.cli.deliveries:pause",
        "Pause a delivery: what was not handed over waits, and is not called stuck.",
    ),
    "reasons": Lazy(
        "processor.cli.reasons:reasons",
        "List the reasons that providers gave for failures, most frequent first, without numbers, addresses and ids.",
    ),
    "restore": Lazy(
        "processor.cli.backup:restore",
        "Write what `backup` wrote into new topics, before any worker runs there.",
    ),
    "resume": Lazy(
        "processor.cli.deliveries:resume",
        "Resume a delivery that is paused.",
    ),
    "schemas": Lazy(
        "processor.cli.schemas:schemas",
        "List the JSON Schemas of all records and the AsyncAPI file, or write the one that is named.",
    ),
    "simulate": Lazy(
        "processor.cli.publish:simulate",
        "Publish traffic like that of real providers, with duplicate, late, contradictory and broken records.",
    ),
    "size": Lazy(
        "processor.cli.sizing:size",
        "Tell what so many messages a day need: workers, partitions, memory and disks, from measured figures.",
    ),
    "topics": Lazy(
        "processor.cli.check:topics",
        "Create the topics, or compare them with their declaration.",
    ),
    "worker": Lazy(
        "processor.cli.run:worker",
        "Run one worker until SIGTERM or SIGINT; start one for each core to use.",
    ),
}


def _tell_version(context: click.Context, _: click.Parameter, is_asked: bool) -> None:
    if is_asked and not context.resilient_parsing:
        echo(f"delivery-status {version()} (commit {commit(os.environ.get('DELIVERY_COMMIT') or UNKNOWN)})")
        context.exit()


@click.group(
    cls=LazyGroup, lazy=COMMANDS, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110}
)
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_tell_version,
    help="Show version and commit.",
)
def cli() -> None:
    """Tell which status each message has, why and since when, and how far each delivery is."""


def main() -> None:
    """Run the command; print errors in a few lines, without a stack trace."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # What the terminal's encoding does not have is escaped.
            stream.reconfigure(errors="backslashreplace")
    try:
        # Where a command ended itself with an exit code, as `check` does, click gives it back.
        sys.exit(cli(standalone_mode=False))
    except SettingsError as error:
        for problem in error.problems:
            echo(f"settings: {problem}", err=True)
        sys.exit(EXIT_USAGE)
    except click.exceptions.Abort:
        sys.exit(130)
    except click.ClickException as error:
        echo_error(error)
        sys.exit(error.exit_code)
    except BrokenPipeError:
        # The reader of our output has closed it, like `head`; that is no error.
        sys.stderr.close()
        sys.exit(0)


__all__ = ["EXIT_FAILED", "EXIT_UNREACHABLE", "cli", "main"]
