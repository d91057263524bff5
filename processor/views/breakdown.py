"""Messages of a list by what they have in common: by the place of their recipient, by reason, or by rule.

Nothing counts messages so beforehand. Each worker looks through the newest of its partitions, up to a bound, and says
how many it has looked at: what is told of a large delivery is told of a part of it, and says so.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from enum import Enum

import msgspec

from processor.domain.moment import Micros
from processor.domain.reason import HARD, SOFT
from processor.domain.traits import STATUSES_OF, Indicator
from processor.views.message_list import IndexedRows, MessageItem, list_share
from processor.views.message_query import Judge, MessageQuery, place_of_recipient

#: Messages that a worker looks at, over all its partitions, and at a time.
LOOKED_AT_MAX = 20_000
_AT_A_TIME = 200
#: To mask words takes ten times as long as all else.
_MASKED_AT_A_TIME = 20

#: Groups of one partition that are told apart, and those that are shown.
_GROUPS_MAX = 1_000
SHOWN_MAX = 20

_SUCCESS, _ERROR = STATUSES_OF[Indicator.SUCCESS], STATUSES_OF[Indicator.ERROR]


class By(str, Enum):
    """What messages are put together by."""

    #: The mail domain, or the calling code, of the recipient.
    PLACE = "place"
    #: The category of the reason.
    CATEGORY = "category"
    #: The category, and the words or the code of whoever gave the reason: what kept the message from being sent.
    RULE = "rule"
    #: When the message came to where it stands, its status, and whether it is a hard or soft failure.
    TIME = "time"


#: What the API breaks messages down by; by time they are a history (place_history.py).
OFFERED = (By.PLACE, By.CATEGORY, By.RULE)


class BreakdownQuery(msgspec.Struct, frozen=True):
    """Which messages to break down, and by what."""

    messages: MessageQuery
    by: By
    #: By time: seconds that are put together.
    seconds: int = 60
    #: Only messages of these deliveries; None: of all.
    deliveries: tuple[str, ...] | None = None


class Group(msgspec.Struct, frozen=True):
    """Messages that have something in common."""

    #: Of a rule: the category and the words; by time: the first second, the status, and `hard`, `soft` or nothing;
    #: else one text, empty where nothing is known.
    name: tuple[str, ...]
    messages: int
    success: int = 0
    failed: int = 0

    def plus(self, other: Group) -> Group:
        """Return both groups as one of this name."""
        return Group(
            self.name, self.messages + other.messages, self.success + other.success, self.failed + other.failed
        )


class PartitionBreakdown(msgspec.Struct, frozen=True):
    """What was found in one partition."""

    groups: tuple[Group, ...]
    #: Messages in no group, since there were too many groups.
    others: Group
    is_whole: bool
    #: Down to when all were looked at; null: there are no more.
    reached: Micros | None = None


class Breakdown(msgspec.Struct, frozen=True):
    """The groups with most messages, the largest first, and the sum of all others."""

    groups: tuple[Group, ...]
    others: Group
    #: Messages that it tells of.
    messages: int
    #: Whether these are all that there are; else they are those with the newest changes.
    is_whole: bool
    #: Partitions that could not be asked.
    incomplete: tuple[int, ...] = ()


OTHERS = Group((), 0)

#: Masks a recipient (None: not known) in words.
Mask = Callable[[str, "str | None"], str]


def partition_breakdown(
    index: IndexedRows, query: BreakdownQuery, judge: Judge, most: int, mask: Mask
) -> Iterator[PartitionBreakdown]:
    """Yield what was found so far in one partition, after each few messages: others may run meanwhile.

    Args:
        index: the partition.
        query: what to break down.
        judge: tells which messages are stuck.
        most: messages to look at.
        mask: masks a recipient in words that may quote it.
    """
    found: dict[tuple[str, ...], Counter[str]] = {}
    deliveries = None if query.deliveries is None else frozenset(query.deliveries)
    others: Counter[str] = Counter()
    after: tuple[Micros, str] | None = query.messages.after
    looked_at, at_a_time = 0, _MASKED_AT_A_TIME if query.by is By.RULE else _AT_A_TIME
    # A history has few groups by itself, and none that is less than another.
    most_groups = LOOKED_AT_MAX if query.by is By.TIME else _GROUPS_MAX
    while True:
        limit = min(at_a_time, most - looked_at)
        share = list_share({0: index}, msgspec.structs.replace(query.messages, after=after, limit=limit), judge)
        looked_at += len(share.found[:limit])
        for since, item in [(each.since, each.item) for each in share.found[:limit]]:
            if deliveries is not None and item.delivery_id not in deliveries:
                continue
            name = _moment_of(since, item, query.seconds) if query.by is By.TIME else _name(item, query.by, mask)
            group = found.get(name)
            if group is None:
                group = found.setdefault(name, Counter()) if len(found) < most_groups else others
            group[_ending(item)] += 1
        # Of a page that is full, the message after it was found, too.
        last = share.found[limit - 1] if len(share.found) > limit else None
        after = share.reached if last is None else (last.since, last.message_id)
        groups = tuple([_group(name, counts) for name, counts in found.items()])
        yield PartitionBreakdown(groups, _group((), others), after is None, None if after is None else after[0])
        if after is None or looked_at >= most:
            return


def _name(item: MessageItem, by: By, mask: Mask) -> tuple[str, ...]:
    if by is By.PLACE:
        return ((item.recipient and place_of_recipient(item.recipient)) or "",)
    category = (item.reason.category if item.reason is not None else None) or "undefined"
    if by is By.CATEGORY:
        return (category,)
    reason = item.reason
    words = (reason.text or reason.provider_code or reason.code) if reason is not None else None
    return category, mask(words, item.recipient) if words else ""


def _moment_of(since: Micros, item: MessageItem, seconds: int) -> tuple[str, ...]:
    start = since // 1_000_000 // seconds * seconds
    category = None if item.reason is None else item.reason.category
    is_failed = item.status in _ERROR
    bounce = "hard" if is_failed and category in HARD else "soft" if is_failed and category in SOFT else ""
    return str(start), item.status.value, bounce


def _ending(item: MessageItem) -> str:
    return "success" if item.status in _SUCCESS else "failed" if item.status in _ERROR else ""


def _group(name: tuple[str, ...], counts: Counter[str]) -> Group:
    return Group(name, sum(counts.values()), counts["success"], counts["failed"])


def merge_breakdowns(found: Iterable[PartitionBreakdown], incomplete: Iterable[int] = ()) -> Breakdown:
    """Merge what was found in some partitions."""
    merged: dict[tuple[str, ...], Group] = {}
    others, is_whole = OTHERS, True
    for each in found:
        is_whole = is_whole and each.is_whole
        others = others.plus(each.others)
        for group in each.groups:
            before = merged.get(group.name)
            merged[group.name] = group if before is None else before.plus(group)
    ranked = sorted(merged.values(), key=lambda group: (-group.messages, group.name))
    for group in ranked[SHOWN_MAX:]:
        others = others.plus(group)
    shown = tuple(ranked[:SHOWN_MAX])
    messages = others.messages + sum([group.messages for group in shown])
    return Breakdown(shown, others, messages, is_whole, tuple(incomplete))
