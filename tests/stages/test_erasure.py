"""A person who was erased: nothing of the address is left in what was written last, and nothing brings it back."""

from datetime import timedelta
from typing import Any

import orjson
import pytest

from processor.domain.moment import to_microseconds
from processor.stages.erasures import hash_of, new_erasure
from processor.wire.erasures import ErasedRecord, ErasureRecord, decode_kept, encode_erasure
from processor.wire.links import MOVED_HEADER, encode_moved
from processor.wire.topics import ERASURES
from tests.stages.conftest import START, Desk, Read, event

ADDRESS = "ulla.ek@example.com"
KEY = "a1" * 16


def erasure(address: str = ADDRESS, key: str = KEY) -> ErasureRecord:
    return new_erasure(address, START, key)


def tell(desk: Desk, *told: ErasureRecord) -> None:
    """Have the topic of erasures say that addresses are erased."""
    desk.follow(ERASURES, [Read(0, 0, each.erasure_id.encode(), encode_erasure(each)) for each in told])


def newest(desk: Desk) -> dict[bytes, bytes]:
    """Give the newest value of each message, where there is one."""
    latest = {key: value for key, value, _ in desk.written["t.messages.v1"]}
    return {key: value for key, value in latest.items() if value is not None}


def assert_no_trace(desk: Desk, *parts: str) -> None:
    for key, value in newest(desk).items():
        packed = orjson.loads(value)["memory"]
        import base64

        for part in parts or ("ulla",):
            assert part.encode() not in (key + value + base64.b64decode(packed)).lower()


def failed(message_id: str, minute: float = 2, **fields: Any) -> Read:
    reason = {"permanence": "permanent", "category": "user_unknown", "text": f"<{ADDRESS}> is unknown"}
    return event(message_id, "failed", minute, **{"reason": reason, **fields})


@pytest.fixture
def erased(desk):
    d = desk()
    d.written["t.erasures.v1"] = []
    return d


def test_recipient_and_texts_go_and_status_and_counts_stay(erased):
    d = erased
    d.chunk(
        event("m", "sent", 1, recipient=ADDRESS, delivery_id="DM1"), failed("m"), event("o", "sent", recipient="b@c.d")
    )
    before = d.counts("DM1")["statuses"]
    tell(d, erasure())
    d.settle()
    assert d.statuses() == {"m": "failed", "o": "sent"}
    assert d.counts("DM1")["statuses"] == before
    assert_no_trace(d)
    assert b"b@c.d" in newest(d)[b"o"]
    record = orjson.loads(newest(d)[b"m"])
    assert record["recipient"] is None
    assert record["reason"] == {"permanence": "permanent", "category": "user_unknown"}


def test_a_later_event_does_not_bring_it_back(erased):
    d = erased
    d.chunk(event("m", "sent", 1, recipient=ADDRESS))
    tell(d, erasure())
    d.settle()
    d.chunk(failed("m", recipient=f"Ulla <{ADDRESS.upper()}>"), failed("new", recipient=ADDRESS))
    assert d.statuses() == {"m": "failed", "new": "failed"}
    assert_no_trace(d)


def test_nor_does_a_later_text_of_an_event_without_recipient(erased):
    d = erased
    d.chunk(event("m", "sent", 1, recipient=ADDRESS))
    tell(d, erasure())
    d.settle()
    d.chunk(failed("m"))
    assert_no_trace(d)


def test_a_text_that_came_before_the_recipient_was_named_goes_too(erased):
    d = erased
    d.chunk(failed("m"))
    tell(d, erasure())
    d.settle()
    d.chunk(event("m", "sent", 1, recipient=ADDRESS))
    assert_no_trace(d)


@pytest.mark.parametrize("written", ["+46 70-123 45 67", "0046701234567", "46701234567"])
def test_numbers_are_known_however_they_are_written(erased, written):
    d = erased
    d.chunk(event("m", "sent", 1, recipient="+46701234567"))
    tell(d, erasure(written))
    d.settle()
    assert_no_trace(d, "701234567")


def test_a_repeated_event_is_a_duplicate_still(erased):
    d = erased
    d.chunk(failed("m", recipient=ADDRESS))
    tell(d, erasure())
    d.settle()
    before = len(d.written["t.messages.v1"])
    d.chunk(failed("m", recipient=ADDRESS))
    assert len(d.written["t.messages.v1"]) == before


def test_the_evidence_of_a_rejected_event_is_without_it(erased):
    d = erased
    d.chunk(event("m", "sent", 1, recipient=ADDRESS))
    tell(d, erasure())
    d.settle()
    d.chunk(event("m", "failed", 5, recipient=ADDRESS), event("m", "ignored", 6, recipient=ADDRESS))
    assert d.written["t.rejected.v1"]
    assert not any(b"ulla" in value for _, value, _ in d.written["t.rejected.v1"])


def test_it_is_erased_after_a_restart_too(erased):
    d = erased
    told = erasure()
    d.chunk(event("m", "sent", 1, recipient=ADDRESS))
    d.restart()
    tell(d, told)
    d.settle()
    d.restart()
    tell(d, told)
    d.chunk(failed("m", recipient=ADDRESS))
    d.settle()
    assert d.statuses() == {"m": "failed"}
    assert_no_trace(d)


def test_a_row_that_a_worker_wrote_which_had_not_heard_of_it_is_erased_when_the_partition_opens(erased):
    d = erased
    told = erasure()
    tell(d, told)
    d.settle()
    d.restart()
    d.chunk(event("m", "sent", 1, recipient=ADDRESS))
    tell(d, told)
    d.settle()
    assert_no_trace(d)


def test_it_is_found_by_its_address_no_more(erased):
    d = erased
    d.chunk(event("m", "sent", 1, recipient=ADDRESS))
    assert list(d.work.index.of_recipient(ADDRESS)) == [b"m"]
    tell(d, erasure())
    d.settle()
    assert list(d.work.index.of_recipient(ADDRESS)) == []
    assert list(d.work.index.of_recipient("(erased)")) == []


def test_a_partition_says_once_what_it_has_erased(erased):
    d = erased
    d.chunk(event("m", "sent", 1, recipient=ADDRESS), event("n", "sent", 1, recipient=ADDRESS))
    told = erasure()
    tell(d, told)
    d.settle()
    written = d.written["t.erasures.v1"]
    [(key, value, _)] = written
    assert decode_kept(key, value) == ErasedRecord(told.erasure_id, "fold", 0, 2)
    d.restart()
    tell(d, told)
    d.follow(ERASURES, [Read(0, 0, key, value)])
    d.settle()
    assert written == [(key, value, ())]


def test_an_erasure_that_is_over_is_remembered_no_more(erased):
    d = erased
    told = erasure()
    tell(d, told)
    d.settle()
    d.follow(ERASURES, [Read(1, 0, told.erasure_id.encode(), None)])
    d.chunk(event("m", "sent", 1, recipient=ADDRESS))
    assert ADDRESS.encode() in newest(d)[b"m"]


class TestIdsMadeOfTheAddress:
    """Where a provider's id covers several recipients, the message goes by id and address."""

    ID = f"ses:0100-1:{ADDRESS}"

    def test_the_message_goes_by_another_id_from_then_on(self, erased):
        d = erased
        d.chunk(event(self.ID, "sent", 1, recipient=ADDRESS, provider="ses", delivery_id="DM1"))
        tell(d, erasure())
        d.settle()
        [name] = newest(d)
        assert name.startswith(b"ses:0100-1:erased:")
        assert_no_trace(d)
        assert self.ID.encode() in [key for key, value, _ in d.written["t.messages.v1"] if value is None]
        assert sum(d.counts("DM1")["statuses"].values()) == 1
        d.chunk(failed(self.ID, recipient=ADDRESS, provider="ses"))
        assert list(newest(d)) == [name]
        assert d.statuses() == {name.decode(): "failed"}
        assert_no_trace(d)
        d.restart()
        assert d.statuses() == {name.decode(): "failed"}

    def test_nor_does_an_event_bring_it_back_that_names_no_recipient(self, erased):
        d = erased
        d.chunk(event(self.ID, "sent", 1, recipient=ADDRESS, provider="ses", delivery_id="DM1"))
        tell(d, erasure())
        d.settle()
        [name] = newest(d)
        d.chunk(failed(self.ID, provider="ses"))
        assert d.statuses() == {name.decode(): "failed"}
        assert sum(d.counts("DM1")["statuses"].values()) == 1
        assert_no_trace(d)

    def test_nor_stays_a_row_whose_events_named_none(self, erased):
        d = erased
        d.chunk(failed(self.ID, provider="ses"), failed("ses:0100-1:o@example.com", provider="ses", reason=None))
        told = erasure()
        tell(d, told)
        d.settle()
        assert len(newest(d)) == 2
        assert_no_trace(d)
        [(key, value, _)] = d.written["t.erasures.v1"]
        assert decode_kept(key, value) == ErasedRecord(told.erasure_id, "fold", 0, 1)

    def test_another_recipient_of_such_an_id_is_not_erased(self, erased):
        d = erased
        d.chunk(event(self.ID, "sent", 1, recipient="o@example.com", provider="ses"))
        tell(d, erasure())
        d.settle()
        d.chunk(event(self.ID, "failed", 2, recipient="o@example.com", provider="ses"))
        [record] = map(orjson.loads, newest(d).values())
        assert (record["recipient"], record["status"]) == ("o@example.com", "failed")
        assert_no_trace(d)

    def test_what_it_was_moved_to_is_named_without_it(self, erased):
        d = erased
        d.chunk(event("ses:0100-1", "sent", 1, provider="ses"))
        tell(d, erasure())
        d.settle()
        order = Read(1, 0, b"ses:0100-1", encode_moved("ses:0100-1", f"ours:{ADDRESS}"), ((MOVED_HEADER, b"true"),))
        d.chunk(order)
        assert newest(d)[b"ses:0100-1"]
        assert b"ulla" not in newest(d)[b"ses:0100-1"]

    @pytest.mark.parametrize("written", ["+46 70-123 45 67", "tel:+46701234567", "12345"])
    def test_so_does_one_whose_id_is_made_of_a_number(self, erased, written):
        d = erased
        d.chunk(event(f"own:0100-1:{written}", "sent", 1, recipient=written, provider="own"))
        tell(d, erasure(written))
        d.settle()
        [name] = newest(d)
        assert b":erased:" in name
        assert_no_trace(d, "123 45", "01234567", ":12345")

    def test_no_consumer_takes_it_for_a_change_of_status(self, erased):
        d = erased
        d.chunk(event(self.ID, "sent", 1, recipient=ADDRESS, provider="ses"))
        tell(d, erasure())
        d.settle()
        [value] = newest(d).values()
        assert "previous" not in orjson.loads(value)

    def test_an_event_that_comes_before_the_walk_finds_its_row(self, erased):
        d = erased
        d.chunk(event(self.ID, "sent", 1, recipient=ADDRESS, provider="ses"))
        tell(d, erasure())
        d.chunk(failed(self.ID, recipient=ADDRESS, provider="ses"))
        d.settle()
        [record] = map(orjson.loads, newest(d).values())
        assert record["status"] == "failed"
        assert len(record["rejected"]) == 0 or record["rejected"]
        assert_no_trace(d)

    def test_a_row_under_the_new_id_is_joined_when_the_old_one_is_found(self, erased):
        d = erased
        told = erasure()
        d.chunk(event(self.ID, "taken_into_account", 1, recipient=ADDRESS, provider="ses"))
        tell(d, told)
        name = d.work._erasures.erasures.name_of(self.ID, 1)
        # As the correlate stage sends it, once it has heard.
        d.chunk(event(name, "sent", 2, recipient="(erased)", provider="ses"))
        d.settle()
        assert d.statuses() == {name: "sent"}
        record = orjson.loads(newest(d)[name.encode()])
        assert record["since"] == (START + timedelta(minutes=2)).isoformat().replace("+00:00", "Z")
        row = d.work.row(name.encode())
        assert [at.first for at in row.observations] == [
            to_microseconds(START + timedelta(minutes=minute)) for minute in (1, 2)
        ]


def test_a_hash_tells_nothing_without_its_key():
    assert hash_of(KEY, ADDRESS) == hash_of(KEY, f"Ulla <{ADDRESS.upper()}>")
    assert hash_of(KEY, ADDRESS) != hash_of("b2" * 16, ADDRESS)
    first, second = new_erasure(ADDRESS, START, None), new_erasure(ADDRESS, START, None)
    assert first.key != second.key
    assert new_erasure(ADDRESS, START, first.key).hash == first.hash
    assert ADDRESS.encode() not in encode_erasure(first)
