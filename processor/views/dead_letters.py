"""Dead letters as people and machines see them: what is asked for, an item of a list, and one with its bytes."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping
from enum import Enum

import msgspec

from processor.domain.moment import Millis, to_micros, to_rfc3339
from processor.wire.deadletters import DeadReason, Origin
from processor.wire.letters import DeadLetter
from processor.wire.settled import Outcome

DEFAULT_LIMIT, LIMIT_MAX = 50, 500

#: Characters of a detail or key in a list, and bytes of a value that are shown.
_SHORT = 300
_KEY_BYTES = 4 * _SHORT
_SHOWN = 64 * 1024

#: Where people read what to do about a dead letter.
RUNBOOK = "docs/runbooks/DeliveryDeadLetters.md"


class LetterState(str, Enum):
    """Where a dead letter stands."""

    #: Nothing has been done about it.
    WAITING = "waiting"
    REPLAYED = "replayed"
    DISCARDED = "discarded"


class LetterQuery(msgspec.Struct, frozen=True):
    """What dead letters are chosen by; what is None chooses all."""

    reason: DeadReason | None = None
    provider: str | None = None
    #: The topic that the record came from, with or without the prefix.
    topic: str | None = None
    #: When the letters were written: from then on, and before then, in milliseconds.
    since: Millis | None = None
    until: Millis | None = None
    state: LetterState | None = None

    def has(self, letter: DeadLetter, outcome: Outcome | None) -> bool:
        """Return whether a letter is chosen.

        Args:
            letter: as it was read.
            outcome: what became of it.
        """
        came_from = "" if letter.origin is None else letter.origin.topic
        return (
            (self.reason is None or letter.reason is self.reason)
            and (self.provider is None or letter.provider == self.provider)
            and (self.topic is None or came_from == self.topic or came_from.endswith(f".{self.topic}"))
            and (self.since is None or letter.written >= self.since)
            and (self.until is None or letter.written < self.until)
            and (self.state is None or state_of(outcome) is self.state)
        )


class LetterItem(msgspec.Struct, frozen=True):
    """One dead letter in a list. Times are RFC 3339."""

    #: Its partition and offset in the topic of dead letters: `3-104233`.
    id: str
    written: str
    state: LetterState
    #: None: this application did not write it, or a newer version did.
    reason: DeadReason | None
    detail: str
    provider: str | None
    #: Where the record was read.
    topic: str | None
    partition: int | None
    offset: int | None
    #: The record's own timestamp.
    timestamp: str | None
    key: str | None
    #: Bytes of the value as it came.
    size: int
    #: How many times the record had been replayed before.
    rounds: int
    #: Why it cannot be replayed; None: it can.
    obstacle: str | None


class LetterHeader(msgspec.Struct, frozen=True):
    """A header of the record; bytes that are not UTF-8 are replaced."""

    name: str
    value: str


class FirstOrigin(msgspec.Struct, frozen=True):
    """Where a record that has been replayed was read at first."""

    topic: str
    partition: int
    offset: int


class LetterView(LetterItem, frozen=True, kw_only=True):
    """One dead letter with its bytes."""

    headers: tuple[LetterHeader, ...]
    #: The value as text; None: it has none, or it is not UTF-8.
    text: str | None
    #: The value as base64, where it is not UTF-8.
    base64: str | None
    #: Whether only the beginning of the value is shown.
    is_cut: bool
    stacktrace: str
    first_origin: FirstOrigin | None
    #: Whether bytes that are not text are left out, since they may hold a recipient.
    is_withheld: bool = False
    #: Where to read what to do.
    runbook: str = RUNBOOK


class LetterList(msgspec.Struct, frozen=True):
    """A page of dead letters, newest first."""

    items: tuple[LetterItem, ...]
    #: Gives the next page; a page may have few items and still a next one. None: there is none.
    next: str | None
    incomplete: tuple[str, ...] = ()


class LetterCount(msgspec.Struct, frozen=True):
    """The dead letters of one reason that are kept, by what became of them."""

    #: None: this application did not write them, or a newer version did.
    reason: DeadReason | None
    waiting: int
    replayed: int
    discarded: int


class LetterCounts(msgspec.Struct, frozen=True):
    """The dead letters that are kept, by reason, most that wait first."""

    items: tuple[LetterCount, ...]
    #: Whether all were counted; else only the newest were.
    is_whole: bool


class LetterRefusal(msgspec.Struct, frozen=True):
    """A dead letter that was left as it is, and why."""

    id: str
    why: str


class SettledList(msgspec.Struct, frozen=True):
    """What a replay or discard did."""

    #: The letters that were replayed or discarded; with `dry_run`, would be.
    settled: tuple[str, ...]
    #: The letters that were left as they are.
    refused: tuple[LetterRefusal, ...]


def without_bulk(letter: DeadLetter) -> DeadLetter:
    """Return a letter with what a list shows only: the rest may be megabytes."""
    provider = tuple([header for header in letter.headers if header[0].lower() == "provider"][:1])
    key = None if letter.key is None else letter.key[:_KEY_BYTES]
    return letter._replace(key=key, value=None, headers=provider, stacktrace="")


def state_of(outcome: Outcome | None) -> LetterState:
    """Return where a letter stands by what became of it."""
    return LetterState.WAITING if outcome is None else LetterState(outcome.value)


def item_of(letter: DeadLetter, outcome: Outcome | None, obstacle: str | None) -> LetterItem:
    """Return a letter as it stands in a list."""
    origin = letter.origin or Origin("", 0, 0)
    is_known = letter.origin is not None
    return LetterItem(
        str(letter.id),
        to_rfc3339(to_micros(letter.written)),
        state_of(outcome),
        letter.reason,
        _short(letter.detail),
        letter.provider,
        origin.topic if is_known else None,
        origin.partition if is_known else None,
        origin.offset if is_known else None,
        None if letter.timestamp is None else to_rfc3339(to_micros(letter.timestamp)),
        None if letter.key is None else _short(letter.key[:_KEY_BYTES].decode(errors="replace")),
        letter.size,
        letter.rounds,
        obstacle,
    )


def view_of(letter: DeadLetter, outcome: Outcome | None, obstacle: str | None) -> LetterView:
    """Return a letter with its bytes, at most 64 KiB of them."""
    item = item_of(letter, outcome, obstacle)
    shown = None if letter.value is None else letter.value[:_SHOWN]
    text = None if shown is None else _text(shown)
    first = letter.first_origin if letter.rounds else None
    return LetterView(
        **{**msgspec.structs.asdict(item), "detail": letter.detail},
        headers=tuple([LetterHeader(name, (value or b"").decode(errors="replace")) for name, value in letter.headers]),
        text=text,
        base64=None if shown is None or text is not None else b64encode(shown).decode(),
        is_cut=letter.size > len(shown or b""),
        stacktrace=letter.stacktrace,
        first_origin=None if first is None else FirstOrigin(*first),
    )


def _text(data: bytes) -> str | None:
    for left_out in range(4):
        # A cut may go through a character.
        try:
            return data[: len(data) - left_out].decode()
        except UnicodeDecodeError:
            if len(data) < _SHOWN:
                return None
    return None


def _short(text: str) -> str:
    return text if len(text) <= _SHORT else f"{text[:_SHORT]}\N{HORIZONTAL ELLIPSIS}"


def counts_of(counts: Mapping[tuple[DeadReason | None, Outcome | None], int], *, is_whole: bool) -> LetterCounts:
    """Return the counts of letters by reason."""
    items = [
        LetterCount(
            reason,
            counts.get((reason, None), 0),
            counts.get((reason, Outcome.REPLAYED), 0),
            counts.get((reason, Outcome.DISCARDED), 0),
        )
        for reason in {reason for reason, _ in counts}
    ]
    items.sort(key=lambda each: (-each.waiting, each.reason.value if each.reason else ""))
    return LetterCounts(tuple(items), is_whole)
