"""The newest entries of the audit, for the API and the page."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from processor.domain.moment import Micros, Millis, to_millis
from processor.engine.audits import AuditPage
from processor.views.audit import DEFAULT_LIMIT, LIMIT_MAX, AuditList, AuditQuery, item_of
from processor.web.parameters import Parameter, choice, moment, text, whole
from processor.web.topic_reading import CURSOR_MAX, PATIENCE_SECONDS, Readers, read_cursor, write_cursor
from processor.wire.audit import SUBJECT_MAX, AuditEntry, Deed, Via

#: Records that one page looks at: rare ones are found over several pages.
_LOOKED_AT_MAX = 5_000

AUDIT_PARAMETERS: tuple[Parameter, ...] = (
    text("who", "Only what this user did: a name, `read token`, `write token`, or a command's user and host."),
    choice("deed", Deed, "Only this; `unmask`: whole recipients were shown."),
    choice("via", Via, "Only what was done by this way."),
    text("subject", "Only what was done to this: a delivery's id, for one.", max_length=SUBJECT_MAX),
    moment("since", "Only what was done since then."),
    moment("until", "Only what was done before then."),
    whole("limit", 1, LIMIT_MAX, DEFAULT_LIMIT, "Most entries on one page."),
    text("cursor", "The `next` of the previous page.", max_length=CURSOR_MAX),
)


class Source(Protocol):
    """Where the audit is read (engine/audits.py)."""

    async def page(  # noqa: D102, PLR0913
        self,
        has: Callable[[AuditEntry], bool],
        limit: int,
        *,
        before: Mapping[int, int] | None = None,
        since: Millis | None = None,
        until: Millis | None = None,
        most: int,
    ) -> AuditPage: ...


class AuditLists:
    """Lists what was done, by whom."""

    def __init__(self, source: Source) -> None:
        self._source, self._readers = source, Readers()

    async def list(
        self, given: Mapping[str, Any], *, with_sights: bool = True, seconds: float = PATIENCE_SECONDS
    ) -> AuditList:
        """List entries, newest first.

        Args:
            given: parsed parameters by name.
            with_sights: whether sights of whole recipients are among them.
            seconds: that it may take.

        Raises:
            ProblemError: the cursor is none, or Kafka does not answer.
        """
        query = AuditQuery(
            given.get("who"), given.get("deed"), given.get("via"), given.get("subject"), with_sights=with_sights
        )
        before = read_cursor(given["cursor"]) if "cursor" in given else None
        page = await self._readers.ask(
            lambda: self._source.page(
                query.has,
                given.get("limit", DEFAULT_LIMIT),
                before=before,
                since=_millis(given.get("since")),
                until=_millis(given.get("until")),
                most=_LOOKED_AT_MAX,
            ),
            seconds,
        )
        items = tuple([item_of(entry) for entry in page.found])
        return AuditList(items, None if page.before is None else write_cursor(page.before))


def _millis(time: int | None) -> Millis | None:
    return None if time is None else to_millis(Micros(time))
