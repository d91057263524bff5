"""Commands without Kafka: `normalize` and `fold`."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any, BinaryIO

import click
import orjson

from processor.cli.common import echo, echo_json
from processor.cli.lines import lines_of
from processor.domain.event import Event
from processor.domain.fold import fold as fold_event
from processor.domain.row import Row
from processor.domain.transitions import NODE_NAMES
from processor.providers import ADAPTERS, outcome, read
from processor.providers.adapter import Context, Memory
from processor.providers.fields import json_of
from processor.settings import ID_NOTATIONS, MESSAGE_ID_COVERS
from processor.wire.deadletters import UnusableError
from processor.wire.events import decode_event, encode_event
from processor.wire.rows import encode_folded

_FILE = click.argument("file", type=click.File("rb"), default="-")


@click.command()
@click.option("--provider", required=True, type=click.Choice(sorted(ADAPTERS)), help="The provider of the payloads.")
@click.option("--message-id-names", default="message_id", help="Names of our message id in payloads.")
@click.option("--delivery-id-names", default="delivery_id", help="Names of our delivery id in payloads.")
@click.option("--attempt-names", default="attempt", help="Names of our attempt number in payloads.")
@click.option(
    "--message-id-covers",
    type=click.Choice(MESSAGE_ID_COVERS),
    default="recipient",
    show_default=True,
    help="Whether our message id is of one recipient or of a whole send.",
)
@click.option("--account", default="", help="The provider's account, as in the header `account`.")
@click.option("--smpp-receipts-by-text", is_flag=True, help="Recognize receipts by their text alone.")
@click.option(
    "--smpp-id-notation",
    type=click.Choice(ID_NOTATIONS),
    help="Notation of ids in submit_sm_resp and in receipts, where they differ.",
)
@_FILE
def normalize(  # noqa: PLR0913, PLR0917 - its options
    provider: str,
    message_id_names: str,
    delivery_id_names: str,
    attempt_names: str,
    message_id_covers: str,
    account: str,
    smpp_receipts_by_text: bool,
    smpp_id_notation: str | None,
    file: BinaryIO,
) -> None:
    """Read a provider's payloads as JSON Lines, and write the canonical events of each.

    Each line is one JSON value: an object or array is the payload itself, a string is the payload's text.
    """
    context = Context(
        datetime.now(timezone.utc),
        message_id_names=tuple(message_id_names.split(",")),
        delivery_id_names=tuple(delivery_id_names.split(",")),
        attempt_names=tuple(attempt_names.split(",")),
        message_id_covers_send=message_id_covers == "send",
        account=account,
        receipts_by_text=smpp_receipts_by_text,
        id_notations={} if smpp_id_notation is None else {account: smpp_id_notation},
        memory=Memory(),
    )
    for number, line in lines_of(file):
        echo_json(_normalized(number, line, provider, context))


def _normalized(number: int, line: bytes, provider: str, context: Context) -> dict[str, Any]:
    try:
        payload = json_of(line)
    except ValueError as error:
        return {"line": number, "outcome": "dead", "events": [], "detail": f"the line is not JSON: {error}"}
    findings = read(ADAPTERS[provider], payload, context)
    word, detail = outcome(findings)
    events = [orjson.Fragment(encode_event(finding)) for finding in findings if isinstance(finding, Event)]
    return {"line": number, "outcome": word, "events": events, "detail": detail}


@click.command()
@click.option("--verdicts", is_flag=True, help="First write one line for each event: its verdict and why.")
@_FILE
def fold(verdicts: bool, file: BinaryIO) -> None:
    """Fold canonical events (JSON Lines), and write one row per message, sorted by id.

    Bad lines are counted on standard error; the rest is folded.
    """
    rows: dict[str, Row] = {}
    bad = 0
    for number, line in lines_of(file):
        try:
            event, node, time = decode_event(line, None)
        except UnusableError as error:
            bad += 1
            verdict: dict[str, Any] = {"verdict": "dead", "from": None, "to": None, "detail": str(error)}
        else:
            before = rows.get(event.message_id)
            row, judged = fold_event(before, event, node, time)
            rows[event.message_id] = row
            verdict = {
                "verdict": judged.value,
                "from": NODE_NAMES[before.node] if before is not None else None,
                "to": NODE_NAMES[row.node],
                "detail": f"{NODE_NAMES[node]} reported for {event.message_id}",
            }
        if verdicts:
            echo_json({"line": number, **verdict})
    output = click.get_binary_stream("stdout")
    for message_id in sorted(rows):
        output.write(encode_folded(message_id, rows[message_id]) + b"\n")
    output.flush()
    if bad:
        echo(f"{bad} bad lines (dead); --verdicts says why", err=True)
