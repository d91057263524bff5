"""Breakdowns: bounded, and merged without counting anything twice."""

from processor.views.breakdown import (
    OTHERS,
    SHOWN_MAX,
    BreakdownQuery,
    By,
    Group,
    PartitionBreakdown,
    merge_breakdowns,
    partition_breakdown,
)
from processor.views.message_query import Judge, MessageQuery
from tests.web.workers import Work, ago, event, rows


def work(number: int) -> Work:
    recipients = [f"a@d{each % 7}.example" for each in range(number)]
    reports = [event(f"m-{each}", "sent", ago(minutes=each), recipient=to) for each, to in enumerate(recipients)]
    return Work(rows(reports))


def found(number: int, most: int) -> list[PartitionBreakdown]:
    query = BreakdownQuery(MessageQuery(), By.PLACE)
    return list(partition_breakdown(work(number).index, query, Judge({}), most, lambda words, _: words))


def counted(each: PartitionBreakdown) -> int:
    return sum(group.messages for group in each.groups) + each.others.messages


def test_each_message_is_counted_once():
    *_, last = found(1_000, 5_000)
    assert (counted(last), last.is_whole, len(last.groups)) == (1_000, True, 7)


def test_it_stops_at_its_bound_and_says_so():
    *_, last = found(1_000, 450)
    assert (counted(last), last.is_whole) == (450, False)


def test_others_may_run_meanwhile():
    assert len(found(1_000, 5_000)) == 5


def test_it_tells_down_to_when_it_looked():
    shares = found(1_000, 450)
    assert [each.reached is None for each in shares] == [False] * 3
    assert [each.reached for each in shares] == sorted((each.reached for each in shares), reverse=True)
    assert found(100, 450)[-1].reached is None


def test_groups_of_several_partitions_are_added():
    one = PartitionBreakdown((Group(("a",), 3, 2, 1), Group(("b",), 1, 1, 0)), OTHERS, is_whole=True)
    other = PartitionBreakdown((Group(("a",), 4, 0, 4),), Group((), 2, 1, 1), is_whole=False)
    merged = merge_breakdowns([one, other], [5])
    assert merged.groups == (Group(("a",), 7, 2, 5), Group(("b",), 1, 1, 0))
    assert (merged.others, merged.messages, merged.is_whole, merged.incomplete) == (Group((), 2, 1, 1), 10, False, (5,))


def test_small_groups_are_summed():
    many = tuple(Group((f"{number:03}",), number) for number in range(1, SHOWN_MAX + 4))
    merged = merge_breakdowns([PartitionBreakdown(many, OTHERS, is_whole=True)])
    assert len(merged.groups) == SHOWN_MAX
    assert merged.others.messages == 1 + 2 + 3
    assert merged.messages == sum(group.messages for group in many)
