"""What is erased of a message leaves its status; and it does not matter whether an event comes before or after."""

from datetime import datetime, timedelta, timezone

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from processor.domain.erasure import erase_event, erase_row, is_erased
from processor.domain.event import Event, node_of
from processor.domain.fold import fold, join_rows
from processor.domain.reason import ERASED, Category, Reason
from processor.domain.row import Row
from processor.domain.status import Channel, Permanence, Status
from processor.domain.transitions import NODE_OF_REPORT
from processor.wire.rows import encode_row, pack_row
from tests.examples import examples

START = datetime(2026, 11, 23, 8, tzinfo=timezone.utc)
ADDRESS = "ulla@example.com"

reasons = st.none() | st.builds(
    Reason,
    st.sampled_from([None, *Permanence]),
    st.sampled_from([None, Category.REFUSED, Category.USER_UNKNOWN]),
    st.sampled_from([None, "5.1.1", "4.2.2"]),
    st.sampled_from([None, "550", "421"]),
    st.sampled_from([None, "", f"<{ADDRESS}>: no such user", "mailbox of ulla is full"]),
)
events = st.builds(
    Event,
    st.integers(0, 5).map(lambda minute: START + timedelta(minutes=minute)),
    st.just("m-1"),
    st.just(Channel.EMAIL),
    st.sampled_from(list(Status)),
    recipient=st.sampled_from([None, ADDRESS, ADDRESS.upper(), f"Ulla <{ADDRESS}>"]),
    delivery_id=st.sampled_from([None, "DM1"]),
    attempt=st.integers(1, 2),
    reason=reasons,
).filter(lambda event: node_of(event) is not None)


def row_of(*told: Event) -> Row:
    row = None
    for event in told:
        row, _ = fold(row, event, node_of(event))
    assert row is not None
    return row


def erased_between(before: list[Event], after: list[Event]) -> Row:
    """Fold events, erase, and fold others as the fold stage does."""
    row = erase_row(row_of(*before)) if before else None
    for event in after:
        is_of = event.recipient is not None or is_erased(row)
        row, _ = fold(row, erase_event(event) if is_of else event, node_of(event))
        if is_erased(row):
            row = erase_row(row)
    assert row is not None
    return row


class TestErase:
    @settings(deadline=None, max_examples=examples(400), derandomize=True)
    @given(st.lists(events, min_size=1, max_size=7), st.integers(0, 7))
    def test_it_does_not_matter_which_events_came_before(self, told, cut):
        if any(event.recipient for event in told):
            assert erased_between(told[:cut], told[cut:]) == erase_row(row_of(*told))

    @settings(deadline=None, max_examples=examples(400), derandomize=True)
    @given(st.lists(events, min_size=1, max_size=7), st.randoms(use_true_random=False))
    def test_nor_in_which_order_they_came(self, told, chance):
        if any(event.recipient for event in told):
            other = chance.sample(told, len(told))
            cut = chance.randint(0, len(told))
            assert erased_between(other[:cut], other[cut:]) == erase_row(row_of(*told))

    @settings(deadline=None, max_examples=examples(200), derandomize=True)
    @given(st.lists(events, min_size=1, max_size=5))
    def test_status_and_place_stay_and_nothing_of_the_person_is_left(self, told):
        row = row_of(*told)
        erased = erase_row(row)
        kept = [field for field in Row.__struct_fields__ if field not in {"names", "reasons"}]
        assert [getattr(erased, field) for field in kept] == [getattr(row, field) for field in kept]
        assert erased.delivery == row.delivery
        assert [(each.node, each.reason.category) for each in erased.reasons] == [
            (each.node, each.reason.category) for each in row.reasons
        ]
        if row.recipient_name is not None:
            assert b"ulla" not in (pack_row(erased) + encode_row("m-1", erased, None)).lower()
        assert erased.recipient_name is None
        assert erase_row(erased) is erased

    def test_codes_that_quote_an_address_or_a_number_go_and_others_stay(self):
        quoting = Reason(Permanence.PERMANENT, Category.REFUSED, f"for {ADDRESS}", "to 46701234567")
        told = Event(START, "m-1", Channel.EMAIL, Status.FAILED, recipient=ADDRESS, reason=quoting)
        reason = erase_row(row_of(told)).reason
        assert reason == Reason(Permanence.PERMANENT, Category.REFUSED)
        plain = msgspec.structs.replace(told, reason=Reason(Permanence.PERMANENT, None, "5.1.1", "550"))
        assert erase_row(row_of(plain)).reason == plain.reason

    def test_the_mark_is_never_shown(self):
        told = Event(START, "m-1", Channel.EMAIL, Status.FAILED, recipient=ADDRESS, reason=Reason(text="gone"))
        record = msgspec.json.decode(encode_row("m-1", erase_row(row_of(told)), None))
        record.pop("memory")
        assert record["recipient"] is None
        assert "text" not in record["reason"]
        assert ERASED not in msgspec.json.encode(record).decode()


class TestJoinRows:
    @pytest.mark.parametrize("channel", list(Channel))
    @settings(deadline=None, max_examples=examples(300), derandomize=True)
    @given(st.lists(events, min_size=2, max_size=8), st.data())
    def test_gives_the_row_that_all_events_give(self, channel, told, data):
        told = [msgspec.structs.replace(event, channel=channel) for event in told]
        told = [event for event in told if node_of(event) is not None]
        if channel is Channel.SMS:
            told = [
                msgspec.structs.replace(event, part=data.draw(st.sampled_from([None, 1, 2])), parts=2) for event in told
            ]
        if len(told) > 1:
            cut = data.draw(st.integers(1, len(told) - 1))
            assert join_rows(row_of(*told[:cut]), row_of(*told[cut:])) == row_of(*told)


def test_every_report_can_be_erased():
    for channel, status, permanence in NODE_OF_REPORT:
        reason = None if permanence is None else Reason(permanence, text=ADDRESS)
        event = Event(START, "m-1", channel, status, recipient=ADDRESS, reason=reason)
        assert ADDRESS.encode() not in pack_row(row_of(erase_event(event)))
