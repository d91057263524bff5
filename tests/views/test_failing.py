"""What fails more than is usual: what is told of it, and in which order."""

from processor.domain.status import Channel
from processor.views.failing import FailedDomain, FailingView, failing
from processor.watch.failing import Ended, Failing, Outcomes

EMAIL, SMS = Channel.EMAIL, Channel.SMS
WELL, STORM = Ended(1_000, 10), Ended(1_000, 800)


def outcomes(provider=None, delivery=None, minutes=WELL, hour=WELL, past=WELL, channel=EMAIL, **more) -> Outcomes:
    return Outcomes(channel, provider, delivery, minutes, hour, past, **more)


def names(*several: Outcomes) -> list[str | None]:
    return [each.delivery_id or each.provider for each in failing(several)]


def test_what_fails_as_ever_is_not_told():
    assert names(outcomes("ses"), outcomes(delivery="DM1")) == []


def test_numbers_shares_and_the_first_domains():
    domains = {"d.example": 1, "a.example": 5, "c.example": 2, "b.example": 2}
    at = outcomes("ses", minutes=STORM, hour=Ended(2_000, 900), past=Ended(), hard=7, soft=600, domains=domains)
    told = tuple(FailedDomain(name, domains[name]) for name in ("a.example", "b.example", "c.example"))
    assert failing([at]) == (FailingView(Failing.STORM, EMAIL, "ses", None, 0.8, 0.45, None, 2_000, 900, 7, 600, told),)


def test_storms_come_first_then_the_most_failures():
    high = outcomes("high", hour=Ended(9_000, 5_000))
    small = outcomes(delivery="small", minutes=STORM, hour=Ended(1_000, 800))
    large = outcomes("large", minutes=STORM, hour=Ended(1_000, 900))
    assert names(high, small, large) == ["large", "small", "high"]


def test_a_channel_is_told_where_no_provider_is():
    several = [outcomes(f"p{number}", hour=Ended(1_000, 60), past=Ended(1_000, 10)) for number in range(3)]
    assert [(each.channel, each.provider, each.failed) for each in failing(several)] == [(EMAIL, None, 180)]
    assert names(*several, outcomes("ses", minutes=STORM)) == ["ses"]
