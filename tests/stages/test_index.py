"""The index is what the rows say, after any sequence of chunks, aborts, moves, removals and recoveries."""

from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from processor.domain.standing import HIGHEST, Mark
from processor.domain.transitions import Node
from processor.engine.stage import Outbox
from processor.engine.store import buckets, ordered
from processor.providers.addresses import comparable_address
from processor.providers.native_keys import comparable
from processor.settings.parsers import INDEXES
from processor.stages import expiry
from processor.watch import sweeper
from processor.wire.links import MOVED_HEADER
from processor.wire.rows import unpack_row
from tests.examples import examples
from tests.stages.conftest import SETTINGS, Desk, Read, event

IDS = ("a", "ab", "twilio:SM1", "twilio:SM2", "é")
DELIVERIES = (None, "", "DM1", "DM10", "DM/ü")
RECIPIENTS = (None, "ulla@example.com", "Ulla <ULLA@example.com>", "+46 70-123 45 12", "0046701234512", "")
NATIVE = (None, "SM1", "sm1", "00SM1")

events = st.builds(
    lambda message_id, status, minute, **fields: event(
        message_id,
        status,
        minute,
        channel="sms",
        **{name: given for name, given in fields.items() if given is not None},
    ),
    st.sampled_from(IDS),
    st.sampled_from(("pending", "sent_to_provider", "sent", "failed", "received_on_mobile", "ignored")),
    st.integers(0, 4),
    delivery_id=st.sampled_from(DELIVERIES),
    recipient=st.sampled_from(RECIPIENTS),
    provider=st.sampled_from((None, "twilio", "smpp")),
    provider_message_id=st.sampled_from(NATIVE),
)
moves = st.sampled_from(IDS).map(
    lambda message_id: Read(
        0, 0, message_id.encode(), b'{"message_id":"%s","moved_to":"a"}' % message_id.encode(), ((MOVED_HEADER, b"a"),)
    )
)
chunks = st.lists(events | moves, min_size=1, max_size=8)
steps = st.lists(
    st.tuples(st.sampled_from(("commit", "commit", "commit", "abort", "forget")), chunks)
    | st.tuples(st.sampled_from(("restart", "remove", "resume")), st.just([])),
    max_size=8,
)


@pytest.fixture(autouse=True, scope="module")
def hurry() -> Iterator[None]:
    """Small blocks, and nobody waits for the next sweep or for retention."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ordered, "_BLOCK_PAIRS", 3)
        patch.setattr(buckets, "_BUCKETS", 2)
        patch.setattr(buckets, "_LIST_MAX", 2)
        patch.setattr(sweeper, "_SHARE_SECONDS", 1e9)
        patch.setattr(sweeper, "_REST_SECONDS", 0.0)
        patch.setattr(sweeper, "_PART_OF_TIME", 1e9)
        patch.setattr(expiry, "_GRACE_SECONDS", 0.0)
        yield


def opened(store: str, folder: Path, **changed: Any) -> Desk:
    given = {"store": store, "store_path": str(folder), "store_cache_mib": 8, "retention": 120.0, **changed}
    return Desk(replace(SETTINGS, **given))


def abort(desk: Desk, records: list[Read]) -> None:
    """Fold a chunk whose transaction fails: the work is dropped, and recovered."""
    desk.work.process(records, Outbox(int(desk.now.timestamp() * 1000), topics=desk.outputs))
    desk.restart()


def take(desk: Desk, step: str, records: list[Read]) -> None:
    if step == "commit":
        desk.chunk(*records)
    elif step == "abort":
        abort(desk, records)
    elif step == "forget":
        # What the store reflects was never committed.
        desk.work.forget()
        desk.recover()
    elif step == "restart":
        desk.restart()
    elif step == "resume":
        desk.work.suspended()
        desk.recover()
    else:
        desk.chunk(event("late", "failed", 10, channel="sms"))
        desk.sweep()
        desk.settle()


def listed(desk: Desk) -> dict[tuple[str | None, Node], list[Mark]]:
    """Give all lists as a scan of the rows makes them."""
    found: dict[tuple[str | None, Node], list[Mark]] = defaultdict(list)
    for key, packed in desk.store.items():
        row = unpack_row(packed)
        for delivery in (None, row.delivery):
            found[delivery, row.node].append((row.since, key))
    return {place: sorted(marks, reverse=True) for place, marks in found.items()}


def keys_where(desk: Desk, is_named: Callable[[Any], bool]) -> list[bytes]:
    return sorted(key for key, packed in desk.store.items() if is_named(unpack_row(packed)))


def assert_index_is_what_the_rows_say(desk: Desk) -> None:
    index, expected = desk.work.index, listed(desk)
    for delivery in (None, *[each or "" for each in DELIVERIES]):
        for node in Node:
            marks = list(index.standing(delivery, node, HIGHEST))
            assert marks == expected.get((delivery, node), [])
            for mark in marks:
                assert list(index.standing(delivery, node, mark)) == [each for each in marks if each < mark]
    for recipient in filter(None, RECIPIENTS):
        form = comparable_address(recipient)
        named = keys_where(desk, lambda row, form=form: comparable_address(row.recipient_name or "") == form)
        assert_found(desk, list(index.of_recipient(recipient)), named)
    for native in filter(None, NATIVE):
        forms = {native, comparable("smpp", native)}
        named = keys_where(
            desk,
            lambda row, forms=forms: (
                row.provider_message is not None and comparable(row.provider_name or "", row.provider_message) in forms
            ),
        )
        assert_found(desk, list(index.of_provider_message(native)), named)


def assert_found(desk: Desk, found: list[bytes], named: list[bytes]) -> None:
    """What is found may hold others with the same bucket, but none twice, and none that is gone."""
    assert len(set(found)) == len(found)
    assert set(named) <= set(found)
    assert None not in desk.store.get_many(found)


@pytest.mark.parametrize("store", ["memory", "rocksdb"])
@settings(max_examples=examples(40), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(given_steps=steps)
def test_after_anything(store, given_steps):
    with TemporaryDirectory() as folder:
        desk = opened(store, Path(folder))
        for step, records in given_steps:
            take(desk, step, records)
            assert_index_is_what_the_rows_say(desk)
        desk.work.close()


@pytest.mark.parametrize("store", ["memory", "rocksdb"])
def test_what_is_not_indexed_costs_nothing_and_finds_nothing(store, tmp_path):
    desk = opened(store, tmp_path, index=())
    desk.chunk(event("a", "failed", delivery_id="DM1", recipient="ulla@example.com", provider_message_id="SM1"))
    index = desk.work.index
    assert list(index.standing("DM1", Node.FAILED, HIGHEST)) == []
    assert list(index.of_recipient("ulla@example.com")) == list(index.of_provider_message("SM1")) == []


def test_a_folder_that_is_indexed_otherwise_is_built_anew(tmp_path):
    desk = opened("rocksdb", tmp_path, index=("recipient",))
    desk.chunk(event("a", "failed", delivery_id="DM1", recipient="ulla@example.com"))
    desk.settings = replace(desk.settings, index=INDEXES)
    desk.restart()
    assert_index_is_what_the_rows_say(desk)
    assert [key for _, key in desk.work.index.standing("DM1", Node.FAILED, HIGHEST)] == [b"a"]
