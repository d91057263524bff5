"""The material of simulated traffic: campaigns, their messages, and the lives that messages live.

A provider is data: which lives its messages live and how often, and one function that writes a report in its native
form. Adding one is a file like ses.py and a line in traffic.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timedelta
from random import Random
from typing import Literal, NamedTuple

#: Which raw topic a provider's payloads are published to.
Topic = Literal["mta", "sms"]


class Step(NamedTuple):
    """One native report in a life."""

    native: str
    #: Seconds of life since the step before: the least and the most.
    after: tuple[float, float]
    #: A row of the provider's own table of replies; empty where there is nothing to say.
    cause: str = ""


class Life(NamedTuple):
    """What happens to one message, and how often in a hundred messages."""

    weight: float
    steps: tuple[Step, ...]


class Campaign(NamedTuple):
    """One delivery: the send that messages belong to."""

    number: int
    id: str
    label: str
    provider: str
    #: How many messages it will have.
    planned: int
    #: Whether our own ids travel in the provider's payloads.
    tagged: bool
    #: In which of two ways its account is set up, where a provider's payloads differ by that.
    variant: bool


class Message(NamedTuple):
    """One hand-over to a provider: usually one recipient, several where the provider batches them."""

    campaign: Campaign
    id: str
    #: Counts all messages of a run, from 0.
    number: int
    provider_message_id: str
    recipients: tuple[str, ...]
    created: datetime

    @property
    def tags(self) -> dict[str, str]:
        """Our own ids, where they travel. An id of ours is one recipient's: what goes to several is named by theirs."""
        if not self.campaign.tagged:
            return {}
        if len(self.recipients) > 1:
            return {"delivery_id": self.campaign.id}
        return {"message_id": self.id, "delivery_id": self.campaign.id}


class Report(NamedTuple):
    """One native event, before it is written: what happened, when, and to which recipients."""

    native: str
    cause: str
    time: datetime
    #: How many reports of this message came before.
    position: int
    recipients: tuple[str, ...]


class Provider(NamedTuple):
    """One provider that can be simulated."""

    name: str
    topic: Topic
    #: How many of its campaigns run at a time: its share of the traffic.
    campaigns: int
    lives: tuple[Life, ...]
    #: What may happen after a life whose last report is the key, and says nothing about the status.
    engagement: Mapping[str, tuple[Step, ...]]
    #: What contradicts a life that ended with (native, cause).
    contradictions: Mapping[tuple[str, str], Step]
    #: A native status that the provider's documentation does not have.
    unknown: str
    #: Whether our own ids can travel in its payloads.
    carries_ids: bool
    #: Whether its payloads carry an event time that can be believed.
    tells_time: bool
    #: Whether its records have a key.
    keyed: bool
    #: The share of messages with several recipients.
    batched: float
    #: The share of these in which not all recipients share a fate.
    parted: float
    #: Make the id that the provider gives to message number `int`, handed over at `datetime`.
    identify: Callable[[Random, datetime, int], str]
    address: Callable[[Random], str]
    write: Callable[[Random, Message, Report], bytes]


def live(rng: Random, provider: Provider, message: Message, speed: float) -> list[Report]:
    """Let one message live.

    Returns:
        Its reports in order of time, for each group of its recipients. Recipients of one message share the opening
        report; what follows is drawn for each group, so that one may be delivered and the other bounce.
    """
    opening = _draw(rng, provider.lives)
    birth = Report("", "", message.created, -1, message.recipients)
    reports = list(follow(rng, opening.steps[:1], birth, speed))
    first = reports[0]
    for index, group in enumerate(_groups(rng, message.recipients, provider.parted)):
        life = opening if index == 0 else _draw(rng, provider.lives)
        if life.steps[0].native != first.native:
            life = opening
        reports.extend(follow(rng, life.steps[1:], first._replace(recipients=group), speed))
    return reports


def follow(rng: Random, steps: tuple[Step, ...], last: Report, speed: float) -> Iterator[Report]:
    """Take steps, one after the other, from a report on, for the same recipients."""
    for step in steps:
        after = timedelta(seconds=rng.uniform(*step.after) / speed)
        last = Report(step.native, step.cause, last.time + after, last.position + 1, last.recipients)
        yield last


def _draw(rng: Random, lives: tuple[Life, ...]) -> Life:
    return rng.choices(lives, [life.weight for life in lives])[0]


def _groups(rng: Random, recipients: tuple[str, ...], parted: float) -> tuple[tuple[str, ...], ...]:
    """Split recipients into those that share a fate: all of them, or the first and the others."""
    if len(recipients) > 1 and rng.random() < parted:
        return recipients[:1], recipients[1:]
    return (recipients,)
