"""Failures out of the ordinary: providers, deliveries and channels of which more messages fail than is usual with them.

What counts is the share of the messages that ended, against one's own past. `is_storm` is the rule of the alert
DeliveryBounceStorm, and `is_high` that of DeliveryFailureRatioHigh (ops/prometheus/rules/symptoms.yml);
tests/rules/test_failing.py holds that they and Prometheus say the same of the same series.

The numbers are from the rows, by event time, as silence.py has its own: they outlive a restart, and imported history is
past, not news.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from enum import Enum
from typing import NamedTuple

import msgspec

from processor.domain.counts import category_of
from processor.domain.moment import Micros
from processor.domain.reason import HARD, SOFT
from processor.domain.row import Row
from processor.domain.status import Channel
from processor.domain.traits import ENDING, Ending
from processor.providers.addresses import domain_of

_MINUTE = 60_000_000
_HOUR = 60 * _MINUTE
#: The two spans that failures are judged over; the past is what is older than the longer one.
_STORM_SPAN = 10 * _MINUTE

#: A storm: so large a share of ten minutes, and so many failures.
_STORM_SHARE, _STORM_FEWEST = 0.3, 50
#: Unusually many: so large a share of an hour, and so many failures.
_HIGH_SHARE, _HIGH_FEWEST = 0.05, 100
#: How many times the usual share either must be.
_TIMES = 3

#: Deliveries and providers that one partition counts apart; the others count in the sums of their channel only.
_GROUPS_MAX = 5_000
#: Deliveries, and domains of one group, that one partition tells of: those with most failures, then messages, in the
#: last hour.
_DELIVERIES_TOLD = 200
_DOMAINS_TOLD = 10
_DOMAINS_MAX = 1_000


class Ended(NamedTuple):
    """How many messages came to an end in a span of time, and how many of these failed."""

    messages: int = 0
    failed: int = 0

    @property
    def share(self) -> float:
        """The share that failed; 0 of nothing."""
        return self.failed / self.messages if self.messages else 0.0

    def plus(self, other: Ended) -> Ended:
        """Return the sums of both."""
        return Ended(self.messages + other.messages, self.failed + other.failed)


class Failing(str, Enum):
    """In which way more fails than is usual."""

    #: A good part of what ended in the last ten minutes, as when a provider or mailbox provider blocks the sender.
    STORM = "storm"
    #: More than three times the usual share of the last hour.
    HIGH = "high"


class Outcomes(msgspec.Struct, frozen=True):
    """How the messages of one provider, or else of one delivery, ended lately."""

    channel: Channel
    provider: str | None
    #: None: all deliveries of the provider. A delivery's outcomes are of all its providers.
    delivery_id: str | None
    #: In the last ten minutes, in the last hour, and in the week before that hour.
    minutes: Ended
    hour: Ended
    past: Ended
    #: Of the failures of the last hour: those that are hard and soft, and how many by the recipient's domain.
    hard: int = 0
    soft: int = 0
    domains: dict[str, int] = {}


def is_storm(minutes: Ended, past: Ended) -> bool:
    """Return whether so much fails that somebody must be called; where there is no past, without comparison.

    Args:
        minutes: what ended in the last ten minutes.
        past: what ended in the week before the last hour.
    """
    is_large = minutes.share > _STORM_SHARE and minutes.failed >= _STORM_FEWEST
    return is_large and not (past.messages and minutes.share <= _TIMES * past.share)


def is_high(hour: Ended, past: Ended) -> bool:
    """Return whether more fails than is usual; where there is no past, nothing is unusual.

    Args:
        hour: what ended in the last hour.
        past: what ended in the week before it.
    """
    is_large = hour.share > _HIGH_SHARE and hour.failed >= _HIGH_FEWEST
    return is_large and past.messages > 0 and hour.share > _TIMES * past.share


def judge(outcomes: Outcomes) -> Failing | None:
    """Return in which way more fails than is usual; None: it does not."""
    if is_storm(outcomes.minutes, outcomes.past):
        return Failing.STORM
    return Failing.HIGH if is_high(outcomes.hour, outcomes.past) else None


def merge(outcomes: Iterable[Outcomes]) -> tuple[Outcomes, ...]:
    """Join the outcomes of several partitions. Associative and commutative."""
    several: dict[tuple[Channel, str | None, str | None], list[Outcomes]] = defaultdict(list)
    for each in outcomes:
        several[each.channel, each.provider, each.delivery_id].append(each)
    joined = [_sum(channel, provider, delivery, group) for (channel, provider, delivery), group in several.items()]
    return tuple(sorted(joined, key=lambda at: (at.channel.value, at.provider or "", at.delivery_id or "")))


def by_channel(outcomes: Iterable[Outcomes]) -> Iterator[Outcomes]:
    """Yield the outcomes of each channel: the sums over its providers."""
    providers = [each for each in outcomes if each.delivery_id is None]
    for channel in Channel:
        yield _sum(channel, None, None, [each for each in providers if each.channel is channel])


def _sum(channel: Channel, provider: str | None, delivery: str | None, group: Iterable[Outcomes]) -> Outcomes:
    minutes = hour = past = Ended()
    hard = soft = 0
    domains: Counter[str] = Counter()
    for each in group:
        minutes, hour, past = minutes.plus(each.minutes), hour.plus(each.hour), past.plus(each.past)
        hard, soft = hard + each.hard, soft + each.soft
        domains.update(each.domains)
    return Outcomes(channel, provider, delivery, minutes, hour, past, hard, soft, dict(sorted(domains.items())))


class Tally:
    """Counts how the messages of one partition ended, in one sweep through its rows.

    Args:
        now: the time up to which the partition has read, in microseconds.
    """

    def __init__(self, now: Micros) -> None:
        self._storm_since, self._hour_since = now - _STORM_SPAN, now - _HOUR
        self._groups: dict[tuple[Channel, str | None, str | None], _Group] = {}

    def see(self, row: Row, since: Micros) -> None:
        """Count a message that ended at a time in microseconds, less than a week ago."""
        names = row.names
        group = self._groups.get((row.channel, names.provider, names.delivery_id))
        if group is None:
            group = self._of(row.channel, names.provider, names.delivery_id)
        has_failed = ENDING[row.node] is not Ending.SUCCESS
        if since < self._hour_since:
            group.past += 1
            group.past_failed += has_failed
            return
        group.hour += 1
        is_recent = since >= self._storm_since
        group.minutes += is_recent
        if has_failed:
            group.minutes_failed += is_recent
            group.fail(row)

    def _of(self, channel: Channel, provider: str | None, delivery: str | None) -> _Group:
        if len(self._groups) >= _GROUPS_MAX:
            provider = delivery = None
        return self._groups.setdefault((channel, provider, delivery), _Group())

    def result(self) -> tuple[Outcomes, ...]:
        """Return the outcomes of every provider, and of the deliveries of which most failed, or ended, lately."""
        providers, deliveries = [], []
        for (channel, provider, delivery), group in self._groups.items():
            told = group.told(channel, provider)
            providers.append(told)
            if delivery is not None:
                deliveries.append(msgspec.structs.replace(told, provider=None, delivery_id=delivery))
        # A partition where all goes well tells of a delivery, too: its share is of all partitions.
        most = sorted(merge(deliveries), key=lambda at: (-at.hour.failed, -at.hour.messages, -at.past.messages))
        return (*merge(providers), *most[:_DELIVERIES_TOLD])


class _Group:
    """The messages of one provider and delivery, while a sweep counts them."""

    __slots__ = ("domains", "hard", "hour", "hour_failed", "minutes", "minutes_failed", "past", "past_failed", "soft")

    def __init__(self) -> None:
        self.minutes = self.minutes_failed = self.hour = self.hour_failed = self.past = self.past_failed = 0
        self.hard = self.soft = 0
        self.domains: Counter[str] = Counter()

    def fail(self, row: Row) -> None:
        """Count a failure of the last hour."""
        self.hour_failed += 1
        category = category_of(row)
        self.hard += category in HARD
        self.soft += category in SOFT
        recipient = row.names.shown_recipient
        domain = None if recipient is None else domain_of(recipient)
        if domain is not None and (domain in self.domains or len(self.domains) < _DOMAINS_MAX):
            self.domains[domain] += 1

    def told(self, channel: Channel, provider: str | None) -> Outcomes:
        """Return what was counted, as the outcomes of the provider."""
        return Outcomes(
            channel,
            provider,
            None,
            Ended(self.minutes, self.minutes_failed),
            Ended(self.hour, self.hour_failed),
            Ended(self.past, self.past_failed),
            self.hard,
            self.soft,
            dict(self.domains.most_common(_DOMAINS_TOLD)),
        )
