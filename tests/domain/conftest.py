"""The contract of the domain, typed out a second time, so that no test compares the code with itself."""

import re
from collections.abc import Mapping
from typing import NamedTuple

import pytest

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


class Contract(NamedTuple):
    """The tables by channel, the nodes by rank, and the reopening rule: all as names on the wire."""

    tables: Mapping[str, Table]
    ranks: tuple[str, ...]
    reopening: frozenset[str]


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
