"""A small world for the page: the real answers, over deliveries, messages and findings of our own."""

import itertools
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime, timezone
from functools import cache
from typing import Any

import msgspec

from processor.domain.delivery import Action
from processor.domain.moment import Micros, to_microseconds, to_rfc3339
from processor.domain.row import Row
from processor.domain.status import Status
from processor.domain.traits import STUCK_AFTER
from processor.engine.status import PartitionStatus
from processor.engine.streams import Outgoing
from processor.metrics import Metrics
from processor.settings import Settings
from processor.stages import STAGE_NAMES
from processor.views.breakdown import BreakdownQuery, PartitionBreakdown, partition_breakdown
from processor.views.deliveries import Deliveries
from processor.views.gateways import GatewayReport, RouteReport
from processor.views.message_list import ListShare, list_share
from processor.views.message_query import Judge, MessageQuery
from processor.views.overview import PartitionReport, WorkerReport
from processor.watch.board import Board
from processor.watch.durations import bucket_of
from processor.watch.evidence import Evidence
from processor.watch.failing import Ended, Outcomes
from processor.watch.findings import Contradiction, Found, Partial, Stuck, merge
from processor.web.answers import Answers
from processor.web.breakdowns import BREAKDOWN_PATH, Breakdowns
from processor.web.finding import Finding
from processor.web.forwarding import Forwarding
from processor.web.gathering import Gathering
from processor.web.hops import Hops
from processor.web.masking import mask_text
from processor.web.masking.views import mask_message
from processor.web.message_lists import LIST_PATH, MessageLists, decode_query
from processor.web.problems import RECOVERING, ProblemError
from processor.web.sealing import Seal
from processor.wire.control import decode_control
from processor.wire.deadletters import DeadReason, Origin
from processor.wire.history import Width
from processor.wire.partitioner import partition_of
from processor.wire.topics import CONTROL, COUNTS, DELIVERIES, HISTORY, Topic
from tests.views.told import DAY, HOUR, MINUTE, SECOND, counts, sample
from tests.web.campaigns import CANCELED, MAIL, SILENT, SMS, Campaign, campaigns_of
from tests.web.entries import AuditInMemory
from tests.web.letters import LettersInMemory
from tests.web.workers import EVENTS_TOPIC, TheGroup, Work, event, rows

WRITE_TOKEN = "a-token-that-may-write"
READ_TOKEN = "a-token-that-may-read"

#: An id may hold anything.
ODD_ID = "kumomta:1d98/07 6a?#%2F&<b>:ü"

FAILED_MESSAGE, STUCK_MESSAGE, CONTRADICTED_MESSAGE, LATE_MESSAGE = "m-000417", "s-077120", "m-000982", "m-000655"

#: How many deliveries may run; as many do.
LIMIT = 4

PARTITIONS = 8
#: This worker and its neighbours; each has every third partition.
WORKERS = ("http://10.0.0.11:8080", "http://10.0.0.12:8080", "http://10.0.0.13:8080")
INPUTS = (
    ("normalize", "delivery.mta.v1"),
    ("normalize", "delivery.sms.v1"),
    ("control", "delivery.control.v1"),
    ("fold", EVENTS_TOPIC),
)


def _events(now: datetime) -> list[dict[str, Any]]:
    """Give what was reported of the messages that the page's tests visit."""

    def report(message_id: str, status: str, minutes: float, **more: Any) -> dict[str, Any]:
        time = to_rfc3339(to_microseconds(now) - int(minutes * MINUTE))
        return event(message_id, status, time, **more)

    mail = {"provider": "kumomta", "delivery_id": "DM1042", "recipient": "ulrika.holm@example.com"}
    phone = {"provider": "infobip", "delivery_id": SILENT, "recipient": "+46701234512", "channel": "sms"}
    late = {**mail, "delivery_id": CANCELED}
    hours, days = 60, 24 * 60
    unknown = {
        "permanence": "permanent",
        "category": "user_unknown",
        "code": "5.1.1",
        "provider_code": "550",
        "text": f"550 5.1.1 <{mail['recipient']}>: Recipient address rejected: User unknown in virtual mailbox table",
    }
    absent = {
        "permanence": "gave_up",
        "category": "unreachable",
        "code": "EXPIRED",
        "provider_code": "4",
        "text": "<script>alert(1)</script> & absent subscriber",
    }
    odd = {"channel": "sms"}
    return [
        report(FAILED_MESSAGE, "pending", 32, **mail, provider_message_id="1d98076abf1c11ee9d3b00163e2b2f6c"),
        report(FAILED_MESSAGE, "taken_into_account", 31, **mail),
        report(FAILED_MESSAGE, "taken_into_account", 30, **mail),
        report(FAILED_MESSAGE, "failed", 29, **mail, reason=unknown),
        report(STUCK_MESSAGE, "pending", 4 * days + 4 * hours, **phone),
        report(STUCK_MESSAGE, "prepared", 4 * days + 4 * hours - 1, **phone),
        report(STUCK_MESSAGE, "sent_to_provider", 4 * days + 4 * hours - 2, **phone),
        report(STUCK_MESSAGE, "taken_into_account", 4 * days + 4 * hours - 2.1, **phone),
        report(STUCK_MESSAGE, "sent", 4 * days + 3 * hours, **phone),
        report(CONTRADICTED_MESSAGE, "pending", 20, **mail),
        report(CONTRADICTED_MESSAGE, "ignored", 19, **mail, reason={"category": "denylisted"}),
        report(CONTRADICTED_MESSAGE, "sent", 9, **mail),
        report(LATE_MESSAGE, "pending", 80, **late),
        report(LATE_MESSAGE, "canceled", 72, **late),
        report(LATE_MESSAGE, "sent", 71, **late),
        report(ODD_ID, "sent_to_provider", 9 * hours, **odd),
        report(ODD_ID, "failed", 8 * hours, **odd, reason=absent),
        report(ODD_ID, "sent_to_provider", 7 * hours, **odd, attempt=2),
        report(ODD_ID, "failed", 6 * hours, **odd, attempt=2, reason=absent),
    ]


_DEAD = {
    DeadReason.UNREADABLE_PAYLOAD: 41,
    DeadReason.UNKNOWN_STATUS: 17,
    DeadReason.TIME_AHEAD: 6,
    DeadReason.INVALID_JSON: 1,
}


def _gateways(now: Micros, *, is_well: bool) -> dict[str, GatewayReport | None]:
    """Give the reports of two gateways; where something is wrong, a third does not answer."""
    mail = RouteReport("/hooks/sendgrid", "sendgrid", "", taken=18_204, last_call=Micros(now - 2 * SECOND))
    phone = RouteReport("/hooks/twilio/main", "twilio", "main", taken=9_311, last_call=Micros(now - 5 * SECOND))
    if is_well:
        return {"http://10.0.0.21:8082": GatewayReport((mail, phone)), "http://10.0.0.22:8082": GatewayReport((mail,))}
    away = msgspec.structs.replace(
        phone,
        spooled=212,
        refused=3,
        last_refused=Micros(now - 4 * MINUTE),
        refusal="x-twilio-signature is wrong: another secret, or the call was changed <b>on its way</b>",
    )
    silent = RouteReport("/hooks/infobip", "infobip", "", taken=9_000, last_call=Micros(now - 52 * MINUTE))
    return {
        "http://10.0.0.21:8082": GatewayReport((mail, phone, silent)),
        # Half a minute within the minute that the page shows: it is made a moment later.
        "http://10.0.0.22:8082": GatewayReport((mail, away, silent), waiting=97, oldest=Micros(now - 9_030 * SECOND)),
        "http://10.0.0.23:8082": None,
    }


def _trouble(now: int) -> Partial:
    """Give what a partition has found to be wrong."""

    def found(message_id: str, span: int) -> tuple[Found, ...]:
        return (Found(now - span, message_id),)

    quiet = 52 * MINUTE
    silent = Evidence(
        "infobip",
        now - quiet,
        {bucket_of(30 * MINUTE): 1_116, bucket_of(4 * DAY): 88},
        now - 4 * DAY,
        {bucket_of(2 * HOUR): 9_000},
        ({bucket_of(40 * SECOND): 9_000}, {}, {}, {}),
        {bucket_of(2 * SECOND): 1_000},
    )
    return msgspec.structs.replace(
        merge(()),
        now=now,
        partitions=1,
        stuck=(
            Stuck(SMS, Status.SENT, SILENT, "infobip", 312, found(STUCK_MESSAGE, 99 * HOUR)),
            Stuck(MAIL, Status.PENDING, "DM1048", None, 87, found("m-000031", 161 * MINUTE)),
            Stuck(MAIL, Status.TAKEN_INTO_ACCOUNT, "", "kumomta", 4, found("m-000077", 5 * DAY)),
        ),
        contradictions=(
            Contradiction(MAIL, "ignored", "sent", "kumomta", 12, found(CONTRADICTED_MESSAGE, 9 * MINUTE)),
            Contradiction(SMS, "received_on_mobile", "failed_gave_up", "twilio", 3, found("s-000044", HOUR)),
        ),
        providers=(silent,),
        outcomes=(
            Outcomes(MAIL, "ses", None, Ended(900, 40), Ended(5_000, 210), Ended(90_000, 2_700), 180, 20),
            Outcomes(MAIL, "kumomta", None, Ended(800, 600), Ended(4_000, 1_000), Ended(80_000, 1_600), 90, 880),
            Outcomes(
                MAIL,
                None,
                "DM1048",
                Ended(700, 590),
                Ended(900, 640),
                Ended(),
                40,
                590,
                {"gmail.example": 500, "a.example": 3, "b.example": 2, "c.example": 1},
            ),
        ),
        stuck_deliveries={SILENT: 312, "DM1048": 87},
    )


@cache
def _home(key: bytes) -> int:
    """Give the partition of a message; every answer asks for that of every row."""
    return partition_of(key, PARTITIONS)


class World:
    """One worker of three, without an engine, whose answers are the real ones.

    Attributes may be changed to let things happen: `recovering` holds partitions, `failure` is raised by every answer.
    """

    url = member_id = WORKERS[0]

    def __init__(
        self, now: datetime | None = None, campaigns: Iterable[Campaign] | None = None, *, is_well: bool = False
    ) -> None:
        self.now = now or datetime.now(timezone.utc)
        self.recovering: tuple[int, ...] = ()
        self.failure: Exception | None = None
        self.published: list[Outgoing] = []
        self._works: dict[int, Work] = {}
        self._moment = to_microseconds(self.now)
        self._board = Board(Metrics(STAGE_NAMES))
        self._deliveries = Deliveries(LIMIT, self._moment - 80 * MINUTE)
        self.campaigns: dict[str, Campaign] = {}
        for campaign in campaigns_of(self.now) if campaigns is None else campaigns:
            self.tell(campaign)
        self.rows = rows(_events(self.now))
        self.is_well = is_well
        self.gateways = _gateways(self._moment, is_well=is_well)
        for reason, records in ({} if is_well else _DEAD).items():
            self._board.see_dead(reason, records, Origin("delivery.mta.v1", 0, 7), self._moment // 1000, "a detail")
        self.letters, self.audit = LettersInMemory(), AuditInMemory()
        if is_well:
            self.letters.kept = []
        self.answers, self.forwarding = self._put_together()

    def _put_together(self) -> tuple[Answers, Forwarding]:
        settings, itself = Settings(), self
        group: Any = TheGroup()
        group.owners = {(EVENTS_TOPIC, number): self.url for number in range(PARTITIONS)}

        class Neighbours(Forwarding):
            """The group and its other workers, without a network."""

            async def ask_all(self, path: str, method: str = "GET", body: bytes = b"") -> dict[str, bytes]:
                if path == LIST_PATH:
                    query = decode_query(body)
                    shares = {url: itself.share(index, query) for index, url in enumerate(WORKERS)}
                    return {url: msgspec.json.encode(share) for url, share in shares.items() if url != itself.url}
                if path == BREAKDOWN_PATH:
                    wanted = msgspec.json.decode(body, type=BreakdownQuery)
                    return {
                        url: msgspec.json.encode(itself.broken_down(index, wanted))
                        for index, url in enumerate(WORKERS)
                        if url != itself.url
                    }
                reports = {url: itself.report(index) for index, url in enumerate(WORKERS)}
                return {url: msgspec.json.encode(report) for url, report in reports.items() if url != itself.url}

            async def owners(self) -> Mapping[tuple[str, int], str]:
                return {(topic, number): WORKERS[number % 3] for _, topic in INPUTS for number in range(PARTITIONS)}

        any_self: Any = self
        forwarding = Neighbours(settings, Hops(settings, lambda: self.url), group, any_self)
        # What was gathered is never fresh: what a test changes is seen at once.
        clock = itertools.count(0, 100).__next__
        lists = MessageLists(any_self, forwarding, settings, self._deliveries.holds)
        breakdowns = Breakdowns(any_self, forwarding, lists, settings)
        answers = Answers(
            deliveries=self._deliveries,
            following=any_self,
            lists=lists,
            breakdowns=breakdowns,
            forwarding=forwarding,
            gathering=Gathering(any_self, Metrics(STAGE_NAMES), self._board, forwarding, EVENTS_TOPIC, clock=clock),
            stuck_after=STUCK_AFTER,
            publish=self._publish,
            control_topic=settings.topic(CONTROL),
            seal=Seal(settings),
            gateways=self._gateways,
        )
        self.finding = Finding(answers, lists, self._deliveries, settings.index)
        return answers, forwarding

    async def _gateways(self) -> Mapping[str, GatewayReport | None]:
        return self.gateways

    async def _publish(self, record: Outgoing) -> None:
        self.published.append(record)

    # What may happen

    @property
    def is_well(self) -> bool:
        """Whether the rows show no trouble."""
        return self._is_well

    @is_well.setter
    def is_well(self, is_well: bool) -> None:
        self._is_well = is_well
        for number in range(PARTITIONS):
            is_first = number == 0 and not is_well
            self._board.put(number, _trouble(self._moment) if is_first else merge(()))

    def tell_undelivered(self, channels: Mapping[str, int]) -> None:
        """Let there be messages, sent on these channels, whose delivery no event has named."""
        live = {channel: {"sent": number} for channel, number in channels.items()}
        last = to_rfc3339(self._moment)
        record = counts({"sent": sum(channels.values())}, "", at=self._moment, channels=channels, live=live, last=last)
        self._deliveries.take(COUNTS, [record])

    def tell(self, campaign: Campaign) -> None:
        """Let a delivery be known as it is now, and as its counts grew."""
        self.campaigns[campaign.delivery_id] = campaign
        self._deliveries.take(DELIVERIES, [campaign.control(self._moment)])
        if campaign.messages:
            grown = [campaign.grown(index / 40) for index in range(1, 40)] if campaign.last == MINUTE else []
            for index, statuses in enumerate(grown, 1):
                time = self._moment - 2 * (40 - index) * MINUTE
                self._deliveries.take(COUNTS, [campaign.counted(time, statuses)])
                self._sample(campaign, time, statuses, Width.MINUTE)
            if not grown:
                self._sample(campaign, self._moment - 10 * 24 * HOUR, campaign.statuses, Width.DAY)
            self._deliveries.take(COUNTS, [campaign.counted(self._moment)])

    def _sample(self, campaign: Campaign, time: int, statuses: Mapping[str, int], width: Width) -> None:
        figures = {campaign.delivery_id: campaign.figures(statuses)}
        self._deliveries.take(HISTORY, [sample(Micros(time), figures, width)])

    def report_events(self, events: Iterable[Mapping[str, Any]]) -> None:
        """Let events arrive, of messages that are not known yet."""
        self.rows |= rows(events)

    def move(self, delivery_id: str, before: str, after: str, number: int) -> None:
        """Let messages of a delivery change their status."""
        campaign = self.campaigns[delivery_id]
        numbers = Counter(campaign.statuses)
        numbers[before] -= number
        numbers[after] += number
        moved = self.campaigns[delivery_id] = replace(campaign, statuses=dict(numbers))
        self._deliveries.take(COUNTS, [moved.counted(to_microseconds(datetime.now(timezone.utc)))])

    @property
    def steered(self) -> list[tuple[str, str]]:
        """What was done with deliveries, by the records that were published."""
        controls = [decode_control(record.value or b"", None) for record in self.published]
        return [(each.delivery_id, each.action.value) for each in controls]

    @property
    def canceled(self) -> list[str]:
        """The deliveries that were cancelled, by the records that were published."""
        return [delivery for delivery, action in self.steered if action == Action.CANCEL.value]

    # What the answers ask of the worker

    def _check(self) -> None:
        if self.failure is not None:
            raise self.failure

    @property
    def is_caught_up(self) -> bool:
        self._check()
        return True

    @property
    def partition_counts(self) -> dict[str, int]:
        self._check()
        return {topic: PARTITIONS for _, topic in INPUTS}

    def running_work(self, _topic: Topic, number: int) -> Work | None:
        return None if number in self.recovering else self._work(number)

    def _work(self, number: int) -> Work:
        """Give the work of a partition, the same until its rows change."""
        rows, known = self.rows_of(number), self._works.get(number)
        if known is None or known.rows != rows:
            known = self._works[number] = Work(rows)
        return known

    def rows_of(self, number: int) -> dict[bytes, Row]:
        """Give the rows of a partition."""
        return {key: row for key, row in self.rows.items() if _home(key) == number}

    def share(self, index: int, query: MessageQuery) -> ListShare:
        """Give what one of the workers has for a page of a list."""
        numbers = [number for number in range(PARTITIONS) if number % 3 == index and number not in self.recovering]
        share = list_share({number: self._work(number).index for number in numbers}, query, Judge({}))
        found = [msgspec.structs.replace(each, item=mask_message(each.item)) for each in share.found]
        return msgspec.structs.replace(share, found=tuple(found))

    def broken_down(self, index: int, query: BreakdownQuery) -> dict[int, PartitionBreakdown]:
        """Give what one of the workers finds in its partitions."""
        numbers = [number for number in range(PARTITIONS) if number % 3 == index and number not in self.recovering]
        return {
            number: list(partition_breakdown(self._work(number).index, query, Judge({}), 2_000, mask_text))[-1]
            for number in numbers
        }

    def inputs(self) -> tuple[tuple[str, str], ...]:
        return INPUTS

    def partition_statuses(self) -> list[PartitionStatus]:
        return [PartitionStatus(*at) for at in self._partitions(0)]

    def report(self, index: int) -> WorkerReport:
        """Give what one of the workers reports of itself."""
        mine = [number for number in range(PARTITIONS) if number % 3 == index and number not in self.recovering]
        partitions = tuple([PartitionReport(*at) for at in self._partitions(index)])
        return WorkerReport(WORKERS[index], 4_935.7, (), partitions, {number: merge(()) for number in mine})

    def _partitions(self, index: int) -> Iterable[tuple[str, str, int, str, int, float | None]]:
        for stage, topic in INPUTS:
            for number in range(index, PARTITIONS, 3):
                is_away = stage == "fold" and number in self.recovering
                state, progress = ("recovering", 0.4) if is_away else ("running", None)
                yield stage, topic, number, state, 40 + number if stage == "fold" else 0, progress


def recovering() -> ProblemError:
    """Give what is raised while a partition recovers."""
    return ProblemError(RECOVERING, "partition 3 is being recovered here")
