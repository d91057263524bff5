"""The audit in memory: what stands in for the topic in tests without Kafka."""

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta, timezone
from typing import Any

from processor.engine.audits import AuditPage
from processor.wire.audit import AuditEntry, Deed, Via

NOW = datetime(2026, 11, 23, 8, tzinfo=timezone.utc)


def entry(minutes: int, who: str, deed: Deed, subject: str | None = None, **more: Any) -> AuditEntry:
    """Give what somebody did, some minutes ago."""
    return AuditEntry(NOW - timedelta(minutes=minutes), who, more.pop("via", Via.PAGE), deed, subject, **more)


class AuditInMemory:
    """Some entries, newest first."""

    def __init__(self) -> None:
        self.kept = [
            entry(1, "ulla@example.com", Deed.UNMASK, "DM1042", address="10.0.0.7"),
            entry(2, "ulla@example.com", Deed.CONTROL, "DM1042", detail="pause", address="10.0.0.7", via=Via.API),
            entry(3, "write token", Deed.CANCEL, "DM1043", address="10.0.0.8"),
            entry(4, "anna@ops-1", Deed.ERASE, "an-erasure", via=Via.COMMAND),
            entry(5, "<script>alert(1)</script>", Deed.LINK, "twilio SM1\u202e", via=Via.COMMAND),
        ]
        #: Raised by every question.
        self.failure: Exception | None = None

    async def page(self, has: Callable[[AuditEntry], bool], limit: int, **given: Any) -> AuditPage:
        if self.failure is not None:
            raise self.failure
        before: Mapping[int, int] = given["before"] or {0: len(self.kept)}
        # An entry's offset tells how old it is.
        older = [(offset, each) for offset, each in enumerate(reversed(self.kept)) if offset < before[0]][::-1]
        found = [(offset, each) for offset, each in older if has(each)][:limit]
        is_more = bool(found) and found[-1][0] > 0
        return AuditPage(tuple(each for _, each in found), {0: found[-1][0]} if is_more else None)
