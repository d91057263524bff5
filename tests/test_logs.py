"""The log: JSON a line, the libraries' too; what repeats is withheld, and everything that is wrong is counted."""

import inspect
import io
import json
import logging
import re
import sys
from collections import Counter
from pathlib import Path

import pytest
import structlog
from aiokafka.consumer.group_coordinator import GroupCoordinator
from aiokafka.errors import GroupCoordinatorNotAvailableError, KafkaConnectionError, KafkaError

from processor import logs
from processor.metrics import Metrics

ROOT = Path(__file__).resolve().parent.parent

#: Calls of our loggers, with the level and the event.
CALLS = re.compile(r"\blog\.(debug|info|warning|error|exception|critical)\(\s*\"?([^\",\s)]*)")


class Clock:
    now = 1_000.0

    def __call__(self) -> float:
        return self.now


class Log:
    """What was written, and what was counted."""

    def __init__(self) -> None:
        self.clock, self.stream, self.counted = Clock(), io.StringIO(), Counter()

    def configure(self, level: str, form: str) -> None:
        """Configure the log onto the stream; pytest has a standard error of its own, and takes it back at times."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sys, "stderr", self.stream)
            logs.configure(level, form)

    def lines(self) -> list[dict]:
        """Give what was written since the last look."""
        text = self.stream.getvalue()
        self.stream.seek(0)
        self.stream.truncate()
        return [json.loads(line) for line in text.splitlines()]


@pytest.fixture
def log(monkeypatch):
    """Configure the log as a worker does, onto a stream, and leave logging as it was."""
    root = logging.getLogger()
    before = root.handlers[:], root.level
    levels = {name: logging.getLogger(name).level for name in ("processor", "faust", "mode", "aiokafka")}
    log = Log()
    monkeypatch.setattr(logs, "_limiter", logs.Limiter(log.clock))
    monkeypatch.setattr(logs, "_patience", logs.Patience(log.clock))
    log.configure("INFO", "json")
    logs.count_warnings(lambda event: log.counted.update([event]))
    yield log
    root.handlers[:], level = before
    root.setLevel(level)
    for name, known in levels.items():
        logging.getLogger(name).setLevel(known)
    structlog.reset_defaults()


def ours():
    # Not one that a module keeps: it would hold on to what was configured before.
    return logs.get_logger("processor.trial")


# Lines


def test_a_line_is_one_json_object_with_time_level_event_and_facts(log):
    ours().info("partition_running", partition=3, topic="delivery.events.v1")
    [line] = log.lines()
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z", line.pop("timestamp"))
    assert line == {"event": "partition_running", "level": "info", "partition": 3, "topic": "delivery.events.v1"}


def test_a_stack_trace_is_a_field_of_its_line(log):
    try:
        _ = {}["nothing"]
    except KeyError:
        ours().exception("page_failed", page="overview")
    [line] = log.lines()
    assert (line["event"], line["page"]) == ("page_failed", "overview")
    assert line["exception"].startswith("Traceback")
    assert line["exception"].endswith("KeyError: 'nothing'")


def test_what_json_does_not_know_is_written_as_python_shows_it(log):
    ours().info("worker_started", folder=Path("/run"))
    assert log.lines()[0]["folder"] == repr(Path("/run"))


@pytest.mark.parametrize("name", ["faust.transport.consumer", "mode.services", "aiokafka.cluster", "asyncio"])
def test_libraries_go_through_it_and_speak_from_warning_on(log, name):
    library = logging.getLogger(name)
    library.info("Topic subscription %s", "delivery.events.v1")
    library.warning("Node %s is away", 1)
    [line] = log.lines()
    assert (line["event"], line["level"], line["logger"]) == ("Node 1 is away", "warning", name)


def test_a_library_that_fails_has_its_stack_trace_in_the_line(log):
    logging.getLogger("aiokafka.conn").error("Close failed", exc_info=OSError("gone"))
    [line] = log.lines()
    assert line["exception"].endswith("OSError: gone")


def test_for_people_a_line_is_no_json(log):
    log.configure("INFO", "console")
    ours().warning("broker_away", brokers="localhost:9092")
    text = log.stream.getvalue()
    assert "broker_away" in text
    assert not text.startswith("{")


def test_of_a_command_that_tells_by_itself_what_is_wrong_nothing_is_heard(log):
    log.configure("CRITICAL", "json")
    ours().error("conservation_broken", messages=1)
    logging.getLogger("aiokafka").error("Unable to connect")
    assert log.lines() == []


# What repeats


def test_of_one_reason_five_lines_pass_in_a_minute_and_the_next_tells_how_many_did_not(log):
    for _ in range(12):
        ours().warning("dead_letters", reason="invalid_json", records=1)
        log.clock.now += 1
    assert [line.get("withheld") for line in log.lines()] == [None] * 5
    log.clock.now += 60
    ours().warning("dead_letters", reason="invalid_json", records=1)
    ours().warning("dead_letters", reason="invalid_json", records=1)
    assert [line.get("withheld") for line in log.lines()] == [7, None]


def test_each_reason_has_its_own_minute(log):
    for reason in ("invalid_json", "no_provider"):
        for _ in range(6):
            ours().warning("dead_letters", reason=reason)
    ours().warning("broker_away", error="refused")
    assert Counter((line["event"], line.get("reason")) for line in log.lines()) == {
        ("dead_letters", "invalid_json"): 5,
        ("dead_letters", "no_provider"): 5,
        ("broker_away", None): 1,
    }


def test_a_minute_begins_with_its_first_line(log):
    for second in (0, 50, 51, 52, 53, 59, 60, 61):
        log.clock.now = 1_000.0 + second
        ours().warning("broker_away", at=second)
    assert [(line["at"], line.get("withheld")) for line in log.lines()] == [
        (0, None),
        (50, None),
        (51, None),
        (52, None),
        (53, None),
        (60, 1),
        (61, None),
    ]


def test_libraries_repeat_themselves_as_little_whatever_they_name(log):
    library = logging.getLogger("aiokafka")
    for node in range(20):
        library.error("Unable connect to node with id %s: %s", node, "refused")
    log.clock.now += 60
    library.error("Unable connect to node with id %s: %s", 21, "refused")
    assert [line.get("withheld") for line in log.lines()] == [None] * 5 + [15]


def test_what_is_no_warning_is_never_withheld(log):
    for number in range(50):
        ours().info("partition_running", partition=number)
    assert [line["partition"] for line in log.lines()] == list(range(50))


def test_only_so_many_reasons_are_remembered(log):
    for number in range(2_000):
        logging.getLogger(f"library.{number}").warning("Gone")
    assert len(log.lines()) == 2_000
    assert len(logs._limiter._windows) == logs._REASONS_MAX


# What is counted


def test_what_is_withheld_is_counted_all_the_same(log):
    metrics = Metrics()
    logs.count_warnings(metrics.see_warning)
    for _ in range(30):
        ours().warning("dead_letters", reason="invalid_json")
        logging.getLogger("aiokafka.cluster").warning("Topic %s is not available", "x")
    logging.getLogger("mode").error("Crashed")
    logging.getLogger("asyncio").error("Task exception was never retrieved")
    ours().info("worker_stopped")

    def counted(event):
        return metrics.registry.get_sample_value("delivery_warnings_total", {"event": event})

    assert (counted("dead_letters"), counted("aiokafka"), counted("faust"), counted("other")) == (30, 30, 1, 1)
    assert counted("broker_away") == 0, "what has not happened yet is there, too"


def test_a_warning_that_is_not_known_is_no_label_of_its_own(log):
    ours().warning("something_new")
    assert log.counted == {"other": 1}


def calls() -> set[tuple[str, str]]:
    return {
        found
        for path in (ROOT / "processor").rglob("*.py")
        for found in CALLS.findall(path.read_text(encoding="utf-8"))
    }


def test_every_warning_in_the_code_is_counted_by_its_name_and_no_other_name_is_known():
    assert {event for level, event in calls() if level not in {"debug", "info"}} == set(logs.WARNINGS)


def test_events_are_names_and_never_texts():
    assert calls()
    assert [event for _, event in calls() if not re.fullmatch(r"[a-z]+(_[a-z]+)+", event)] == []


HOSTILE = "[/foo] \x1b[2J\x9b \u202e \udc80 two\nlines"


def test_on_a_terminal_nothing_that_is_logged_is_obeyed(log):
    log.configure("INFO", "console")
    facts = {"text": HOSTILE, "error": Hostile(), "listed": [HOSTILE], "number": 7}
    try:
        Hostile().fail()
    except ValueError:
        logs.get_logger("processor.test").exception(HOSTILE, **facts)
    logging.getLogger("aiokafka").warning("said %s", HOSTILE)
    # What draws is structlog's own: colours.
    written = re.sub(r"\x1b\[[0-9;]*m", "", log.stream.getvalue())
    assert all(char == "\n" or char.isprintable() for char in written)
    assert r"two\nlines" in written
    assert "number=7" in written
    assert "Traceback" in written
    assert "said [/foo]" in written


def test_as_json_it_stays_exact(log):
    log.configure("INFO", "json")
    logs.get_logger("processor.test").info("told", text=HOSTILE)
    logs.get_logger("processor.test").info("told", text=HOSTILE.replace("\udc80", ""))
    written = [json.loads(line)["text"] for line in log.stream.getvalue().splitlines()]
    assert written == [HOSTILE, HOSTILE.replace("\udc80", "")]


class Hostile:
    def __repr__(self) -> str:
        return HOSTILE

    def fail(self) -> None:
        raise ValueError(HOSTILE)


# What passes by itself


def asks_again(error: KafkaError) -> None:
    logging.getLogger("aiokafka.consumer.group_coordinator").error("Group Coordinator Request failed: %s", error)


def test_a_broker_that_is_new_and_has_no_coordinator_yet_is_nothing_to_be_told_of(log):
    for _ in range(14):
        asks_again(GroupCoordinatorNotAvailableError())
        log.clock.now += 1.0
    assert log.lines() == []
    assert log.counted == {}


def test_one_that_never_has_a_coordinator_is(log):
    for _ in range(40):
        asks_again(GroupCoordinatorNotAvailableError())
        log.clock.now += 1.0
    assert log.lines()
    assert log.counted == {"aiokafka": 10}


def test_each_time_that_a_coordinator_is_missing_begins_anew(log):
    for _ in range(5):
        asks_again(GroupCoordinatorNotAvailableError())
        log.clock.now += 3_600.0
    assert log.lines() == []


def test_other_reasons_to_ask_again_are_told_at_once(log):
    asks_again(KafkaConnectionError())
    assert len(log.lines()) == 1


def test_aiokafka_tells_it_as_we_expect():
    assert 'log.error("Group Coordinator Request failed: %s", err)' in inspect.getsource(GroupCoordinator)
    assert GroupCoordinatorNotAvailableError.errno == logs._COORDINATOR_NOT_AVAILABLE
