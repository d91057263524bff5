"""The commands about deliveries on a real Kafka: what they tell, what they publish, and when they refuse."""

import asyncio
import json
import os
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import Any, NamedTuple

import pytest
from click.testing import CliRunner, Result

from processor.cli import cli
from processor.domain.delivery import Action
from processor.domain.moment import to_microseconds, to_rfc3339
from processor.engine.streams import Outgoing, Writer, read_to_end
from processor.wire.control import decode_control
from processor.wire.topics import CONTROL, COUNTS, DELIVERIES, EVENTS
from tests.engine.harness import Trial, environment_of, settings_for_a_trial
from tests.views.told import counts, told

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

NOW = datetime.now(timezone.utc)
HOUR = 3_600_000_000
AT = to_microseconds(NOW) - HOUR
AHEAD = to_rfc3339(AT + 3 * HOUR)

#: What a worker has published, the counts twice: of each key the last one counts.
COUNTED = [
    counts({"pending": 5}, "DM1042", partition=0),
    counts(
        {"sent": 6, "failed": 2, "pending": 1},
        "DM1042",
        partition=0,
        failed={"user_unknown": 1, "refused": 1},
        providers={"ses": 9},
        channels={"email": 9},
        first=to_rfc3339(AT),
        last=to_rfc3339(AT + HOUR // 2),
    ),
    counts({"ignored": 1}, "DM1042", partition=1, ignored={"denylisted": 1}, channels={"email": 1}),
    counts({"received_on_mobile": 3}, "DM1044", partition=1, channels={"sms": 3}, last=to_rfc3339(AT)),
]
TOLD = [
    told("register", "start", delivery_id="DM1042", at=AT, label="Autumn sale", campaign="autumn", planned=20),
    told("schedule", delivery_id="DM1043", at=AT - HOUR, scheduled_at=AHEAD, label="Christmas letter"),
    told("start", "cancel", delivery_id="DM1045", at=AT - 2 * HOUR),
    told("start", "pause", delivery_id="DM1046", at=AT - 3 * HOUR),
]


class Corner(NamedTuple):
    """Topics that a worker has filled, and the command in this process: it is asked often, and starts slowly."""

    settings: Any

    def run(self, *arguments: str, stdin: str = "") -> Result:
        environment = {name: None for name in os.environ if name.startswith("DELIVERY_")}
        with pytest.MonkeyPatch.context() as patch:
            # The log would outlive the command, and the stream that it goes to.
            patch.setattr("processor.logs.configure", lambda *_: None)
            environment |= environment_of(self.settings)
            return CliRunner().invoke(cli, arguments, input=stdin, env=environment)

    def lines(self, *arguments: str) -> list[dict[str, Any]]:
        result = self.run(*arguments, "--json")
        assert result.exit_code == 0, result.stderr
        return [json.loads(line) for line in result.stdout.splitlines()]

    def text(self, *arguments: str) -> str:
        result = self.run(*arguments)
        assert result.exit_code == 0, result.stderr
        return result.stdout

    def published(self) -> list[tuple[bytes, Any]]:
        """Give key and content of all control records."""

        async def read() -> list[tuple[bytes, Any]]:
            topic = self.settings.topic(CONTROL)
            records = read_to_end(self.settings, topic)
            return [(record.key, decode_control(record.value, None)) async for record in records]

        return asyncio.run(read())


@pytest.fixture(scope="module")
def corner(brokers, tmp_path_factory) -> Corner:
    # One partition keeps control records in the order in which they were published.
    settings = settings_for_a_trial(brokers, partitions=1)

    async def publish() -> None:
        async with Trial(settings, tmp_path_factory.mktemp("deliveries")) as trial:
            for topic, records in ((COUNTS, COUNTED), (DELIVERIES, TOLD)):
                await trial.publish(Outgoing(trial.topic(topic), record.value, record.key) for record in records)

    asyncio.run(publish())
    return Corner(settings)


@pytest.fixture
def published(corner) -> Callable[[], list[tuple[bytes, Any]]]:
    """Give the control records that the test has published so far."""
    before = len(corner.published())
    return lambda: corner.published()[before:]


class TestList:
    def test_all_of_them_one_object_a_line_latest_first(self, corner):
        lines = corner.lines("deliveries")
        assert [line["delivery_id"] for line in lines] == ["DM1042", "DM1044", "DM1043", "DM1045", "DM1046"]
        assert lines[0]["label"] == "Autumn sale"
        assert "series" not in lines[0]

    @pytest.mark.parametrize(
        ("arguments", "expected"),
        [
            (["--state", "canceled"], ["DM1045"]),
            (["--channel", "sms"], ["DM1044"]),
            (["--status", "failed"], ["DM1042"]),
            (["--provider", "ses"], ["DM1042"]),
            (["--search", "CHRIST"], ["DM1043"]),
            (["--pending", "scheduled"], ["DM1043"]),
            (["--since", to_rfc3339(AT - HOUR // 2)], ["DM1042", "DM1044"]),
            (["--sort", "delivery_id", "--limit", "2"], ["DM1042", "DM1043"]),
        ],
    )
    def test_filters(self, corner, arguments, expected):
        assert [line["delivery_id"] for line in corner.lines("deliveries", *arguments)] == expected

    def test_people_get_a_table_and_hear_that_there_are_more(self, corner):
        text = corner.text("deliveries", "--limit", "1")
        assert "Autumn sale" in text
        assert "1 of 5; --limit shows more" in text
        assert "of 5" not in corner.text("deliveries")

    @pytest.mark.parametrize(
        "arguments", [("--since", "yesterday"), ("--since", "2026-11-24T06:00:00"), ("--sort", "x")]
    )
    def test_what_cannot_be_asked_is_wrong_usage(self, corner, arguments):
        assert corner.run("deliveries", *arguments).exit_code == 2


class TestOne:
    def test_figures(self, corner):
        [line] = corner.lines("delivery", "DM1042")
        assert (line["messages"], line["statuses"]["sent"], line["state"]) == (10, 6, "running")
        assert line["indicators"] == {
            "processed": 8, "success": 6, "failed": 2, "hard": 1, "soft": 1, "ignored": {"denylisted": 1}
        }  # fmt: skip
        assert line["pending"]["cause"] == "mta_resources"
        assert line["stuck"] is None
        assert "series" not in line

    def test_people_read_all_of_it(self, corner):
        text = corner.text("delivery", "DM1042")
        assert text.startswith("DM1042: Autumn sale\n")
        for fact in (
            "running",
            "mta_resources",
            "autumn",
            "6 (75.0%)",
            "2 (25.0%), hard 1, soft 1",
            "denylisted 1",
            "ses 9",
        ):
            assert fact in text
        assert "its date is" in corner.text("delivery", "DM1043")

    def test_one_that_is_not_known_exits_with_4_and_a_hint(self, corner):
        result = corner.run("delivery", "DM142")
        assert result.exit_code == 4
        assert "did you mean 'DM1042'" in result.stderr
        assert "`delivery-status deliveries` lists them" in corner.run("delivery", "something else").stderr


class TestControl:
    def test_a_record_is_published_as_it_is_told(self, corner, published):
        [line] = corner.lines(
            "control", "DM2000", "schedule", "--scheduled-at", AHEAD,
            "--label", "Spring", "--campaign", "spring", "--channel", "sms", "--planned", "7",
        )  # fmt: skip
        [(key, control)] = published()
        assert key == b"DM2000"
        assert (control.action, control.label, control.campaign, control.planned) == (
            Action.SCHEDULE,
            "Spring",
            "spring",
            7,
        )
        assert to_rfc3339(to_microseconds(control.scheduled_at)) == AHEAD
        assert timedelta(0) <= control.time - NOW < timedelta(minutes=10)
        assert line["published"] == 1
        assert line["record"]["delivery_id"] == "DM2000"

    def test_what_is_not_said_is_not_told(self, corner, published):
        told = corner.text("control", "DM2000", "start")
        [(_, control)] = published()
        assert (control.label, control.channel, control.planned, control.scheduled_at) == (None, None, None, None)
        assert told == f"published start of DM2000 to {corner.settings.topic_prefix}control.v1\n"

    @pytest.mark.parametrize(
        "arguments",
        [
            ("DM1", "schedule"),
            ("DM1", "schedule", "--scheduled-at", "2026-11-24"),
            ("DM1", "cancel"),
            ("DM1", "start", "--planned", "1000000000001"),
            ("DM1", "start", "--label", "x" * 1_001),
            ("", "start"),
        ],
    )
    def test_what_the_processor_would_refuse_is_wrong_usage(self, corner, published, arguments):
        result = corner.run("control", *arguments)
        assert result.exit_code == 2
        assert "Usage: " in result.stderr
        assert published() == []


class TestSteering:
    @pytest.mark.parametrize(
        ("arguments", "action"),
        [
            (("pause", "DM1042"), Action.PAUSE),
            (("resume", "DM1046"), Action.RESUME),
            (("finish", "DM1042", "--yes"), Action.FINISH),
        ],
        ids=str,
    )
    def test_it_is_published(self, corner, published, arguments, action):
        [line] = corner.lines(*arguments)
        assert (line["published"], line["record"]["action"]) == (1, action.value)
        [(key, control)] = published()
        assert (key, control.action) == (arguments[1].encode(), action)

    def test_what_is_final_is_asked_for(self, corner, published):
        result = corner.run("finish", "DM1042", stdin="n\n")
        assert (result.exit_code, published()) == (1, [])
        assert "Finish DM1042 (Autumn sale)? 1 of its 10 messages were not handed over" in result.stderr

    @pytest.mark.parametrize(
        ("arguments", "why"),
        [
            (("resume", "DM1042"), "it is not paused"),
            (("pause", "DM1046"), "it has been paused since"),
            (("pause", "DM1045"), "it was cancelled at"),
            (("finish", "DM1045", "--yes"), "it was cancelled at"),
        ],
        ids=str,
    )
    def test_what_would_have_no_effect_is_refused(self, corner, published, arguments, why):
        result = corner.run(*arguments)
        assert (result.exit_code, published()) == (1, [])
        assert why in result.stderr

    def test_one_that_is_not_known_is_refused(self, corner, published):
        result = corner.run("pause", "DM1052")
        assert (result.exit_code, published()) == (4, [])
        assert "`control` publishes it all the same" in result.stderr


class TestCancel:
    def test_it_asks_and_says_what_it_would_do(self, corner, published):
        result = corner.run("cancel", "DM1042", stdin="y\n")
        assert result.exit_code == 0
        assert "Cancel DM1042 (Autumn sale)? 1 of its 10 messages may still be cancelled" in result.stderr
        [(key, control)] = published()
        assert (key, control.action, control.delivery_id) == (b"DM1042", Action.CANCEL, "DM1042")

    def test_whoever_says_no_cancels_nothing(self, corner, published):
        result = corner.run("cancel", "DM1042", stdin="n\n")
        assert (result.exit_code, published()) == (1, [])

    def test_where_nobody_can_answer_it_needs_to_be_told(self, corner, published):
        result = corner.run("cancel", "DM1042")
        assert (result.exit_code, published()) == (2, [])
        assert "--yes" in result.stderr

    def test_told_yes_it_does_not_ask(self, corner, published):
        [line] = corner.lines("cancel", "DM1042", "--yes")
        assert (line["published"], line["record"]["action"]) == (1, "cancel")
        assert len(published()) == 1

    def test_one_that_is_not_known_is_refused_unless_forced(self, corner, published):
        result = corner.run("cancel", "DM1052", "--yes")
        assert (result.exit_code, published()) == (4, [])
        assert "did you mean 'DM1045' or 'DM1042'" in result.stderr
        assert "--force" in result.stderr
        assert corner.run("cancel", "DM1052", "--yes", "--force").exit_code == 0
        assert [control.delivery_id for _, control in published()] == ["DM1052"]

    def test_one_that_was_cancelled_stays_so_without_another_record(self, corner, published):
        assert "nothing was published" in corner.text("cancel", "DM1045", "--yes")
        [line] = corner.lines("cancel", "DM1045")
        assert (line["published"], line["canceled_at"]) == (0, to_rfc3339(AT - 2 * HOUR + 1_000_000))
        assert published() == []


@pytest.mark.parametrize(("arguments", "said"), [(("check",), "only control records cancel"), (("reasons",), None)])
def test_a_cancel_among_the_events_is_told_by_check_and_has_no_reason(corner, arguments, said):
    topic = corner.settings.topic(EVENTS)
    value = json.dumps({"delivery_id": "DM1042", "time": to_rfc3339(AT)}).encode()
    marker = Outgoing(topic, value, b"DM1042", (("delivery.control", b"cancel"),))

    async def publish() -> None:
        async with Writer(corner.settings) as writer:
            await writer.write(marker)

    asyncio.run(publish())
    result = corner.run(*arguments)
    assert result.exit_code == 0, result.output
    assert "are no events" not in result.output
    assert said is None or said in result.output


@pytest.mark.parametrize(
    "arguments",
    [("deliveries",), ("delivery", "DM1"), ("cancel", "DM1", "--yes"), ("control", "DM1", "start")],
    ids=" ".join,
)
def test_where_there_are_no_topics_the_mend_is_named(corner, arguments):
    result = Corner(settings_for_a_trial(corner.settings.brokers)).run(*arguments)
    assert result.exit_code == 4
    assert "topics create" in result.stderr
