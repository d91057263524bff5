"""Raw traffic of several providers at once, in the order in which it is published."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from heapq import heappop, heappush
from itertools import chain, count, islice
from random import Random
from typing import NamedTuple

from processor.demo.simulate.aws_eum_sms import AWS_EUM_SMS
from processor.demo.simulate.aws_sns_sms import AWS_SNS_SMS
from processor.demo.simulate.bandwidth import BANDWIDTH
from processor.demo.simulate.brevo import BREVO
from processor.demo.simulate.controls import Controls
from processor.demo.simulate.disorder import USUAL, Disorder, Kind, Origin, Record, delay, extras, further_reports
from processor.demo.simulate.firetext import FIRETEXT
from processor.demo.simulate.infobip import INFOBIP
from processor.demo.simulate.jasmin import JASMIN
from processor.demo.simulate.kannel import KANNEL
from processor.demo.simulate.kumomta import KUMOMTA
from processor.demo.simulate.links import Links
from processor.demo.simulate.lives import Campaign, Message, Provider, Report, live
from processor.demo.simulate.mailgun import MAILGUN
from processor.demo.simulate.mailjet import MAILJET
from processor.demo.simulate.messagebird import MESSAGEBIRD
from processor.demo.simulate.mmg import MMG
from processor.demo.simulate.plivo import PLIVO
from processor.demo.simulate.postfix import POSTFIX
from processor.demo.simulate.postmark import POSTMARK
from processor.demo.simulate.powermta import POWERMTA
from processor.demo.simulate.resend import RESEND
from processor.demo.simulate.sendgrid import SENDGRID
from processor.demo.simulate.ses import SES
from processor.demo.simulate.sinch import SINCH
from processor.demo.simulate.smpp import SMPP
from processor.demo.simulate.sparkpost import SPARKPOST
from processor.demo.simulate.telnyx import TELNYX
from processor.demo.simulate.twilio import TWILIO
from processor.demo.simulate.vonage import VONAGE

#: Every provider that can be simulated.
PROVIDERS: tuple[Provider, ...] = (
    KUMOMTA,
    SES,
    TWILIO,
    SMPP,
    MAILGUN,
    POSTFIX,
    POWERMTA,
    SENDGRID,
    BREVO,
    MAILJET,
    POSTMARK,
    RESEND,
    SPARKPOST,
    BANDWIDTH,
    INFOBIP,
    MESSAGEBIRD,
    PLIVO,
    SINCH,
    TELNYX,
    VONAGE,
    AWS_SNS_SMS,
    AWS_EUM_SMS,
    KANNEL,
    JASMIN,
    MMG,
    FIRETEXT,
)

_LABELS = (
    "Winter sale",
    "Welcome, new member",
    "Your order has shipped",
    "Newsletter",
    "Password reset",
    "We miss you",
    "Appointment reminder",
    "Black Friday",
    "Member points",
    "Back in stock",
)

#: Every so many campaigns, one whose owner forgot to send our own ids along.
_UNTAGGED = 5

#: Seconds of life from an event to its publication: a web hook, a bridge, a queue.
_TRANSPORT = (0.05, 1.0)


def campaigns(
    seed: int,
    *,
    planned: tuple[int, int] = (200, 2000),
    providers: tuple[Provider, ...] = PROVIDERS,
    first_delivery: int = 1042,
) -> Iterator[Campaign]:
    """Yield the campaigns of a run without end, in the order in which they start.

    The same arguments as for `traffic` give the very campaigns that its messages belong to. Providers take turns, each
    as often as it has campaigns at a time.

    Args:
        seed: the same seed gives the same campaigns.
        planned: the least and the greatest size of a campaign, in messages.
        providers: who sends.
        first_delivery: the number in the first delivery's id.
    """
    rng = Random(seed)  # noqa: S311 - a simulation must be repeatable, not secret
    rounds = max(provider.campaigns for provider in providers)
    turns = [provider for turn in range(rounds) for provider in providers if provider.campaigns > turn]
    number = first_delivery
    while True:
        for provider in turns:
            tagged = provider.carries_ids and number % _UNTAGGED != 0
            label = f"{rng.choice(_LABELS)} {number}"
            size, variant = rng.randint(*planned), rng.random() < 0.5
            yield Campaign(number, f"DM{number}", label, provider.name, size, tagged, variant)
            number += 1


def traffic(  # noqa: PLR0913 - what a run is made of
    seed: int,
    start: datetime,
    *,
    messages: int | None = None,
    rate: float = 200.0,
    speed: float = 60.0,
    disorder: Disorder = USUAL,
    planned: tuple[int, int] = (200, 2000),
    providers: tuple[Provider, ...] = PROVIDERS,
    first_delivery: int = 1042,
    controls: bool = False,
    links: bool = False,
) -> Iterator[Record]:
    """Yield records in the order of their `due`, from `start` on.

    No payload tells a time later than its record's `due`, except for what is meant to come from the future. A record
    that is published before it is due therefore runs ahead: who publishes faster than `due` says starts in the past.

    Args:
        seed: the same arguments give the same records, byte for byte.
        start: when the first message is handed over; aware.
        messages: how many messages live; None is without end. After the last one all lives are lived to their end.
        rate: messages handed over in a second of `due`; each is two to three records.
        speed: seconds of life in a second of `due`.
        disorder: what goes wrong, and how often.
        planned: the least and the greatest size of a campaign, in messages.
        providers: who sends.
        first_delivery: the number in the first delivery's id. Message ids begin with that of their delivery, so runs
            that share a Kafka must not share these numbers.
        controls: whether campaigns are told of, too, with control records among the raw ones, which stay the same.
        links: likewise, whether links tell whose the provider's ids are, where our own do not travel.
    """
    run = _Run(Random(~seed), start.astimezone(timezone.utc), rate, speed, disorder)  # noqa: S311 - see above
    born = campaigns(seed, planned=planned, providers=providers, first_delivery=first_delivery)
    # Their own chance, so that raw records are the same with and without them.
    told = Controls(Random(f"{seed} controls"), speed, disorder) if controls else None  # noqa: S311 - see above
    linked = Links(Random(f"{seed} links"), speed, disorder) if links else None  # noqa: S311 - see above
    waiting: list[tuple[datetime, int, Record]] = []
    ordinal = 0
    for provider, message in islice(_messages(run, providers, born), messages):
        while waiting and waiting[0][0] <= message.created:
            yield heappop(waiting)[2]
        about = told.hand_over(provider, message) if told is not None else ()
        whose = linked.hand_over(provider, message) if linked is not None else ()
        for record in chain(about, whose, _records(run, provider, message)):
            # The ordinal keeps the order of equal times, and keeps records from being compared.
            heappush(waiting, (record.due, ordinal, record))
            ordinal += 1
    while waiting:
        yield heappop(waiting)[2]


class _Run(NamedTuple):
    """What all parts of a run share."""

    rng: Random
    start: datetime
    rate: float
    speed: float
    disorder: Disorder


def _messages(
    run: _Run, providers: tuple[Provider, ...], born: Iterator[Campaign]
) -> Iterator[tuple[Provider, Message]]:
    """Hand messages over without end, from as many campaigns at a time as the providers have."""
    by_name = {provider.name: provider for provider in providers}
    running = [next(born) for _ in range(sum(provider.campaigns for provider in providers))]
    handed_over = [0] * len(running)
    for number in count():
        place = run.rng.randrange(len(running))
        campaign = running[place]
        provider = by_name[campaign.provider]
        yield provider, _message(run, provider, campaign, handed_over[place], number)
        handed_over[place] += 1
        if handed_over[place] == campaign.planned:
            running[place], handed_over[place] = next(born), 0


def _message(run: _Run, provider: Provider, campaign: Campaign, index: int, number: int) -> Message:
    created = run.start + timedelta(seconds=number / run.rate)
    several = run.rng.random() < provider.batched
    recipients = tuple(provider.address(run.rng) for _ in range(run.rng.randint(2, 4) if several else 1))
    identity = provider.identify(run.rng, created, number)
    return Message(campaign, f"{campaign.id}-{index:06d}", number, identity, recipients, created)


def _records(run: _Run, provider: Provider, message: Message) -> Iterator[Record]:
    """Yield all records of one message, in no order."""
    told: list[tuple[Report, Kind | None]] = [(at, None) for at in live(run.rng, provider, message, run.speed)]
    told.extend(further_reports(run.rng, run.disorder, provider, told[-1][0], run.speed))
    punctual = [_record(run, provider, message, report)._replace(disorder=kind) for report, kind in told]
    delayed = delay(run.rng, run.disorder, punctual, run.speed)
    for (report, _), record in zip(told, delayed, strict=True):
        yield record
        yield from extras(run.rng, run.disorder, Origin(provider, message, report, record, run.speed))


def _record(run: _Run, provider: Provider, message: Message, report: Report) -> Record:
    due = report.time + timedelta(seconds=run.rng.uniform(*_TRANSPORT) / run.speed)
    key = message.provider_message_id.encode() if provider.keyed else None
    value = provider.write(run.rng, message, report)
    return Record(due, provider.topic, key, value, (("provider", provider.name.encode()),))
