"""What must be on the output topics, computed from the input by one who has not seen the product.

It reads the published JSON (schemas/*.json), knows the contract as tests/domain/conftest.py types it out, and calls
nothing of the code that folds, encodes, counts or decides: only the plain reading of a topic is shared. Its fold is
naive on purpose: after each event, everything that was ever told of the message is read again from the start.

It judges one partition, as a process of its own: python -m tests.chaos.observer PARTITION FOLDER. What it counted it
writes as JSON to standard output.
"""

from __future__ import annotations

import asyncio
import base64
import os
import sys
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import orjson

from processor.engine.streams import read_to_end
from processor.settings import Settings, load
from processor.wire.topics import COUNTS, DEAD, EVENTS, MESSAGES, REJECTED, Topic
from tests.chaos.linked import PROVISIONAL
from tests.domain.conftest import EMAIL, RANKS, REOPENING, SMS, UNDER_WAY, Contract, names, table_of

CONTRACT = Contract({"email": table_of(EMAIL), "sms": table_of(SMS)}, names(RANKS), frozenset(names(REOPENING)))

RANK = {name: rank for rank, name in enumerate(CONTRACT.ranks)}

#: What an event may name of its message, in the order in which a row remembers it.
NAMED = ("delivery_id", "recipient", "provider", "provider_message_id")
REASON_FIELDS = ("permanence", "category", "code", "provider_code", "text")

Document = dict[str, Any]

#: What a number is of.
Where = tuple[str, ...]


class Report(NamedTuple):
    """One event, as far as it matters."""

    time: int
    #: The node: the status, or `failed_gave_up`.
    name: str
    attempt: int
    channel: str
    named: tuple[str | None, ...]
    reason: Document


def report_of(value: bytes) -> tuple[str, Report] | None:
    """Read an event; give its message and what it reports, or None when it is not JSON."""
    try:
        event = orjson.loads(value)
    except orjson.JSONDecodeError:
        return None
    reason = {name: given for name, given in (event.get("reason") or {}).items() if given is not None}
    gave_up = event["status"] == "failed" and reason.get("permanence") == "gave_up"
    return event["message_id"], Report(
        microseconds(event["time"]),
        "failed_gave_up" if gave_up else event["status"],
        event.get("attempt", 1),
        event["channel"],
        tuple(event.get(name) for name in NAMED),
        reason,
    )


def microseconds(moment: str) -> int:
    # Python 3.10 reads a fraction of three or six digits only.
    since = msgspec.convert(moment, datetime) - datetime(1970, 1, 1, tzinfo=timezone.utc)
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


def memory_of(reports: Iterable[Report]) -> dict[tuple[int, str], tuple[int, int]]:
    memory: dict[tuple[int, str], tuple[int, int]] = {}
    for report in reports:
        first, last = memory.get((report.attempt, report.name), (report.time, report.time))
        memory[report.attempt, report.name] = min(first, report.time), max(last, report.time)
    return memory


def row_of(reports: list[Report]) -> Document:
    """Give the row that reports lead to, as schemas/row.json describes it, moments as microseconds, memory unpacked."""
    channel = min((report.time, report.channel) for report in reports)[1]
    memory = memory_of(reports)
    whole = {(0, *seen): times for seen, times in memory.items()}
    node, since, attempt, rejected = CONTRACT.stand(channel, whole, 0)
    claims = [
        min([(report.time, value) for report in reports if (value := report.named[index])], default=(None, None))
        for index in range(len(NAMED))
    ]
    first = min(report.time for report in reports)
    after = [0 if time is None else time - first for time, _ in claims]
    explained = {report.name for report in reports if report.reason}
    reasons = {name: best_reason(reports, name) for name in CONTRACT.ranks if name in explained}
    observed = sorted((attempt * 16 + RANK[name], *times) for (attempt, name), times in memory.items())
    return {
        "channel": channel,
        **standing(node, since),
        "reason": shown_reason(reasons, node, since),
        "rejected": [name for name in CONTRACT.ranks if name in rejected],
        "attempt": attempt,
        **{name: value for name, (_, value) in zip(NAMED, claims, strict=True)},
        "memory": [
            *(2, channel, RANK[node], since, since - first, attempt),
            [RANK[name] for name in CONTRACT.ranks if name in rejected],
            [number for spot, begun, ended in observed for number in (spot, begun - first, ended - begun)],
            [*(value for _, value in claims), after if any(after) else []],
            [[RANK[name], *given] for name, given in reasons.items()],
            0,
        ],
    }


def standing(node: str, since: int) -> Document:
    """Give what people call a node, and since when it is true."""
    if node == "failed_gave_up":
        return {"status": "failed", "permanence": "gave_up", "since": since}
    return {"status": node, "permanence": "permanent" if node == "failed" else None, "since": since}


def best_reason(reports: Iterable[Report], name: str) -> tuple[int, Document]:
    """Give the reason that tells most of a node; of equals the last, then the greatest."""
    given = [(report.time, report.reason) for report in reports if report.name == name and report.reason]
    return max(given, key=lambda it: (how_telling(it[1]), *by_time(it)))


def how_telling(reason: Document) -> tuple[bool, bool, bool]:
    has_kind = reason.get("category", "undefined") != "undefined"
    return has_kind, bool(reason.get("code") or reason.get("provider_code")), bool(reason.get("text"))


def by_time(given: tuple[int, Document]) -> tuple[int, list[str]]:
    return given[0], [given[1].get(field, "") for field in REASON_FIELDS]


def shown_reason(reasons: dict[str, tuple[int, Document]], node: str, since: int) -> Document | None:
    """Give the reason of the node; while it is not final, a transient one that came later."""
    own = reasons.get(node)
    after = since if own is None else max(since, own[0])
    later = [given for given in reasons.values() if given[1].get("permanence") == "transient" and given[0] > after]
    if later and node in names(UNDER_WAY):
        return max(later, key=by_time)[1]
    return None if own is None else own[1]


def is_refused(reports: list[Report], report: Report) -> bool:
    """Say whether a report that moved nothing stands where it contradicts what came before it in time."""
    memory = memory_of(reports)
    if memory == memory_of(reports[:-1]):
        return False
    name, point = report.name, place(report.attempt, report.time, report.name)
    channel = min((told.time, told.channel) for told in reports)[1]
    table = CONTRACT.tables[channel]
    if name not in table:
        return True
    before = {
        (attempt, seen): (min(times), max(times))
        for (attempt, seen), both in memory.items()
        if seen in table and (times := [time for time in both if place(attempt, time, seen) < point])
    }
    current, _, reached_in, _ = CONTRACT.walk(channel, before)
    if current in {"", name} or name in table[current] or current in table[name]:
        return False
    return not (current == "failed_gave_up" and report.attempt > reached_in and name in CONTRACT.reopening)


def place(attempt: int, time: int, name: str) -> tuple[int, int, int]:
    return attempt, time, RANK[name]


class Life:
    """One message: all that was told of it, and where that left it."""

    __slots__ = ("reports", "row")

    def __init__(self) -> None:
        self.reports: list[Report] = []
        self.row: Document | None = None

    def hear(self, report: Report) -> tuple[Document | None, bool]:
        """Take one report; give the record that must follow (None: it says nothing new), and whether it is refused."""
        if report in self.reports:
            return None, False
        self.reports.append(report)
        before, self.row = self.row, row_of(self.reports)
        if before == self.row:
            return None, False
        if before is None:
            return {**self.row, "previous": None}, False
        if node_of(before) != node_of(self.row):
            return {**self.row, "previous": {name: before[name] for name in ("status", "permanence", "since")}}, False
        return self.row, is_refused(self.reports, report)


def node_of(row: Document) -> tuple[str, str | None]:
    return row["status"], row["permanence"]


def told_row(value: bytes) -> Document:
    """Read a row as it was published: no nulls within reasons, moments as microseconds, its memory unpacked."""
    row: Document = orjson.loads(value)
    row["since"] = microseconds(row["since"])
    if row.get("previous"):
        row["previous"]["since"] = microseconds(row["previous"]["since"])
    if "memory" in row:
        # Opaque to readers, but not to a judge: recovery lives by it.
        row["memory"] = msgspec.msgpack.decode(base64.b64decode(row["memory"], validate=True))
    remembered = row["memory"][9] if "memory" in row else []
    for reason in (row["reason"], *(given[2] for given in remembered)):
        for name in [name for name, given in (reason or {}).items() if given is None]:
            del reason[name]
    return row


NOBODY = Life()


class Difference(AssertionError):  # noqa: N818 - what it is, not what went wrong
    """The product and the observer do not agree."""


def compare(what: str, where: object, told: object, expected: object) -> None:
    if told != expected:
        raise Difference(f"{what}: at {where}\n  told     {told}\n  expected {expected}")


class Feed:
    """One partition of an output topic, read beside the input: what comes next must be what is expected next."""

    def __init__(self, settings: Settings, topic: Topic, partition: int) -> None:
        self._what = f"{topic.name}[{partition}]"
        self._records: AsyncIterator[Any] = read_to_end(settings, settings.topic(topic), [partition])

    def leave_out(self, is_other: Callable[[Document], bool]) -> None:
        """Pass over what is told by somebody else."""
        records = self._records
        self._records = (record async for record in records if not is_other(orjson.loads(record.value)))

    async def next(self, where: object) -> Any:
        record = await anext(self._records, None)
        if record is None:
            raise Difference(f"{self._what} ends, but for {where} one more is due")
        return record

    async def ended(self) -> None:
        record = await anext(self._records, None)
        if record is not None:
            raise Difference(f"{self._what} has one more than it should: {record}")


async def judge_partition(settings: Settings, partition: int, copy: Path) -> dict[str, Document]:
    """Read one partition of events; compare what follows from it with what the product wrote, record by record.

    Messages: every change once, in order, to the last field. Rejected and dead: exactly what must be there, in order.

    Args:
        settings: where the topics are.
        partition: which.
        copy: the file that the events are written to.

    Returns:
        The rows.

    Raises:
        Difference: the first thing that is not as it should be.
    """
    messages, rejected, dead = (Feed(settings, topic, partition) for topic in (MESSAGES, REJECTED, DEAD))
    # Links that contradict each other are told there, too, by another stage.
    rejected.leave_out(lambda value: "native_key" in value)
    lives: dict[str, Life] = defaultdict(Life)
    with copy.open("wb") as file:
        async for record in read_to_end(settings, settings.topic(EVENTS), [partition]):
            where = partition, record.offset, record.value
            if any(name == "delivery.moved_to" for name, _ in record.headers):
                # An order to a provisional row: its receipts have come to their message as events of it.
                order = orjson.loads(record.value)
                if lives.pop(order["message_id"], NOBODY).row is not None:
                    compare("moved", where, orjson.loads((await messages.next(where)).value), order)
                continue
            file.write(record.value + b"\n")
            found = report_of(record.value)
            if found is None:
                letter = await dead.next(where)
                offset = dict(letter.headers)["__streams.errors.offset"]
                compare("dead letter", where, (offset, letter.value), (str(record.offset).encode(), record.value))
                continue
            message_id, report = found
            due, is_withheld = lives[message_id].hear(report)
            if due is not None:
                told = await messages.next(where)
                compare("key", where, told.key, message_id.encode())
                compare("row", where, told_row(told.value), {"message_id": message_id, **due})
            if is_withheld:
                told = await rejected.next(where)
                compare("rejected", where, orjson.loads(told.value)["event"], orjson.loads(record.value))
    for feed in (messages, rejected, dead):
        await feed.ended()
    return {message_id: life.row for message_id, life in lives.items() if life.row is not None}


async def compare_with_offline_fold(path: Path, rows: Mapping[str, Document]) -> None:
    """Let `delivery-status fold` read the same events; a message lives in one partition, so one is enough."""
    folding = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "processor", "fold", str(path)),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    assert folding.stdout is not None
    waiting = set(rows)
    async for line in folding.stdout:
        told = told_row(line)
        message_id = told.pop("message_id")
        if message_id not in rows and message_id.startswith(PROVISIONAL.decode()):
            # It has moved since.
            continue
        waiting.discard(message_id)
        row = rows[message_id]
        expected = {name: row[name] for name in told} | {"rejected": sorted(row["rejected"])}
        compare("offline fold", message_id, told, expected)
    compare("exit code of the offline fold", path, await folding.wait(), 0)
    compare("offline fold leaves out", path, waiting, set())


def recount(rows: Iterable[Document], partition: int) -> Counter[Where]:
    """Count messages as schemas/counts.json says, by delivery, partition, field and what the field tells apart."""
    counts: Counter[Where] = Counter()
    for row in rows:
        channel, status = row["channel"], row["status"]
        found: list[Where] = [("messages",), ("statuses", status), ("channels", channel), ("live", channel, status)]
        if row["provider"]:
            found.append(("providers", row["provider"]))
        if status in {"failed", "ignored"}:
            found.append((status, (row["reason"] or {}).get("category", "undefined")))
        counts.update((row["delivery_id"] or "", str(partition), *path) for path in found)
    return counts


async def published_counts(settings: Settings, partition: int) -> Counter[Where]:
    """Give the last counts of every delivery in one partition, in the same form."""
    latest: dict[bytes, Document] = {}
    async for record in read_to_end(settings, settings.topic(COUNTS), [partition]):
        latest[record.key] = orjson.loads(record.value)
    counts: Counter[Where] = Counter()
    for told in latest.values():
        for name in ("messages", "statuses", "channels", "live", "providers", "failed", "ignored"):
            for path, number in leaves((name,), told[name]):
                counts[(told["delivery_id"], str(told["partition"]), *path)] += number
    return +counts


def leaves(path: Where, value: Any) -> Iterator[tuple[Where, int]]:
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from leaves((*path, name), inner)
    else:
        yield path, value


async def judge(settings: Settings, partition: int, folder: Path) -> Counter[Where]:
    """Judge everything that the product wrote of one partition; give the messages by channel and status.

    Raises:
        Difference: the first thing that is not as it should be.
    """
    copy = folder / f"events-{partition}.jsonl"
    rows = await judge_partition(settings, partition, copy)
    await compare_with_offline_fold(copy, rows)
    compare(
        "counts",
        f"partition {partition}",
        await published_counts(settings, partition),
        recount(rows.values(), partition),
    )
    return Counter((row["channel"], row["status"]) for row in rows.values())


async def main(partition: int, folder: Path) -> None:
    found = await judge(load(os.environ), partition, folder)
    sys.stdout.write(orjson.dumps([[*path, number] for path, number in found.items()]).decode())


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), Path(sys.argv[2])))
