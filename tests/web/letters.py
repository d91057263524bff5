"""Dead letters in memory, with the judgement of the real ones: what stands in for the topics in tests without Kafka."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timezone
from typing import Any

from processor.domain.moment import Millis
from processor.engine.letters import KnownLetter, LetterCounter, LetterPage, Settlement
from processor.wire.deadletters import DeadReason, Headers, Letter, Origin, fitted, headers_of
from processor.wire.letters import DeadLetter, LetterId, obstacle, read_letter
from processor.wire.settled import Outcome, Outcomes, Settled

INPUTS = ("delivery.mta.v1", "delivery.events.v1")
ORIGIN = Origin("delivery.mta.v1", 1, 7)

#: What makes a page run, turn its text, or show a recipient.
HOSTILE = b'{"to":"ulrika.holm@example.com","x":"</pre><script>alert(1)</script>\x1b[2J\xe2\x80\xae"}'


def letter(
    offset: int,
    *,
    value: bytes | None = HOSTILE,
    key: bytes | None = b"anna.berg@example.com",
    headers: Headers = (("provider", b"ses"),),
    reason: DeadReason = DeadReason.INVALID_JSON,
    detail: str = "refused <anna.berg@example.com>",
    limit: int = 1_000_000,
) -> DeadLetter:
    """Give a dead letter as a stage writes it, read back."""
    ours = headers_of(ORIGIN, Millis(1_795_420_800_000), reason, detail)
    written = fitted(Letter(key, value, headers), ours, limit)
    return read_letter(LetterId(0, offset), Millis(1_795_420_800_000 + offset), *written)


class LettersInMemory:
    """Some dead letters, and what became of them."""

    def __init__(self) -> None:
        self.kept = [
            letter(1),
            letter(2, value=b"\xff\xfe anna.berg@example.com", reason=DeadReason.INVALID_ENCODING),
            letter(3, value=b"x" * 9_000, limit=8_000, reason=DeadReason.RECORD_TOO_LARGE),
        ]
        self.outcomes = Outcomes()
        self.replayed: list[LetterId] = []
        #: Raised by every question.
        self.failure: Exception | None = None

    async def page(self, has: Callable[..., bool], limit: int, **given: Any) -> LetterPage:
        self._fail()
        before: Mapping[int, int] = given["before"] or {0: 1_000}
        older = [each for each in reversed(self.kept) if each.id.offset < before.get(0, 1_000)]
        found = [each for each in older if has(each, self.outcomes.of(each))][:limit]
        is_more = bool(found) and found[-1] is not older[-1]
        return LetterPage(tuple(map(self._known, found)), {0: found[-1].id.offset} if is_more else None)

    async def one(self, wanted: LetterId) -> KnownLetter | None:
        self._fail()
        return next((self._known(each) for each in self.kept if each.id == wanted), None)

    async def count(self, most: int | None = None) -> LetterCounter:
        self._fail()
        return LetterCounter(Counter((each.reason, self.outcomes.of(each)) for each in self.kept), is_whole=True)

    async def settle(self, ids: Sequence[LetterId], outcome: Outcome, *, force: bool, dry_run: bool) -> Settlement:
        self._fail()
        found = [each for each in self.kept if each.id in ids]
        refused = {each.id: why for each in found if (why := self._refusal(each, outcome, force=force))}
        settled = [each for each in found if each.id not in refused]
        for each in settled if not dry_run else ():
            now = datetime.now(timezone.utc)
            self.outcomes.add(Settled(each.id.partition, each.id.offset, each.written, outcome, now))
            if outcome is Outcome.REPLAYED:
                self.replayed.append(each.id)
        missing = set(ids) - {each.id for each in found}
        return Settlement(tuple(each.id for each in settled), tuple(refused.items()), tuple(missing))

    def _refusal(self, each: DeadLetter, outcome: Outcome, *, force: bool) -> str | None:
        if self.outcomes.of(each) is not None and not force:
            return "it was settled before"
        return self._known(each).obstacle if outcome is Outcome.REPLAYED else None

    def _known(self, each: DeadLetter) -> KnownLetter:
        return KnownLetter(each, self.outcomes.of(each), obstacle(each, INPUTS, 4_000_000))

    def _fail(self) -> None:
        if self.failure is not None:
            raise self.failure
