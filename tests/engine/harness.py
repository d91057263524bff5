"""A corner of the broker for a test: topics and a group of its own, workers as processes, and two judges."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import uuid
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import orjson
from aiokafka import TopicPartition
from aiokafka.errors import KafkaError
from click.testing import CliRunner
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from processor.cli import cli
from processor.domain.fold import Verdict, fold
from processor.domain.row import Row
from processor.engine import clients
from processor.engine.admin import create_topics
from processor.engine.streams import Outgoing, Writer, read_to_end
from processor.settings import FIELDS, PREFIX, Settings
from processor.wire.counts import decode_counts
from processor.wire.events import decode_event
from processor.wire.links import is_moved
from processor.wire.rejected import encode_rejected
from processor.wire.rows import RowRecord, decode_row_record, encode_folded, encode_row, unpack_row
from processor.wire.topics import (
    CONTROL,
    CORRELATIONS,
    COUNTS,
    DEAD,
    EVENTS,
    LINKS,
    MESSAGES,
    MTA,
    RECEIPTS,
    RECIPIENTS,
    REJECTED,
    SMS,
    TOPICS,
)
from tests.domain.conftest import EMAIL, RANKS, REOPENING, Contract, names, table_of
from tests.domain.conftest import SMS as TEXT_MESSAGES
from tests.forks import Fork

#: What rows must be, by a reading of the contract that shares no code with the fold.
CONTRACT = Contract(
    {"email": table_of(EMAIL), "sms": table_of(TEXT_MESSAGES)}, names(RANKS), frozenset(names(REOPENING))
)

#: Seconds that a condition may take on a slow and busy machine before it counts as never.
PATIENCE = 180.0


async def eventually(condition: Callable[[], Awaitable[Any]], what: str, seconds: float = PATIENCE) -> Any:
    """Wait until a condition gives something true, and give that."""
    loop = asyncio.get_running_loop()
    deadline, pause = loop.time() + seconds, 0.02
    while True:
        if found := await condition():
            return found
        assert loop.time() < deadline, f"not within {seconds:g} s: {what}"
        await asyncio.sleep(pause)
        # What takes longer is asked for less often: each look costs the broker some requests.
        pause = min(pause * 1.3, 0.2)


def environment_of(settings: Settings) -> dict[str, str]:
    """Give the environment variables that say what differs from the defaults."""
    defaults = Settings()
    given = {name: getattr(settings, name) for name in FIELDS}
    return {PREFIX + name.upper(): str(value) for name, value in given.items() if value != getattr(defaults, name)}


def samples_of(page: str, name: str) -> Iterator[Sample]:
    """Give the samples of a metric; those who wait ask again and again, so the thousands of others are not parsed."""
    lines = "".join(line for line in page.splitlines(keepends=True) if line.startswith(name))
    for family in text_string_to_metric_families(lines):
        yield from (sample for sample in family.samples if sample.name == name)


#: How people start a worker. It imports for a second of a core what a fork has imported already.
WORKER = (sys.executable, "-m", "processor", "worker")


class WorkerProcess:
    """`delivery-status worker` as a process of its own: a fork, unless a command says how it is started."""

    #: What a fork is told.
    arguments: Sequence[str] = ("worker",)

    def __init__(self, environment: Mapping[str, str], log: Path, command: Sequence[str] = ()) -> None:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
        self.command = tuple(command)
        self._log = log
        self._address = ""
        given = {"DELIVERY_HTTP_PORT": "0", "DELIVERY_LOG_FORMAT": "json", "PYTHONFAULTHANDLER": "1"}
        self._process = self._started({**inherited, **environment, **given})

    def _started(self, environment: Mapping[str, str]) -> "subprocess.Popen[bytes] | Fork":
        if not self.command:
            return Fork(self.arguments, environment, self._log)
        with self._log.open("wb") as stderr:
            return subprocess.Popen(
                self.command,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=stderr,
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        return self._process.poll()

    def log_text(self) -> str:
        return self._log.read_text(errors="replace")

    def log(self, event: str) -> list[dict[str, Any]]:
        """Give the log lines of one event."""
        lines = []
        for line in self.log_text().splitlines(keepends=True):
            with suppress(ValueError):
                lines.append(json.loads(line))
        return [line for line in lines if line.get("event") == event]

    async def address(self) -> str:
        """Give the address that it serves on."""

        async def started() -> list[dict[str, Any]]:
            assert self.exit_code is None, self.log_text()
            return self.log("worker_started")

        if not self._address:
            self._address = str((await eventually(started, "the worker serves"))[0]["http"])
        return self._address

    async def get(self, path: str) -> tuple[int, str]:
        """Ask it over HTTP; status 0 when it does not answer."""
        address = await self.address()
        async with aiohttp.ClientSession() as session:
            try:
                async with session.get(address + path) as response:
                    return response.status, await response.text()
            except aiohttp.ClientError as error:
                return 0, repr(error)

    async def ready(self) -> None:
        """Wait until it has partitions and has recovered them all."""

        async def is_ready() -> bool:
            assert self.exit_code is None, self.log_text()
            return (await self.get("/readyz"))[0] == 200

        await eventually(is_ready, "the worker is ready")

    async def states(self) -> dict[str, int]:
        """Count its partitions by state."""
        status, body = await self.get("/readyz")
        return json.loads(body)["partitions"] if status else {}

    async def metric(self, name: str, **wanted: str) -> float:
        """Sum the samples of a metric that have these labels."""
        status, page = await self.get("/metrics")
        assert status == 200, page
        return sum(
            sample.value
            for sample in samples_of(page, name)
            if all(sample.labels[label] == value for label, value in wanted.items())
        )

    def signal(self, number: int) -> None:
        self._process.send_signal(number)

    async def ended(self) -> int:
        """Wait for its end and give its exit code."""

        async def has_ended() -> bool:
            return self.exit_code is not None

        await eventually(has_ended, "the worker ends")
        return int(self._process.returncode)

    async def kill(self) -> None:
        """End it as a power cut does."""
        self.signal(signal.SIGKILL)
        await self.ended()

    async def stop(self) -> int:
        """End it in good order; give its exit code."""
        self.signal(signal.SIGTERM)
        return await self.ended()

    def clean_up(self) -> None:
        if self.exit_code is None:
            self._process.kill()
        self._process.wait()


@dataclass
class Books:
    """What must be on the output topics when the events are folded in the order of each partition, each once."""

    messages: dict[int, list[tuple[bytes, bytes]]] = field(default_factory=lambda: defaultdict(list))
    rejected: dict[int, list[tuple[bytes, bytes]]] = field(default_factory=lambda: defaultdict(list))
    verdicts: Counter[str] = field(default_factory=Counter)


class Trial:
    """One test's settings, topics and group on the broker, and what is on them.

    A guest on a broker that other tests use takes its topics along: many clients ask for all that there are.
    """

    eventually = staticmethod(eventually)

    def __init__(self, settings: Settings, folder: Path, *, is_guest: bool = False) -> None:
        self.settings = settings
        self._is_guest = is_guest
        self.environment = environment_of(settings)
        self.workers: list[WorkerProcess] = []
        self.folder = folder
        self._admin: Any = None
        self._reader: Any = None
        #: Sees open transactions, too.
        self._watcher: Any = None

    async def __aenter__(self) -> "Trial":  # noqa: PYI034 - Self is not in Python 3.10
        await create_topics(self.settings)
        self._admin = clients.admin(self.settings)
        await self._admin.start()
        self._reader = clients.reader(self.settings)
        await self._reader.start()
        self._watcher = clients.uncommitted_reader(self.settings)
        await self._watcher.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        for number, worker in enumerate(self.workers):
            worker.clean_up()
            # Pytest shows this where the test failed.
            sys.stdout.write(f"worker {number}: exit code {worker.exit_code}\n{worker.log_text()[-4_000:]}\n")
        for reader in (self._reader, self._watcher):
            if reader is not None:
                await reader.stop()
        if self._admin is not None:
            if self._is_guest:
                # What stays for once costs little.
                with suppress(KafkaError):
                    await self._admin.delete_topics([self.topic(topic) for topic in TOPICS])
            await self._admin.close()

    def topic(self, topic: Any) -> str:
        return self.settings.topic(topic)

    # Doing

    async def start_worker(self, command: Sequence[str] = (), **environment: str) -> WorkerProcess:
        """Start a worker; it serves when this returns, but need not have partitions yet."""
        worker = self._launch(command, environment)
        await worker.address()
        return worker

    async def start_workers(self, number: int) -> list[WorkerProcess]:
        """Start several workers at once; all serve when this returns."""
        workers = [self._launch((), {}) for _ in range(number)]
        await asyncio.gather(*(worker.address() for worker in workers))
        return workers

    def _launch(self, command: Sequence[str], environment: Mapping[str, str]) -> WorkerProcess:
        log = self.folder / f"worker-{len(self.workers)}.log"
        worker = WorkerProcess({**self.environment, **environment}, log, command)
        self.workers.append(worker)
        return worker

    async def publish(self, records: Iterable[Outgoing]) -> None:
        async with Writer(self.settings) as writer:
            for record in records:
                if record.key is None and record.value is None:
                    await self._publish_as_others_can(writer._producer, record)
                else:
                    await writer.write(record)

    @staticmethod
    async def _publish_as_others_can(producer: Any, record: Outgoing) -> None:
        """Publish a record with neither key nor value: aiokafka's `send` refuses to, other clients do not."""
        batch = producer.create_batch()
        batch.append(timestamp=record.timestamp, key=None, value=None, headers=list(record.headers))
        await (await producer.send_batch(batch, record.topic, partition=record.partition))

    async def publish_events(self, events: Iterable[bytes]) -> None:
        """Publish canonical events as Kafka's own clients do: keyed by message."""
        topic = self.topic(EVENTS)
        await self.publish(Outgoing(topic, event, orjson.loads(event)["message_id"].encode()) for event in events)

    # Looking

    def inputs(self) -> list[TopicPartition]:
        """Give all that the group reads."""
        feed = (RECIPIENTS,) if self.settings.addresses_key else ()
        topics = [self.topic(topic) for topic in (MTA, SMS, LINKS, RECEIPTS, EVENTS, CONTROL, *feed)]
        return [TopicPartition(topic, number) for topic in topics for number in range(self.settings.partitions)]

    async def committed(self) -> dict[TopicPartition, int]:
        """Give the group's committed offset of every input partition."""
        try:
            return await self.committed_offsets(self.inputs())
        except KafkaError:
            return dict.fromkeys(self.inputs(), 0)

    async def committed_offsets(self, tps: list[TopicPartition]) -> dict[TopicPartition, int]:
        """Give the group's committed offset of some partitions; raise when the broker does not say."""
        found = await self._admin.list_consumer_group_offsets(self.settings.app_id, partitions=tps)
        return {tp: max(0, found[tp].offset) if tp in found else 0 for tp in tps}

    async def end_offsets(self, tps: list[TopicPartition]) -> dict[TopicPartition, int]:
        """Give the offset after the last record of some partitions; raise when the broker does not say."""
        ends: dict[TopicPartition, int] = await self._reader.end_offsets(tps)
        return ends

    async def begin_offsets(self, tps: list[TopicPartition]) -> dict[TopicPartition, int]:
        """Give the offset of the oldest record of some partitions; raise when the broker does not say."""
        begins: dict[TopicPartition, int] = await self._reader.beginning_offsets(tps)
        return begins

    async def members(self) -> int:
        """Count the members of the group, as the broker sees them."""
        [response] = await self._admin.describe_consumer_groups([self.settings.app_id])
        [(_, _, _, _, _, members, *_)] = response.groups
        return len(members)

    async def committed_total(self) -> int:
        return sum((await self.committed()).values())

    async def settled(self) -> None:
        """Wait until the group has committed all that is on its input topics, and readers see what it wrote.

        A commit's markers come after its answer, to one partition before the other: an offset may be told when what was
        written with it, for the next stage or for readers, is not.
        """

        async def is_settled() -> bool:
            for worker in self.workers:
                assert worker.exit_code in {None, 0, -signal.SIGKILL}, worker.log_text()[-4_000:]
            # What a commit made true was written before it, so the ends are asked for after the offsets.
            committed = await self.committed()
            return committed == await self._watcher.end_offsets(self.inputs()) and not await self._has_open()

        await eventually(is_settled, "the group has read everything")

    async def _has_open(self) -> bool:
        """Say whether a transaction in what is read or written has not ended."""
        written = [self.topic(topic) for topic in (MESSAGES, COUNTS, CORRELATIONS, REJECTED, DEAD)]
        tps = self.inputs() + [TopicPartition(topic, n) for topic in written for n in range(self.settings.partitions)]
        ends = await self._watcher.end_offsets(tps)
        return bool(ends != await self._reader.end_offsets(tps))

    async def records(self, topic: Any) -> list[Any]:
        """Give every committed record of a topic, partition by partition in order."""
        return [record async for record in read_to_end(self.settings, self.topic(topic))]

    async def records_of_messages(self) -> list[Any]:
        return await self.records(MESSAGES)

    async def events(self) -> list[bytes]:
        return [record.value for record in await self.records(EVENTS)]

    async def row_records(self) -> dict[str, RowRecord]:
        """Give the last row of every message."""
        latest = {record.key: record.value for record in await self.records(MESSAGES)}
        return {
            key.decode(): decode_row_record(value)
            for key, value in latest.items()
            if value is not None and not is_moved(value)
        }

    async def moved(self) -> dict[str, str]:
        """Give where each provisional row went that has gone."""
        latest = {record.key: record.value for record in await self.records(MESSAGES)}
        return {
            key.decode(): orjson.loads(value)["moved_to"]
            for key, value in latest.items()
            if value is not None and is_moved(value)
        }

    async def rows(self) -> dict[str, Row]:
        return {message_id: unpack_row(record.memory) for message_id, record in (await self.row_records()).items()}

    # Judging

    async def assert_rows_are_those_of_the_offline_fold(self) -> None:
        """Compare the rows with `delivery-status fold` of the same events, and with the contract read naively."""
        events = await self.events()
        rows = await self.rows()
        folded = CliRunner().invoke(cli, ["fold"], input=b"\n".join(events))
        assert folded.exit_code == 0
        assert b"".join(encode_folded(key, rows[key]) + b"\n" for key in sorted(rows)) == folded.stdout_bytes
        by_message: dict[str, list[Any]] = defaultdict(list)
        for value in events:
            with suppress(Exception):
                event, _, _ = decode_event(value, None)
                by_message[event.message_id].append(event)
        assert rows == {message_id: CONTRACT.row(told) for message_id, told in by_message.items()}

    async def assert_every_event_had_its_effect_once(self) -> Books:
        """Fold each partition's events in their order: that, and no record more or less, is on the output topics.

        Only for tests without dead letters and events on wrong partitions.
        """
        books = self._books(await self.records(EVENTS))
        for topic, expected in ((MESSAGES, books.messages), (REJECTED, books.rejected)):
            found: dict[int, list[tuple[bytes, bytes]]] = defaultdict(list)
            for record in await self.records(topic):
                found[record.partition].append((record.key, record.value))
            assert found == expected
        return books

    @staticmethod
    def _books(events: Iterable[Any]) -> Books:
        books, rows = Books(), {}
        for record in events:
            event, node, _ = decode_event(record.value, record.timestamp)
            before = rows.get(event.message_id)
            row, verdict = fold(before, event, node)
            rows[event.message_id] = row
            books.verdicts[verdict.value] += 1
            key = event.message_id.encode()
            if verdict is not Verdict.DUPLICATE:
                books.messages[record.partition].append((key, encode_row(event.message_id, row, before)))
            if verdict is Verdict.REJECTED:
                books.rejected[record.partition].append((key, encode_rejected(record.value, row, node)))
        return books

    async def assert_every_status_change_is_told_once(self) -> None:
        """Walk the change feed of each message: it starts from nothing and has neither gap nor repetition."""
        stands: dict[bytes, tuple[Any, ...] | None] = {}
        for record in await self.records(MESSAGES):
            row = orjson.loads(record.value)
            now = row["status"], row["permanence"]
            if "previous" in row:
                previous = row["previous"]
                told = None if previous is None else (previous["status"], previous["permanence"])
                assert told == stands.get(record.key), record
                assert told != now, record
            else:
                assert stands[record.key] == now, record
            stands[record.key] = now

    async def assert_counts_are_a_recount_of_the_rows(self) -> None:
        recount: Counter[tuple[str, str]] = Counter()
        for row in (await self.row_records()).values():
            recount[row.delivery_id or "", row.status.value] += 1
        latest = {record.key: decode_counts(record.value) for record in await self.records(COUNTS)}
        counts: Counter[tuple[str, str]] = Counter()
        for told in latest.values():
            assert told.messages == sum(told.statuses.values())
            for status, number in told.statuses.items():
                counts[told.delivery_id, status.value] += number
        assert +counts == recount

    async def assert_gauges_say_what_the_rows_say(self) -> None:
        """The sum over the running workers' gauges becomes the recount of the rows."""
        await self.assert_gauges_say(
            Counter((row.channel.value, row.status.value) for row in (await self.row_records()).values())
        )

    async def assert_gauges_say(self, recount: Mapping[tuple[str, str], int]) -> None:
        """The sum over the running workers' gauges becomes this: messages by channel and status."""
        running = [worker for worker in self.workers if worker.exit_code is None]

        async def agree() -> bool:
            shown: Counter[tuple[str, str]] = Counter()
            for worker in running:
                _, page = await worker.get("/metrics")
                for sample in samples_of(page, "delivery_messages"):
                    shown[sample.labels["channel"], sample.labels["status"]] += int(sample.value)
            return +shown == recount

        await eventually(agree, "the gauges over all workers say what the rows say")

    async def dead_letters(self) -> list[Any]:
        return await self.records(DEAD)


def settings_for_a_trial(brokers: str, **settings: Any) -> Settings:
    """Give settings whose group and topics no other test has."""
    name = f"trial-{uuid.uuid4().hex[:10]}"
    chosen = {"partitions": 4, "session_timeout": 6.0, "http_port": 0, **settings}
    return Settings(brokers=brokers, app_id=name, topic_prefix=f"{name}.", **chosen)
