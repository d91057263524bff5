"""The audit as people and machines see it: what is asked for, and an item of the list."""

from __future__ import annotations

import msgspec

from processor.domain.moment import to_microseconds, to_rfc3339
from processor.wire.audit import AuditEntry, Deed, Via

DEFAULT_LIMIT, LIMIT_MAX = 50, 500


class AuditQuery(msgspec.Struct, frozen=True):
    """What entries are chosen by; what is None chooses all."""

    who: str | None = None
    deed: Deed | None = None
    via: Via | None = None
    subject: str | None = None
    #: Whether sights of whole recipients are among them.
    with_sights: bool = True

    def has(self, entry: AuditEntry) -> bool:
        """Return whether an entry is chosen."""
        return (
            (self.who is None or entry.who == self.who)
            and (self.deed is None or entry.deed is self.deed)
            and (self.via is None or entry.via is self.via)
            and (self.subject is None or entry.subject == self.subject)
            and (self.with_sights or entry.deed is not Deed.UNMASK)
        )


class AuditItem(msgspec.Struct, frozen=True):
    """That somebody did something. The time is RFC 3339."""

    time: str
    #: The name of a user, `read token` or `write token`, or the user and the host of a command.
    who: str
    #: Where a request came from; None: a command has none.
    address: str | None
    via: Via
    deed: Deed
    #: What it was done to: a delivery, a message (masked), an erasure, dead letters; None: nothing that has a name.
    subject: str | None
    detail: str | None


class AuditList(msgspec.Struct, frozen=True):
    """A page of the audit, newest first."""

    items: tuple[AuditItem, ...]
    #: Gives the next page; a page may have few items and still a next one. None: there is none.
    next: str | None
    incomplete: tuple[str, ...] = ()


def item_of(entry: AuditEntry) -> AuditItem:
    """Return an entry as an item of a list."""
    time = to_rfc3339(to_microseconds(entry.time))
    return AuditItem(time, entry.who, entry.address, entry.via, entry.deed, entry.subject, entry.detail)
