"""The command `delivery-status`.

Exit codes: 0 done; 1 it failed, or `check` found something wrong; 2 wrong usage or wrong settings, also other
ones than the group's workers have; 3 the brokers cannot
be reached; 4 not found.
"""

from __future__ import annotations

import io
import sys

import click

from processor.cli import check, deliveries, inspect, offline, publish, reasons, run
from processor.cli.common import EXIT_FAILED, EXIT_UNREACHABLE, EXIT_USAGE, echo, echo_error
from processor.settings import SettingsError


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="delivery-status")
def cli() -> None:
    """Tell for every message and delivery which status is true now, why, and since when."""


for part in (run, publish, inspect, deliveries, check, offline, reasons):
    for command in part.COMMANDS:
        cli.add_command(command)


def main() -> None:
    """Run the command; errors are told in a few lines, not as a stack trace."""
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
        # Whoever read our output has gone, as `head` does; nothing is wrong.
        sys.stderr.close()
        sys.exit(0)


__all__ = ["EXIT_FAILED", "EXIT_UNREACHABLE", "cli", "main"]
