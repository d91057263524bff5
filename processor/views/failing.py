"""Failures out of the ordinary, as people are told of them: by provider, delivery and channel, the most first."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from processor.domain.status import Channel
from processor.watch.failing import Ended, Failing, Outcomes, by_channel, judge

#: The domains that are named of each.
_DOMAINS_SHOWN = 3


class FailedDomain(msgspec.Struct, frozen=True):
    """Failures of the last hour at the recipients of one domain."""

    domain: str
    failed: int


class FailingView(msgspec.Struct, frozen=True):
    """A provider, a delivery or, where both are null, a channel, of which more messages fail than is usual with it."""

    failing: Failing
    channel: Channel
    provider: str | None
    delivery_id: str | None
    #: Of the messages that ended in the last ten minutes, in the last hour, and in the week before it: the share that
    #: failed, from 0 to 1; null: none ended.
    share_10m: float | None
    share_1h: float | None
    usual: float | None
    #: In the last hour: the messages that ended and that failed, and of these the hard and the soft failures.
    ended: int
    failed: int
    hard: int
    soft: int
    #: Those with most failures in the last hour, of recipients whose domain is known.
    domains: tuple[FailedDomain, ...]


def failing(outcomes: Iterable[Outcomes]) -> tuple[FailingView, ...]:
    """Return all that fails more than usual: storms first, then by failures.

    A channel is told only where none of its providers is: else it would say the same again.
    """
    several = tuple(outcomes)
    found = [view for each in several if (view := _view(each)) is not None]
    told = {view.channel for view in found if view.delivery_id is None}
    channels = [each for each in by_channel(several) if each.channel not in told]
    found += [view for each in channels if (view := _view(each)) is not None]
    return tuple(sorted(found, key=_rank))


def _rank(view: FailingView) -> tuple[bool, int, str, str]:
    return view.failing is not Failing.STORM, -view.failed, view.delivery_id or "", view.provider or ""


def _view(at: Outcomes) -> FailingView | None:
    verdict = judge(at)
    if verdict is None:
        return None
    most = sorted(at.domains.items(), key=lambda item: (-item[1], item[0]))[:_DOMAINS_SHOWN]
    return FailingView(
        verdict,
        at.channel,
        at.provider,
        at.delivery_id,
        _share(at.minutes),
        _share(at.hour),
        _share(at.past),
        at.hour.messages,
        at.hour.failed,
        at.hard,
        at.soft,
        tuple([FailedDomain(domain, number) for domain, number in most]),
    )


def _share(ended: Ended) -> float | None:
    return round(ended.share, 6) if ended.messages else None
