"""The contract of the domain, typed out and read a second time, so that no test compares the code with itself."""

import re
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta, timezone
from typing import NamedTuple

import pytest

from processor.domain.event import Event
from processor.domain.reason import Reason
from processor.domain.row import Claim, NodeReason, Observation, Row, row_of
from processor.domain.status import Channel
from processor.domain.transitions import Node

#: What may come after what, by mail.
EMAIL = """
| pending            | taken_into_account, sent, failed, failed_gave_up, ignored, canceled, not_applicable |
| taken_into_account | sent, failed, failed_gave_up, ignored, canceled, not_applicable |
| sent               | failed, failed_gave_up (asynchronous bounce, expiry) |
| failed_gave_up     | sent, failed |
| canceled           | sent, failed, failed_gave_up (the cancel came too late) |
| failed, ignored, not_applicable | nothing |
"""

#: What may come after what, by SMS.
SMS = """
| pending            | every other status |
| prepared           | all but pending |
| sent_to_provider   | taken_into_account, sent, received_on_mobile, failed, failed_gave_up, ignored, canceled |
| taken_into_account | sent, received_on_mobile, failed, failed_gave_up, ignored, canceled |
| sent               | received_on_mobile, failed, failed_gave_up |
| failed_gave_up     | received_on_mobile, failed |
| canceled           | sent, received_on_mobile, failed, failed_gave_up |
| failed, received_on_mobile, ignored, not_applicable | nothing |
"""

#: What breaks a tie of time, lowest first.
RANKS = (
    "pending, prepared, canceled, not_applicable, ignored, sent_to_provider, taken_into_account, sent, "
    "failed_gave_up, failed, received_on_mobile"
)

#: Where a message of several parts stands: at the first of these that any part stands at, else at the first of those.
ANY_PART = "failed, failed_gave_up, canceled, ignored, not_applicable"
LEAST_ADVANCED = "pending, prepared, sent_to_provider, taken_into_account, sent, received_on_mobile"

#: Up to here a later transient reason is shown instead of the status' own.
UNDER_WAY = "pending, prepared, sent_to_provider, taken_into_account, sent"

#: Where a higher attempt may take a message that stands at failed_gave_up, where its channel has it.
REOPENING = "prepared, sent_to_provider, taken_into_account, sent"

Table = Mapping[str, frozenset[str]]


class Report(NamedTuple):
    """What the contract needs to know of an event."""

    time: int
    name: str
    event: Event


class Contract(NamedTuple):
    """The tables by channel, the nodes by rank, and the reopening rule: all as names on the wire.

    Its reading of the fold is naive on purpose: everything at once, from the start, sharing no code with the fold.
    """

    tables: Mapping[str, Table]
    ranks: tuple[str, ...]
    reopening: frozenset[str]

    def row(self, events: Iterable[Event]) -> Row:
        """Give the row that a set of events must lead to; their order is used nowhere."""
        reports = [Report(microseconds(event.time), name_of(event), event) for event in events]
        channel = min((report.time, report.event.channel.value) for report in reports)[1]
        memory: dict[tuple[int, int, str], tuple[int, int]] = {}
        for time, name, event in reports:
            key = (event.part or 0, event.attempt, name)
            first, last = memory.get(key, (time, time))
            memory[key] = min(first, time), max(last, time)
        parts = max(event.parts or 0 for _, _, event in reports)
        name, since, attempt, rejected = self.stand(channel, memory, parts)
        observed = sorted((part, attempt, self.ranks.index(name)) for part, attempt, name in memory)
        return row_of(
            Channel(channel),
            Node(self.ranks.index(name)),
            since,
            attempt,
            tuple(Node(rank) for rank, name in enumerate(self.ranks) if name in rejected),
            tuple(
                Observation(attempt, Node(rank), *memory[part, attempt, self.ranks[rank]], part)
                for part, attempt, rank in observed
            ),
            first_names(reports),
            tuple(
                NodeReason(Node(rank), *best_reason)
                for rank, name in enumerate(self.ranks)
                for best_reason in best_reasons(reports, name)
            ),
            parts,
        )

    def stand(
        self, channel: str, memory: Mapping[tuple[int, int, str], tuple[int, int]], parts: int
    ) -> tuple[str, int, int, set[str]]:
        """Say where a message stands by its memory {(part, attempt, name): (first, last)}: part 0 is the whole."""
        usable = {key: times for key, times in memory.items() if key[2] in self.tables[channel]}
        foreign = {name for _, _, name in memory} - {name for _, _, name in usable}
        seen = {part for part, _, _ in usable if part}

        def of(part: int | None) -> dict[tuple[int, str], list[int]]:
            found: dict[tuple[int, str], list[int]] = {}
            for (number, attempt, name), times in usable.items():
                if number in (0, part):
                    found.setdefault((attempt, name), []).extend(times)
            return found

        walks = [self.walk(channel, of(part)) for part in seen or {None}]
        if seen and parts > len(seen):
            if of(None):
                walks.append(self.walk(channel, of(None)))
            else:
                first = min(first for first, _ in usable.values())
                walks.append(("taken_into_account", first, min(attempt for _, attempt, _ in usable), set()))
        standing = {name for name, _, _, _ in walks}
        worst = [name for name in names(ANY_PART) if name in standing]
        name = (worst or [name for name in names(LEAST_ADVANCED) if name in standing])[0]
        there = [(since, attempt) for stands_at, since, attempt, _ in walks if stands_at == name]
        since = (min if worst else max)(since for since, _ in there)
        rejected = foreign.union(*(rejected for _, _, _, rejected in walks))
        return name, since, max(attempt for _, attempt in there), rejected

    def shown_reason(self, row: Row) -> Reason | None:
        """Give the reason that a row must show."""
        own = [(given.time, given.reason) for given in row.reasons if given.node is row.node]
        if self.ranks[row.node] in names(UNDER_WAY):
            later = [
                (given.time, given.reason)
                for given in row.reasons
                if given.reason.permanence == "transient" and given.time > row.since
            ]
            candidates = own + [it for it in later if not own or it[0] > own[0][0] or it[1] == own[0][1]]
            return max(candidates, key=by_time_and_value)[1] if candidates else None
        return own[0][1] if own else None

    def walk(self, channel: str, memory: Mapping[tuple[int, str], Iterable[int]]) -> tuple[str, int, int, set[str]]:
        """Walk a memory {(attempt, name): times}; say where it ends, since when, the attempt, the rejected."""
        table = self.tables[channel]
        points = {
            (attempt, time, self.ranks.index(name), name) for (attempt, name), times in memory.items() for time in times
        }
        rejected: set[str] = set()
        current, since, reached_in = "", 0, 0
        for attempt, time, _, name in sorted(points):
            reopens = current == "failed_gave_up" and attempt > reached_in and name in self.reopening
            if name == current:
                reached_in = max(reached_in, attempt)
            elif not current or name in table[current] or reopens:
                current, since, reached_in = name, time, attempt
            elif current not in table[name]:
                rejected.add(name)
        return current, since, reached_in, rejected


def microseconds(time: datetime) -> int:
    since = time - datetime(1970, 1, 1, tzinfo=timezone.utc)
    return since // timedelta(microseconds=1)


def name_of(event: Event) -> str:
    gave_up = event.reason is not None and event.reason.permanence == "gave_up"
    return "failed_gave_up" if event.status == "failed" and gave_up else event.status.value


def first_names(reports: Iterable[Report]) -> list[Claim]:
    """Give each name with the time at which it was first told."""
    fields = ("delivery_id", "recipient", "provider", "provider_message_id")
    claims = []
    for field in fields:
        named = ((report.time, value) for report in reports if (value := getattr(report.event, field)))
        claims.append(min(named, default=(None, None)))
    return [(value, time) for time, value in claims]


def best_reasons(reports: Iterable[Report], name: str) -> list[tuple[int, Reason]]:
    """Give the reason that tells most of a node; of equals the last, then the greatest; or none."""
    given = [
        (report.time, report.event.reason)
        for report in reports
        if report.name == name and report.event.reason not in (None, Reason())
    ]
    return sorted(given, key=lambda it: (how_telling(it[1]), by_time_and_value(it)))[-1:]


def how_telling(reason: Reason) -> tuple[bool, bool, bool]:
    has_kind = reason.category not in (None, "undefined")
    return has_kind, bool(reason.code or reason.provider_code), bool(reason.text)


def by_time_and_value(given: tuple[int, Reason]) -> tuple[object, ...]:
    return given[0], [(value is not None, value or "") for value in values_of(given[1])]


def values_of(reason: Reason) -> tuple[str | None, ...]:
    return reason.permanence, reason.category, reason.code, reason.provider_code, reason.text


def names(text: str) -> tuple[str, ...]:
    return tuple(re.sub(r"\(.*?\)", "", text).replace(" ", "").split(","))


def table_of(markdown: str) -> Table:
    rows = [line.strip("|").split("|") for line in markdown.strip().splitlines()]
    nodes = frozenset(node for after, _ in rows for node in names(after))
    table: dict[str, frozenset[str]] = {}
    for after, text in rows:
        for node in names(after):
            may_come = text.strip()
            if may_come == "nothing":
                table[node] = frozenset()
            elif may_come == "every other status":
                table[node] = nodes - {node}
            elif may_come.startswith("all but "):
                table[node] = nodes - {node, *names(may_come.removeprefix("all but "))}
            else:
                table[node] = frozenset(names(may_come))
    return table


@pytest.fixture(scope="session")
def contract() -> Contract:
    """What docs/statuses.md must say and the code must do."""
    tables = {"email": table_of(EMAIL), "sms": table_of(SMS)}
    return Contract(tables, names(RANKS), frozenset(names(REOPENING)))
