"""How the ends of messages are counted in a sweep, kept small, and merged without loss."""

import pytest

from processor.domain.reason import Category, Reason
from processor.domain.status import Channel, Permanence, Status
from processor.watch import failing
from processor.watch.failing import Ended, Failing, Outcomes, by_channel, judge
from tests.watch.test_findings import DAY, HOUR, row, swept
from tests.watch.test_findings import named as numbered

EMAIL, SMS = Channel.EMAIL, Channel.SMS
FAILED, SENT, TAKEN = Status.FAILED, Status.SENT, Status.TAKEN_INTO_ACCOUNT


def told(*rows) -> dict[tuple[str | None, str | None], Outcomes]:
    return {(at.provider, at.delivery_id): at for at in swept(numbered(*rows)).result().outcomes}


def failed(seconds: float, *, category: Category | None = None, recipient: str | None = None, **more):
    reason = Reason(Permanence.PERMANENT, category)
    return row((seconds, FAILED), reason=reason, recipient=recipient, **more)


class TestCounting:
    def test_by_when_it_ended(self):
        spans = (60, 11 * 60, 2 * HOUR, 3 * DAY, 8 * DAY)
        rows = [row((seconds, SENT)) for seconds in spans] + [failed(seconds) for seconds in spans]
        at = told(*rows)["ses", None]
        assert (at.minutes, at.hour, at.past) == (Ended(2, 1), Ended(4, 2), Ended(4, 2))

    def test_by_provider_and_by_delivery(self):
        at = told(failed(1), failed(1, provider="kumomta"), failed(1, delivery="DM2"), failed(1, delivery=None))
        assert {name: each.hour for name, each in at.items()} == {
            ("ses", None): Ended(3, 3),
            ("kumomta", None): Ended(1, 1),
            (None, "DM1"): Ended(2, 2),
            (None, "DM2"): Ended(1, 1),
        }

    def test_what_has_not_ended_does_not_count(self):
        assert not told(row((1, TAKEN)), row((1, Status.PENDING)), row((1, Status.CANCELED)))

    def test_a_text_message_ends_when_it_is_sent(self):
        assert told(row((1, SENT), channel=SMS))["ses", None].hour == Ended(1, 0)

    def test_given_up_is_failed(self):
        assert told(row((1, FAILED), gave_up=True))["ses", None].hour == Ended(1, 1)

    def test_hard_soft_and_neither(self):
        categories = (Category.USER_UNKNOWN, Category.REFUSED, Category.MAILBOX_FULL, None)
        at = told(*[failed(1, category=each) for each in categories])["ses", None]
        assert (at.hour.failed, at.hard, at.soft) == (4, 1, 2)

    def test_domains_of_failures_in_the_last_hour(self):
        recipients = ("a@One.example", "b@one.example", "c@two.example", "+46700000001", None)
        at = told(*[failed(1, recipient=each) for each in recipients], failed(2 * HOUR, recipient="d@old.example"))
        assert at["ses", None].domains == {"one.example": 2, "two.example": 1}


class TestSize:
    def test_few_domains_are_told(self):
        rows = [failed(1, recipient=f"a@{number % 60}.example") for number in range(61)]
        domains = told(*rows)["ses", None].domains
        assert len(domains) == failing._DOMAINS_TOLD
        assert domains["0.example"] == 2

    def test_deliveries_with_most_failures_are_told(self, monkeypatch):
        monkeypatch.setattr(failing, "_DELIVERIES_TOLD", 1)
        at = told(failed(1), failed(1, delivery="DM2"), failed(1, delivery="DM2"), row((1, SENT), delivery="DM3"))
        assert set(at) == {("ses", None), (None, "DM2")}

    def test_deliveries_that_are_too_many_count_in_the_channel(self, monkeypatch):
        monkeypatch.setattr(failing, "_GROUPS_MAX", 2)
        at = swept(numbered(*[failed(1, delivery=f"DM{number}") for number in range(5)])).result().outcomes
        assert sum(each.hour.failed for each in by_channel(at)) == 5


def test_merging_loses_nothing():
    rows = numbered(*[failed(number * 400, delivery=f"DM{number % 3}", recipient="a@b.example") for number in range(9)])
    whole = swept(rows).result().outcomes
    assert failing.merge(swept(rows[:4]).result().outcomes + swept(rows[4:]).result().outcomes) == whole


@pytest.mark.parametrize(
    ("minutes", "hour", "verdict"),
    [
        (Ended(100, 60), Ended(100, 60), Failing.STORM),
        (Ended(100, 3), Ended(2_000, 200), Failing.HIGH),
        (Ended(100, 3), Ended(2_000, 60), None),
        (Ended(), Ended(), None),
    ],
)
def test_a_storm_is_told_before_a_high_share(minutes, hour, verdict):
    assert judge(Outcomes(EMAIL, "ses", None, minutes, hour, Ended(10_000, 300))) is verdict
