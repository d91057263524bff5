"""What became of each dead letter is known, in little room, whatever is on the topic."""

from datetime import datetime, timezone

import pytest

from processor.wire.deadletters import DeadReason, Origin, headers_of
from processor.wire.letters import LetterId, read_letter
from processor.wire.settled import Outcome, Outcomes, Settled, decode_settled, encode_settled

NOW = 1_800_000_000_000


def letter(partition, offset, written=NOW):
    headers = headers_of(Origin("t", 0, 0), NOW, DeadReason.TOO_OLD, "")
    return read_letter(LetterId(partition, offset), written, None, b"", headers)


def settled(partition, offset, outcome=Outcome.REPLAYED, written=NOW):
    return encode_settled(Settled(partition, offset, written, outcome, datetime(2026, 11, 23, tzinfo=timezone.utc)))


def test_the_last_record_of_a_letter_counts():
    outcomes = Outcomes()
    assert outcomes.of(letter(0, 5)) is None
    outcomes.take(settled(0, 5, Outcome.DISCARDED))
    outcomes.take(settled(0, 5))
    outcomes.take(settled(7, 2**62, Outcome.DISCARDED))
    assert outcomes.of(letter(0, 5)) is Outcome.REPLAYED
    assert outcomes.of(letter(7, 2**62)) is Outcome.DISCARDED
    assert outcomes.of(letter(0, 6)) is None
    assert outcomes.of(letter(1, 5)) is None


def test_a_topic_that_was_created_again_has_other_letters_at_the_same_places():
    outcomes = Outcomes()
    outcomes.take(settled(0, 5))
    assert outcomes.of(letter(0, 5, NOW + 1)) is None


@pytest.mark.parametrize(
    "value", [None, b"", b"{}", b"\xff", b"[" * 9_000, settled(0, 5).replace(b'"offset":5', b'"offset":-1')]
)
def test_what_cannot_be_read_is_passed_over(value):
    outcomes = Outcomes()
    outcomes.take(value)
    assert outcomes.of(letter(0, 5)) is None


def test_it_is_read_as_it_was_written():
    assert encode_settled(decode_settled(settled(3, 4))) == settled(3, 4)
