"""The audit topic, for whoever lists its newest entries: bounded in what is read and held."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import aclosing
from typing import NamedTuple

from processor.domain.moment import Millis
from processor.engine.backwards import Backwards
from processor.engine.records import Stored
from processor.settings import Settings
from processor.wire.audit import AuditEntry, decode_entry
from processor.wire.readback import UnreadableError
from processor.wire.topics import AUDIT


class AuditPage(NamedTuple):
    """Some entries, newest first, and where to go on: before which offset, by partition; None: nowhere."""

    found: tuple[AuditEntry, ...]
    before: Mapping[int, int] | None


class AuditTopic:
    """Reads the audit topic, on demand. What others wrote there is left out.

    Args:
        settings: where the topic is.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    async def page(  # noqa: PLR0913 - where to begin and to end
        self,
        has: Callable[[AuditEntry], bool],
        limit: int,
        *,
        before: Mapping[int, int] | None = None,
        since: Millis | None = None,
        until: Millis | None = None,
        most: int,
    ) -> AuditPage:
        """Return the newest entries that are chosen.

        Args:
            has: chooses.
            limit: how many to return at most.
            before: where the page before ended.
            since: end with the first record of this time, in milliseconds.
            until: begin before the first record of this time.
            most: how many records to look at. A page may have few entries and still a next one.

        Raises:
            MissingTopicError: the topic does not exist.
            KafkaError: the brokers do not answer.
        """
        backwards = Backwards(self._settings, self._settings.topic(AUDIT), _entry_of, before)
        found: list[AuditEntry] = []
        looked_at = 0
        async with aclosing(backwards.records(until)) as newest:
            async for placed in newest:
                if since is not None and placed.timestamp < since:
                    # Over all partitions the newest comes first.
                    return AuditPage(tuple(found), None)
                if placed.kept is not None and has(placed.kept):
                    found.append(placed.kept)
                looked_at += 1
                if len(found) == limit or looked_at == most:
                    break
        return AuditPage(tuple(found), None if backwards.is_done else backwards.before)


def _entry_of(record: Stored) -> AuditEntry | None:
    try:
        return decode_entry(record.value or b"")
    except UnreadableError:
        return None
