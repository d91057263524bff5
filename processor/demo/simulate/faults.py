"""Inject faults, to see whether they are noticed: each goes wrong on purpose for a while, then it is over.

A fault is made of the same parts as the traffic that it comes into: records of real lives, in the order of their
`due`. None of it lies: what is told of a message is what happened to it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from typing import NamedTuple

import orjson

from processor.demo.simulate.controls import control_record
from processor.demo.simulate.disorder import NONE, Record
from processor.demo.simulate.lives import Provider
from processor.demo.simulate.mailgun import MAILGUN
from processor.demo.simulate.postmark import POSTMARK
from processor.demo.simulate.sparkpost import SPARKPOST
from processor.demo.simulate.traffic import traffic

#: The number in the id of each fault's own delivery; those of the traffic begin beyond.
_PAST, _STUCK, _STORM, _BROKEN = 903, 911, 921, 931


class Window(NamedTuple):
    """From when until when a fault lasts; both aware."""

    begin: datetime
    end: datetime

    @property
    def seconds(self) -> float:
        """How long it lasts."""
        return (self.end - self.begin).total_seconds()


# A provider that goes silent

#: Who goes silent, and how its payloads look that tell no more than that it took the message.
SILENT = MAILGUN
_HAND_OVER = b'"event":"accepted"'

#: Messages of a quiet past, and its beginning and end before the start, in seconds.
_PAST_MESSAGES, _PAST_BEGIN, _PAST_END = 40, 720.0, 180.0


def usual_past(start: datetime, *, speed: float) -> Iterator[Record]:
    """Return messages of the provider that will be silent, from before `start`, all of them answered.

    Who has no past could be silent by nature: how soon a provider usually answers must be known before it can be late.
    """
    rate = _PAST_MESSAGES / (_PAST_BEGIN - _PAST_END)
    begin = start - timedelta(seconds=_PAST_BEGIN)
    return _campaign(_PAST, SILENT, begin, messages=_PAST_MESSAGES, rate=rate, speed=speed)


def silenced(run: Iterable[Record], begin: datetime, end: datetime | None = None) -> Iterator[Record]:
    """Yield a run in which a provider goes on taking messages and what becomes of them is never told.

    Args:
        run: records in the order of their `due`.
        begin: the first moment of the silence.
        end: its end; None: it has none.
    """
    for record in run:
        is_within = begin <= record.due and (end is None or record.due < end)
        if not is_within or _provider_of(record) != SILENT.name or _HAND_OVER in record.value:
            yield record


def _provider_of(record: Record) -> str | None:
    return next((value.decode() for name, value in record.headers if name == "provider"), None)


# A delivery that gets stuck

STUCK_MESSAGES = 180
_SENT_MESSAGES = 20


def stuck_delivery(window: Window) -> Iterator[Record]:
    """Yield a delivery most of whose messages the MTA does not take, though it took the first ones."""
    delivery = f"DM{_STUCK}"
    begin, end = window
    planned = _SENT_MESSAGES + STUCK_MESSAGES
    facts = {"label": "Invoices, end of the month", "campaign": "invoices", "channel": "email", "planned": planned}
    yield control_record(delivery, begin, "register", begin, **facts)
    yield control_record(delivery, begin, "start", begin)
    ids = [f"{delivery}-{number:06d}" for number in range(planned)]
    for message_id in ids:
        yield _event(begin, message_id, delivery, "pending")
    for message_id in ids[:_SENT_MESSAGES]:
        yield _event(begin, message_id, delivery, "sent")
    for message_id in ids[_SENT_MESSAGES:]:
        yield _event(end, message_id, delivery, "sent")
    yield control_record(delivery, end, "finish", end)


def _event(due: datetime, message_id: str, delivery: str, status: str) -> Record:
    event = {
        "time": due.isoformat(),
        "message_id": message_id,
        "delivery_id": delivery,
        "channel": "email",
        "status": status,
        "recipient": f"{message_id.lower()}@example.com",
    }
    if status != "pending":
        event["provider"] = "kumomta"
    return Record(due, "events", message_id.encode(), orjson.dumps(event), ())


# A provider through which everything bounces

#: Messages a second, twice as many as the provider has in the demo's usual traffic.
_STORM_RATE = 10.0


def bounce_storm(window: Window, *, speed: float) -> Iterator[Record]:
    """Return a campaign that mailbox providers refuse, message by message, all of them through one provider."""
    refused = tuple(life for life in SPARKPOST.lives if life.steps[-1].cause == "refused")
    blocked = SPARKPOST._replace(lives=refused)
    messages = round(window.seconds * _STORM_RATE)
    return _campaign(_STORM, blocked, window.begin, messages=messages, rate=_STORM_RATE, speed=speed)


# Records that nobody can read

_BROKEN_RATE = 1.0


def broken_records(window: Window, *, speed: float) -> Iterator[Record]:
    """Return payloads of one provider that something on the way cut off; their messages are not heard of otherwise."""
    messages = round(window.seconds * _BROKEN_RATE)
    cut_off = replace(NONE, truncated=1.0)
    run = traffic(
        _BROKEN,
        window.begin,
        messages=messages,
        rate=_BROKEN_RATE,
        speed=speed,
        disorder=cut_off,
        providers=(POSTMARK,),
        first_delivery=_BROKEN,
    )
    return (record for record in run if record.disorder == "truncated")


def _campaign(  # noqa: PLR0913 - what a run is made of
    number: int, provider: Provider, start: datetime, *, messages: int, rate: float, speed: float
) -> Iterator[Record]:
    """Return one campaign from its beginning to its end, in good order."""
    return traffic(
        number,
        start,
        messages=messages,
        rate=rate,
        speed=speed,
        disorder=NONE,
        planned=(messages, messages),
        providers=(provider,),
        first_delivery=number,
        controls=True,
    )
