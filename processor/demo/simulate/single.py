"""One report of one provider, by the word for its status: for a trial call."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from random import Random
from typing import NamedTuple

from processor.demo.simulate.lives import Campaign, Message, Provider, Report, Step
from processor.demo.simulate.traffic import PROVIDERS
from processor.domain.event import Event
from processor.domain.status import Status
from processor.providers import Context, decode_payload, read

#: Providers that call with the second of their forms: JSON and no file, a subscription of logs and no bare log.
_CALL_BY_SECOND = ("aws_sns_sms", "powermta")


class Single(NamedTuple):
    """One report."""

    payload: bytes
    #: The provider's word for the status.
    native: str
    #: What it reports; None: it has no bearing on a status.
    status: Status | None
    #: The id by which its message is asked for; None: it reports no status.
    message_id: str | None


def single_report(
    provider: str, word: str | None, message_id: str, at: datetime, *, second_form: bool | None = None
) -> Single:
    """Write a report of a message with an id of ours, where it can travel.

    Args:
        provider: whose report it is.
        word: the provider's own word for the status, in upper or lower case, or ours; None: how most messages end.
        message_id: our id, also that of the delivery.
        at: the time of the event; aware.
        second_form: whether the account is set up the other way, where payloads differ by that.

    Raises:
        LookupError: the provider has no such status; the text names those that it has.
    """
    who = next(one for one in PROVIDERS if one.name == provider)
    second = provider in _CALL_BY_SECOND if second_form is None else second_form
    campaign = Campaign(1, message_id, "Trial of the gateway", provider, 1, tagged=who.carries_ids, variant=second)
    reports = [_written(who, campaign, step, at) for step in _steps(who)]
    if word is None:
        return _written(who, campaign, who.lives[0].steps[-1], at)
    for fits in (_by_both, _by_native, _by_ours):
        for report in reports:
            if fits(report, word.lower()):
                return report
    natives = dict.fromkeys(report.native for report in reports)
    ours = dict.fromkeys(report.status.value for report in reports if report.status is not None)
    raise LookupError(f"{provider} has no status {word!r:.60}. It has: {', '.join(natives)}; ours: {', '.join(ours)}")


def _steps(provider: Provider) -> Iterator[Step]:
    for life in provider.lives:
        yield from life.steps
    for seen in provider.engagement.values():
        yield from seen


def _written(provider: Provider, campaign: Campaign, step: Step, at: datetime) -> Single:
    # The same for each step, so that its reports are of one message.
    rng = Random(campaign.id)  # noqa: S311 - an example, and no secret
    identity = provider.identify(rng, at, rng.getrandbits(32))
    message = Message(campaign, campaign.id, 0, identity, (provider.address(rng),), at)
    payload = provider.write(rng, message, Report(step.native, step.cause, at, 1, message.recipients))
    found = read(provider.name, decode_payload(payload), Context(received=at))
    event = next((finding for finding in found if isinstance(finding, Event)), None)
    if event is None:
        return Single(payload, step.native, None, None)
    return Single(payload, step.native, event.status, event.message_id)


def _by_both(report: Single, word: str) -> bool:
    return _by_native(report, word) and _by_ours(report, word)


def _by_native(report: Single, word: str) -> bool:
    return report.native.lower() == word


def _by_ours(report: Single, word: str) -> bool:
    return report.status is not None and report.status.value == word
