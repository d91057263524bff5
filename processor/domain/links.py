"""Links: which message a provider's id belongs to, and the receipts that wait to learn it.

A *native key* names a provider's id with its provider and account. Of each native key are known its newest links and
the receipts that no link explains yet. A receipt belongs to the newest link that is not later than it: providers use
ids again. Links may come in any order, and often: what is known of a key does not depend on it. A receipt that may
prove to be another message's, when a newer link comes, is remembered for a while (ADR 0021).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, NamedTuple

import msgspec

from processor.domain.event import MAX_NAME, MAX_PARTS
from processor.domain.moment import Micros, Millis, Moment

#: By how much a link may be later than a receipt that belongs to it, since clocks differ. It matters only to
#: receipts that no earlier link explains.
TOLERANCE = Micros(60 * 60 * 1_000_000)

#: Links that are kept of one native key. Ids that are used again come back after many messages: when the ninth link
#: comes, receipts of the first have come long since.
MAX_LINKS = 8

_Name = Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_NAME)]
_Number = Annotated[int, msgspec.Meta(ge=1, le=MAX_PARTS)]


class Link(msgspec.Struct, array_like=True, frozen=True, gc=False, order=True):
    """That a native key is a message, from a moment on. The order is by time, then the one that loses comes first."""

    time: Moment
    message_id: _Name
    #: Whom it is about, where the provider's id covers several recipients; in the form that ids are compared in.
    recipient: str | None = None
    delivery_id: _Name | None = None
    #: Which part of a text message, and how many there are.
    part: _Number | None = None
    parts: _Number | None = None


def native_key(provider: str, account: str, native_id: str) -> str:
    """Return the name of a provider's id: the same id of two accounts, or of two SMS centres, names two messages."""
    return f"{provider}@{account}:{native_id}" if account else f"{provider}:{native_id}"


class Joined(msgspec.Struct, frozen=True, gc=False):
    """The links of a key after one more: whether it is news, and which link lost where two contradict."""

    links: tuple[Link, ...]
    is_news: bool
    loser: Link | None = None


def join_link(links: Sequence[Link], link: Link) -> Joined:
    """Join one link into those of its native key.

    Two links of one moment and one recipient contradict each other if they name different messages: the smaller
    message id wins. If they name the same one, the greater of the two is kept.

    Args:
        links: those that are known, in order.
        link: one more.

    Returns:
        At most `MAX_LINKS` links, the newest, in order. The result does not depend on the order of joins.
    """
    rival = next((each for each in links if (each.time, each.recipient) == (link.time, link.recipient)), None)
    loser = None
    if rival is not None:
        winner = min(rival, link, key=lambda each: each.message_id)
        if rival.message_id == link.message_id:
            winner = max(rival, link, key=_details)
        else:
            loser = link if winner is rival else rival
        if winner is rival:
            return Joined(tuple(links), False, loser)
        links = [each for each in links if each is not rival]
    joined = sorted((*links, link), key=_place)[-MAX_LINKS:]
    return Joined(tuple(joined), link in joined, loser)


def _place(link: Link) -> tuple[int, str]:
    return link.time, link.recipient or ""


def _details(link: Link) -> tuple[str, int, int]:
    return link.delivery_id or "", link.part or 0, link.parts or 0


def link_of(links: Sequence[Link], time: Micros, recipient: str | None) -> Link | None:
    """Find the link that a receipt belongs to: the newest that is not later; else the first that is hardly later.

    Args:
        links: those of its native key, in order.
        time: the receipt's event time, in microseconds.
        recipient: whom it is about, in the form that ids are compared in; None: not told.
    """
    later: Link | None = None
    for link in reversed(links):
        if link.recipient is not None and recipient is not None and not _is_same(link.recipient, recipient):
            continue
        if link.time <= time:
            return link
        if link.time <= time + TOLERANCE:
            later = link
    return later


def _is_same(recipient: str, other: str) -> bool:
    """Return whether two recipients are one: a number comes with a plus from some and without from others."""
    return recipient == other or recipient.lstrip("+") == other.lstrip("+")


def is_doubtful(link: Link, time: Micros) -> bool:
    """Return whether a link that is not known yet may explain a receipt better than this one.

    Most receipts come soon after their link. Where one comes later, the id may have been used again meanwhile; where it
    is earlier, an earlier link may be on its way.

    Args:
        link: the one that the receipt belongs to, as far as is known.
        time: the receipt's event time, in microseconds.
    """
    return not link.time <= time <= link.time + TOLERANCE


#: The version of the layout in which a `Known` is packed.
KNOWN_LAYOUT = 1

#: Receipts that wait for the links of one native key. An id that so many reports are about stands for no message.
MAX_WAITING = 64

#: Receipts with a doubtful link that are remembered of one native key: the newest.
MAX_DOUBTFUL = 16

#: Provisional ids of one native key of which is remembered that they were moved: the newest. More than one are there
#: where the provider's id covers several recipients.
MAX_MOVED = 64


class Receipt(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """A report that knows only the provider's id."""

    #: The event's time, in microseconds.
    time: Moment
    #: When the record came in.
    received: Millis
    #: The id under which it is shown until its link comes.
    message_id: _Name
    #: Whom it is about, in the form that ids are compared in.
    recipient: str | None
    #: The canonical event, as it was written.
    event: bytes
    #: The headers that go on with it.
    headers: tuple[tuple[str, bytes], ...] = ()


class Match(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """A receipt, and the link that says whose it is."""

    receipt: Receipt
    link: Link


class Moved(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """That a provisional row was another message's, and the time of the last report that it showed."""

    time: Moment
    message_id: _Name
    moved_to: _Name


class Known(msgspec.Struct, array_like=True, tag=KNOWN_LAYOUT, frozen=True, gc=False):
    """What is known of one native key."""

    #: In order of time.
    links: tuple[Link, ...] = ()
    #: In order of time, each once.
    waiting: tuple[Receipt, ...] = ()
    #: Receipts whose link is doubtful (`is_doubtful`), in order of time, each once.
    doubtful: tuple[Match, ...] = ()
    #: In order of time, each provisional id once.
    moved: tuple[Moved, ...] = ()

    @property
    def is_empty(self) -> bool:
        """Whether nothing is known."""
        return not (self.links or self.waiting or self.doubtful or self.moved)


NOTHING = Known()


class Correction(msgspec.Struct, frozen=True, gc=False):
    """A receipt that proves to be another message's than was thought."""

    receipt: Receipt
    before: Link
    after: Link


class Step(msgspec.Struct, frozen=True, gc=False):
    """What one link or one receipt does."""

    known: Known
    matches: tuple[Match, ...] = ()
    #: Receipts that go to another message than the one that they went to before.
    corrections: tuple[Correction, ...] = ()
    #: Provisional ids that have turned out to be a message.
    moves: tuple[Moved, ...] = ()
    #: Receipts that are shown under their provisional ids: as they come, and again after a move that was not theirs.
    shown: tuple[Receipt, ...] = ()
    #: A receipt that there is no room for, and a link that lost against another of the same moment.
    unmatched: Receipt | None = None
    loser: Link | None = None
    #: Moved ids that are remembered no longer.
    forgotten: tuple[Moved, ...] = ()


def take_receipt(known: Known, receipt: Receipt) -> Step:
    """Match a receipt, or let it wait; one that waits already changes nothing."""
    link = link_of(known.links, receipt.time, receipt.recipient)
    if link is not None:
        match = Match(receipt, link)
        return Step(_remember(known, match), matches=(match,))
    if any(_same(each, receipt) for each in known.waiting):
        return Step(known)
    if len(known.waiting) >= MAX_WAITING:
        return Step(known, shown=(receipt,), unmatched=receipt)
    waiting = tuple(sorted((*known.waiting, receipt), key=lambda each: (each.time, each.event)))
    return Step(msgspec.structs.replace(known, waiting=waiting), shown=(receipt,))


def _remember(known: Known, match: Match) -> Known:
    """Remember a receipt whose link is doubtful, once."""
    receipt = match.receipt
    if not is_doubtful(match.link, receipt.time):
        return known
    if any(_same(each.receipt, receipt) for each in known.doubtful):
        return known
    doubtful = sorted((*known.doubtful, match), key=_place_of_match)[-MAX_DOUBTFUL:]
    return msgspec.structs.replace(known, doubtful=tuple(doubtful))


def _same(one: Receipt, other: Receipt) -> bool:
    return (one.time, one.event) == (other.time, other.event)


def _place_of_match(match: Match) -> tuple[int, bytes]:
    return match.receipt.time, match.receipt.event


def take_link(known: Known, link: Link, *, is_shown: bool = True) -> Step:
    """Join a link.

    The receipts that it explains wait no longer, and the rows that showed them are moved. Receipts with a doubtful link
    that it explains better go to its message.

    Args:
        known: what is known of the link's native key.
        link: one more.
        is_shown: whether receipts that wait are shown under provisional ids, so that there are rows to move.
    """
    joined = join_link(known.links, link)
    if not joined.is_news:
        return Step(known, loser=joined.loser)
    matches: list[Match] = []
    waiting: list[Receipt] = []
    for receipt in known.waiting:
        found = link_of(joined.links, receipt.time, receipt.recipient)
        if found is None:
            waiting.append(receipt)
        else:
            matches.append(Match(receipt, found))
    moves = {
        match.receipt.message_id: Moved(match.receipt.time, match.receipt.message_id, match.link.message_id)
        for match in matches
        if is_shown
    }
    # A row that is moved takes all with it that was shown there; what is not explained is shown anew.
    shown = tuple(receipt for receipt in waiting if receipt.message_id in moves)
    stay = [each for each in known.moved if each.message_id not in moves]
    moved = sorted((*stay, *moves.values()), key=lambda each: (each.time, each.message_id))
    corrections, placed = _place_anew(known.doubtful, joined.links)
    after = Known(joined.links, tuple(waiting), placed, tuple(moved[-MAX_MOVED:]))
    for match in matches:
        after = _remember(after, match)
    return Step(
        after,
        tuple(matches),
        corrections,
        tuple(moves[name] for name in sorted(moves)),
        shown,
        loser=joined.loser,
        forgotten=tuple(moved[:-MAX_MOVED]),
    )


def _place_anew(doubtful: Sequence[Match], links: Sequence[Link]) -> tuple[tuple[Correction, ...], tuple[Match, ...]]:
    """Return which of the doubtful matches are another link's now, and those that are still doubtful."""
    corrections, placed = [], []
    for match in doubtful:
        receipt, before = match.receipt, match.link
        # Where the newest links have crowded out the one that it had, there may be none.
        after = link_of(links, receipt.time, receipt.recipient) or before
        if _meaning(after) != _meaning(before):
            corrections.append(Correction(receipt, before, after))
        if is_doubtful(after, receipt.time):
            placed.append(Match(receipt, after))
    return tuple(corrections), tuple(placed)


def _meaning(link: Link) -> tuple[str, int | None, int | None]:
    return link.message_id, link.part, link.parts


class Expired(msgspec.Struct, frozen=True, gc=False):
    """What is left of a key when some of it has expired, and what has expired."""

    known: Known
    #: Receipts that waited in vain.
    vain: tuple[Receipt, ...]
    #: Moved ids that are remembered no longer.
    forgotten: tuple[Moved, ...]


class Bounds(NamedTuple):
    """What has expired: all that is earlier."""

    #: When receipts came in that wait, and those whose link is doubtful; in milliseconds.
    waiting: Millis
    doubtful: Millis
    #: Times of links, and of moves; in microseconds.
    kept: Micros


def expire(known: Known, before: Bounds) -> Expired:
    """Forget what has expired of what is known of a native key."""
    links = tuple(link for link in known.links if link.time >= before.kept)
    waiting = tuple(receipt for receipt in known.waiting if receipt.received >= before.waiting)
    doubtful = tuple(match for match in known.doubtful if match.receipt.received >= before.doubtful)
    moved = tuple(each for each in known.moved if each.time >= before.kept)
    return Expired(
        Known(links, waiting, doubtful, moved),
        vain=tuple(receipt for receipt in known.waiting if receipt.received < before.waiting),
        forgotten=tuple(each for each in known.moved if each.time < before.kept),
    )


def has_expired(known: Known, before: Bounds) -> bool:
    """Return whether `expire` would change what is known, quickly where there are but links."""
    if known.links and known.links[0].time < before.kept:
        return True
    if known.moved and known.moved[0].time < before.kept:
        return True
    for receipt in known.waiting:
        if receipt.received < before.waiting:
            return True
    return bool(known.doubtful) and any(match.receipt.received < before.doubtful for match in known.doubtful)
