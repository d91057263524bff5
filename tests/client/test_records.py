"""What we publish reads as typed values, with nothing of a worker."""

import json
import subprocess
import sys
from datetime import datetime, timedelta, timezone

import msgspec
import pytest

from processor import client
from processor.client import Channel, Permanence, Standing, Status
from processor.client.reader import _change, _Record
from processor.wire.schemas import FOLDER

DECODERS = {
    "row": client.decode_row,
    "moved": client.decode_moved,
    "counts": client.decode_counts,
    "delivery": client.decode_delivery,
    "rejected": client.decode_rejected,
    "address": client.decode_address,
}
VALID = [path for path in sorted((FOLDER / "examples/valid").glob("*.json")) if path.name.partition(".")[0] in DECODERS]
DEAD = sorted((FOLDER / "examples/valid").glob("dead.*.json"))


def agrees(found: object, published: object) -> bool:
    """Say whether a typed value is the published one, moments as moments."""
    if isinstance(found, datetime):
        return found == datetime.fromisoformat(str(published).replace("Z", "+00:00"))
    if isinstance(published, dict):
        given = found if isinstance(found, dict) else {name: getattr(found, name, None) for name in published}
        # A `Reason` leaves no trace of what it does not know.
        return all(agrees(given[name], value) for name, value in published.items() if name in given)
    if isinstance(published, list):
        pairs = zip(list(found), published, strict=True)  # type: ignore[call-overload]
        return all(agrees(each, other) for each, other in pairs)
    return found == published


@pytest.mark.parametrize(
    ("name", "day", "may_be"),
    [("valid", 1, True), ("denylisted", 1, False), ("quarantined", 60, False), ("soft-errors", 40, False),
     ("soft-errors", 65, True)],
)  # fmt: skip
def test_an_address_says_whether_it_may_be_sent_to_also_after_its_time(name, day, may_be):
    address = client.decode_address((FOLDER / f"examples/valid/address.{name}.json").read_bytes())
    assert address.may_be_sent_to(datetime(2026, 11, 23, tzinfo=timezone.utc) + timedelta(days=day)) is may_be


@pytest.mark.parametrize("path", VALID, ids=lambda path: path.stem)
def test_every_valid_example_reads_as_what_it_says(path):
    value = path.read_bytes()
    found = DECODERS[path.name.partition(".")[0]](value)
    names = {field.encode_name: field.name for field in msgspec.structs.fields(found)}
    published = json.loads(value)
    assert names.keys() & published.keys()
    for name in names.keys() & published.keys():
        assert agrees(getattr(found, names[name]), published[name]), name


@pytest.mark.parametrize("path", DEAD, ids=lambda path: path.stem)
def test_every_example_of_a_dead_letter_reads_as_what_its_headers_say(path):
    headers = json.loads(path.read_bytes())
    letter = client.decode_dead_letter(b"key", b"value", [(name, text.encode()) for name, text in headers.items()])
    assert (letter.key, letter.value, len(letter.headers)) == (b"key", b"value", len(headers))
    assert letter.reason == headers["delivery.dead.reason"]
    assert letter.topic == headers["__streams.errors.topic"]
    assert letter.offset == int(headers["__streams.errors.offset"])
    if letter.timestamp is not None:
        assert int(letter.timestamp.timestamp() * 1000) == int(headers["delivery.dead.timestamp"])


def test_a_row_tells_what_it_is_and_what_it_was():
    row = client.decode_row((FOLDER / "examples/valid/row.moved.json").read_bytes())
    assert row.is_change
    assert isinstance(row.previous, Standing)
    assert isinstance(row.status, Status)
    assert isinstance(row.channel, Channel)
    assert row.since.tzinfo is timezone.utc or row.since.utcoffset().total_seconds() == 0
    assert not client.decode_row((FOLDER / "examples/valid/row.not-moved.json").read_bytes()).is_change


def test_how_final_a_failure_is_has_a_name():
    standing = msgspec.json.decode(
        b'{"status":"failed","permanence":"gave_up","since":"2026-11-23T08:00:00Z"}', type=Standing
    )
    assert standing.permanence is Permanence.GAVE_UP


@pytest.mark.parametrize("value", [b"", b"{", b"[]", b'{"message_id":"m"}', b"\xff"])
@pytest.mark.parametrize("name", DECODERS)
def test_what_is_none_of_ours_is_refused(name, value):
    with pytest.raises((msgspec.DecodeError, UnicodeDecodeError)):
        DECODERS[name](value)


@pytest.mark.parametrize("missing", ["delivery.dead.reason", "__streams.errors.offset"])
def test_a_dead_letter_without_its_headers_is_none(missing):
    headers = json.loads(DEAD[0].read_bytes())
    with pytest.raises(ValueError, match=missing):
        client.decode_dead_letter(None, None, [(n, t.encode()) for n, t in headers.items() if n != missing])


@pytest.mark.slow
def test_nothing_of_a_worker_is_imported():
    program = "import sys, processor.client; print(*sys.modules)"
    told = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()
    assert "aiokafka" in told
    assert not {"faust", "mode", "aiohttp", "click", "prometheus_client", "structlog", "processor.engine"} & set(told)


def test_a_tombstone_under_a_key_that_is_no_text_is_told_with_its_place():
    with pytest.raises(client.UnreadableRecordError, match="partition 3, offset 7"):
        _change(_Record("delivery.messages.v1", 3, 7, b"\xff", None, ()))
