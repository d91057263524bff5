"""What the README shows of the command is what the command writes."""

import textwrap
from datetime import datetime, timezone
from pathlib import Path

from processor.cli.inspect import _tell_message
from processor.demo.simulate.story import FAILED_MESSAGE, failed_message
from processor.domain.event import Event
from processor.domain.fold import fold
from processor.providers import ADAPTERS, read
from processor.providers.adapter import Context, Memory
from processor.providers.fields import json_of
from processor.wire.events import decode_event, encode_event
from processor.wire.rows import decode_row_record, encode_row

README = Path(__file__).parents[2] / "README.md"
START = datetime(2026, 11, 23, 8, tzinfo=timezone.utc)


def test_the_message_that_the_readme_shows_is_the_one_of_the_demo(capsys):
    context = Context(START, message_id_names=("message_id",), delivery_id_names=("delivery_id",), memory=Memory())
    row = None
    for record in failed_message(START):
        if dict(record.headers).get("provider"):
            for finding in read(ADAPTERS["kumomta"], json_of(record.value), context):
                assert isinstance(finding, Event)
                row, _ = fold(row, *decode_event(encode_event(finding), None))
    _tell_message(decode_row_record(encode_row(FAILED_MESSAGE, row, None)))
    written = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    shown = README.read_text(encoding="utf-8").partition(f"    $ delivery-status message {FAILED_MESSAGE}\n")[2]
    assert textwrap.dedent(shown.partition("\n\n")[0]).splitlines() == written
