"""One sweep through the rows of a partition: stuck, contradictory and expired messages, and evidence on providers.

It visits millions of rows while events wait, so an unremarkable row costs next to nothing: one look-up by channel and
node, and two comparisons of times.
"""

from __future__ import annotations

from bisect import insort
from collections import Counter
from collections.abc import Mapping
from typing import NamedTuple

from processor.domain.moment import Micros
from processor.domain.row import Row
from processor.domain.status import Channel, Status
from processor.domain.traits import ENDING, STUCK_AFTER, TRAITS
from processor.domain.transitions import NODE_NAMES, NODE_STATUS, TRANSITIONS, Node
from processor.domain.waiting import NO_HOLDS, Holds, StuckAfter, is_stuck, may_expire, stuck_before
from processor.watch.evidence import HISTORY, Flow, Gatherer
from processor.watch.failing import Tally
from processor.watch.findings import SAMPLE, Contradiction, Found, Partial, Stuck, WaitingStatus, merge

#: Findings that one partition tells of: the largest groups of stuck messages, kinds of contradictions, deliveries.
_GROUPS_TOLD = 50
_CONTRADICTIONS_TOLD = 100
_DELIVERIES_TOLD = 1_000
#: Groups of stuck messages that are counted at a time. When there are more, the smaller half is let go: it counts in
#: the totals only.
_GROUPS_MAX = 5_000
#: Messages that one sweep remembers as stuck, and keys that it gives to retention.
_LABELLED_MAX = 50_000
_EXPIRED_MAX = 10_000


class Labels:
    """The messages that a sweep labelled stuck: some by id, the others by place and time."""

    def __init__(self, before: Mapping[tuple[Channel, Node], Micros | None], labelled: set[int]) -> None:
        self._before, self._labelled = before, labelled
        self._is_complete = len(labelled) < _LABELLED_MAX

    def has(self, key: bytes, row: Row) -> bool:
        """Return whether a message had been labelled stuck, given its row before it moved."""
        before = self._before.get((row.channel, row.node))
        return is_stuck(row, before) and (hash(key) in self._labelled or not self._is_complete)


#: What has been called stuck before the first sweep.
NOTHING_LABELLED = Labels({}, set())

#: Later than any time.
_NEVER = Micros(1 << 62)
#: Earlier than any time.
_EVER = Micros(-(1 << 62))


class _Place:
    """One node in which messages wait, while a sweep counts them."""

    __slots__ = ("channel", "oldest", "oldest_key", "status", "stuck", "stuck_before")

    def __init__(self, channel: Channel, status: Status, before: Micros | None) -> None:
        self.channel, self.status, self.stuck_before = channel, status, before
        self.oldest, self.oldest_key = _NEVER, b""
        self.stuck = 0

    def waiting(self) -> WaitingStatus:
        oldest = None if self.oldest == _NEVER else Found(self.oldest, _id(self.oldest_key))
        return WaitingStatus(self.channel, self.status, self.stuck, oldest)


class _Group:
    """Messages of one finding, while a sweep counts them; the sample is in order."""

    __slots__ = ("messages", "sample")

    def __init__(self) -> None:
        self.messages = 0
        self.sample: list[tuple[int, bytes]] = []

    def add(self, rank: int, key: bytes) -> None:
        """Count one message; keep the ids of those with the lowest rank."""
        self.messages += 1
        sample = self.sample
        if len(sample) < SAMPLE:
            insort(sample, (rank, key))
        elif (rank, key) < sample[-1]:
            insort(sample, (rank, key))
            sample.pop()


class _Rule(NamedTuple):
    """The rows at one node that need inspection: there since `until` or earlier, or since `since` or later.

    It holds data, not bound methods: a sweep that refers to itself would stay in memory until the next garbage
    collection, which is rare (cli/garbage.py).
    """

    until: Micros
    since: Micros
    #: Where messages wait at this node; None: nobody waits there.
    place: _Place | None
    is_handed_over: bool
    is_answer: bool


class Sweep:
    """One sweep through all rows of a partition.

    `visit` is called for each row. Rows may change meanwhile: each is judged when it is visited.

    Args:
        stuck_after: the thresholds.
        now: microseconds. Until when this partition's records have been read: the present when all have, else the
            timestamp of the last one. What a queue holds is not missing.
        holds: until when deliveries are held, in microseconds, of those that ever were: before their date, and while
            they are paused, what nobody has taken waits for good reason.
        flow: what this partition has heard of providers.
        is_behind: whether much is still to be read; then nothing is said of providers.
        expired_before: microseconds; rows in which nobody waits, and of which nothing later was reported, are given to
            retention. None: none are.
    """

    def __init__(  # noqa: PLR0913 - all that a sweep depends on
        self,
        stuck_after: StuckAfter,
        now: Micros,
        *,
        holds: Holds = NO_HOLDS,
        flow: Flow | None = None,
        is_behind: bool = False,
        expired_before: Micros | None = None,
    ) -> None:
        self._now, self._history, self._is_behind = now, Micros(now - HISTORY), is_behind
        self._holds = holds
        self._expired_before = _EVER if expired_before is None else expired_before
        self._gatherer = Gatherer(now, Flow() if flow is None else flow)
        self._ended = Tally(now)
        #: The keys of messages that retention may remove.
        self.expired: list[bytes] = []
        self._labelled: set[int] = set()
        self._stuck: dict[tuple[_Place, str, str | None], _Group] = {}
        self._contradicted = 0
        self._contradictions: dict[tuple[Channel, Node, Node, str | None], _Group] = {}
        before = stuck_before(stuck_after, now)
        self._places = {key: _Place(*key, before.get(key)) for key in STUCK_AFTER}
        self._rules = {channel: tuple(self._rule(channel, node) for node in Node) for channel in Channel}

    def _rule(self, channel: Channel, node: Node) -> _Rule:
        place = self._places.get((channel, NODE_STATUS[node])) if node in TRANSITIONS[channel] else None
        is_answer = ENDING[node] is not None
        if place is not None:
            return _Rule(_NEVER, _NEVER, place, TRAITS[node].is_handed_over, is_answer)
        return _Rule(self._expired_before, self._history if is_answer else _NEVER, None, False, is_answer)

    def visit(self, key: bytes, row: Row) -> None:
        """Visit one row; `key` is its message's id in UTF-8."""
        until, since, place, is_handed_over, is_answer = self._rules[row.channel][row.node]
        if until < row.since < since and not row.rejected:
            return
        if place is not None:
            self._visit_waiting(place, is_handed_over, is_answer, key, row)
        elif is_answer:
            self._visit_answered(key, row)
        else:
            self._visit_settled(key, row)
        if row.rejected:
            self._contradict(key, row)

    def _visit_waiting(self, place: _Place, is_handed_over: bool, is_answer: bool, key: bytes, row: Row) -> None:
        since = row.since
        if since <= place.oldest:
            place.oldest, place.oldest_key = min((since, key), (place.oldest, place.oldest_key))
        if is_stuck(row, place.stuck_before, self._holds):
            self._label(key, row, place)
        if is_handed_over:
            self._gatherer.add_waiting(row, since)
        elif is_answer and since > self._history:
            self._see_answer(row, since)

    def _visit_answered(self, key: bytes, row: Row) -> None:
        since = row.since
        if since > self._history:
            self._see_answer(row, since)
        if since <= self._expired_before:
            self._visit_settled(key, row)

    def _see_answer(self, row: Row, since: Micros) -> None:
        self._gatherer.add_answered(row, since)
        self._ended.see(row, since)

    def _visit_settled(self, key: bytes, row: Row) -> None:
        if len(self.expired) < _EXPIRED_MAX and may_expire(row, self._expired_before):
            self.expired.append(key)

    def _label(self, key: bytes, row: Row, place: _Place) -> None:
        place.stuck += 1
        if len(self._labelled) < _LABELLED_MAX:
            self._labelled.add(hash(key))
        name = place, row.delivery, row.provider_name
        group = self._stuck.get(name)
        if group is None:
            if len(self._stuck) >= _GROUPS_MAX:
                self._stuck = dict(self._largest(_GROUPS_MAX // 2))
            group = self._stuck[name] = _Group()
        group.add(row.since, key)

    def _contradict(self, key: bytes, row: Row) -> None:
        self._contradicted += 1
        for node in row.rejected:
            name = row.channel, row.node, node, row.provider_name
            group = self._contradictions.get(name)
            if group is None:
                if len(self._contradictions) >= _CONTRADICTIONS_TOLD:
                    return
                group = self._contradictions[name] = _Group()
            # The newest first.
            group.add(-max(at.last for at in row.observations if at.node is node), key)

    def _largest(self, number: int) -> list[tuple[tuple[_Place, str, str | None], _Group]]:
        return sorted(self._stuck.items(), key=lambda entry: (-entry[1].messages, entry[1].sample[0]))[:number]

    # What was found

    def result(self) -> Partial:
        """Return the findings."""
        stuck = [
            Stuck(place.channel, place.status, delivery, provider, group.messages, _oldest(group))
            for (place, delivery, provider), group in self._largest(_GROUPS_TOLD)
        ]
        contradictions = [
            Contradiction(channel, NODE_NAMES[standing], NODE_NAMES[reported], provider, group.messages, _newest(group))
            for (channel, standing, reported, provider), group in self._contradictions.items()
        ]
        found = Partial(
            self._now,
            1,
            int(self._is_behind),
            tuple(place.waiting() for place in self._places.values()),
            tuple(stuck),
            self._contradicted,
            tuple(contradictions),
            () if self._is_behind else self._gatherer.evidence(),
            self._stuck_deliveries(),
            self._ended.result(),
        )
        # Merging puts it in order.
        return merge([found])

    def _stuck_deliveries(self) -> dict[str, int]:
        numbers: Counter[str] = Counter()
        for (_, delivery, _), group in self._stuck.items():
            numbers[delivery] += group.messages
        return dict(numbers.most_common(_DELIVERIES_TOLD))

    def labels(self) -> Labels:
        """Return the messages that were labelled stuck, to count those that move later."""
        nodes = [(channel, node) for channel in Channel for node in TRANSITIONS[channel]]
        places = {at: self._places.get((at[0], NODE_STATUS[at[1]])) for at in nodes}
        return Labels({at: place.stuck_before for at, place in places.items() if place is not None}, self._labelled)


def _oldest(group: _Group) -> tuple[Found, ...]:
    return tuple(Found(Micros(since), _id(key)) for since, key in group.sample)


def _newest(group: _Group) -> tuple[Found, ...]:
    return tuple(Found(Micros(-rank), _id(key)) for rank, key in group.sample)


def _id(key: bytes) -> str:
    return key.decode(errors="replace")
