"""A backup is whole or none, and holds what the topics may hold; tests/cli/state/ takes and restores one."""

from io import BytesIO

import msgspec
import pytest
from click import ClickException

from processor.cli import backup
from processor.cli.backup import records_in
from processor.settings import Settings
from processor.wire.counts import RESTORED_HEADER

SETTINGS = Settings(topic_prefix="t.")


def line(topic: str = "control.v1", **fields: object) -> bytes:
    return msgspec.json.encode({"topic": topic, "partition": 1, "timestamp": 7, "key": b"k", "value": b"v", **fields})


def test_a_header_may_lack_its_value():
    [record] = records_in(SETTINGS, [line(headers=[("from", None), ("to", b"x")])], 1)
    assert (record.topic, record.headers) == ("t.control.v1", (("from", None), ("to", b"x")))


def test_counts_say_that_they_were_restored_and_nothing_else_does():
    counts, row = records_in(SETTINGS, [line("counts.v1"), line("messages.v1")], 2)
    assert dict(counts.headers) == {RESTORED_HEADER: b"true"}
    assert row.headers == ()


def test_a_line_that_cannot_be_read_is_named():
    with pytest.raises(ClickException, match="line 3 of the backup"):
        list(records_in(SETTINGS, [line(), line("events.v1")], 2))


def test_lines_that_are_missing_are_told():
    with pytest.raises(ClickException, match="of 3 records 2 are there"):
        list(records_in(SETTINGS, [line(), line()], 3))


@pytest.mark.parametrize("kept", [b"", line() + b"\n", line()[:20]])
def test_one_that_was_stopped_is_refused_before_anything_is_written(kept):
    with pytest.raises(ClickException, match="has no end"):
        backup._read_end(BytesIO(kept))


def test_its_end_tells_how_many_records_there_are():
    file = BytesIO(b'{"backup":1,"partitions":1}\n' + (line(value=b"v" * 3_000) + b"\n") * 2 + b'{"records":2}\n')
    head = backup._read_head(file)
    assert (head.partitions, backup._read_end(file)) == (1, 2)
    assert file.readline().startswith(b'{"topic"')
