"""The contract of the domain, typed out and read a second time, so that no test compares the code with itself."""

import re
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta, timezone
from typing import NamedTuple

import pytest

from processor.domain.event import Event
from processor.domain.reason import Reason
from processor.domain.row import Names, NodeReason, Observation, Row
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
        memory: dict[tuple[int, str], tuple[int, int]] = {}
        for time, name, event in reports:
            first, last = memory.get((event.attempt, name), (time, time))
            memory[event.attempt, name] = min(first, time), max(last, time)
        name, since, attempt, rejected = self.walk(channel, memory)
        observed = sorted((attempt, self.ranks.index(name)) for attempt, name in memory)
        return Row(
            Channel(channel),
            Node(self.ranks.index(name)),
            since,
            attempt,
            tuple(Node(rank) for rank, name in enumerate(self.ranks) if name in rejected),
            tuple(Observation(attempt, Node(rank), *memory[attempt, self.ranks[rank]]) for attempt, rank in observed),
            first_names(reports),
            tuple(
                NodeReason(Node(rank), *last_reason)
                for rank, name in enumerate(self.ranks)
                for last_reason in last_reasons(reports, name)
            ),
        )

    def walk(self, channel: str, memory: Mapping[tuple[int, str], tuple[int, int]]) -> tuple[str, int, int, set[str]]:
        """Walk a memory {(attempt, name): (first, last)}; say where it ends, since when, the attempt, the rejected."""
        table = self.tables[channel]
        points = {
            (attempt, time, self.ranks.index(name), name)
            for (attempt, name), times in memory.items()
            for time in times
            if name in table
        }
        # What the channel does not have contradicts everything on it.
        rejected = {name for _, name in memory if name not in table}
        current, since, reached_in = "", 0, 0
        for attempt, time, _, name in sorted(points):
            reopens = current == "failed_gave_up" and attempt > reached_in and name in self.reopening
            if not current or name in table[current] or reopens:
                current, since, reached_in = name, time, attempt
            elif name != current and current not in table[name]:
                rejected.add(name)
        return current, since, reached_in, rejected


def microseconds(time: datetime) -> int:
    since = time - datetime(1970, 1, 1, tzinfo=timezone.utc)
    return since // timedelta(microseconds=1)


def name_of(event: Event) -> str:
    gave_up = event.reason is not None and event.reason.permanence == "gave_up"
    return "failed_gave_up" if event.status == "failed" and gave_up else event.status.value


def first_names(reports: Iterable[Report]) -> Names:
    fields = ("delivery_id", "recipient", "provider", "provider_message_id")
    claims = []
    for field in fields:
        named = ((report.time, value) for report in reports if (value := getattr(report.event, field)))
        claims.append(min(named, default=(None, None)))
    return Names(*(value for _, value in claims), *(time for time, _ in claims))


def last_reasons(reports: Iterable[Report], name: str) -> list[tuple[int, Reason]]:
    """Give the reason that was given last for a node, or none."""
    given = [
        (report.time, report.event.reason)
        for report in reports
        if report.name == name and report.event.reason not in (None, Reason())
    ]
    return sorted(given, key=lambda it: (it[0], [(value is not None, value) for value in values_of(it[1])]))[-1:]


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
