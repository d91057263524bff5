"""What the commands share: settings, errors in words, and output for people or machines."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import click
import orjson
import uvloop

from processor import logs
from processor.engine.admin import MissingTopicError
from processor.engine.clients import KafkaConnectionError, KafkaError
from processor.printable import printable
from processor.settings import Settings, load

EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_UNREACHABLE = 3
EXIT_NOT_FOUND = 4

Result = TypeVar("Result")

json_option = click.option("--json", "as_json", is_flag=True, help="Write JSON for machines.")


class Failure(click.ClickException):
    """A command could not do what was asked."""

    def __init__(self, message: str, exit_code: int = EXIT_FAILED) -> None:
        super().__init__(message)
        self.exit_code = exit_code


def settings_from_environment() -> Settings:
    """Read the settings, for a command that tells by itself what is wrong: the log speaks only of what is critical.

    Raises:
        SettingsError: with every problem at once.
    """
    settings = load(os.environ)
    logs.configure("CRITICAL", settings.log_format)
    return settings


def run_async(settings: Settings, main: Callable[[], Awaitable[Result]]) -> Result:
    """Run a coroutine that talks to Kafka; say in words when it cannot be reached."""

    async def guarded() -> Result:
        return await main()

    try:
        return uvloop.run(guarded())
    except KafkaConnectionError as error:
        raise Failure(_told_unreachable(settings, error), EXIT_UNREACHABLE) from None
    except KafkaError as error:
        raise Failure(f"Kafka says: {error!r}") from error
    except MissingTopicError as error:
        raise Failure(str(error), EXIT_NOT_FOUND) from None


def _told_unreachable(settings: Settings, error: Exception) -> str:
    told = f"no broker answers at {settings.brokers} (DELIVERY_BROKERS): {error}"
    if settings.uses_sasl or settings.uses_tls:
        # A client learns no more than that the broker hung up on it.
        told += f"; or it refuses {settings.security_protocol}: look at DELIVERY_SASL_* and DELIVERY_TLS_*, and its log"
    return told


def echo(line: str, *, err: bool = False) -> None:
    """Write one line for people; what it quotes cannot begin another, nor tell the terminal anything."""
    click.echo(printable(line), err=err)


def echo_error(error: click.ClickException) -> None:
    """Write an error, and how the command is used, to standard error; it may quote anything."""
    told = io.StringIO()
    error.show(told)
    for line in told.getvalue().rstrip("\n").split("\n"):
        echo(line, err=True)


def console(*, err: bool = False) -> Any:
    """Give a terminal to draw on, which takes no text for markup."""
    from rich.console import Console

    return Console(stderr=err, markup=False, emoji=False, highlight=False)


def echo_json(value: object) -> None:
    """Write one JSON object as a line."""
    sys.stdout.buffer.write(orjson.dumps(value, default=str) + b"\n")
    sys.stdout.buffer.flush()


def echo_table(columns: Iterable[str], rows: Iterable[Iterable[object]], title: str | None = None) -> None:
    """Write a table for people; numbers to the right."""
    from rich.table import Table
    from rich.text import Text

    def text(cell: object) -> Text:
        return Text(f"{cell:,}" if isinstance(cell, int) else printable(str(cell)))

    table = Table(title=None if title is None else text(title), title_justify="left", box=None, pad_edge=False)
    lines = [[*row] for row in rows]
    for index, column in enumerate(columns):
        numeric = bool(lines) and all(isinstance(line[index], int) for line in lines)
        table.add_column(text(column), justify="right" if numeric else "left", no_wrap=numeric)
    for line in lines:
        table.add_row(*map(text, line))
    console().print(table)


@contextmanager
def progress(label: str, total: int | None) -> Iterator[Callable[[int], Any]]:
    """Show a bar on standard error while it is a terminal; give the function that advances it."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    with Progress(*columns, console=console(err=True), transient=True) as bar:
        task = bar.add_task(printable(label), total=total)
        yield lambda amount: bar.advance(task, amount)
