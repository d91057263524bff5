"""The gateway's commands: `gateway verify`."""

from __future__ import annotations

from typing import BinaryIO

import click

from processor.cli.common import echo_json
from processor.cli.lines import lines_of
from processor.gateway.trial import judge
from processor.gateway.verifiers import SIGNATURES, UNSIGNED


@click.group()
def gateway() -> None:
    """Try out what the gateway does with providers' calls: whether they are verified."""


@gateway.command()
@click.option(
    "--provider", required=True, type=click.Choice(sorted((*SIGNATURES, *UNSIGNED))), help="Whose calls they are."
)
@click.argument("file", type=click.File("rb"), default="-")
def verify(provider: str, file: BinaryIO) -> None:
    """Verify calls of a provider (JSON Lines), and write of each whether it is accepted, and why.

    Each line is {"secrets": [...], "method": "POST", "url": as signed, "headers": {...}, "body": "text" or
    "body_base64": "...", "now": RFC 3339 or null}. With now null, rules about time are off.
    """
    for number, line in lines_of(file):
        accepted, detail = judge(provider, line)
        echo_json({"line": number, "accepted": accepted, "detail": detail})
