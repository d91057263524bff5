"""Silent providers: messages are handed over, and no reports come back.

Judged against the provider's own recent delay, never against a fixed time. A provider is *silent* when

1. it has reported nothing for three times its usual delay (at least a minute), and
2. of the messages handed over since then, or shortly before, that have waited for as long, more are unanswered than
   chance allows. Every provider leaves a share of messages unanswered; earlier messages show which.

So a quiet night is no evidence, since nothing is handed over then; nor is a burst with a long queue, as long as some
of it is answered; and a slow provider gets as much time as it usually takes. With little traffic, evidence takes more
time. Without enough knowledge of a provider's delay it is `unknown`, not an alarm.

An answer is any report of a node with an `ending` (domain/traits.py), and a failed attempt with a transient reason.
Messages that are handed over are outstanding. An SMS that is `sent` has been answered; if the handset's
receipt is overdue, it is stuck. A provider without reported hand-overs is never silent, only idle. What is
known of each is gathered in evidence.py.
"""

from __future__ import annotations

from enum import Enum
from itertools import accumulate
from math import log

import msgspec

from processor.domain.moment import Micros
from processor.watch.durations import Durations, between, quantile, total
from processor.watch.evidence import HISTORY, Evidence

_SECOND = 1_000_000
_MINUTE = 60 * _SECOND
_HOUR = 60 * _MINUTE
_DAY = 24 * _HOUR

#: Delays that are enough, and those without which nothing is said.
_ENOUGH = 50
_FEW = 20
#: Lags that are enough to know them.
_LAGS_FEW = 5
#: The share of answers by which a provider's usual time is measured. Not more: one handset in twenty is off for hours.
USUAL_SHARE = 0.9
#: How many times its usual time a provider may take.
_PATIENCE = 3
_SHORTEST_PATIENCE = _MINUTE
#: The least patience while the lag of a provider's reports is not known.
_BLIND_PATIENCE = _HOUR
#: So many messages without an answer are no chance: fewer than this never are, nor is what is likelier than this.
_FEWEST_DUE = 5
_CHANCE = 1e-6


class Answering(str, Enum):
    """Whether a provider answers."""

    #: Too little is remembered of its answers to say anything.
    UNKNOWN = "unknown"
    #: It was heard within the time that it usually takes.
    FLOWING = "flowing"
    #: It was not heard for longer, and not enough is asked of it to prove anything.
    IDLE = "idle"
    #: It is asked and does not answer.
    SILENT = "silent"


class Silence(msgspec.Struct, frozen=True):
    """How one provider answers, with its numbers. Times are microseconds, durations seconds."""

    provider: str | None
    answering: Answering
    #: When it was last heard, and how long ago; None: never.
    heard: Micros | None
    quiet: float | None
    #: Within which time `USUAL_SHARE` of its answers are heard; None: too few to say.
    usual: float | None
    #: Messages handed over since it was last heard, all of which wait; of one that was never heard, all that wait.
    unanswered: int
    #: All that wait for its answer, also those that will hardly get one any more, and since when.
    waiting: int
    waiting_since: Micros | None
    #: Since when those were handed over that count as unanswered; None: all that wait.
    unanswered_since: Micros | None = None


def judge(evidence: Evidence, now: Micros) -> Silence:
    """Judge whether a provider is silent.

    Args:
        evidence: from all partitions that could be asked.
        now: the time of the evidence in microseconds.
    """
    heard, delays = evidence.heard, _recent(evidence.delays)
    if heard is None or not delays:
        quiet = None if heard is None else max(0, now - heard)
        answering = Answering.FLOWING if quiet is not None and quiet <= _SHORTEST_PATIENCE else Answering.UNKNOWN
        return _silence(evidence, answering, quiet, None, sum(evidence.waiting.values()))
    quiet = max(0, now - heard)
    is_lag_known = sum(evidence.lags.values()) >= _LAGS_FEW
    usual = quantile(delays, USUAL_SHARE) + (quantile(evidence.lags, USUAL_SHARE) if is_lag_known else 0)
    own_patience = max(_SHORTEST_PATIENCE, _PATIENCE * usual)
    patience = own_patience if is_lag_known else max(_BLIND_PATIENCE, own_patience)
    since = quiet + own_patience
    if quiet <= patience:
        answering = Answering.FLOWING
    elif _is_chance(evidence, patience, since):
        answering = Answering.IDLE
    else:
        answering = Answering.SILENT
    unanswered = between(evidence.waiting, 0, since)
    found = _silence(evidence, answering, quiet, usual, unanswered)
    return msgspec.structs.replace(found, unanswered_since=Micros(int(now - since)))


def _silence(
    evidence: Evidence, answering: Answering, quiet: int | None, usual: int | None, unanswered: int
) -> Silence:
    return Silence(
        evidence.provider,
        answering,
        evidence.heard,
        None if quiet is None else quiet / _SECOND,
        None if usual is None else usual / _SECOND,
        unanswered,
        sum(evidence.waiting.values()),
        evidence.waiting_since,
    )


def _recent(delays: tuple[Durations, ...]) -> Durations:
    """Return the delays of the shortest span with enough of them; none if even the longest has too few."""
    for recent in accumulate(delays, lambda narrow, wide: total((narrow, wide))):
        if sum(recent.values()) >= _ENOUGH:
            return recent
    everything = total(delays)
    return everything if sum(everything.values()) >= _FEW else {}


def _is_chance(evidence: Evidence, patience: int, since: int) -> bool:
    """Return whether the number of recent messages without an answer may be chance.

    Args:
        evidence: of one provider.
        patience: microseconds; messages that have waited for less do not count.
        since: microseconds; the age of the oldest hand-overs that count.
    """
    due, answered = between(evidence.waiting, patience, since), between(evidence.answered, patience, since)
    lost, answered_before = between(evidence.waiting, since, HISTORY), between(evidence.answered, since, HISTORY)
    delays = total(evidence.delays)
    late = between(delays, patience, HISTORY) / max(1, sum(delays.values()))
    # As if one more had been lost and one more answered: so little knowledge gives no certainty.
    usual = (lost + late * answered_before + 1) / (lost + answered_before + 2)
    share = due / max(1, due + answered)
    if due < _FEWEST_DUE or share <= usual:
        return True
    # Chernoff's bound on the probability that this many of all messages get lost.
    surprise = due * log(share / usual)
    if answered:
        surprise += answered * log((1 - share) / (1 - usual))
    return surprise < -log(_CHANCE)
