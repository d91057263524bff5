"""The metrics as a whole: bounded whatever comes, each used and each use right, and true when summed over workers."""

import re
from collections import Counter
from datetime import datetime, timedelta, timezone
from importlib.metadata import version
from itertools import islice
from random import Random
from types import SimpleNamespace

import orjson
import pytest
from prometheus_client.parser import text_string_to_metric_families

from processor.demo.simulate import canonical_events, traffic
from processor.domain.addresses import State
from processor.domain.delivery import Cause
from processor.domain.reason import Category
from processor.domain.status import Channel, Permanence, Status
from processor.domain.traits import Ending
from processor.domain.transitions import NODE_NAMES
from processor.engine.stage import Outbox, Partitioning, Positions
from processor.logs import KNOWN_WARNINGS
from processor.metrics import NEW, PARTITION_STATES, PROVIDERS, VERDICTS, GatewayMetrics, Metrics
from processor.metrics.labels import (
    LINK_OUTCOMES,
    RECEIPT_OUTCOMES,
    WEBHOOK_OUTCOMES,
    texts_of,
)
from processor.providers import OUTCOMES
from processor.settings import Settings
from processor.stages import STAGE_NAMES, stages
from processor.wire.deadletters import DeadReason
from processor.wire.topics import CONTROL, EVENTS, MTA, SMS, TOPICS
from tests.cases import every_case
from tests.metrics.exported import exported_series
from tests.ops.conftest import panels_of, read_dashboards
from tests.rules.shipped import METRIC, RECORDED, ROOT, RULES

#: The most series that a worker exports besides the lag of its partitions, whatever anybody sends.
MOST_SERIES = 3_650

#: Every label, and the values that it may ever have. A label that is not here is one too many.
VOCABULARY = {
    "category": {category.value for category in Category},
    "cause": {cause.value for cause in Cause},
    "channel": {channel.value for channel in Channel},
    "commit": {"unknown"},
    "condition": {state.value for state in State},
    "event": set(KNOWN_WARNINGS),
    "from": {*NODE_NAMES, NEW},
    "outcome": {
        *[ending.value for ending in Ending],
        *OUTCOMES,
        *RECEIPT_OUTCOMES,
        *LINK_OUTCOMES,
        *WEBHOOK_OUTCOMES,
    },
    "permanence": {permanence.value for permanence in Permanence},
    "provider": set(PROVIDERS),
    "reason": {reason.value for reason in DeadReason},
    "stage": set(STAGE_NAMES),
    "state": set(PARTITION_STATES),
    "status": {status.value for status in Status},
    "to": set(NODE_NAMES),
    "topic": {topic.name for topic in TOPICS},
    "verdict": set(texts_of(VERDICTS)),
    "version": {version("delivery-status")},
}

#: How the metrics of a shadow begin.
SHADOW = "delivery_shadow_"

#: Words of docs that look like metrics.
NO_METRICS = {"delivery_id", SHADOW}

SETTINGS = Settings(topic_prefix="t.")


def samples(metrics: Metrics) -> list:
    return [sample for family in metrics.registry.collect() for sample in family.samples]


def is_standard(name: str) -> bool:
    """Say whether a metric is one that clients of Prometheus have of their own process."""
    return name.startswith("process_")


# Bounded


class Line:
    """All stages of one worker without a broker: what one writes to the events, the next folds."""

    def __init__(self) -> None:
        self.metrics = Metrics(STAGE_NAMES)
        counts = {SETTINGS.topic_prefix + topic.name: 1 for topic in TOPICS}
        self.works = {
            topic.name: stage.start(Partitioning(SETTINGS.topic_prefix + topic.name, 0, counts, "cluster"))
            for stage in stages(SETTINGS, self.metrics)
            for topic in stage.inputs
        }
        self.read = 0

    def chunk(self, topic, records) -> None:
        """Have a stage process and commit records; records are value, key, headers and timestamp."""
        outbox, given = Outbox(1_790_000_000_000), []
        for value, key, headers, timestamp in records:
            self.read += 1
            given.append(SimpleNamespace(offset=self.read, timestamp=timestamp, key=key, value=value, headers=headers))
        self.works[topic.name].process(given, outbox)
        self.works[topic.name].committed(Positions(self.read))
        told = [
            (value, key, headers, timestamp)
            for (name, _), written in outbox.records.items()
            if name == SETTINGS.topic_prefix + EVENTS.name
            for timestamp, key, value, headers in written
        ]
        if told and topic is not EVENTS:
            self.chunk(EVENTS, told)


def raw_traffic(seed):
    """Give records of all providers, by topic, with everything that goes wrong."""
    start = datetime.now(timezone.utc) - timedelta(minutes=20)
    by_topic = {"mta": [], "sms": [], "control": []}
    for record in traffic(seed, start, messages=400, rate=100.0, speed=600.0, controls=True):
        entry = record.value, record.key, record.headers, int(record.due.timestamp() * 1000)
        by_topic[record.topic].append(entry)
    return by_topic


def hostile_events(seed, count=2_000):
    """Give events of any provider on any channel, with any status and reason, in any order."""
    rng = Random(seed)
    start = datetime.now(timezone.utc) - timedelta(hours=5)
    for number in range(count):
        event = {
            "message_id": f"m-{rng.randrange(200)}",
            "channel": rng.choice([*Channel]).value,
            "status": rng.choice([*Status]).value,
            "time": (start + timedelta(seconds=rng.randrange(10_000))).isoformat(),
            "provider": rng.choice([*PROVIDERS, f"provider-{number}", "KumoMTA", ""]),
            "delivery_id": f"DM{rng.randrange(1_000)}",
            "attempt": rng.randrange(1, 4),
            "reason": {
                "permanence": rng.choice([*Permanence]).value,
                "category": rng.choice([*Category]).value,
                "text": f"text {number}",
            },
        }
        headers = (("delivery.control", b"cancel"),) if rng.random() < 0.01 else ()
        yield orjson.dumps(event), event["message_id"].encode(), headers, int(start.timestamp() * 1000)


def hostile_records(seed, count=500):
    """Give raw records that name whatever they please as their provider, and hold whatever they please."""
    rng = Random(seed)
    for number in range(count):
        provider = rng.choice([*PROVIDERS, f"provider-{number}", "x" * 5_000, "\x00"])
        value = rng.choice([None, b"", b"{", b"\xff\xfe", b'{"event":"%d"}' % number, b"[]", rng.randbytes(50)])
        yield value, None, (("provider", provider.encode()),), rng.choice([-1, 0, 1_790_000_000_000])


def test_the_number_of_series_is_bounded_whatever_comes():
    line = Line()
    numbers = [len(samples(line.metrics))]
    for seed in (1, 2, 3):
        found = raw_traffic(seed)
        line.chunk(MTA, found["mta"])
        line.chunk(SMS, found["sms"])
        line.chunk(CONTROL, found["control"])
        for topic in (MTA, SMS, CONTROL, EVENTS):
            line.chunk(topic, hostile_records(seed))
        line.chunk(EVENTS, hostile_events(seed))
        numbers.append(len(samples(line.metrics)))
    assert numbers == sorted(numbers)
    assert numbers[-1] < MOST_SERIES
    assert sum(sample.value for sample in samples(line.metrics) if sample.name == "delivery_dead_letters_total") > 2_000
    for sample in samples(line.metrics):
        for label, value in sample.labels.items():
            assert label == "le" or value in VOCABULARY[label], sample


def test_no_traffic_at_all_can_make_more_series_than_there_are_words_for():
    """Whatever the stages may do, the closed vocabularies leave no more than this."""
    by_labels = {sample.name: tuple(sorted(sample.labels)) for sample in samples(Metrics(STAGE_NAMES))}
    most = 0
    for name, labels in by_labels.items():
        combinations = 1
        for label in labels:
            combinations *= 20 if label == "le" else len(VOCABULARY[label])
        # From and to are pairs of statuses of one channel that contradict, or follow, each other.
        most += combinations // 4 if {"from", "to"} <= set(labels) else combinations
        assert combinations < 10_000, name
    assert most < 10_000


def test_a_gateway_exports_what_there_are_words_for():
    for sample in samples(GatewayMetrics()):
        for label, value in sample.labels.items():
            assert label == "le" or value in VOCABULARY[label], sample


# Used, and used rightly


@pytest.fixture(scope="module")
def exported():
    return exported_series()


def queries():
    """Give what dashboards and rules ask for, with where it stands."""
    for uid, dashboard in read_dashboards().items():
        for panel in panels_of(dashboard):
            for target in panel["targets"]:
                yield f"{uid}: {panel['title']}", target["expr"]
        for variable in dashboard["templating"]["list"]:
            if variable["type"] == "query":
                yield f"{uid}: {variable['name']}", variable["query"]
    for rule in RULES:
        yield rule.get("alert", rule.get("record")), rule["expr"]


_SELECTOR = re.compile(r"(?<![\w:])(delivery_[a-z0-9_]+)(?![\w:])(?:\{([^}]*)\})?")
_MATCHER = re.compile(r'(\w+)(=~|!~|!=|=)"([^"]*)"')
_JUDGES = {
    "=": lambda value, wanted: value == wanted,
    "!=": lambda value, wanted: value != wanted,
    "=~": lambda value, wanted: re.fullmatch(wanted, value) is not None,
    "!~": lambda value, wanted: re.fullmatch(wanted, value) is None,
}


def finds(labels, matchers):
    """Say whether a series of these labels is asked for; what the reader or the scrape decides is passed over."""
    return all(
        _JUDGES[operator](labels.get(name, ""), wanted)
        for name, operator, wanted in _MATCHER.findall(matchers)
        if not wanted.startswith("$") and name not in {"job", "instance"}
    )


def test_every_selector_finds_a_series_that_is_there_from_the_start(exported):
    with every_case() as case:
        for where, query in queries():
            for name, matchers in _SELECTOR.findall(query):
                with case(f"{where}: {name}{{{matchers}}}"):
                    assert any(finds(labels, matchers) for labels in exported.get(name, ()))
                    asked = {label for label, _, _ in _MATCHER.findall(matchers)}
                    assert asked <= {"job", "instance", *exported[name][0]}, "a label that it does not have"


def test_every_metric_is_used_by_a_dashboard_or_a_rule():
    families = (*Metrics(STAGE_NAMES).registry.collect(), *GatewayMetrics().registry.collect())
    known = {family.name + "_total" * (family.type == "counter") for family in families if not is_standard(family.name)}
    asked = {
        re.sub(r"_(bucket|sum|count)$", "", name) for _, query in queries() for name, _ in _SELECTOR.findall(query)
    }
    assert known - asked == set(), "nobody looks at these"


def documents():
    for folder in ("docs", "ops"):
        yield from (path for path in (ROOT / folder).rglob("*.md") if "providers" not in path.parts)
    yield ROOT / "README.md"


def test_every_metric_in_the_docs_exists(exported):
    families = {re.sub(r"_(bucket|sum|count)$", "", name) for name in exported}
    known = {*exported, *families, *RECORDED, *NO_METRICS}
    with every_case() as case:
        for path in documents():
            with case(str(path.relative_to(ROOT))):
                for name in METRIC.findall(path.read_text(encoding="utf-8")):
                    live = name if name in NO_METRICS else name.replace(SHADOW, "delivery_", 1)
                    assert live in known or ":" in name, name


# True when summed


class Watch:
    """Reads the pages of two workers while partitions move from one to the other."""

    def __init__(self, trial, recount) -> None:
        self.trial, self.recount = trial, recount
        self.looks = 0

    @staticmethod
    def of(page, name):
        """Give the values of a gauge by its labels."""
        return {
            tuple(sorted(sample.labels.items())): sample.value
            for family in text_string_to_metric_families(page)
            for sample in family.samples
            if sample.name == name
        }

    async def look(self, one, other) -> None:
        """Compare the sum with the truth; pages are not of one moment, so one is read before and after the other."""
        (_, before), (_, between), (_, after) = (
            await one.get("/metrics"),
            await other.get("/metrics"),
            await one.get("/metrics"),
        )
        if self.of(before, "delivery_messages") != self.of(after, "delivery_messages"):
            return
        self.looks += 1
        total = Counter(self.of(before, "delivery_messages"))
        total.update(self.of(between, "delivery_messages"))
        for labels, number in total.items():
            known = dict(labels)
            assert 0 <= number <= self.recount[known["channel"], known["status"]], "counted twice, or less than nothing"
        for page in (before, between):
            assert sum(self.of(page, "delivery_conservation_error").values()) == 0

    async def until(self, condition, one, other) -> None:
        """Look again and again until something holds."""

        async def holds():
            await self.look(one, other)
            return await condition()

        await self.trial.eventually(holds, "the partitions have moved")


@pytest.mark.kafka
@pytest.mark.slow
async def test_gauges_of_two_workers_add_up_to_the_truth_while_partitions_move(trial):
    start = datetime.now(timezone.utc) - timedelta(hours=5)
    events = canonical_events(5, 3_000, start, out_of_order=0.1, duplicates=0.05)
    stays = await trial.start_worker()
    await stays.ready()
    await trial.publish_events(list(islice(events, 6_000)))
    await trial.settled()
    rows = await trial.rows()
    recount = Counter((row.channel.value, row.status.value) for row in rows.values())
    await trial.assert_gauges_say(recount)

    partitions = len(trial.inputs())
    leaves = await trial.start_worker()
    watch = Watch(trial, recount)

    async def running(*workers):
        return [(await worker.states()).get("running", 0) for worker in workers]

    async def is_shared():
        numbers = await running(stays, leaves)
        return sum(numbers) == partitions and all(numbers)

    await watch.until(is_shared, stays, leaves)
    await trial.assert_gauges_say(recount)
    # What only the owner of a partition tells, nobody else does.
    _, one = await stays.get("/metrics")
    _, other = await leaves.get("/metrics")
    assert not watch.of(one, "delivery_lag_records").keys() & watch.of(other, "delivery_lag_records").keys()
    assert sum(watch.of(one, "delivery_partition_state").values()) < partitions

    await watch.look(stays, leaves)
    assert await leaves.stop() == 0

    async def has_all():
        return await running(stays) == [partitions]

    await trial.eventually(has_all, "one has everything again")
    await trial.assert_gauges_say(recount)
    assert watch.looks >= 2
