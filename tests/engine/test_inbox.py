"""Which chunks fit: a table of what has arrived and what comes, and what follows from it."""

from collections.abc import Iterable
from types import SimpleNamespace
from typing import NamedTuple

import pytest

from processor.engine.chunks import Chunk
from processor.engine.inbox import Decision, Inbox, InputBuffer

TAKE, REREAD, NOTHING = Decision.TAKE, Decision.REREAD, Decision.NOTHING

#: Records of one transaction.
TRANSACTION = 4


def chunk(start: int, end: int, offsets: Iterable[int] | None = None) -> Chunk:
    """Make the chunk of records from `start` on, before `end`; of all offsets, unless some hold no record."""
    found = range(start, end) if offsets is None else offsets
    return Chunk(start, end, [SimpleNamespace(offset=offset) for offset in found])


def inbox_at(offset: int) -> Inbox:
    inbox = Inbox(InputBuffer(TRANSACTION))
    inbox.start_at(offset)
    return inbox


def taken(inbox: Inbox) -> tuple[list[int], int]:
    """Take out one transaction's worth; give its offsets, and the offset after them."""
    records, end = inbox.take()
    return [record.offset for record in records], end


class Row(NamedTuple):
    """One chunk for an inbox that has all up to 10."""

    name: str
    chunk: Chunk
    decision: Decision
    #: Where the next chunk must start after it, and what was put in.
    arrived: int
    offsets: list[int]


TABLE = [
    Row("starts where the last one ended", chunk(10, 13), TAKE, 13, [10, 11, 12]),
    Row("holds the offsets of markers, too", chunk(10, 15, [11, 12]), TAKE, 15, [11, 12]),
    Row("holds no record, and moves the position", chunk(10, 12, []), TAKE, 12, []),
    Row("leaves a hole of one offset", chunk(11, 13), REREAD, 10, []),
    Row("leaves a hole, and holds no record", chunk(15, 20, []), REREAD, 10, []),
    Row("overlaps at its beginning", chunk(8, 12), TAKE, 12, [10, 11]),
    Row("overlaps with its last record missing", chunk(8, 12, [8, 9, 10]), TAKE, 12, [10]),
    Row("overlaps with all of its records", chunk(8, 12, [8, 9]), TAKE, 12, []),
    Row("came before", chunk(7, 10), NOTHING, 10, []),
    Row("came long before", chunk(0, 5), NOTHING, 10, []),
    Row("is empty where the last one ended", chunk(10, 10), NOTHING, 10, []),
]


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.name)
def test_a_chunk_that(row):
    inbox = inbox_at(10)
    assert inbox.offer(row.chunk) is row.decision
    assert inbox.arrived == row.arrived
    assert taken(inbox) == (row.offsets, row.arrived)


def test_until_the_fetch_has_gone_back_to_a_hole_nothing_is_put_in():
    inbox = inbox_at(10)
    assert inbox.offer(chunk(12, 14)) is REREAD
    assert not inbox.has_room
    assert inbox.offer(chunk(14, 16)) is NOTHING
    assert inbox.offer(chunk(10, 12)) is NOTHING
    inbox.resume()
    assert inbox.has_room
    assert inbox.offer(chunk(10, 14)) is TAKE
    assert taken(inbox) == ([10, 11, 12, 13], 14)


@pytest.mark.parametrize(("oldest", "missing", "arrived"), [(0, 0, 10), (10, 0, 10), (13, 3, 13)])
def test_a_hole_that_retention_made_is_passed_over(oldest, missing, arrived):
    inbox = inbox_at(10)
    assert (inbox.pass_over(oldest), inbox.arrived) == (missing, arrived)
    assert inbox.offer(chunk(13, 15)) is (TAKE if missing else REREAD)


# What was dropped last, so that no chunk shows the hole

LOOKS = [
    ("all that was fetched has arrived", [10, 10, 10], NOTHING),
    ("the fetch has gone back", [7, 7, 7], NOTHING),
    ("the partition is not assigned", [None, None, None], NOTHING),
    ("it is on its way at one look", [12, 10, 12], NOTHING),
    ("nobody knows at one look", [12, None, 12], NOTHING),
    ("it is missing at two looks in turn", [12, 12], REREAD),
    ("more was fetched meanwhile", [12, 15], REREAD),
]


@pytest.mark.parametrize(("fetched", "last"), [row[1:] for row in LOOKS], ids=[row[0] for row in LOOKS])
def test_loss_is_judged_by_where_the_fetch_stands_when(fetched, last):
    inbox = inbox_at(10)
    *before, decision = [inbox.look_for_loss(position) for position in fetched]
    assert set(before) == {NOTHING}
    assert decision is last
    assert inbox.has_room is (last is NOTHING)


def test_what_came_between_two_looks_is_no_loss():
    inbox = inbox_at(10)
    inbox.look_for_loss(12)
    inbox.offer(chunk(10, 12))
    assert inbox.look_for_loss(14) is NOTHING, "something waits"
    inbox.take()
    assert inbox.look_for_loss(14) is NOTHING, "it is another suspicion"
    assert inbox.look_for_loss(14) is REREAD
    assert inbox.look_for_loss(14) is NOTHING, "it is read again already"


# Portions


def test_what_waits_is_merged_up_to_the_records_of_one_transaction():
    inbox = inbox_at(0)
    for offset in range(7):
        inbox.offer(chunk(offset, offset + 1))
    assert [taken(inbox), taken(inbox), taken(inbox)] == [([0, 1, 2, 3], 4), ([4, 5, 6], 7), ([], 7)]
    assert inbox.is_empty


def test_a_chunk_is_never_divided():
    inbox = inbox_at(0)
    inbox.offer(chunk(0, 50))
    inbox.offer(chunk(50, 51))
    assert taken(inbox) == (list(range(50)), 50)
    assert taken(inbox) == ([50], 51)


def test_records_of_two_transactions_leave_no_room_until_some_are_taken():
    inbox = inbox_at(0)
    inbox.offer(chunk(0, 7))
    assert inbox.has_room
    inbox.offer(chunk(7, 8))
    assert not inbox.has_room
    inbox.take()
    assert inbox.has_room


def test_many_fetches_leave_no_room_however_few_their_records():
    inbox = inbox_at(0)
    fetches = 0
    while inbox.has_room:
        inbox.offer(chunk(fetches, fetches + 1, []))
        fetches += 1
    assert fetches == 8


class TestManyInboxesOfAWorker:
    """Together they hold no more than eight full ones, and one chunk each."""

    @pytest.fixture
    def inboxes(self):
        buffer = InputBuffer(TRANSACTION)
        return [Inbox(buffer) for _ in range(64)]

    def fill(self, inboxes, records):
        """Give whoever has room a chunk, in turns, until nobody has."""
        chunks = 0
        while able := [inbox for inbox in inboxes if inbox.has_room]:
            for inbox in able:
                inbox.offer(chunk(inbox.arrived, inbox.arrived + max(1, records), None if records else []))
                chunks += 1
        return chunks

    @pytest.mark.parametrize(("records", "chunks"), [(2 * TRANSACTION, 64), (1, 64), (0, 64)])
    def test_hold_one_chunk_each_where_there_are_many(self, inboxes, records, chunks):
        assert self.fill(inboxes, records) == chunks

    @pytest.mark.parametrize(("records", "chunks"), [(2 * TRANSACTION, 8), (1, 8 * 2 * TRANSACTION), (0, 8 * 8)])
    def test_hold_as_much_as_they_like_where_there_are_few(self, inboxes, records, chunks):
        assert self.fill(inboxes[:8], records) == chunks

    def test_have_room_again_when_one_was_emptied(self, inboxes):
        self.fill(inboxes, 1)
        for inbox in inboxes[:2]:
            inbox.take()
        assert [number for number, inbox in enumerate(inboxes) if inbox.has_room] == list(range(64))
        self.fill(inboxes, 1)
        inboxes[0].clear()
        assert inboxes[0].has_room

    def test_count_nothing_when_all_is_taken_or_forgotten(self, inboxes):
        self.fill(inboxes, 3)
        for inbox in inboxes[::2]:
            inbox.take()
        for inbox in inboxes:
            inbox.clear()
        assert self.fill(inboxes[:8], 0) == 8 * 8


def test_what_was_fetched_before_there_was_no_room_is_put_in_all_the_same():
    inbox = inbox_at(0)
    inbox.offer(chunk(0, 50))
    assert not inbox.has_room
    assert inbox.offer(chunk(50, 60)) is TAKE


def test_begun_at_another_offset_it_has_forgotten_what_was_in():
    inbox = inbox_at(0)
    inbox.offer(chunk(0, 50))
    inbox.start_at(3)
    assert inbox.has_room
    assert taken(inbox) == ([], 3)
    inbox.offer(chunk(0, 5))
    assert taken(inbox) == ([3, 4], 5)
