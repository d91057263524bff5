"""The commands on a real Kafka: from a mail server's log files to the status of each message and delivery."""

import asyncio
import csv
import io
import json
from collections.abc import Callable
from itertools import pairwise
from typing import Any, NamedTuple

import pytest
import zstandard
from click.testing import CliRunner

from processor.cli import cli
from processor.engine.streams import Outgoing, Writer
from processor.wire.deadletters import DeadReason, Origin, headers_of
from processor.wire.topics import CONTROL, COUNTS, DEAD, EVENTS, LINKS, MESSAGES, MTA, SMS, TOPICS
from tests.engine.harness import Trial, environment_of, settings_for_a_trial

pytestmark = [pytest.mark.kafka, pytest.mark.slow]


def record(kind: str, number: int, second: int, code: int = 250, enhanced: str = "2.0.0", **fields: Any) -> bytes:
    """A line of KumoMTA's log."""
    parts = dict(zip(("class", "subject", "detail"), map(int, enhanced.split(".")), strict=True))
    line = {
        "type": kind,
        "id": f"{number:032x}",
        "sender": "news@example.com",
        "recipient": f"user{number}@example.org",
        "queue": "spring:crm@example.org",
        "response": {"code": code, "enhanced_code": parts, "content": "as the server said", "command": None},
        "event_time": f"2026-11-20T08:00:{second:02}.5Z",
        "created_time": "2026-11-20T08:00:00Z",
        "num_attempts": 0,
        "bounce_classification": "Uncategorized",
        "meta": {"message_id": f"m-{number}", "delivery_id": "DM7"},
        "headers": {},
        **fields,
    }
    return json.dumps(line).encode()


#: One message for each way that a life can go.
LOG = [
    *(record("Reception", number, 0) for number in range(1, 6)),
    record("Delivery", 1, 2),
    record("TransientFailure", 2, 2, 421, "4.7.0"),
    record("TransientFailure", 3, 2, 452, "4.2.2"),
    record("AdminBounce", 5, 2, 551, "5.7.1"),
    record("Feedback", 1, 3),
    record("Bounce", 2, 4, 550, "5.1.1", bounce_classification="InvalidRecipient"),
    record("Expiration", 4, 5, 551, "5.4.7"),
]

#: What the log says in the end: status, permanence.
STATUSES = {
    "m-1": ("sent", None),
    "m-2": ("failed", "permanent"),
    "m-3": ("taken_into_account", None),
    "m-4": ("failed", "gave_up"),
    "m-5": ("canceled", None),
}


def as_segments(lines: list[bytes]) -> bytes:
    """Pack lines as KumoMTA's segments are after several flushes: some frames, which end in the middle of lines."""
    text = b"\n".join(lines)
    cuts = [0, len(text) // 3, len(text) // 3 + 1, len(text) - 5, len(text)]
    packer = zstandard.ZstdCompressor()
    return b"".join(packer.compress(text[start:end]) for start, end in pairwise(cuts))


class Corner(NamedTuple):
    """A worker has been here, and folded the log."""

    run: Callable[..., Any]
    settings: Any

    def lines(self, *arguments: str) -> list[dict[str, Any]]:
        result = self.run(*arguments)
        assert result.returncode == 0, result.stderr
        assert result.stderr == b""
        return [json.loads(line) for line in result.stdout.splitlines()]


@pytest.fixture(scope="module")
def corner(brokers, delivery_status, tmp_path_factory) -> Corner:
    """Make topics and ingest the log by command: plain, as zstd, and from standard input."""
    folder = tmp_path_factory.mktemp("ingest")
    settings = settings_for_a_trial(brokers, partitions=3)
    environment = environment_of(settings)
    plain, packed = folder / "plain.log", folder / "segment.zst"
    plain.write_bytes(b"\n".join(LOG[:4]) + b"\n\n")
    packed.write_bytes(as_segments(LOG[4:9]))

    def run(*arguments: str, stdin: bytes = b"") -> Any:
        return delivery_status(*arguments, stdin=stdin, **environment)

    topic = settings.topic(MTA)
    created = json.loads(run("topics", "create", "--json").stdout)["created"]
    assert created == [settings.topic(topic) for topic in TOPICS]
    ingest = "ingest", "--provider", "kumomta"
    assert json.loads(run(*ingest, "--json", plain, packed).stdout) == {"published": 9, "topic": topic}
    assert run(*ingest, "-", stdin=b"\n".join(LOG[9:])).stdout.decode() == f"published 3 records to {topic}\n"

    async def fold() -> None:
        async with Trial(settings, folder) as trial:
            worker = await trial.start_worker()
            await trial.settled()
            assert [record.value for record in await trial.records(MTA)] != []
            assert await worker.stop() == 0

    asyncio.run(fold())
    return Corner(run, settings)


def test_topics_that_exist_are_left_alone(corner):
    assert corner.lines("topics", "create", "--json") == [{"created": []}]
    assert corner.run("topics", "create").stdout == b"all topics exist\n"


def test_topics_as_declared_pass_the_check(corner):
    [report] = corner.lines("topics", "check", "--json")
    assert report["ok"] is True


def test_check_finds_nothing_wrong(corner):
    [report] = corner.lines("check", "--json")
    assert report["ok"] is True
    assert not any(report["findings"].values())


def test_check_tells_what_is_no_fault_of_the_topics(corner):
    """Native statuses that nobody knows, and publishers that break the contract: notes, and all is well."""
    topic = corner.settings.topic(DEAD)
    refusal = "kumomta sends 'Teleport', not in our table"
    headers = headers_of(Origin("raw", 0, 0), 0, DeadReason.UNKNOWN_STATUS, refusal)
    broken = Outgoing(corner.settings.topic(EVENTS), b'{"message_id": "m"}', b"m")

    async def publish() -> None:
        async with Writer(corner.settings) as writer:
            await writer.write(Outgoing(topic, b"{}", headers=headers))
            await writer.write(broken)

    asyncio.run(publish())
    [report] = corner.lines("check", "--json")
    assert report["ok"] is True
    assert f"1 of the newest dead letters: {refusal}" in report["notes"]
    assert any("break the contract: invalid_event" in note for note in report["notes"])


def test_topics_that_do_not_exist_are_all_named_with_the_mend(corner, delivery_status):
    elsewhere = environment_of(settings_for_a_trial(corner.settings.brokers))
    for command in (("topics", "check"), ("check",)):
        result = delivery_status(*command, "--json", **elsewhere)
        assert result.returncode == 1
        problems = json.loads(result.stdout)["findings"]["topics"]
        assert len(problems) == len(TOPICS)
        assert all("topics create" in problem for problem in problems)


@pytest.mark.parametrize(
    "arguments",
    [("message", "m-1"), ("delivery", "DM7"), ("export",), ("messages",), ("find", "m-1")],
    ids=" ".join,
)
def test_where_there_are_no_topics_nothing_is_found(corner, delivery_status, arguments):
    elsewhere = environment_of(settings_for_a_trial(corner.settings.brokers))
    result = delivery_status(*arguments, **elsewhere)
    assert result.returncode == 4
    assert b"topics create" in result.stderr


@pytest.mark.parametrize("message_id", STATUSES)
def test_message_tells_where_it_stands(corner, message_id):
    [row] = corner.lines("message", message_id, "--json")
    assert row["message_id"] == message_id
    assert (row["status"], row["permanence"]) == STATUSES[message_id]
    assert row["delivery_id"] == "DM7"


def test_message_tells_people_why(corner):
    told = corner.run("message", "m-2").stdout.decode()
    assert told.startswith("m-2: Failed (permanent)\n")
    for fact in ("2026-11-20T08:00:04.5", "DM7", "user2@example.org", "user_unknown", "5.1.1", "taken_into_account"):
        assert fact in told


@pytest.mark.parametrize(
    ("filters", "found"),
    [
        ([], ["m-4", "m-2", "m-5", "m-1", "m-3"]),
        (["--status", "failed"], ["m-4", "m-2"]),
        (["--delivery", "DM7", "--permanence", "gave_up"], ["m-4"]),
        (["--delivery", "DM8"], []),
        (["--category", "user_unknown"], ["m-2"]),
        (["--domain", "example.org", "--limit", "1"], ["m-4"]),
        (["--recipient", "User2 <USER2@example.org>"], ["m-2"]),
        (["--provider-message-id", f"{3:032x}"], ["m-3"]),
        (["--until", "2026-11-20T08:00:02Z"], ["m-3"]),
        (["--since", "2026-11-20T08:00:04.5Z"], ["m-4", "m-2"]),
        (["--stuck"], ["m-3"]),
        (["--not-stuck", "--channel", "email"], ["m-4", "m-2", "m-5", "m-1"]),
    ],
    ids=lambda each: " ".join(each) if each else "all",
)
def test_messages_lists_what_is_asked_for(corner, filters, found):
    assert [item["message_id"] for item in corner.lines("messages", *filters, "--json")] == found


def test_messages_writes_csv_and_tables(corner):
    written = corner.run("messages", "--status", "failed", "--csv").stdout.decode()
    rows = list(csv.DictReader(io.StringIO(written, newline="")))
    assert [(row["message_id"], row["reason_code"]) for row in rows] == [("m-4", "5.4.7"), ("m-2", "5.1.1")]
    told = corner.run("messages", "--limit", "1").stdout.decode()
    assert told.split()[6:9] == ["m-4", "DM7", "failed"]
    assert "there are more" in told
    assert corner.run("messages", "--csv", "--json").returncode == 2


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("m-2", [("message", "m-2", "message_id")]),
        (f"{2:032x}", [("message", "m-2", "provider_message_id")]),
        ("USER2@example.org", [("message", "m-2", "recipient")]),
        ("DM7", [("delivery", "DM7", "delivery_id")]),
    ],
)
def test_find_finds(corner, text, found):
    [answer] = corner.lines("find", text, "--json")
    assert [(item["kind"], item["id"], item["matched"]) for item in answer["items"]] == found


def test_what_is_not_found_exits_with_4(corner):
    result = corner.run("find", "user2")
    assert result.returncode == 4
    assert b"nothing is found" in result.stderr


@pytest.mark.parametrize("arguments", [("message", "m-6"), ("delivery", "DM8")], ids=" ".join)
def test_what_is_not_known_exits_with_4(corner, arguments):
    result = corner.run(*arguments)
    assert result.returncode == 4
    assert b"is not known" in result.stderr


def test_delivery_counts_its_messages(corner):
    [counts] = corner.lines("delivery", "DM7", "--json")
    assert (counts["delivery_id"], counts["messages"]) == ("DM7", 5)
    assert {status: number for status, number in counts["statuses"].items() if number} == {
        "sent": 1,
        "failed": 2,
        "taken_into_account": 1,
        "canceled": 1,
    }
    told = corner.run("delivery", "DM7").stdout.decode()
    assert "Taken into account by the service provider" in told


def test_export_writes_what_the_offline_commands_make_of_the_log(corner):
    normalized = CliRunner().invoke(cli, ["normalize", "--provider", "kumomta"], input=b"\n".join(LOG))
    events = [event for line in normalized.stdout.splitlines() for event in json.loads(line)["events"]]
    folded = CliRunner().invoke(cli, ["fold"], input="\n".join(map(json.dumps, events)))
    exported = corner.run("export").stdout.decode()
    assert sorted(exported.splitlines()) == folded.stdout.splitlines()


def test_export_of_deliveries_writes_their_counts(corner):
    [counts] = corner.lines("export", "--deliveries")
    [told] = corner.lines("delivery", "DM7", "--json")
    assert counts == {name: told[name] for name in ("delivery_id", "messages", "statuses")}


def test_simulate_publishes_to_both_raw_topics_and_tells_of_its_deliveries(brokers, delivery_status, tmp_path):
    settings = settings_for_a_trial(brokers)
    environment = environment_of(settings)
    assert delivery_status("topics", "create", **environment).returncode == 0
    result = delivery_status("simulate", "--messages", "60", "--fast", "--seed", "1", "--json", **environment)
    assert result.returncode == 0

    async def count() -> list[int]:
        async with Trial(settings, tmp_path) as trial:
            return [len(await trial.records(topic)) for topic in (MTA, SMS, CONTROL, LINKS, EVENTS, MESSAGES, COUNTS)]

    mail, text, told, links, submits, *others = asyncio.run(count())
    assert mail + text + told + links + submits == json.loads(result.stdout)["published"] > 60
    assert min(mail, text, told, links + submits) > 0
    assert others == [0, 0]
