"""Canonical events of whole lives, fast: for benchmarks and chaos tests.

Each step of each life is a template, filled in with one formatting operation an event; what is random is drawn for a
block of messages at once.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from itertools import accumulate
from random import Random
from typing import NamedTuple

import orjson

from processor.domain.moment import Millis, to_micros, to_microseconds, to_millis, to_rfc3339


class _Step(NamedTuple):
    """One event of a life."""

    #: Milliseconds since the message's birth.
    after: int
    status: str
    #: A row of `_REASONS`; empty where nothing has to be explained.
    reason: str = ""
    attempt: int = 1


class _Life(NamedTuple):
    """What happens to one message, and how often in a hundred messages."""

    weight: float
    channel: str
    provider: str
    steps: tuple[_Step, ...]


_REASONS: dict[str, dict[str, str]] = {
    "deferred": {
        "permanence": "transient",
        "category": "refused",
        "code": "4.7.0",
        "provider_code": "421",
        "text": "[TSS04] Messages from 192.0.2.10 temporarily deferred",
    },
    "user_unknown": {
        "permanence": "permanent",
        "category": "user_unknown",
        "code": "5.1.1",
        "provider_code": "550",
        "text": "5.1.1 The email account that you tried to reach does not exist",
    },
    "expired": {
        "permanence": "gave_up",
        "category": "unreachable",
        "code": "4.4.7",
        "provider_code": "551",
        "text": "Delivery time expired",
    },
    "denylisted": {"permanence": "permanent", "category": "denylisted", "text": "on the suppression list"},
    "switched_off": {
        "permanence": "gave_up",
        "category": "not_connected",
        "code": "EXPIRED",
        "provider_code": "027",
        "text": "stat:EXPIRED err:027",
    },
    "no_subscriber": {
        "permanence": "permanent",
        "category": "user_unknown",
        "code": "UNDELIV",
        "provider_code": "001",
        "text": "stat:UNDELIV err:001",
    },
}

_PENDING = _Step(0, "pending")
_TAKEN = _Step(300, "taken_into_account")
_SENT = _Step(900, "sent")
_DEFERRED = _Step(700, "taken_into_account", "deferred")
_PREPARED = _Step(100, "prepared")
_TO_PROVIDER = _Step(200, "sent_to_provider")
_RECEIVED = _Step(1_800, "received_on_mobile")

_LIVES: tuple[_Life, ...] = (
    _Life(62.0, "email", "kumomta", (_PENDING, _TAKEN, _SENT)),
    _Life(3.0, "email", "kumomta", (_PENDING, _TAKEN, _DEFERRED, _SENT)),
    _Life(2.0, "email", "ses", (_PENDING, _TAKEN, _Step(900, "failed", "user_unknown"))),
    _Life(0.6, "email", "kumomta", (_PENDING, _TAKEN, _DEFERRED, _Step(2_100, "failed", "expired"))),
    _Life(0.4, "email", "ses", (_PENDING, _TAKEN, _SENT, _Step(2_400, "failed", "user_unknown"))),
    _Life(
        0.3,
        "email",
        "kumomta",
        (
            _PENDING,
            _TAKEN,
            _Step(900, "failed", "expired"),
            _Step(1_500, "taken_into_account", attempt=2),
            _Step(2_400, "sent", attempt=2),
        ),
    ),
    _Life(0.8, "email", "ses", (_PENDING, _Step(200, "ignored", "denylisted"))),
    _Life(0.4, "email", "kumomta", (_PENDING, _TAKEN, _Step(500, "canceled"))),
    _Life(0.3, "email", "kumomta", (_PENDING, _Step(200, "not_applicable"))),
    # A contradiction: a message cannot be both ignored and sent.
    _Life(0.2, "email", "ses", (_PENDING, _Step(200, "ignored", "denylisted"), _SENT)),
    _Life(18.0, "sms", "twilio", (_PENDING, _TAKEN, _SENT, _RECEIVED)),
    _Life(9.0, "sms", "smpp", (_PENDING, _PREPARED, _TO_PROVIDER, _TAKEN, _SENT, _RECEIVED)),
    _Life(1.2, "sms", "smpp", (_PENDING, _TO_PROVIDER, _TAKEN, _Step(1_200, "failed", "no_subscriber"))),
    _Life(0.8, "sms", "twilio", (_PENDING, _TAKEN, _SENT, _Step(2_400, "failed", "switched_off"))),
    _Life(
        0.4,
        "sms",
        "smpp",
        (_PENDING, _TAKEN, _Step(1_500, "failed", "switched_off"), _Step(2_700, "received_on_mobile")),
    ),
    _Life(0.4, "sms", "twilio", (_PENDING, _Step(400, "canceled"))),
    _Life(0.2, "sms", "twilio", (_PENDING, _TAKEN, _RECEIVED, _Step(2_100, "failed", "no_subscriber"))),
)

#: How many messages are drawn, ordered and disordered at once: more than four seconds of lives, the longest of which
#: takes less than three, so that most messages are apart from their neighbours' steps as in real traffic.
_BLOCK = 4096

#: The milliseconds of the longest life. One message is born a millisecond.
_LONGEST = max(step.after for life in _LIVES for step in life.steps)

#: Odd, so that multiplying by it modulo 2**128 gives each message an id of its own that looks like none other's.
_SCATTER = 0x9E3779B97F4A7C15F39CC0605CEDC835
_MASK = (1 << 128) - 1


def canonical_events(  # noqa: PLR0913 - what a run is made of
    seed: int,
    messages: int,
    start: datetime,
    *,
    deliveries: int = 20,
    out_of_order: float = 0.02,
    duplicates: float = 0.01,
) -> Iterator[bytes]:
    """Yield the canonical events of whole lives, as JSON.

    A thousand messages are born in a second of event time, so the last event lies `messages` / 1000 and less than
    three seconds after `start`: who wants no event refused as coming from the future starts that long ago.

    Args:
        seed: the same arguments give the same events, byte for byte.
        messages: how many messages live; message `n` is `m-{n:09d}`, of delivery `n % deliveries`.
        start: when the first message is born; aware.
        deliveries: over how many deliveries they are spread, from DM1042 on.
        out_of_order: the share of events that change places with another one, near or far.
        duplicates: the share of events that come again later.
    """
    # Two sources, so that more disorder does not make other lives.
    rng, chaos = Random(seed), Random(~seed)  # noqa: S311 - a simulation must be repeatable, not secret
    lives = [_templates(life) for life in _LIVES]
    weights = list(accumulate(life.weight for life in _LIVES))
    origin = to_millis(to_microseconds(start))
    ordinal = 0
    for first in range(0, messages, _BLOCK):
        numbers = range(first, min(first + _BLOCK, messages))
        drawn = rng.choices(lives, cum_weights=weights, k=len(numbers))
        clock = [to_rfc3339(to_micros(Millis(origin + at))).encode() for at in range(first, numbers[-1] + _LONGEST + 1)]
        timed: list[tuple[int, bytes]] = []
        for number, templates in zip(numbers, drawn, strict=True):
            delivery = 1042 + number % deliveries
            foreign = number * _SCATTER & _MASK
            born = number - first
            for after, template in templates:
                at = born + after
                timed.append((at, template % (ordinal, clock[at], number, delivery, foreign, number)))
                ordinal += 1
        timed.sort()
        events = [event for _, event in timed]
        _disorder(chaos, events, out_of_order, duplicates)
        yield from events


def _templates(life: _Life) -> tuple[tuple[int, bytes], ...]:
    return tuple((step.after, _template(life, step)) for step in life.steps)


def _template(life: _Life, step: _Step) -> bytes:
    """Write an event with places for its ordinal, time, message, delivery, the provider's id and the recipient."""
    recipient = "+44%012d" if life.channel == "sms" else "user%09d@example.com"
    event: dict[str, object] = {
        "id": "01J%023X",
        "time": "%s",
        "message_id": "m-%09d",
        "delivery_id": "DM%d",
        "channel": life.channel,
        "status": step.status,
        "provider": life.provider,
        "provider_message_id": "%032x",
        "recipient": recipient,
        "attempt": step.attempt,
    }
    if step.reason:
        event["reason"] = _REASONS[step.reason]
    return orjson.dumps(event)


def _disorder(rng: Random, events: list[bytes], out_of_order: float, duplicates: float) -> None:
    """Let events change places and come again."""
    count = len(events)
    for _ in range(round(count * out_of_order / 2)):
        one, other = rng.randrange(count), rng.randrange(count)
        events[one], events[other] = events[other], events[one]
    for _ in range(round(count * duplicates)):
        place = rng.randrange(count)
        events.insert(rng.randrange(place, count) + 1, events[place])
