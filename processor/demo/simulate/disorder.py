"""Put simulated records into disorder: what goes wrong between a provider and us, each kind with its probability.

Nothing here loses an event: what is late still comes, and what is broken, foreign or from the future comes beside the
good one, as when a proxy fails and the provider tries again. So the true end of each life is known to who reads the
good records only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from random import Random
from typing import Literal, NamedTuple

from processor.demo.simulate.lives import Message, Provider, Report, Topic, follow

Kind = Literal[
    "duplicate",
    "late",
    "swapped",
    "contradictory",
    "engagement",
    "future",
    "truncated",
    "garbage",
    "unknown_status",
    "unknown_provider",
]


@dataclass(frozen=True)
class Disorder:
    """How often each kind happens, from 0 to 1: to an event, or to a message where it says so."""

    #: The same bytes again, at once or minutes later.
    duplicate: float = 0.03
    #: Held back for seconds to minutes.
    late: float = 0.02
    #: Overtaken by the next event of its message.
    swapped: float = 0.02
    #: Of messages: the life goes on with what cannot follow its end.
    contradictory: float = 0.01
    #: Of messages: an open, a click, a complaint, a read receipt.
    engagement: float = 0.15
    #: Told by a clock that runs days ahead.
    future: float = 0.001
    #: Cut off.
    truncated: float = 0.0008
    #: Bytes that are no text.
    garbage: float = 0.0005
    #: A native status that nobody has documented.
    unknown_status: float = 0.001
    #: A provider that nobody has heard of.
    unknown_provider: float = 0.0005


#: What is usual.
USUAL = Disorder()

#: A world in which nothing goes wrong.
NONE = Disorder(0, 0, 0, 0, 0, 0, 0, 0, 0, 0)


class Record(NamedTuple):
    """One record to publish."""

    #: When it is published. Records come in this order.
    due: datetime
    topic: Topic | Literal["control", "events", "links"]
    key: bytes | None
    value: bytes
    headers: tuple[tuple[str, bytes], ...]
    #: What went wrong with it; None where nothing did.
    disorder: Kind | None = None


class Origin(NamedTuple):
    """A good record and all that it was made of."""

    provider: Provider
    message: Message
    report: Report
    record: Record
    speed: float


def further_reports(
    rng: Random, disorder: Disorder, provider: Provider, last: Report, speed: float
) -> Iterator[tuple[Report, Kind]]:
    """Yield what a life goes on with after its last report, beyond what the provider's table of lives says."""
    contradiction = provider.contradictions.get((last.native, last.cause))
    if contradiction is not None and rng.random() < disorder.contradictory:
        for report in follow(rng, (contradiction,), last, speed):
            yield report, "contradictory"
    steps = provider.engagement.get(last.native, ())
    if steps and rng.random() < disorder.engagement:
        seen = steps[: rng.randint(1, len(steps))]
        for report in follow(rng, seen, last, speed):
            yield report, "engagement"


def delay(rng: Random, disorder: Disorder, records: list[Record], speed: float) -> list[Record]:
    """Hold some of one message's records back; the payloads stay as they are."""
    delayed = list(records)
    for index, record in enumerate(records):
        if index + 1 < len(records) and rng.random() < disorder.swapped:
            overtaken = records[index + 1].due + _seconds(rng, 0.1, 2.0, speed)
            delayed[index] = record._replace(due=overtaken, disorder=record.disorder or "swapped")
        elif rng.random() < disorder.late:
            held = record.due + _seconds(rng, 5.0, 900.0, speed)
            delayed[index] = record._replace(due=held, disorder=record.disorder or "late")
    return delayed


def extras(rng: Random, disorder: Disorder, origin: Origin) -> Iterator[Record]:
    """Yield what comes beside a good record."""
    for kind, make in _EXTRAS.items():
        if rng.random() < getattr(disorder, kind):
            made = make(rng, origin)
            if made is not None:
                yield made._replace(disorder=kind)


def _duplicate(rng: Random, origin: Origin) -> Record:
    least, most = (0.0, 0.5) if rng.random() < 0.5 else (60.0, 1200.0)
    return origin.record._replace(due=origin.record.due + _seconds(rng, least, most, origin.speed))


def _future(rng: Random, origin: Origin) -> Record | None:
    if not origin.provider.tells_time:
        return None
    # Days of the calendar, whatever the speed: the rule that refuses them does not know of it.
    ahead = origin.report._replace(time=origin.report.time + timedelta(days=rng.uniform(2.0, 5.0)))
    return origin.record._replace(value=origin.provider.write(rng, origin.message, ahead))


def _truncated(rng: Random, origin: Origin) -> Record:
    # Before any form field but the first has begun: a form body that is cut later is a shorter form body.
    return origin.record._replace(value=origin.record.value[: rng.randint(1, 24)])


def _garbage(rng: Random, origin: Origin) -> Record:
    return origin.record._replace(value=b"\x00\xff\xfe" + rng.randbytes(rng.randint(1, 200)))


def _unknown_status(rng: Random, origin: Origin) -> Record:
    unheard_of = origin.report._replace(native=origin.provider.unknown)
    return origin.record._replace(value=origin.provider.write(rng, origin.message, unheard_of))


def _unknown_provider(_rng: Random, origin: Origin) -> Record:
    return origin.record._replace(headers=(("provider", b"pigeon-post"),))


_EXTRAS: dict[Kind, Callable[[Random, Origin], Record | None]] = {
    "duplicate": _duplicate,
    "future": _future,
    "truncated": _truncated,
    "garbage": _garbage,
    "unknown_status": _unknown_status,
    "unknown_provider": _unknown_provider,
}


def _seconds(rng: Random, least: float, most: float, speed: float) -> timedelta:
    return timedelta(seconds=rng.uniform(least, most) / speed)
