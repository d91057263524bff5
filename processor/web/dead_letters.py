"""Dead letters for the API and the page: a list, one with its bytes, and what is done about those that are named."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Protocol

import msgspec

from processor.domain.moment import Micros, Millis, to_millis
from processor.engine.bounds import end
from processor.engine.letters import KnownLetter, LetterCounter, LetterPage, Settlement
from processor.engine.replaying import TakenOverError
from processor.views.dead_letters import (
    DEFAULT_LIMIT,
    LIMIT_MAX,
    LetterCounts,
    LetterItem,
    LetterList,
    LetterQuery,
    LetterRefusal,
    LetterState,
    LetterView,
    SettledList,
    counts_of,
    item_of,
    view_of,
)
from processor.web.masking.views import mask_letter, mask_letter_item
from processor.web.parameters import Parameter, choice, moment, text, whole
from processor.web.problems import LETTER_NOT_KNOWN, TAKEN_OVER, ProblemError, invalid
from processor.web.topic_reading import CURSOR_MAX, PATIENCE_SECONDS, Readers, answered, read_cursor, write_cursor
from processor.wire.deadletters import DeadReason
from processor.wire.letters import DeadLetter, LetterId
from processor.wire.settled import Outcome

#: Letters that one page looks at: rare ones are found over several pages.
_LOOKED_AT_MAX = 5_000

#: Letters that are counted at most, and seconds for which their counts are good.
_COUNTED_MAX = 50_000
_FRESH_SECONDS = 30.0
#: Seconds for which the overview waits for the first counts.
_SOON_SECONDS = 1.0

#: Letters that one request may name: what is settled is one transaction.
IDS_MAX = 500

LETTER_PARAMETERS: tuple[Parameter, ...] = (
    choice("reason", DeadReason, "Only those with this reason."),
    text("provider", "Only those whose record names this provider."),
    text("topic", "Only those that came from this topic, with or without the prefix."),
    moment("since", "Only those written since then."),
    moment("until", "Only those written before then."),
    choice("state", LetterState, "Only those where this was done; `waiting`: nothing."),
    whole("limit", 1, LIMIT_MAX, DEFAULT_LIMIT, "Most dead letters on one page."),
    text("cursor", "The `next` of the previous page.", max_length=CURSOR_MAX),
)


#: A partition and an offset.
_ID = "^[0-9]{1,18}-[0-9]{1,18}$"


class LetterOrder(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """Which dead letters are to be replayed or discarded, by their ids."""

    ids: Annotated[
        tuple[Annotated[str, msgspec.Meta(pattern=_ID)], ...], msgspec.Meta(min_length=1, max_length=IDS_MAX)
    ]
    #: Also those that were replayed or discarded before.
    force: bool = False
    #: Only tell what would be done.
    dry_run: bool = False


class Source(Protocol):
    """Where dead letters are read and settled (engine/letters.py)."""

    async def page(  # noqa: D102, PLR0913
        self,
        has: Callable[[DeadLetter, Outcome | None], bool],
        limit: int,
        *,
        before: Mapping[int, int] | None = None,
        since: Millis | None = None,
        until: Millis | None = None,
        most: int | None = None,
    ) -> LetterPage: ...

    async def one(self, wanted: LetterId) -> KnownLetter | None: ...  # noqa: D102

    async def count(self, most: int | None = None) -> LetterCounter: ...  # noqa: D102

    async def settle(  # noqa: D102
        self, ids: Sequence[LetterId], outcome: Outcome, *, force: bool, dry_run: bool
    ) -> Settlement: ...


class DeadLetters:
    """Answers questions about dead letters, and settles them."""

    def __init__(self, source: Source, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._source, self._monotonic = source, monotonic
        #: The last counts, and until when they are fresh.
        self._counted: tuple[float, LetterCounts | None] = (0.0, None)
        self._counting = asyncio.Lock()
        self._recounting: asyncio.Task[None] | None = None
        self._readers = Readers()

    async def list(self, given: Mapping[str, Any], *, reveal: bool) -> LetterList:
        """List dead letters, newest first.

        Args:
            given: parsed parameters by name.
            reveal: whether recipients are shown whole.

        Raises:
            ProblemError: the cursor is none, or Kafka does not answer.
        """
        query = _query(given)
        before = read_cursor(given["cursor"]) if "cursor" in given else None
        limit = given.get("limit", DEFAULT_LIMIT)
        page = await self._readers.ask(
            lambda: self._source.page(
                query.has, limit, before=before, since=query.since, until=query.until, most=_LOOKED_AT_MAX
            )
        )
        items: tuple[LetterItem, ...] = tuple([item_of(*known) for known in page.found])
        if not reveal:
            items = tuple(map(mask_letter_item, items))
        return LetterList(items, None if page.before is None else write_cursor(page.before))

    async def one(self, name: str, *, reveal: bool) -> LetterView:
        """Return a dead letter with its bytes.

        Raises:
            ProblemError: none is kept under this id, or Kafka does not answer.
        """
        wanted = LetterId.parse(name)
        known = None if wanted is None else await self._readers.ask(lambda: self._source.one(wanted))
        if known is None:
            raise ProblemError(LETTER_NOT_KNOWN, f"no dead letter is kept under the id {name[:40]!r}")
        view = view_of(*known)
        return view if reveal else mask_letter(view)

    async def counts(self, seconds: float = PATIENCE_SECONDS) -> LetterCounts:
        """Count the newest dead letters that are kept, by reason; the counts may be half a minute old.

        Args:
            seconds: that it may take.

        Raises:
            ProblemError: Kafka does not answer.
        """
        return await answered(self._fresh_counts(), seconds)

    async def _fresh_counts(self) -> LetterCounts:
        async with self._counting:
            until, counts = self._counted
            if counts is None or self._monotonic() >= until:
                counter = await self._readers.read(lambda: self._source.count(_COUNTED_MAX))
                counts = counts_of(counter.counts, is_whole=counter.is_whole)
                self._counted = self._monotonic() + _FRESH_SECONDS, counts
            return counts

    async def waiting(self) -> Mapping[DeadReason | None, int] | None:
        """Return how many wait, by reason (None: of another version), as they were counted last.

        Counts that are old are made anew meanwhile, so nobody waits for long. None: nobody has been able to count them.
        """
        if self._recounting is None and self._monotonic() >= self._counted[0]:
            self._recounting = asyncio.ensure_future(self._recount())
        if self._counted[1] is None and self._recounting is not None:
            await asyncio.wait({self._recounting}, timeout=_SOON_SECONDS)
        counts = self._counted[1]
        return None if counts is None else {each.reason: each.waiting for each in counts.items if each.waiting}

    async def _recount(self) -> None:
        try:
            await self.counts()
        except ProblemError:
            # What was counted before stands.
            pass
        finally:
            self._recounting = None

    async def stop(self) -> None:
        """End a count that is still being made."""
        if self._recounting is not None:
            await end([self._recounting])

    async def settle(self, order: LetterOrder, outcome: Outcome) -> SettledList:
        """Replay or discard dead letters.

        Raises:
            ProblemError: an id is none, no letter is kept under it, another has taken over, or Kafka does not answer.
        """
        ids = [LetterId.parse(name) for name in dict.fromkeys(order.ids)]
        wanted = [each for each in ids if each is not None]
        if len(wanted) < len(ids):
            raise invalid("an id is a partition and an offset, like 3-104233")
        try:
            done = await self._readers.ask(
                lambda: self._source.settle(wanted, outcome, force=order.force, dry_run=order.dry_run)
            )
        except TakenOverError as error:
            raise ProblemError(TAKEN_OVER, str(error)) from None
        self._counted = 0.0, None
        refused = [*done.refused, *((each, "no dead letter is kept under this id") for each in done.missing)]
        return SettledList(
            tuple(map(str, done.settled)), tuple([LetterRefusal(str(letter), why) for letter, why in refused])
        )


def _query(given: Mapping[str, Any]) -> LetterQuery:
    provider, times = given.get("provider"), {name: given.get(name) for name in ("since", "until")}
    return LetterQuery(
        reason=given.get("reason"),
        provider=None if provider is None else provider.strip().lower(),
        topic=given.get("topic"),
        state=given.get("state"),
        **{name: None if time is None else to_millis(Micros(time)) for name, time in times.items()},
    )
