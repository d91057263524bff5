"""A small world for the page: what it shows when much is going on and some of it goes wrong."""

from collections.abc import Mapping
from datetime import datetime, timedelta, timezone

import msgspec

from processor.domain.delivery import Cause, State
from processor.domain.reason import ADOBE_CODES, Category
from processor.domain.status import DEFINITIONS, Channel, Permanence, Status
from processor.views.deliveries import DeliveryView, Indicators, PendingView, Rates, SeriesPoint
from processor.views.listing import ANY_CAUSE, DeliveryList
from processor.views.messages import MessageReason, MessageView, Rejected, Seen, Wait
from processor.views.overview import (
    ContradictoryMessages,
    FoundMessage,
    Overview,
    PartitionView,
    ProviderView,
    StuckMessages,
    Throughput,
    Wrong,
)
from processor.watch.silence import Verdict
from processor.web.access import Caller
from processor.web.masking import mask_recipient
from processor.web.page.routes import NotFoundError
from processor.web.problems import RECOVERING, ProblemError
from processor.web.sessions import Session

WRITE_TOKEN = "a-token-that-may-write"
READ_TOKEN = "a-token-that-may-read"

#: An id may hold anything.
ODD_ID = "kumomta:1d98/07 6a?#%2F&<b>:ü@example.com"

HELD, SILENT, CANCELED = "DM1043", "DM1039", "DM1036"
FAILED_MESSAGE, STUCK_MESSAGE, CONTRADICTED_MESSAGE, LATE_MESSAGE = "m-000417", "s-077120", "m-000982", "m-000655"


class World:
    """Answers the page, as the workers would; attributes may be changed to let things happen."""

    def __init__(self, now: datetime | None = None) -> None:
        self.now = now or datetime.now(timezone.utc)
        self.list = {each.delivery_id: each for each in _deliveries(self)}
        self.messages = {each.message_id: each for each in _messages(self)}
        self.recovering: tuple[int, ...] = ()
        #: Set to have every answer be that.
        self.failure: Exception | None = None
        self.asked: list[dict[str, str]] = []
        self.canceled: list[str] = []
        self.ended: list[Session] = []
        self.events_per_second = 9_871.4
        self.is_well = False

    def ago(self, **span: float) -> str:
        """Give a moment before now, as the API writes it."""
        return (self.now - timedelta(**span)).isoformat(timespec="milliseconds").replace("+00:00", "Z")

    def _check(self) -> None:
        if self.failure is not None:
            raise self.failure

    # What the page asks

    async def overview(self) -> Overview:
        self._check()
        numbers = {channel: dict.fromkeys(Status, 0) for channel in Channel}
        for each in self.list.values():
            for name, number in each.statuses.items():
                numbers[each.channel or Channel.EMAIL][Status(name)] += number
        causes = dict.fromkeys(Cause, 0)
        for each in self.list.values():
            if each.pending is not None:
                causes[each.pending.cause] += 1
        wrong = Wrong((), (), (), {"invalid_json": 0})
        if not self.is_well:
            wrong = Wrong(_stuck(self), (_silent(self),), _contradictions(self), _DEAD)
        shares = {
            channel: {s: n for s, n in at.items() if channel in DEFINITIONS[s].channels}
            for channel, at in numbers.items()
        }
        return Overview(
            shares,
            Throughput(self.events_per_second),
            wrong,
            dict.fromkeys(Cause, 0) if self.is_well else causes,
            tuple(_partitions(self)),
            self.recovering,
        )

    async def deliveries(self, filters: Mapping[str, str]) -> DeliveryList:
        self._check()
        self.asked.append(dict(filters))
        found = [each for each in self.list.values() if _fits(each, filters)]
        start, limit = int(filters.get("cursor", 0)), int(filters.get("limit", 50))
        shown = found[start : start + limit]
        statuses = {s.value: sum(each.statuses[s.value] for each in found) for s in Status}
        following = str(start + limit) if start + limit < len(found) else None
        return DeliveryList(tuple(shown), following, len(found), sum(statuses.values()), statuses)

    async def delivery(self, delivery_id: str) -> DeliveryView:
        self._check()
        if delivery_id not in self.list:
            raise NotFoundError
        view = self.list[delivery_id]
        return msgspec.structs.replace(view, series=tuple(_series(self, view)))

    async def message(self, message_id: str, caller: Caller) -> MessageView:
        self._check()
        if message_id not in self.messages:
            raise NotFoundError
        view = self.messages[message_id]
        if caller.sees_recipients or view.recipient is None:
            return view
        return msgspec.structs.replace(view, recipient=mask_recipient(view.recipient))

    def reference(self, message_id: str, _caller: Caller) -> str:
        return message_id

    async def cancel(self, delivery_id: str) -> None:
        self._check()
        if delivery_id not in self.list:
            raise NotFoundError
        self.canceled.append(delivery_id)

    async def tell_ended(self, session: Session) -> None:
        self.ended.append(session)

    # What may happen

    def move(self, delivery_id: str, before: str, after: str, number: int) -> None:
        """Let messages of a delivery change their status."""
        view = self.list[delivery_id]
        statuses = {**view.statuses, before: view.statuses[before] - number, after: view.statuses[after] + number}
        self.list[delivery_id] = msgspec.structs.replace(view, statuses=statuses)


def recovering() -> ProblemError:
    """Give what is raised while a partition recovers."""
    return ProblemError(RECOVERING, "partition 3 is being recovered here")


def _waits(each: DeliveryView, cause: str | None) -> bool:
    return cause is None or (each.pending is not None and cause in {ANY_CAUSE, each.pending.cause.value})


def _fits(each: DeliveryView, filters: Mapping[str, str]) -> bool:
    named = f"{each.delivery_id} {each.label} {each.campaign}".lower()
    return (
        filters.get("q", "").lower() in named
        and filters.get("state", each.state.value) == each.state.value
        and filters.get("channel", each.channel) == each.channel
        and ("status" not in filters or each.statuses[filters["status"]] > 0)
        and ("provider" not in filters or filters["provider"] in each.providers)
        and _waits(each, filters.get("pending"))
        and (filters.get("stuck") != "true" or bool(each.stuck))
    )


# Deliveries


def _delivery(world: World, delivery_id: str, channel: Channel, state: State, **given) -> DeliveryView:
    statuses = {status.value: given.get("statuses", {}).get(status.value, 0) for status in Status}
    messages = sum(statuses.values())
    success = statuses["taken_into_account"] + statuses["sent"] + statuses["received_on_mobile"]
    processed = success + statuses["failed"] + statuses["prepared"]
    failures = given.get("failures", {"user_unknown": statuses["failed"]} if statuses["failed"] else {})
    hard = failures.get("user_unknown", 0)
    view = DeliveryView(
        delivery_id=delivery_id,
        label=None,
        campaign=None,
        channel=channel,
        planned=None,
        state=state,
        scheduled_at=None,
        started_at=world.ago(hours=3) if state is not State.SCHEDULED else None,
        paused_at=None,
        finished_at=None,
        canceled_at=None,
        messages=messages,
        statuses=statuses,
        pending=None,
        indicators=Indicators(
            processed,
            success,
            statuses["failed"],
            hard,
            statuses["failed"] - hard,
            {"denylisted": statuses["ignored"]} if statuses["ignored"] else {},
        ),
        failures=failures,
        rates=Rates(
            success / processed if processed else None,
            statuses["failed"] / processed if processed else None,
            given.get("per_second"),
        ),
        first_activity=world.ago(hours=3) if messages else None,
        last_activity=world.ago(minutes=1) if messages else None,
        estimated_end=None,
        stuck=0,
        providers={"kumomta" if channel is Channel.EMAIL else "twilio": messages} if messages else {},
        expired=0,
    )
    own = {name: value for name, value in given.items() if name in DeliveryView.__struct_fields__}
    return msgspec.structs.replace(view, **{**own, "statuses": statuses, "failures": failures})


def _waiting(cause: Cause, detail: str, scheduled_at: str | None = None) -> PendingView:
    return PendingView(cause, detail, scheduled_at, 10, 10)


def _deliveries(world: World) -> list[DeliveryView]:
    mail, sms = Channel.EMAIL, Channel.SMS
    ahead = (world.now + timedelta(days=2, hours=5)).replace(minute=0, second=0, microsecond=0)
    date = ahead.isoformat(timespec="seconds").replace("+00:00", "Z")
    named = [
        _delivery(
            world,
            "DM1042",
            mail,
            State.RUNNING,
            label="Autumn sale, first wave",
            campaign="autumn-sale",
            planned=25_000,
            statuses={"pending": 3_120, "taken_into_account": 1_480, "sent": 16_902, "failed": 611, "ignored": 287},
            failures={"user_unknown": 402, "mailbox_full": 121, "invalid_domain": 47, "refused": 41},
            indicators=Indicators(
                18_993, 18_382, 611, 402, 209, {"denylisted": 201, "quarantined": 74, "duplicate": 12}
            ),
            per_second=14.2,
            estimated_end=(world.now + timedelta(minutes=7)).isoformat(timespec="seconds"),
        ),
        _delivery(
            world,
            HELD,
            mail,
            State.RUNNING,
            label="Autumn sale, reminder",
            campaign="autumn-sale",
            planned=25_000,
            statuses={"pending": 4_200},
            pending=_waiting(Cause.CONCURRENCY_LIMIT, "10 deliveries run, and 10 may"),
        ),
        _delivery(
            world,
            SILENT,
            sms,
            State.RUNNING,
            label="Appointment reminders",
            planned=8_000,
            statuses={
                "sent_to_provider": 214,
                "taken_into_account": 902,
                "sent": 1_833,
                "received_on_mobile": 4_710,
                "failed": 96,
                "ignored": 31,
            },
            failures={"unreachable": 61, "user_unknown": 22, "refused": 13},
            providers={"infobip": 3_045, "twilio": 4_741},
            stuck=312,
            per_second=2.31,
        ),
        _delivery(
            world,
            "DM1050",
            sms,
            State.SCHEDULED,
            label="Black Friday teaser",
            campaign="black-friday",
            planned=12_500,
            scheduled_at=date,
            pending=_waiting(Cause.SCHEDULED, f"its date is {date}", date),
        ),
        _delivery(
            world,
            "DM1048",
            mail,
            State.RUNNING,
            label="Terms of service, change of address of the registered office and other matters of the annual notice",
            planned=900,
            statuses={"pending": 900},
            pending=_waiting(Cause.MTA_RESOURCES, "the MTA has not taken its messages"),
        ),
        _delivery(
            world,
            CANCELED,
            mail,
            State.CANCELED,
            label="Price list (wrong prices)",
            statuses={"canceled": 6_120, "sent": 812, "failed": 9},
            canceled_at=world.ago(hours=1, minutes=12),
        ),
        _delivery(
            world,
            "DM1044",
            mail,
            State.PAUSED,
            label="Customer survey",
            planned=4_000,
            statuses={"pending": 1_400, "sent": 2_570, "failed": 30},
            paused_at=world.ago(minutes=44),
        ),
        _delivery(
            world,
            "DM1031",
            mail,
            State.FINISHED,
            label="Newsletter, November",
            campaign="newsletter",
            planned=41_200,
            statuses={"sent": 40_411, "failed": 612, "ignored": 170, "not_applicable": 7},
            finished_at=world.ago(days=2),
            last_activity=world.ago(days=1, hours=20),
            expired=1_204,
        ),
        _delivery(
            world,
            "transactional",
            sms,
            State.RUNNING,
            statuses={"prepared": 3, "received_on_mobile": 1_904, "failed": 8},
        ),
    ]
    small = [
        _delivery(
            world,
            f"DM{900 + index}",
            mail if index % 3 else sms,
            State.FINISHED,
            label=f"Welcome, week {index + 14}",
            campaign="welcome",
            statuses={"sent": 180 + 13 * index, "failed": index % 7},
            last_activity=world.ago(days=3 + index),
        )
        for index in range(28, 0, -1)
    ]
    return [*named, *small]


def _series(world: World, view: DeliveryView) -> list[SeriesPoint]:
    """Give how the counts of a delivery may have grown."""
    if not view.messages:
        return []
    points = []
    for index in range(41):
        share = index / 40
        grown = {
            name: round(number * share ** (1.0 if name == "sent" else 1.25)) for name, number in view.statuses.items()
        }
        grown["pending"] = round(view.messages * share * (1 - share) * 0.8) + round(view.statuses["pending"] * share)
        points.append(SeriesPoint(world.ago(minutes=2 * (40 - index)), grown if index < 40 else view.statuses))
    return points


# What is wrong

_DEAD = {"unreadable_payload": 41, "unknown_status": 17, "time_ahead": 6, "invalid_json": 1, "null_value": 0}


def _found(world: World, message_id: str, **span: float) -> FoundMessage:
    return FoundMessage(message_id, world.ago(**span), message_id)


def _stuck(world: World) -> tuple[StuckMessages, ...]:
    oldest = _found(world, STUCK_MESSAGE, days=4, hours=3)
    held = _found(world, "m-000031", hours=2, minutes=41)
    return (
        StuckMessages(Channel.SMS, Status.SENT, SILENT, "infobip", 312, oldest.since, (oldest,)),
        StuckMessages(Channel.EMAIL, Status.PENDING, "DM1048", None, 87, held.since, (held,)),
        StuckMessages(Channel.EMAIL, Status.TAKEN_INTO_ACCOUNT, None, "kumomta", 4, world.ago(days=5), ()),
    )


def _silent(world: World) -> ProviderView:
    return ProviderView(
        "infobip", Verdict.SILENT, world.ago(minutes=52), 3_120.0, 44.0, 1_116, 1_204, world.ago(days=4)
    )


def _contradictions(world: World) -> tuple[ContradictoryMessages, ...]:
    return (
        ContradictoryMessages(
            Channel.EMAIL, "ignored", "sent", "kumomta", 12, (_found(world, CONTRADICTED_MESSAGE, minutes=9),)
        ),
        ContradictoryMessages(
            Channel.SMS, "received_on_mobile", "failed_gave_up", "twilio", 3, (_found(world, "s-000044", hours=1),)
        ),
    )


def _partitions(world: World) -> list[PartitionView]:
    workers = ("http://10.0.0.11:8080", "http://10.0.0.12:8080", "http://10.0.0.13:8080")
    listed = []
    for stage, topic in (
        ("normalize", "mta.v1"),
        ("normalize", "sms.v1"),
        ("control", "control.v1"),
        ("fold", "events.v1"),
    ):
        for number in range(8):
            is_away = stage == "fold" and number in world.recovering
            state = "recovering" if is_away else "running"
            listed.append(
                PartitionView(
                    stage,
                    f"delivery.{topic}",
                    number,
                    workers[number % 3],
                    state,
                    40 + number if stage == "fold" else 0,
                    0.4 if is_away else None,
                )
            )
    return listed


# Messages


def _seen(world: World, node: str, attempt: int = 1, again: float | None = None, **span: float) -> Seen:
    first = world.ago(**span)
    return Seen(node, attempt, first, first if again is None else world.ago(minutes=again))


def _reason(permanence: Permanence, category: Category, code: str, provider_code: str, text: str) -> MessageReason:
    return MessageReason(permanence, category, ADOBE_CODES.get(category), code, provider_code, text)


def _message(message_id: str, channel: Channel, status: Status, history: tuple[Seen, ...], **given) -> MessageView:
    view = MessageView(
        message_id=message_id,
        delivery_id="DM1042",
        channel=channel,
        status=status,
        permanence=None,
        since=history[-1].first,
        reason=None,
        attempt=max(each.attempt for each in history),
        recipient="ulrika.holm@example.com" if channel is Channel.EMAIL else "+46701234512",
        provider="kumomta" if channel is Channel.EMAIL else "infobip",
        provider_message_id="1d98076abf1c11ee9d3b00163e2b2f6c",
        history=history,
        rejected=(),
        waits_for=None,
        waits_for_code=None,
        cancel_too_late=False,
        stuck=False,
    )
    return msgspec.structs.replace(view, **given)


def _messages(world: World) -> list[MessageView]:
    mail, sms = Channel.EMAIL, Channel.SMS
    return [
        _message(
            FAILED_MESSAGE,
            mail,
            Status.FAILED,
            (
                _seen(world, "pending", minutes=32),
                _seen(world, "taken_into_account", minutes=31, again=30),
                _seen(world, "failed", minutes=29),
            ),
            permanence=Permanence.PERMANENT,
            reason=_reason(
                Permanence.PERMANENT,
                Category.USER_UNKNOWN,
                "5.1.1",
                "550",
                "550 5.1.1 <u***@example.com>: Recipient address rejected: User unknown in virtual mailbox table",
            ),
        ),
        _message(
            STUCK_MESSAGE,
            sms,
            Status.SENT,
            (
                _seen(world, "pending", days=4, hours=4),
                _seen(world, "prepared", days=4, hours=3, minutes=59),
                _seen(world, "sent_to_provider", days=4, hours=3, minutes=58),
                _seen(world, "taken_into_account", days=4, hours=3, minutes=57.9),
                _seen(world, "sent", days=4, hours=3),
            ),
            delivery_id=SILENT,
            waits_for="the receipt of the handset",
            waits_for_code=Wait.RECEIPT,
            stuck=True,
        ),
        _message(
            CONTRADICTED_MESSAGE,
            mail,
            Status.IGNORED,
            (_seen(world, "pending", minutes=20), _seen(world, "ignored", minutes=19), _seen(world, "sent", minutes=9)),
            since=world.ago(minutes=19),
            reason=MessageReason(None, Category.DENYLISTED, 8, None, None, None),
            rejected=(Rejected("sent", "ignored", "on email, sent may neither follow nor precede ignored"),),
        ),
        _message(
            LATE_MESSAGE,
            mail,
            Status.SENT,
            (
                _seen(world, "pending", hours=1, minutes=20),
                _seen(world, "canceled", hours=1, minutes=12),
                _seen(world, "sent", hours=1, minutes=11),
            ),
            delivery_id=CANCELED,
            cancel_too_late=True,
        ),
        _message(
            ODD_ID,
            sms,
            Status.FAILED,
            (
                _seen(world, "sent_to_provider", hours=9),
                _seen(world, "failed_gave_up", hours=8),
                _seen(world, "sent_to_provider", attempt=2, hours=7),
                _seen(world, "failed_gave_up", attempt=2, hours=6),
            ),
            delivery_id=None,
            provider=None,
            recipient=None,
            provider_message_id=None,
            permanence=Permanence.GAVE_UP,
            reason=_reason(
                Permanence.GAVE_UP,
                Category.UNREACHABLE,
                "EXPIRED",
                "4",
                "<script>alert(1)</script> & absent subscriber",
            ),
        ),
    ]
