"""What `audit` lists: the newest entries, whatever order partitions come in, and never all of them at once."""

from collections.abc import AsyncIterator
from datetime import datetime, timedelta, timezone
from random import Random
from types import SimpleNamespace
from typing import Any

import pytest

from processor.cli import auditing
from processor.settings import Settings
from processor.wire.audit import AuditEntry, Deed, Via, encode_entry

START = datetime(2026, 11, 23, tzinfo=timezone.utc)


def entry(minute: int) -> AuditEntry:
    return AuditEntry(START + timedelta(minutes=minute), "me", Via.COMMAND, Deed.LINK, str(minute))


@pytest.fixture
def topic(monkeypatch):
    """Give what the topic holds, to add to."""
    held: list[bytes | None] = []

    async def read(*_: Any, **__: Any) -> AsyncIterator[Any]:
        for value in held:
            yield SimpleNamespace(value=value)

    monkeypatch.setattr(auditing, "read_to_end", read)
    return held


async def listed(limit: int, since: datetime | None = None) -> list[str | None]:
    return [each.subject for each in await auditing._newest(Settings(), since, limit)]


async def test_the_newest_are_listed_first_and_what_is_none_of_ours_is_passed_over(topic):
    minutes = list(range(50))
    Random(1).shuffle(minutes)
    topic += [encode_entry(entry(minute)) for minute in minutes]
    topic.insert(10, b"whoever may write there can write anything")
    topic.insert(20, None)
    assert await listed(3) == ["49", "48", "47"]
    assert await listed(1) == ["49"]
    assert await listed(100) == [str(minute) for minute in reversed(range(50))]


async def test_none_is_listed_of_before_the_time_that_is_asked_for(topic):
    topic += [encode_entry(entry(minute)) for minute in (5, 1, 9)]
    assert await listed(10, START + timedelta(minutes=5)) == ["9", "5"]
