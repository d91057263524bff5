"""Shared by all commands: exit codes, error texts, and output for people or machines.

Nothing here imports a client of Kafka: commands that ask no broker start without (`connection.py` is for the others).
"""

from __future__ import annotations

import io
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import click
import orjson

from processor.printable import printable

EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_UNREACHABLE = 3
EXIT_NOT_FOUND = 4

json_option = click.option("--json", "as_json", is_flag=True, help="Write JSON for machines.")


class Failure(click.ClickException):
    """A command failed; the text says why."""

    def __init__(self, message: str, exit_code: int = EXIT_FAILED) -> None:
        super().__init__(message)
        self.exit_code = exit_code


def echo(line: str, *, err: bool = False) -> None:
    """Write one line for people. Quoted text can neither begin another line nor control the terminal."""
    click.echo(printable(line), err=err)


def echo_error(error: click.ClickException) -> None:
    """Write an error and the command's usage to standard error; the error may quote anything."""
    told = io.StringIO()
    error.show(told)
    for line in told.getvalue().rstrip("\n").split("\n"):
        echo(line, err=True)


def console(*, err: bool = False) -> Any:
    """Return a terminal to draw on that does not interpret text as markup."""
    from rich.console import Console

    return Console(stderr=err, markup=False, emoji=False, highlight=False)


def echo_json(value: object) -> None:
    """Write one JSON object as a line."""
    sys.stdout.buffer.write(orjson.dumps(value, default=str) + b"\n")
    sys.stdout.buffer.flush()


def echo_table(columns: Iterable[str], rows: Iterable[Iterable[object]], title: str | None = None) -> None:
    """Write a table for people, numbers aligned right."""
    from rich.table import Table
    from rich.text import Text

    def text(cell: object) -> Text:
        return Text(f"{cell:,}" if isinstance(cell, int) else printable(str(cell)))

    table = Table(title=None if title is None else text(title), title_justify="left", box=None, pad_edge=False)
    lines = [[*row] for row in rows]
    for index, column in enumerate(columns):
        numeric = bool(lines) and all(isinstance(line[index], int) for line in lines)
        # An id that does not fit goes on in the next line: one that is cut short is good for nothing.
        table.add_column(text(column), justify="right" if numeric else "left", no_wrap=numeric, overflow="fold")
    for line in lines:
        table.add_row(*map(text, line))
    console().print(table)


@contextmanager
def progress(label: str, total: int | None) -> Iterator[Callable[[int], Any]]:
    """Show a progress bar on standard error if it is a terminal; return the function that advances it."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    with Progress(*columns, console=console(err=True), transient=True) as bar:
        task = bar.add_task(printable(label), total=total)
        yield lambda amount: bar.advance(task, amount)
