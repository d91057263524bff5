"""The commands about dead letters on a real Kafka: what they list, and that nothing is replayed twice."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from typing import Any

import pytest
from click.testing import CliRunner, Result

from processor.cli import cli
from processor.domain.moment import Millis
from processor.engine.streams import Outgoing
from processor.wire.deadletters import DeadReason, Letter, Origin, fitted, headers_of
from processor.wire.letters import LETTER_HEADER, ORIGIN_HEADER, ROUND_HEADER
from processor.wire.topics import DEAD, MTA, SETTLED
from tests.engine.harness import PATIENCE, Trial, environment_of, eventually, settings_for_a_trial

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

#: What makes a terminal obey, and a page run.
HOSTILE = b'\x1b]0;owned\x07<script>alert("1")</script>\xe2\x80\xaeanna@example.com'


class Corner:
    """A trial's topics without a worker, and the command on them."""

    def __init__(self, brokers: str, folder: Any) -> None:
        self.settings = settings_for_a_trial(brokers, partitions=2)
        self.folder = folder

    def use(self, doing: Any) -> Any:
        """Run something with the trial."""

        async def main() -> Any:
            async with Trial(self.settings, self.folder) as trial:
                return await doing(trial)

        return asyncio.run(main())

    @property
    def environment(self) -> dict[str, str]:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("DELIVERY_")}
        return {**inherited, **environment_of(self.settings)}

    def run(self, *arguments: str) -> Result:
        nothing = {name: None for name in os.environ if name.startswith("DELIVERY_")}
        with pytest.MonkeyPatch.context() as patch:
            # The log would outlive the command, and the stream that it goes to.
            patch.setattr("processor.logs.configure", lambda *_: None)
            return CliRunner().invoke(cli, ("dead", *arguments), env={**nothing, **environment_of(self.settings)})

    def lines(self, *arguments: str) -> list[dict[str, Any]]:
        result = self.run(*arguments, "--json")
        assert result.exit_code == 0, result.stderr
        return [json.loads(line) for line in result.stdout.splitlines()]

    def start(self, *arguments: str) -> "subprocess.Popen[bytes]":
        """Start the command in a process that can be killed."""
        command = [sys.executable, "-m", "processor", "dead", *arguments]
        return subprocess.Popen(command, env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def fill(self, *records: Outgoing) -> None:
        self.use(lambda trial: trial.publish(records))

    def replayed(self) -> list[Any]:
        """Give what is on the topic that letters go back to."""
        return list(self.use(lambda trial: trial.records(MTA)))

    def until_some_are_replayed(self) -> None:
        deadline = time.monotonic() + PATIENCE
        while not self.replayed():
            assert time.monotonic() < deadline, "nothing was replayed"

    def assert_each_was_replayed_once(self, number: int) -> None:
        told = Counter(dict(record.headers)[LETTER_HEADER] for record in self.replayed())
        assert len(told) == number
        assert set(told.values()) == {1}
        assert len(self.use(lambda trial: trial.records(SETTLED))) == number


@pytest.fixture
def corner(brokers, tmp_path) -> Corner:
    return Corner(brokers, tmp_path)


def letter(
    corner: Corner,
    offset: int = 7,
    *,
    reason: DeadReason = DeadReason.NO_PROVIDER,
    value: bytes | None = b"{}",
    headers: Any = (),
    topic: str | None = None,
    limit: int = 1_000_000,
    partition: int = 0,
) -> Outgoing:
    """Give a dead letter as a stage writes it."""
    origin = Origin(corner.settings.topic(MTA) if topic is None else topic, 1, offset)
    now = Millis(int(time.time() * 1000))
    written = fitted(Letter(b"key", value, tuple(headers)), headers_of(origin, now, reason, "no header"), limit)
    return Outgoing(corner.settings.topic(DEAD), written.value, written.key, written.headers, partition=partition)


class TestAsking:
    def test_newest_first_over_all_partitions_by_filters(self, corner):
        corner.fill(letter(corner, 1, headers=[("provider", b"ses")]))
        corner.fill(letter(corner, 2, reason=DeadReason.TOO_OLD, partition=1))
        corner.fill(letter(corner, 3, topic="elsewhere.events.v1"))
        lines = corner.lines("list")
        assert [line["offset"] for line in lines] == [3, 2, 1]
        assert [line["state"] for line in lines] == ["waiting"] * 3
        assert [line["offset"] for line in corner.lines("list", "--limit", "2")] == [3, 2]
        assert [line["offset"] for line in corner.lines("list", "--reason", "too_old")] == [2]
        assert [line["offset"] for line in corner.lines("list", "--provider", "SES")] == [1]
        assert [line["offset"] for line in corner.lines("list", "--topic", "events.v1")] == [3]
        assert corner.lines("list", "--until", lines[1]["written"]) == lines[2:]
        assert corner.lines("list", "--since", lines[0]["written"]) == lines[:1]
        assert "there are more" in corner.run("list", "--limit", "2").stdout

    def test_one_is_shown_with_its_bytes_and_no_terminal_obeys_them(self, corner):
        corner.fill(letter(corner, value=HOSTILE, headers=[("provider\x1b", b"\x1b[2J")]))
        shown = corner.run("show", "0-0").stdout
        assert "\x1b" not in shown
        assert "\\x1b]0;owned\\x07<script>" in shown
        assert "\\u202eanna@example.com" in shown
        assert "\x1b" not in corner.run("list").stdout
        assert corner.run("show", "0-0", "--raw").stdout_bytes == HOSTILE
        [view] = corner.lines("show", "0-0")
        assert view["text"].encode() == HOSTILE

    def test_what_there_is_none_of_or_what_is_no_id_is_told(self, corner):
        corner.fill(letter(corner))
        assert corner.run("show", "0-1").exit_code == 4
        assert corner.run("show", "9-0").exit_code == 4
        assert corner.run("show", "x").exit_code == 2
        assert corner.run("replay").exit_code == 2
        assert corner.run("replay", "0-0", "--all").exit_code == 2
        assert corner.run("replay", "0-5").exit_code == 4


class TestReplay:
    def test_bytes_and_headers_as_they_came_without_ours_and_marked(self, corner):
        corner.fill(letter(corner, value=HOSTILE, headers=[("provider", b"ses"), ("trace", b"\xff\x00")]))
        assert corner.lines("replay", "0-0")[0]["replayed"] == 1
        [record] = corner.replayed()
        assert (record.key, record.value, record.partition) == (b"key", HOSTILE, 1)
        origin = f"{corner.settings.topic(MTA)}|1|7".encode()
        assert list(record.headers) == [
            ("provider", b"ses"),
            ("trace", b"\xff\x00"),
            (ROUND_HEADER, b"1"),
            (ORIGIN_HEADER, origin),
            (LETTER_HEADER, b"0-0"),
        ]

    def test_no_letter_twice_unless_forced(self, corner):
        corner.fill(letter(corner, 1), letter(corner, 2))
        assert corner.lines("replay", "--all", "--dry-run")[0] == {
            "dry_run": True,
            "replayed": 2,
            "refused": 0,
            "refusals": [],
        }
        assert corner.replayed() == []
        assert corner.lines("replay", "--all")[0]["replayed"] == 2
        assert corner.lines("replay", "--all")[0]["replayed"] == 0
        assert corner.run("replay", "0-0").exit_code == 1
        assert corner.lines("list") == []
        assert {line["state"] for line in corner.lines("list", "--state", "any")} == {"replayed"}
        corner.assert_each_was_replayed_once(2)
        assert corner.lines("replay", "0-0", "--force")[0]["replayed"] == 1
        assert len(corner.replayed()) == 3

    def test_a_discarded_one_is_neither_listed_nor_replayed(self, corner):
        corner.fill(letter(corner))
        assert corner.run("discard", "0-0").exit_code == 2  # nobody confirms it
        assert corner.lines("discard", "0-0", "--yes")[0]["discarded"] == 1
        assert corner.lines("list") == []
        assert corner.lines("replay", "--all")[0]["replayed"] == 0
        assert corner.replayed() == []
        corner.fill(letter(corner, reason=DeadReason.TOO_OLD), letter(corner, reason=DeadReason.TOO_OLD))
        assert corner.lines("count")[0]["items"] == [
            {"reason": "too_old", "waiting": 2, "replayed": 0, "discarded": 0},
            {"reason": "no_provider", "waiting": 0, "replayed": 0, "discarded": 1},
        ]

    def test_one_that_becomes_a_dead_letter_again_keeps_its_origin_and_counts_its_rounds(self, corner):
        corner.fill(letter(corner, 7))
        assert corner.lines("replay", "--all")[0]["replayed"] == 1
        [first] = corner.replayed()
        corner.fill(letter(corner, first.offset, value=first.value, headers=first.headers))
        [again] = corner.lines("list")
        assert again["rounds"] == 1
        [view] = corner.lines("show", again["id"])
        assert view["first_origin"] == {"topic": corner.settings.topic(MTA), "partition": 1, "offset": 7}
        assert corner.lines("replay", "--all")[0]["replayed"] == 1
        second = dict(corner.replayed()[-1].headers)
        assert (second[ROUND_HEADER], second[ORIGIN_HEADER]) == (b"2", f"{corner.settings.topic(MTA)}|1|7".encode())

    def test_what_is_not_whole_or_not_ours_is_left_and_told(self, corner):
        corner.fill(
            letter(corner, 1, value=b"x" * 50_000, limit=20_000),
            letter(corner, 2, headers=[("delivery.dead.form", b"batch")]),
            letter(corner, 3, topic="trial.messages.v1"),
            Outgoing(corner.settings.topic(DEAD), b"foreign", partition=0),
        )
        told = corner.lines("replay", "--all")[0]
        assert (told["replayed"], told["refused"]) == (0, 4)
        whys = {refusal["id"]: refusal["why"] for refusal in told["refusals"]}
        assert "of its value only the beginning is left" in whys["0-0"]
        assert "the bytes of a batch" in whys["0-1"]
        assert "trial.messages.v1" in whys["0-2"]
        assert "no headers of ours" in whys["0-3"]
        assert corner.replayed() == []
        assert [line["obstacle"] for line in corner.lines("list", "--limit", "1")] == [whys["0-3"]]

    def test_killed_in_the_middle_and_run_again_it_publishes_nothing_twice(self, corner):
        corner.fill(*(letter(corner, number, partition=number % 2) for number in range(60)))
        process = corner.start("replay", "--all", "--rate", "5")
        corner.until_some_are_replayed()
        process.send_signal(signal.SIGKILL)
        process.communicate()
        left = corner.lines("replay", "--all", "--rate", "1000")[0]
        assert 0 < left["replayed"] < 60
        corner.assert_each_was_replayed_once(60)

    def test_of_two_at_once_the_later_takes_over_and_the_earlier_says_so(self, corner):
        corner.fill(*(letter(corner, number, partition=number % 2) for number in range(60)))
        process = corner.start("replay", "--all", "--rate", "5")
        corner.until_some_are_replayed()
        assert corner.run("replay", "--all", "--rate", "1000").exit_code == 0
        _, told = process.communicate()
        assert process.returncode == 1
        assert b"another replay or discard has begun" in told
        corner.assert_each_was_replayed_once(60)


async def test_replay_after_a_mend_gives_the_rows_of_records_that_were_good_at_first(brokers, tmp_path):
    payloads = [
        json.dumps(
            {
                "type": kind,
                "id": f"id-{number}",
                "recipient": f"u{number}@example.com",
                "event_time": 1_795_420_800 + number,
                "timestamp": 1_795_420_800 + number,
                "response": {"code": 250 if kind == "Delivery" else 550, "content": "told", "enhanced_code": None},
                "meta": {"message_id": f"m-{number}"},
            }
        ).encode()
        for number in range(20)
        for kind in (("Delivery",) if number % 2 else ("Bounce",))
    ]

    async def rows_of(trial: Trial) -> Any:
        return await trial.rows()

    async def good(folder: Any) -> Any:
        settings = settings_for_a_trial(brokers, partitions=2)
        named = f"{settings.topic(MTA)}=kumomta"
        async with Trial(settings, folder) as trial:
            await trial.start_worker(DELIVERY_PROVIDER_BY_TOPIC=named)
            await trial.publish(Outgoing(trial.topic(MTA), payload) for payload in payloads)
            await trial.settled()
            return await rows_of(trial)

    async def mended(folder: Any) -> Any:
        settings = settings_for_a_trial(brokers, partitions=2)
        async with Trial(settings, folder) as trial:
            worker = await trial.start_worker()
            await trial.publish(Outgoing(trial.topic(MTA), payload) for payload in payloads)
            await trial.settled()
            assert len(await trial.records(DEAD)) == len(payloads)
            assert await rows_of(trial) == {}
            await worker.stop()
            await trial.start_worker(DELIVERY_PROVIDER_BY_TOPIC=f"{settings.topic(MTA)}=kumomta")
            command = (sys.executable, "-m", "processor", "dead", "replay", "--all")
            done = await asyncio.create_subprocess_exec(*command, env={**os.environ, **trial.environment})
            assert await done.wait() == 0

            async def are_all_replayed() -> bool:
                return len(await rows_of(trial)) == len(payloads)

            await eventually(are_all_replayed, "every record has a row")
            await trial.settled()
            return await rows_of(trial)

    for name in ("good", "mended"):
        (tmp_path / name).mkdir()
    expected = await good(tmp_path / "good")
    assert len(expected) == len(payloads)
    assert await mended(tmp_path / "mended") == expected
