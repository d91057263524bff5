"""All stages of a live group and of its shadow, without a broker: with other partitions, messages stand the same."""

from collections import defaultdict
from datetime import datetime, timedelta, timezone
from random import Random
from typing import Any, NamedTuple

import pytest

from processor.demo.simulate import canonical_events, traffic
from processor.engine.stage import Outbox, Partitioning, Positions
from processor.metrics import Metrics
from processor.settings import Settings
from processor.stages import stage_names, stages
from processor.wire.links import is_moved
from processor.wire.partitioner import partition_of
from processor.wire.rows import decode_row
from processor.wire.topics import CONTROL, EVENTS, LINKS, MESSAGES, MTA, SMS, TOPICS

NOW = datetime(2026, 11, 28, 12, tzinfo=timezone.utc)
NOW_MS = int(NOW.timestamp() * 1000)
BY_NAME = {"mta": MTA, "sms": SMS, "control": CONTROL, "links": LINKS, "events": EVENTS}


class Kept(NamedTuple):
    """A record as a topic keeps it."""

    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: tuple


class Cluster:
    """Topics and partitions of a broker."""

    def __init__(self) -> None:
        self.records: dict[tuple[str, int], list[Kept]] = defaultdict(list)

    def write(self, place: tuple[str, int], timestamp: int, key: Any, value: Any, headers: Any) -> None:
        kept = self.records[place]
        kept.append(Kept(len(kept), timestamp, key, value, tuple(headers)))


class Installation:
    """A group: its stages work off what the cluster has."""

    def __init__(self, cluster: Cluster, settings: Settings, partitions: dict[str, int]) -> None:
        self.cluster, self.settings = cluster, settings
        counts = {f"{prefix}{topic.name}": number for prefix, number in partitions.items() for topic in TOPICS}
        self._read: dict[tuple[str, int], int] = defaultdict(int)
        self._works, self._outputs = {}, {}
        metrics = Metrics(stage_names(settings))
        for stage in stages(settings, metrics, clock=NOW.timestamp):
            for topic in map(settings.topic, stage.inputs):
                for number in range(counts[topic]):
                    place = topic, number
                    self._works[place] = stage.start_work(Partitioning(topic, number, counts, "cluster"))
                    self._outputs[place] = frozenset(map(settings.topic, stage.outputs))

    def work(self) -> None:
        """Process until there is nothing new."""
        while sum(self._chunk(place) for place in self._works):
            pass

    def _chunk(self, place: tuple[str, int]) -> bool:
        records = self.cluster.records[place][self._read[place] :]
        if not records:
            return False
        outbox = Outbox(NOW_MS, topics=self._outputs[place])
        self._works[place].process(records, outbox)
        self._works[place].committed(Positions())
        self._read[place] += len(records)
        for written, told in outbox.records.items():
            for record in told:
                self.cluster.write(written, *record)
        return True

    def rows(self) -> dict[str, Any]:
        """Give the last row of every message."""
        latest = {
            record.key: record.value
            for (topic, _), records in self.cluster.records.items()
            if topic == self.settings.topic(MESSAGES)
            for record in records
        }
        return {
            key.decode(): decode_row(value)
            for key, value in latest.items()
            if value is not None and not is_moved(value)
        }


def published(seed: int) -> list[tuple[str, int, bytes | None, bytes, tuple]]:
    """Give what others publish: topic, timestamp, key, value, headers. Some of it came in days ago."""
    start, chance = NOW - timedelta(hours=3), Random(seed)
    told = [
        (BY_NAME[each.topic].name, each.key, each.value, each.headers)
        for each in traffic(seed, start, messages=300, rate=50, speed=3_600, controls=True, links=True)
    ]
    told += [
        (EVENTS.name, None, each, ()) for each in canonical_events(seed, 60, start, out_of_order=0.1, duplicates=0.1)
    ]
    ages = (0, 0, 60_000, 86_400_000)
    return [(topic, NOW_MS - chance.choice(ages), key, value, headers) for topic, key, value, headers in told]


@pytest.mark.parametrize("partitions", [1, 3, 8])
def test_a_shadow_with_any_number_of_partitions_makes_the_same_rows(partitions):
    cluster = Cluster()
    live = Installation(cluster, Settings(topic_prefix="live."), {"live.": 3})
    for number, (topic, timestamp, key, value, headers) in enumerate(published(partitions)):
        partition = number % 3 if key is None else partition_of(key, 3)
        cluster.write((f"live.{topic}", partition), timestamp, key, value, headers)
    live.work()
    places = {place: len(records) for place, records in cluster.records.items()}
    settings = Settings(topic_prefix="new.", app_id="new", shadow_of="live.")
    shadow = Installation(cluster, settings, {"live.": 3, "new.": partitions})
    shadow.work()
    assert {place: len(records) for place, records in cluster.records.items() if place in places} == places
    rows, expected = shadow.rows(), live.rows()
    assert len(expected) > 300
    assert {key for key in expected.keys() | rows.keys() if expected.get(key) != rows.get(key)} == set()


def test_two_that_are_shadows_of_each_other_come_to_rest():
    cluster = Cluster()
    old = Installation(cluster, Settings(topic_prefix="old.", app_id="old", shadow_of="new."), {"old.": 2, "new.": 4})
    new = Installation(cluster, Settings(topic_prefix="new.", app_id="new", shadow_of="old."), {"old.": 2, "new.": 4})
    for number, (topic, timestamp, key, value, headers) in enumerate(published(9)):
        prefix, partitions = ("old.", 2) if number % 2 else ("new.", 4)
        partition = number % partitions if key is None else partition_of(key, partitions)
        cluster.write((prefix + topic, partition), timestamp, key, value, headers)
    for _ in range(4):
        old.work()
        new.work()
    places = {place: len(records) for place, records in cluster.records.items()}
    old.work()
    assert {place: len(records) for place, records in cluster.records.items()} == places
    assert old.rows() == new.rows()
