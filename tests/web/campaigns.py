"""Deliveries for the small world of the page's tests, as control records and counts tell them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from processor.domain.moment import to_rfc3339
from processor.domain.reason import Category
from processor.domain.status import Channel
from tests.views.told import DAY, HOUR, MINUTE, Record, counts, told

HELD, SILENT, CANCELED, PAUSED = "DM1043", "DM1039", "DM1036", "DM1044"

MAIL, SMS = Channel.EMAIL, Channel.SMS


@dataclass(frozen=True)
class Campaign:
    """One delivery, as its control records and the counts of its messages tell it; spans are microseconds ago."""

    delivery_id: str
    channel: Channel
    actions: tuple[str, ...]
    label: str | None = None
    statuses: Mapping[str, int] = field(default_factory=dict)
    failed: Mapping[str, int] | None = None
    ignored: Mapping[str, int] | None = None
    providers: Mapping[str, int] | None = None
    campaign: str | None = None
    planned: int | None = None
    scheduled_at: str | None = None
    last: int = MINUTE
    expired: int = 0

    @property
    def messages(self) -> int:
        return sum(self.statuses.values())

    def control(self, now: int) -> Record:
        """Give its delivery record."""
        facts = {name: getattr(self, name) for name in ("label", "campaign", "planned", "scheduled_at", "channel")}
        given = {name: fact for name, fact in facts.items() if fact is not None}
        return told(*self.actions, delivery_id=self.delivery_id, at=now - self.last - 5 * MINUTE, **given)

    def counted(self, now: int, statuses: Mapping[str, int] | None = None) -> Record:
        """Give its counts record, as it was written at a moment."""
        numbers = {name: number for name, number in (statuses or self.statuses).items() if number}
        failed, ignored = numbers.get("failed", 0), numbers.get("ignored", 0)
        provider = "kumomta" if self.channel is MAIL else "twilio"
        return counts(
            numbers,
            self.delivery_id,
            at=now,
            channels={self.channel.value: sum(numbers.values())},
            failed=self.failed or ({Category.USER_UNKNOWN.value: failed} if failed else {}),
            ignored=self.ignored or ({Category.DENYLISTED.value: ignored} if ignored else {}),
            providers=self.providers or {provider: sum(numbers.values())},
            live={self.channel.value: numbers},
            first=to_rfc3339(now - self.last - 3 * HOUR),
            last=to_rfc3339(now - self.last),
            expired=self.expired,
            by_provider=self.figures(numbers),
        )

    def figures(self, statuses: Mapping[str, int]) -> dict[str, dict[str, int]]:
        """Give the figures by provider of these counts."""
        numbers = {name: number for name, number in statuses.items() if number}
        failed = numbers.get("failed", 0)
        soft = failed // 3
        bounces = {"hard": failed - soft, "soft": soft} if failed else {}
        return {"kumomta" if self.channel is MAIL else "twilio": {**numbers, **bounces}}

    def grown(self, share: float) -> dict[str, int]:
        """Give the counts as they may have been when it was a share of the way."""
        numbers = {
            name: round(number * (share if name == "sent" else share**1.25)) for name, number in self.statuses.items()
        }
        pending = self.messages * share * (1 - share) * 0.8 + self.statuses.get("pending", 0) * share
        return {**numbers, "pending": round(pending)}


def campaigns_of(now: datetime) -> tuple[Campaign, ...]:
    """Give deliveries of every kind that the page knows."""
    date = (now + timedelta(days=2, hours=5)).replace(minute=0, second=0, microsecond=0).isoformat()
    annual = "Terms of service, change of address of the registered office and other matters of the annual notice"
    wave = {"pending": 3_120, "taken_into_account": 1_480, "sent": 16_902, "failed": 611, "ignored": 287}
    codes = {"sent_to_provider": 214, "taken_into_account": 902, "sent": 1_833, "received_on_mobile": 4_710}
    unreachable = {"unreachable": 61, "user_unknown": 22, "refused": 13}
    running, paused, canceled, finished = ("start",), ("start", "pause"), ("start", "cancel"), ("start", "finish")
    named = (
        Campaign(
            "DM1042",
            MAIL,
            running,
            "Autumn sale, first wave",
            wave,
            failed={"user_unknown": 402, "mailbox_full": 121, "invalid_domain": 47, "refused": 41},
            ignored={"denylisted": 201, "quarantined": 74, "duplicate": 12},
            campaign="autumn-sale",
            planned=25_000,
        ),
        Campaign(
            HELD, MAIL, running, "Autumn sale, reminder", {"pending": 4_200}, campaign="autumn-sale", planned=25_000
        ),
        Campaign(
            SILENT,
            SMS,
            running,
            "Appointment reminders",
            {**codes, "failed": 96, "ignored": 31},
            unreachable,
            providers={"infobip": 3_045, "twilio": 4_741},
            planned=8_000,
        ),
        Campaign(
            "DM1050",
            SMS,
            ("schedule",),
            "Black Friday teaser",
            campaign="black-friday",
            planned=12_500,
            scheduled_at=date,
        ),
        Campaign("DM1048", MAIL, running, annual, {"pending": 860, "sent": 40}, planned=900),
        Campaign(
            CANCELED,
            MAIL,
            canceled,
            "Price list (wrong prices)",
            {"canceled": 6_120, "sent": 812, "failed": 9},
            last=72 * MINUTE,
        ),
        Campaign(
            PAUSED,
            MAIL,
            paused,
            "Customer survey",
            {"pending": 1_400, "sent": 2_570, "failed": 30},
            planned=4_000,
            last=44 * MINUTE,
        ),
        Campaign(
            "DM1031",
            MAIL,
            finished,
            "Newsletter, November",
            {"sent": 40_411, "failed": 612, "ignored": 170},
            campaign="newsletter",
            planned=41_200,
            last=44 * HOUR,
            expired=1_204,
        ),
        Campaign("transactional", SMS, running, None, {"prepared": 3, "received_on_mobile": 1_904, "failed": 8}),
    )
    return (*named, *[_small(index) for index in range(28, 0, -1)])


def _small(index: int) -> Campaign:
    label, channel = f"Welcome, week {index + 14}", MAIL if index % 3 else SMS
    statuses = {"sent": 180 + 13 * index, "failed": index % 7}
    actions = ("start", "finish")
    return Campaign(f"DM{900 + index}", channel, actions, label, statuses, campaign="welcome", last=(3 + index) * DAY)
