"""Commands without Kafka: `normalize` and `fold`."""

from __future__ import annotations

from collections.abc import Iterator
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
from processor.providers import ADAPTERS, decode_payload, outcome, read
from processor.providers.adapter import Adapter, Context, Memory
from processor.providers.fields import json_of
from processor.settings import MESSAGE_ID_COVERS
from processor.settings.parsers import ID_NOTATIONS
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
@click.option("--body", is_flag=True, help="The file is one payload, of one line or several: the body of a call.")
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
    body: bool,
    file: BinaryIO,
) -> None:
    """Read a provider's payloads, one on each line (plain or zstd), and write the canonical events of each.

    A line is JSON or text. JSON: an object or array is the payload itself, a string is the payload's text. Text is the
    payload: a line of the provider's log, or a form as it was posted. Of CSV, a payload is the header line and one line
    of data.
    """
    adapter = ADAPTERS[provider]
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
    for number, payload in [(1, file.read().strip())] if body else _payloads(file, adapter):
        if payload is None:
            found: dict[str, Any] = {"outcome": "no_status", "events": [], "detail": "the header line"}
        else:
            found = _normalized(payload, adapter, context)
        echo_json({"line": number, **found})


def _payloads(file: BinaryIO, adapter: Adapter) -> Iterator[tuple[int, bytes | None]]:
    """Yield the payload of each line with its number; None for a header line, which belongs to the lines below it."""
    header = b""
    for number, line in lines_of(file):
        text = None if adapter.is_header is None else _text_of(line)
        if text is None or adapter.is_header is None:
            yield number, line
        elif adapter.is_header(text):
            header = line + b"\n"
            yield number, None
        else:
            yield number, header + line


def _text_of(line: bytes) -> str | None:
    """Return a line that is text and not JSON; None: it is JSON, or neither."""
    try:
        payload = decode_payload(line)
    except ValueError:
        return None
    # A string in JSON has lost its quotes.
    return payload if isinstance(payload, str) and payload.encode(errors="surrogatepass") == line else None


def _normalized(value: bytes, adapter: Adapter, context: Context) -> dict[str, Any]:
    try:
        payload = decode_payload(value)
    except ValueError as error:
        return {"outcome": "dead", "events": [], "detail": str(error)}
    findings = read(adapter, payload, context)
    word, detail = outcome(findings)
    if word == "dead" and isinstance(payload, str) and value.startswith((b"{", b"[")):
        detail = f"{_json_fault(value)}; {detail}"
    events = [orjson.Fragment(encode_event(finding)) for finding in findings if isinstance(finding, Event)]
    return {"outcome": word, "events": events, "detail": detail}


def _json_fault(value: bytes) -> str:
    try:
        json_of(value)
    except ValueError as error:
        return f"it is not JSON: {error}"
    return "it is not JSON"


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
