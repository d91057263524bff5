"""The command `schemas`: what is on the wire, as it was published with this version."""

from __future__ import annotations

import sys

import click

from processor.cli.common import EXIT_NOT_FOUND, Failure, echo, echo_json, json_option
from processor.wire.schemas import schema_names, schema_text


@click.command()
@click.argument("name", required=False)
@json_option
def schemas(name: str | None, as_json: bool) -> None:
    """List the JSON Schemas of all records and the AsyncAPI file, or write the one that is named."""
    names = schema_names()
    if name is None:
        if as_json:
            echo_json(names)
        else:
            for each in names:
                echo(each)
        return
    if name not in names:
        raise Failure(f"there is no schema {name!r}, only {', '.join(names)}", EXIT_NOT_FOUND)
    # As it is: it is ours, and may be kept in a file.
    sys.stdout.buffer.write(schema_text(name).encode())
