"""The folding of a chunk: what any function in its place must do with records, rows and what is beside them."""

import pytest

from processor.domain.moment import NO_TIMESTAMP, Micros
from processor.engine.store.memory import MemoryStore
from processor.stages.facts import Facts
from processor.stages.folding import Terms, fold_chunk
from processor.stages.hand import Hand
from processor.wire.rows import decode_row_record, pack_row
from tests.stages.conftest import Read, event

TERMS = Terms(
    max_bytes=1_000,
    oldest=Micros(0),
    now=7,
    canceled={},
    erases=False,
    links=False,
    traces=False,
    sees=False,
)


class Beside:
    """Notes what it is asked for, and takes every message."""

    def __init__(self) -> None:
        self.asked: list[tuple] = []

    def obey(self, record: Read) -> bool:
        self.asked.append(("obey", record.key))
        return True

    def takes(self, record: Read, key: bytes, event: object) -> bool:
        self.asked.append(("takes", key))
        return key != b"foreign"

    def reject(self, evidence: tuple) -> None:
        self.asked.append(("reject", evidence[1]))

    def link(self, event: object, timestamp: int) -> None:
        self.asked.append(("link", event.message_id))

    def cancel(self, key: bytes, row: object, at: int) -> None:
        self.asked.append(("cancel", key, at))

    def refuse(self, record: Read, error: Exception) -> None:
        self.asked.append(("refuse", record.key))


@pytest.fixture
def beside():
    return Beside()


def fold(beside, *records: Read, **terms: object):
    """Fold records into nothing; return the rows in hand, what is published, and the two timestamps."""
    hand, published = Hand(MemoryStore(), ()), []
    stamps = fold_chunk(records, hand, Facts(), published, TERMS._replace(**terms), beside)
    return hand, published, stamps


def test_each_change_is_published_and_the_last_one_is_in_hand(beside):
    hand, published, _ = fold(beside, event("m", "pending"), event("m", "sent", 1))
    assert [decode_row_record(value).status.value for _, _, value, _ in published] == ["pending", "sent"]
    assert hand.changed == {b"m": pack_row(hand.now[b"m"])}
    assert hand.before == {b"m": None}


def test_a_repetition_is_not_published(beside):
    _, published, _ = fold(beside, event("m", "sent"), event("m", "sent"))
    assert len(published) == 1


def test_a_contradiction_is_published_with_its_evidence(beside):
    fold(beside, event("m", "ignored"), event("m", "sent", 1))
    assert ("reject", b"m") in beside.asked


def test_an_unusable_record_leaves_no_trace_and_stops_no_other(beside):
    broken = Read(0, 5, b"broken", b"{")
    hand, _, _ = fold(beside, event("a", "sent"), broken, event("b", "sent"))
    assert ("refuse", b"broken") in beside.asked
    assert set(hand.changed) == {b"a", b"b"}


def test_a_record_that_is_too_large_is_refused(beside):
    fold(beside, event("m", "sent"), max_bytes=10)
    assert beside.asked == [("refuse", b"m")]


def test_only_a_message_that_is_not_known_is_asked_about(beside):
    hand, _, _ = fold(beside, event("m", "pending"), event("m", "sent", 1), event("foreign", "sent"))
    assert beside.asked == [("takes", b"m"), ("takes", b"foreign")]
    assert b"foreign" not in hand.changed


def test_an_order_is_no_event(beside):
    hand, _, _ = fold(beside, event("m", "sent")._replace(headers=(("delivery.forgotten", b""),)))
    assert beside.asked == [("obey", b"m")]
    assert not hand.changed


def test_a_link_is_told_by_the_first_event_that_names_the_providers_id_and_by_its_repetition(beside):
    named = {"provider": "twilio", "provider_message_id": "SM1"}
    first, later = event("m", "pending", **named), event("m", "sent", 1, **named)
    fold(beside, first, later, first, links=True)
    assert beside.asked == [("takes", b"m"), ("link", "m"), ("link", "m")]


def test_what_belongs_to_a_cancelled_delivery_is_cancelled_after_its_event(beside):
    fold(beside, event("m", "pending", delivery_id="D"), event("n", "pending"), canceled={"D": Micros(9)})
    assert beside.asked == [("takes", b"m"), ("cancel", b"m", 9), ("takes", b"n")]


def test_the_timestamps_are_those_of_the_last_record_and_of_the_latest(beside):
    early, late = event("m", "pending"), event("m", "sent", 1)
    assert fold(beside, late, early)[2] == (early.timestamp, late.timestamp)
    assert fold(beside, early._replace(timestamp=-1))[2] == (7, NO_TIMESTAMP)
