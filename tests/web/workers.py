"""Workers in memory: the real server, API and forwarding over HTTP, with a group, rows and deliveries of our own."""

import json
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta, timezone
from functools import cached_property
from typing import Any

import aiohttp
from multidict import CIMultiDictProxy

from processor.domain.addresses import Address, State
from processor.domain.counts import Counts, place_of
from processor.domain.fold import fold
from processor.domain.links import Known, Link
from processor.domain.moment import to_microseconds, to_rfc3339
from processor.domain.row import Row
from processor.domain.traits import STUCK_AFTER
from processor.engine.membership.members import Group, Member, UnreachableError, UnsettledError
from processor.engine.status import PartitionStatus
from processor.engine.store import Change
from processor.engine.store.memory import MemoryStore
from processor.engine.streams import Outgoing
from processor.metrics import Metrics
from processor.settings import Settings
from processor.settings.parsers import INDEXES
from processor.stages import STAGE_NAMES
from processor.stages.index import Index, describe_by
from processor.views.deliveries import Deliveries
from processor.watch.board import Board
from processor.watch.findings import Partial
from processor.watch.sweep import Sweep
from processor.web.access import Access
from processor.web.addresses import AddressLookup
from processor.web.answers import Answers
from processor.web.api import Api
from processor.web.audit_list import AuditLists
from processor.web.auditing import Auditing
from processor.web.breakdowns import Breakdowns
from processor.web.dead_letters import DeadLetters
from processor.web.erasing import Erasing
from processor.web.finding import Finding
from processor.web.forwarding import Forwarding
from processor.web.gateways import Gateways
from processor.web.gathering import Gathering
from processor.web.hops import Hops
from processor.web.message_lists import MessageLists
from processor.web.page.routes import Page
from processor.web.sealing import Seal
from processor.web.server import Server
from processor.wire.addresses import Known as AddressKnown
from processor.wire.audit import AuditEntry
from processor.wire.events import decode_event
from processor.wire.partitioner import partition_of
from processor.wire.readback import UnreadableError
from processor.wire.rows import pack_row
from processor.wire.topics import CONTROL, COUNTS, DELIVERIES, RECEIPTS, RECIPIENTS, Topic
from tests.views.told import Record, told
from tests.web.entries import AuditInMemory
from tests.web.letters import LettersInMemory

PARTITIONS = 6
EVENTS_TOPIC, RECEIPTS_TOPIC = "delivery.events.v1", "delivery.receipts.v1"
RECIPIENTS_TOPIC = "delivery.recipients.v1"
READ_TOKEN, WRITE_TOKEN, HOP_TOKEN = "a-token-to-read-with", "a-token-to-write-with", "a-token-among-workers"

NOW = datetime.now(timezone.utc).replace(microsecond=0)


def ago(**span: float) -> str:
    """Give a moment before now, as events write it."""
    return to_rfc3339(to_microseconds(NOW - timedelta(**span)))


def event(message_id: str, status: str, time: str, **more: Any) -> dict[str, Any]:
    return {"message_id": message_id, "status": status, "time": time, "channel": "email", **more}


#: Somebody's address, in an id that a provider's report made of it.
ODD_ID = "kumomta:1d98/07 6a?#%2F&:ulla@example.com"

EVENTS = (
    event("m-1", "pending", ago(minutes=30), delivery_id="DM1", recipient="ulla.b@example.com", provider="kumomta"),
    event("m-1", "taken_into_account", ago(minutes=29), delivery_id="DM1", provider="kumomta"),
    event(
        "m-1",
        "failed",
        ago(minutes=28),
        provider="kumomta",
        provider_message_id="1d98",
        reason={
            "permanence": "permanent",
            "category": "user_unknown",
            "code": "5.1.1",
            "provider_code": "550",
            "text": "550 5.1.1 <Ulla.B@example.com>: no such user, ask postmaster@example.com",
        },
    ),
    event("m-2", "ignored", ago(minutes=27), delivery_id="DM1", provider="kumomta"),
    event("m-2", "sent", ago(minutes=26), delivery_id="DM1", provider="kumomta"),
    event("s-1", "sent", ago(hours=80), channel="sms", delivery_id="DM2", recipient="+46701234512", provider="twilio"),
    event("m-held", "pending", ago(minutes=9), delivery_id="DM3", recipient="x@example.com", provider="kumomta"),
    event(ODD_ID, "pending", ago(hours=3), delivery_id="DM/3 ü", provider="kumomta"),
)


#: The providers' ids that are linked to messages, by native key.
LINKED = {b"twilio:SM01": "s-1", b"twilio@north:SM02": "s-1", b"twilio:SM03": "not-known"}


def rows(events: Iterable[Mapping[str, Any]] = EVENTS) -> dict[bytes, Row]:
    """Fold events."""
    found: dict[bytes, Row] = {}
    for each in events:
        decoded, node, _ = decode_event(json.dumps(each).encode(), None)
        key = decoded.message_id.encode()
        found[key], _ = fold(found.get(key), decoded, node)
    return found


@dataclass
class Work:
    """A partition's work: its rows, and what a sweep finds in them."""

    rows: dict[bytes, Row]
    indexed: tuple[str, ...] = INDEXES
    #: Whether they were read from the changelog a moment ago, and are not indexed yet.
    is_new: bool = False

    def row(self, key: bytes) -> Row | None:
        return self.rows.get(key)

    @cached_property
    def index(self) -> Index:
        """The rows in a store, with their index."""
        store = MemoryStore(describe_by(self.indexed))
        index = Index(self.indexed, store)
        packed = {key: pack_row(row) for key, row in self.rows.items()}
        if self.is_new:
            store.restore(packed, 1, {})
        else:
            change = index.change((key, None, row) for key, row in self.rows.items())
            store.write(Change(packed, len(packed), 1, indexed=change))
        return index

    def partial(self) -> Partial:
        """Give what a sweep finds."""
        sweep = Sweep(STUCK_AFTER, to_microseconds(NOW))
        for key, row in self.rows.items():
            sweep.visit(key, row)
        return sweep.result()


@dataclass
class Correlations:
    """A partition's native keys, and the messages that they were linked to."""

    messages: dict[bytes, str]

    def known(self, key: bytes) -> Known:
        message_id = self.messages.get(key)
        return Known((Link(0, message_id),)) if message_id else Known()


@dataclass
class Conditions:
    """A partition's addresses, by key; an error: that one cannot be read."""

    addresses: dict[bytes, Address | UnreadableError]

    def known(self, key: bytes) -> AddressKnown | None:
        found = self.addresses.get(key)
        if isinstance(found, UnreadableError):
            raise found
        return None if found is None else AddressKnown(State.VALID, found)


class TheGroup:
    """What the broker tells of the group; the tests say what that is."""

    def __init__(self) -> None:
        #: By the URLs of members; a member is named after its URL, unless it is one of `named`.
        self.owners: dict[tuple[str, int], str] = {}
        self.urls: list[str] = []
        #: What members say of themselves that is not as it should be, by name.
        self.named: dict[str, Member] = {}
        self.error: Exception | None = None
        self.asked: list[bool] = []
        #: What is told only when it is asked for anew.
        self.newer: dict[tuple[str, int], str] = {}

    async def group(self, *, anew: bool = False) -> Group:
        self.asked.append(anew)
        if self.error is not None:
            raise self.error
        if anew:
            self.owners |= self.newer
        owners = {partition: self._member(name) for partition, name in self.owners.items()}
        return Group(owners, tuple([self._member(name) for name in self.urls]))

    def _member(self, name: str) -> Member:
        return self.named.get(name, Member(name, name, "/127.0.0.1", is_proven=True))

    async def close(self) -> None:
        """Nothing is held."""


@dataclass
class OwnerInMemory:
    """A worker without an engine."""

    url: str = ""
    partition_counts: dict[str, int] = field(
        default_factory=lambda: dict.fromkeys((EVENTS_TOPIC, RECEIPTS_TOPIC, RECIPIENTS_TOPIC), PARTITIONS)
    )
    works: dict[int, Work] = field(default_factory=dict)
    #: What is known of providers' ids, by partition of the receipts.
    links: dict[int, Correlations] = field(default_factory=dict)
    #: What is known of addresses, by partition of what is seen of them.
    addresses: dict[int, Conditions] = field(default_factory=dict)
    recovering: set[int] = field(default_factory=set)
    is_ready = True
    recovery_progress = 1.0
    ailment = ""
    problems: Sequence[str] = ()

    @property
    def member_id(self) -> str:
        return self.url

    def states(self) -> dict[str, int]:
        return {"recovering": len(self.recovering), "running": len(self.works), "closing": 0}

    def running_work(self, topic: Topic, number: int) -> Any:
        works = {RECEIPTS.name: self.links, RECIPIENTS.name: self.addresses}.get(topic.name, self.works)
        return None if number in self.recovering else works.get(number)

    def partition_statuses(self) -> list[PartitionStatus]:
        return [
            PartitionStatus("fold", EVENTS_TOPIC, number, "recovering", None, 0.25)
            if number in self.recovering
            else PartitionStatus("fold", EVENTS_TOPIC, number, "running", 7, None)
            for number in self.works
        ]

    def inputs(self) -> list[tuple[str, str]]:
        return [("fold", EVENTS_TOPIC)]


@dataclass
class Following:
    is_caught_up: bool = True


@dataclass
class WorkerInMemory:
    """One worker, served over HTTP."""

    owned: OwnerInMemory
    board: Board
    following: Following
    answers: Answers
    forwarding: Forwarding
    api: Api
    published: list[Outgoing]
    server: Server
    session: aiohttp.ClientSession
    #: What publishing a record raises.
    failure: list[Exception]
    #: What was written to the audit.
    audited: list[AuditEntry]

    @property
    def url(self) -> str:
        return self.owned.url

    async def ask(
        self, path: str, token: str | None = None, method: str = "GET", **options: Any
    ) -> tuple[int, Any, CIMultiDictProxy[str]]:
        """Ask it; give status, the JSON that it answers, and headers."""
        headers = {**options.pop("headers", {}), **({"Authorization": f"Bearer {token}"} if token else {})}
        # A path is sent as it is written.
        url = aiohttp.client.URL(self.url + path, encoded=True)
        async with self.session.request(method, url, headers=headers, **options) as response:
            body = await response.read()
            return response.status, json.loads(body) if body else None, response.headers


SETTINGS = Settings(http_port=0, write_token=WRITE_TOKEN, internal_token=HOP_TOKEN)


@asynccontextmanager
async def workers(
    number: int = 1,
    group: TheGroup | None = None,
    settings: Settings = SETTINGS,
    events: Iterable[Mapping[str, Any]] = EVENTS,
    addresses: Mapping[bytes, Address | UnreadableError] | None = None,
    **changed: Any,
) -> AsyncIterator[list[WorkerInMemory]]:
    """Run workers that share the partitions out evenly, until the block ends."""
    group = group or TheGroup()
    made = [_make(group, replace(settings, **changed)) for _ in range(number)]
    try:
        for worker in made:
            worker.owned.url = await worker.server.start()
            worker.session = aiohttp.ClientSession()
        group.urls = [worker.url for worker in made]
        known = rows(events)
        for partition in range(PARTITIONS):
            owner = made[partition % number]
            owner.owned.works[partition] = Work(
                {key: row for key, row in known.items() if partition_of(key, PARTITIONS) == partition}
            )
            owner.owned.links[partition] = Correlations(
                {key: message for key, message in LINKED.items() if partition_of(key, PARTITIONS) == partition}
            )
            owner.board.put(partition, owner.owned.works[partition].partial())
            group.owners[EVENTS_TOPIC, partition] = owner.url
            group.owners[RECEIPTS_TOPIC, partition] = owner.url
            owner.owned.addresses[partition] = Conditions(
                {key: known for key, known in (addresses or {}).items() if partition_of(key, PARTITIONS) == partition}
            )
            group.owners[RECIPIENTS_TOPIC, partition] = owner.url
        yield made
    finally:
        for worker in made:
            if worker.session is not None:
                await worker.session.close()
            await worker.server.stop()


def _make(group: TheGroup, settings: Settings) -> WorkerInMemory:
    owner, metrics, following = OwnerInMemory(), Metrics(STAGE_NAMES), Following()
    board = Board(metrics)
    access, hops = Access(settings), Hops(settings, lambda: owner.url)
    members: Any = group
    forwarding = Forwarding(settings, hops, members, owner)
    gathering = Gathering(owner, metrics, board, forwarding, EVENTS_TOPIC)
    published: list[Outgoing] = []
    failure: list[Exception] = []

    async def publish(record: Outgoing) -> None:
        if failure:
            raise failure[0]
        published.append(record)

    audited: list[AuditEntry] = []

    async def write_down(entries: Sequence[AuditEntry]) -> None:
        audited.extend(entries)

    gateways = Gateways(settings.gateways)
    reading: Any = following
    deliveries = _deliveries()
    lists = MessageLists(owner, forwarding, settings, deliveries.holds)
    breakdowns = Breakdowns(owner, forwarding, lists, settings)
    answers = Answers(
        deliveries=deliveries,
        following=reading,
        forwarding=forwarding,
        gathering=gathering,
        lists=lists,
        breakdowns=breakdowns,
        stuck_after=STUCK_AFTER,
        publish=publish,
        control_topic=settings.topic(CONTROL),
        seal=Seal(settings),
        gateways=gateways.reports,
    )
    finding = Finding(answers, lists, deliveries, settings.index)
    letters, audit = DeadLetters(LettersInMemory()), AuditLists(AuditInMemory())
    looked_up = AddressLookup(forwarding, settings.addresses_key, NOW.timestamp)
    erasing = Erasing(settings)
    api = Api(answers, finding, gathering, lists, access, hops, erasing, letters, breakdowns, looked_up, audit)
    page = Page(answers, finding, access, forwarding, letters, audit)

    class Closing:
        def add_to(self, application: Any) -> None:
            async def close(_: Any) -> AsyncIterator[None]:
                yield
                await forwarding.close()
                await gateways.close()

            application.cleanup_ctx.append(close)

    server = Server(settings, metrics, owner, [api, page, Auditing(access, write_down), Closing()])
    session: Any = None
    return WorkerInMemory(
        owner, board, following, answers, forwarding, api, published, server, session, failure, audited
    )


def _deliveries() -> Deliveries:
    """Give deliveries as the counts of all partitions and the control records make them."""
    from processor.wire.counts import encode_counts

    made = Deliveries(10, to_microseconds(NOW - timedelta(hours=1)))
    by_partition: dict[int, list[Row]] = {}
    for key, row in rows().items():
        by_partition.setdefault(partition_of(key, PARTITIONS), []).append(row)
    for partition, members in by_partition.items():
        counts = Counts()
        for row in members:
            counts.move({(None, place_of(row, row.provider_name)): 1})
            counts.delivery(row.delivery).see(row.since, row.since)
        for delivery_id, its in counts.deliveries.items():
            made.take(COUNTS, [Record(*encode_counts(delivery_id, partition, its))])
    scheduled = NOW + timedelta(hours=5)
    made.take(
        DELIVERIES,
        [
            told("register", delivery_id="DM1", label="Autumn sale", campaign="autumn", planned=2),
            told("schedule", delivery_id="DM3", label="Reminder", scheduled_at=scheduled.isoformat()),
            told("register", "cancel", delivery_id="DM2", label="Codes", channel="sms"),
        ],
    )
    return made


def unsettled() -> UnsettledError:
    return UnsettledError("PreparingRebalance")


def unreachable() -> UnreachableError:
    return UnreachableError("KafkaConnectionError()")
