"""Lists of deliveries: filters, sorts, and pages that what happens meanwhile does not shift."""

import base64
import random
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from processor.domain.delivery import State
from processor.domain.moment import to_rfc3339
from processor.domain.status import Channel, Status
from processor.views.deliveries import Deliveries
from processor.views.listing import ANY_CAUSE, DEFAULT_SORT, SORTS, DeliveryList, Query, QueryError, list_deliveries
from processor.wire.topics import COUNTS
from tests.examples import examples
from tests.views.told import HOUR, MINUTE, NOW, counts, deliveries, told

property_of = settings(
    derandomize=True, deadline=None, max_examples=examples(60), suppress_health_check=list(HealthCheck)
)


def active(minutes_ago: int) -> dict[str, str]:
    return {"first": to_rfc3339(NOW - HOUR), "last": to_rfc3339(NOW - minutes_ago * MINUTE)}


@pytest.fixture(scope="module")
def some() -> Deliveries:
    return deliveries(
        told("start", delivery_id="DM1", at=NOW - 9 * HOUR, label="Autumn sale", campaign="autumn", planned=10),
        counts({"sent": 4, "failed": 1}, "DM1", channels={"email": 5}, providers={"ses": 5}, **active(30)),
        told("start", "pause", delivery_id="DM2", at=NOW - 9 * HOUR, label="autumn reminder", channel="sms"),
        counts({"pending": 9}, "DM2", channels={"sms": 9}, providers={"smpp": 9}, **active(10)),
        told("schedule", delivery_id="DM3", at=NOW - MINUTE, scheduled_at=to_rfc3339(NOW + HOUR), planned=7),
        counts({"received_on_mobile": 2}, "DM4", channels={"sms": 2}, providers={"smpp": 1, "twilio": 1}, **active(50)),
        counts({"sent": 1}, ""),
    )


def ids(found: DeliveryList) -> list[str]:
    return [item.delivery_id for item in found.items]


def listed(some: Deliveries, known: Any = None, **query: Any) -> list[str]:
    return ids(list_deliveries(some, Query(**query), NOW, known))


class TestFilters:
    def test_all_come_latest_activity_first(self, some):
        assert listed(some) == ["DM3", "DM2", "DM1", "DM4", ""]

    @pytest.mark.parametrize(
        ("query", "expected"),
        [
            ({"channel": Channel.SMS}, {"DM2", "DM4"}),
            ({"channel": Channel.EMAIL}, {"DM1"}),
            ({"status": Status.FAILED}, {"DM1"}),
            ({"status": Status.SENT}, {"DM1", ""}),
            ({"status": Status.IGNORED}, set()),
            ({"provider": "smpp"}, {"DM2", "DM4"}),
            ({"provider": "none of ours"}, set()),
            ({"state": State.PAUSED}, {"DM2"}),
            ({"state": State.FINISHED}, {"DM4", ""}),
            ({"since": NOW - 30 * MINUTE}, {"DM1", "DM2", "DM3"}),
            ({"since": NOW - 30 * MINUTE + 1}, {"DM2", "DM3"}),
            ({"q": "AUTUMN"}, {"DM1", "DM2"}),
            ({"q": "dm"}, {"DM1", "DM2", "DM3", "DM4"}),
            ({"q": "autumn", "channel": Channel.SMS}, {"DM2"}),
        ],
    )
    def test_filter(self, some, query, expected):
        assert set(listed(some, **query)) == expected

    @pytest.mark.parametrize(
        ("pending", "expected"),
        [(ANY_CAUSE, {"DM3"}), ("scheduled", {"DM3"}), ("mta_resources", set()), ("concurrency_limit", set())],
    )
    def test_pending(self, some, pending, expected):
        assert set(listed(some, pending=pending)) == expected

    def test_stuck(self, some):
        stuck = {"DM2": 3, "DM4": 0}
        assert set(listed(some, stuck, stuck=True)) == {"DM2"}
        assert set(listed(some, stuck, stuck=False)) == {"DM1", "DM3", "DM4", ""}
        assert listed(some, None, stuck=True) == []
        [item] = list_deliveries(some, Query(q="dm2"), NOW, stuck).items
        assert item.stuck == 3

    def test_totals_are_of_all_that_match(self, some):
        found = list_deliveries(some, Query(channel=Channel.SMS, limit=1), NOW)
        assert (len(found.items), found.total, found.messages) == (1, 2, 11)
        assert {name: number for name, number in found.statuses.items() if number} == {
            "pending": 9, "received_on_mobile": 2
        }  # fmt: skip
        nothing = list_deliveries(some, Query(q="nothing"), NOW)
        assert (nothing.items, nothing.next, nothing.total, nothing.messages) == ((), None, 0, 0)
        assert list(nothing.statuses) == [status.value for status in Status]


class TestSorts:
    @pytest.mark.parametrize(
        ("sort", "expected"),
        [
            ("delivery_id", ["", "DM1", "DM2", "DM3", "DM4"]),
            ("-delivery_id", ["DM4", "DM3", "DM2", "DM1", ""]),
            ("label", ["DM2", "DM1", "", "DM3", "DM4"]),
            ("-label", ["DM1", "DM2", "DM4", "DM3", ""]),
            ("-messages", ["DM2", "DM1", "DM4", "", "DM3"]),
            ("-planned", ["DM1", "DM3", "DM4", "DM2", ""]),
            ("planned", ["DM3", "DM1", "", "DM2", "DM4"]),
            ("-failed", ["DM1", "DM4", "DM3", "DM2", ""]),
            ("progress", ["DM2", "DM3", "DM1", "", "DM4"]),
            ("-state", ["DM4", "", "DM2", "DM1", "DM3"]),
            ("last_activity", ["DM4", "DM1", "DM2", "DM3", ""]),
        ],
    )
    def test_sort(self, some, sort, expected):
        assert listed(some, sort=sort) == expected

    def test_stuck_sorts_by_what_the_caller_knows(self, some):
        assert listed(some, {"DM4": 2, "DM1": 1}, sort="-stuck")[:2] == ["DM4", "DM1"]

    def test_the_default_is_one_of_them(self):
        assert DEFAULT_SORT in SORTS

    def test_another_is_refused(self, some):
        with pytest.raises(QueryError, match="there is no sort 'colour'"):
            listed(some, sort="colour")


def walk(some: Deliveries, **query: Any) -> list[str]:
    """Turn pages to the end."""
    found, cursor = [], ""
    while True:
        one = list_deliveries(some, Query(cursor=cursor, **query), NOW)
        assert len(one.items) <= query["limit"]
        found.extend(ids(one))
        if one.next is None:
            return found
        cursor = one.next


class TestPages:
    @pytest.mark.parametrize("sort", SORTS)
    @pytest.mark.parametrize("limit", [1, 2, 5])
    def test_pages_hold_the_list_once(self, some, sort, limit):
        assert walk(some, sort=sort, limit=limit) == listed(some, sort=sort)

    def test_the_last_page_says_so(self, some):
        assert list_deliveries(some, Query(limit=5), NOW).next is None
        assert list_deliveries(some, Query(limit=4), NOW).next is not None

    #: What happens between two pages: another delivery has so many messages, or (None) is forgotten.
    changes = st.lists(st.lists(st.tuples(st.integers(0, 9), st.none() | st.integers(0, 5)), max_size=4), max_size=9)

    @given(changes, st.sampled_from(["messages", "-messages"]))
    @property_of
    def test_what_does_not_change_is_seen_once_whatever_else_comes_and_goes(self, changes, sort):
        made = deliveries(*(counts({"sent": n % 4}, f"S{n}") for n in range(12)))
        seen, cursor = [], ""
        while True:
            one = list_deliveries(made, Query(sort=sort, limit=3, cursor=cursor), NOW)
            seen.extend(name for name in ids(one) if name.startswith("S"))
            if one.next is None:
                break
            cursor = one.next
            for number, sent in changes.pop() if changes else ():
                record = counts({"sent": sent or 0}, f"C{number}")
                made.take(COUNTS, [record if sent is not None else record._replace(value=None)])
        assert sorted(seen) == sorted(f"S{n}" for n in range(12))

    def test_a_cursor_of_another_sort_is_refused(self, some):
        cursor = list_deliveries(some, Query(limit=1, sort="label"), NOW).next
        assert cursor
        with pytest.raises(QueryError, match="sorted by 'label'"):
            list_deliveries(some, Query(sort="-label", cursor=cursor), NOW)

    @pytest.mark.parametrize(
        "told",
        [
            *["[" * 2_900, '{"a":' * 580, '["-last_activity",false,' + "[" * 2_000, '["-last_activity",true,{},"a"]'],
            *['["-last_activity",false,[[]],"a"]', '["-last_activity",false,NaN,"a"]', '["-last_activity",0,1,"a"]'],
            *['["-last_activity",false,1e999,"a"]', '["-last_activity",false,1,null]', "null", "1", '"a"', "[]", "\0"],
            *['["-last_activity",false,"a","a"]', '["' + "x" * 2_000 + '",false,1,"a"]', '["\\ud800",false,1,"a"]'],
        ],
    )
    def test_whatever_a_cursor_holds_it_is_refused(self, some, told):
        cursor = base64.urlsafe_b64encode(told.encode()).decode()
        with pytest.raises(QueryError, match="cursor") as refused:
            list_deliveries(some, Query(cursor=cursor), NOW)
        assert len(str(refused.value)) < 300

    @pytest.mark.parametrize("value", ["9" * 1_000, "-1", "1e300", "null", "1.5"])
    def test_a_place_that_no_list_has_is_still_a_place(self, some, value):
        cursor = base64.urlsafe_b64encode(f'["-last_activity",false,{value},"a"]'.encode()).decode()
        with suppress(QueryError):
            list_deliveries(some, Query(cursor=cursor), NOW)

    @pytest.mark.parametrize("cursor", ["x", "é", "bnVsbA", "W10", "WyItbGFzdF9hY3Rpdml0eSIsIDEsIHt9LCB7fV0", "%%%"])
    def test_what_is_no_cursor_of_ours_is_refused(self, some, cursor):
        with pytest.raises(QueryError, match="cursor"):
            list_deliveries(some, Query(cursor=cursor), NOW)


@pytest.mark.slow
def test_a_page_of_twenty_thousand_deliveries():
    rng = random.Random(1)
    made = deliveries(
        *(
            counts({"sent": rng.randrange(99), "pending": rng.randrange(2)}, f"DM{n}", partition, **active(n % 999))
            for partition in range(2)
            for n in range(20_000)
        )
    )
    for query in (Query(), Query(q="dm1", sort="-failed"), Query(state=State.RUNNING, sort="progress")):
        assert len(list_deliveries(made, query, NOW).items) == 50
