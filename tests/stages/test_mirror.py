"""The mirror stage: what others publish goes into the shadow's own topics, and what the live group made stays out."""

import json

import pytest

from processor.engine.stage import Outbox, Partitioning, Positions
from processor.metrics import Metrics
from processor.settings import Settings
from processor.stages import mirror, stages
from processor.watch.board import Board
from processor.wire.links import FORGOTTEN_HEADER, MOVED_HEADER, TAKEN_BACK_HEADER
from processor.wire.mirrored import MIRRORED_HEADER
from processor.wire.partitioner import partition_of
from processor.wire.received import RECEIVED_HEADER
from processor.wire.topics import PUBLISHED, TOPICS
from tests.stages.conftest import Read

SHADOW = Settings(topic_prefix="new.", app_id="new", shadow_of="live.")
NOW = 1_790_000_000_000
COUNTS = {f"live.{topic.name}": 3 for topic in TOPICS} | {f"new.{topic.name}": 8 for topic in TOPICS}
MIRRORED = (MIRRORED_HEADER, b"live.")
EVENT = {"message_id": "m-1", "channel": "email", "status": "sent", "time": "2026-11-23T08:00:00Z"}


@pytest.fixture
def mirrored():
    """Give what comes of one record of a live topic: the topic, the partition and the record."""

    def run(topic: str, value: bytes | None, key: bytes | None = b"k", headers=(), timestamp: int = NOW, partition=2):
        metrics = Metrics(["mirror"])
        stage = mirror.stage(SHADOW, metrics, Board(metrics))
        work = stage.start_work(Partitioning(f"live.{topic}", partition, COUNTS, "cluster"))
        outbox = Outbox(NOW, topics={SHADOW.topic(each) for each in stage.outputs})
        work.process([Read(0, timestamp, key, value, headers)], outbox)
        work.committed(Positions())
        return [(*place, record) for place, records in outbox.records.items() for record in records]

    return run


def event(**fields: object) -> bytes:
    return json.dumps({**EVENT, **fields}).encode()


class TestWhatOthersPublish:
    @pytest.mark.parametrize("topic", [topic.name for topic in PUBLISHED])
    def test_is_copied_as_it_is_into_the_partition_of_its_key(self, mirrored, topic):
        headers = (("provider", b"kumomta"), ("received", None))
        [(name, partition, record)] = mirrored(topic, b"bytes of any kind", b"order-4711", headers)
        assert (name, partition) == (f"new.{topic}", partition_of(b"order-4711", 8))
        assert record == (NOW, b"order-4711", b"bytes of any kind", (*headers, MIRRORED))

    def test_without_a_key_a_partition_stays_together(self, mirrored):
        assert [mirrored("mta.v1", b"{}", None, partition=number)[0][1] for number in (0, 2, 9)] == [0, 2, 1]

    @pytest.mark.parametrize("topic", [topic.name for topic in PUBLISHED])
    def test_without_a_value_it_is_copied_too(self, mirrored, topic):
        [(_, _, record)] = mirrored(topic, None)
        assert record[1:3] == (b"k", None)

    def test_what_was_received_long_ago_says_so(self, mirrored):
        week_ago = NOW - 7 * 86_400_000
        [(_, _, record)] = mirrored("mta.v1", b"{}", timestamp=week_ago)
        assert record[3] == (MIRRORED, (RECEIVED_HEADER, str(week_ago).encode()))

    @pytest.mark.parametrize(
        "value", [event(), event(from_payload=False), b"{", b"\xff", b"[]", b"", b'{"from_payload": 1}']
    )
    def test_an_event_that_was_published_is_copied_even_if_nothing_can_be_made_of_it(self, mirrored, value):
        [(name, _, record)] = mirrored("events.v1", value)
        assert (name, record[2]) == ("new.events.v1", value)

    def test_what_cannot_go_on_is_a_dead_letter_of_the_shadow(self, mirrored):
        [(name, _, record)] = mirrored("mta.v1", b"x" * (4 * 1024 * 1024), headers=(("a", b"b"),))
        assert name == "new.dead.v1"
        assert dict(record[3])["delivery.dead.reason"] == b"record_too_large"


class TestTwoShadowsOfEachOther:
    def test_what_came_from_our_own_topics_does_not_go_back(self, mirrored):
        assert mirrored("mta.v1", b"{}", headers=((MIRRORED_HEADER, b"new."),)) == []

    def test_what_the_live_group_had_copied_from_another_one_is_copied(self, mirrored):
        older = (MIRRORED_HEADER, b"older.")
        [(_, _, record)] = mirrored("mta.v1", b"{}", headers=(older,))
        assert record[3] == (older, MIRRORED)


class TestWhatTheLiveGroupMade:
    def test_an_event_of_a_payload_is_left_out(self, mirrored):
        assert mirrored("events.v1", event(from_payload=True)) == []

    @pytest.mark.parametrize("header", [MOVED_HEADER, FORGOTTEN_HEADER, TAKEN_BACK_HEADER])
    def test_an_order_of_a_link_is_left_out(self, mirrored, header):
        assert mirrored("events.v1", event(), headers=((header, b"m-2"),)) == []

    def test_elsewhere_such_values_mean_nothing(self, mirrored):
        assert len(mirrored("mta.v1", event(from_payload=True))) == 1


class TestTheShadow:
    def test_it_has_the_same_stages_and_one_before_them(self):
        live = [stage.name for stage in stages(Settings(), Metrics())]
        assert [stage.name for stage in stages(SHADOW, Metrics())] == ["mirror", *live]

    def test_it_reads_of_the_live_group_only_what_others_publish_and_that_in_one_stage(self):
        for stage in stages(SHADOW, Metrics()):
            read = {SHADOW.topic(topic) for topic in stage.inputs}
            if stage.name == "mirror":
                assert read == {f"live.{topic.name}" for topic in PUBLISHED}
            else:
                assert all(name.startswith("new.") for name in read)

    def test_all_that_it_writes_is_its_own(self):
        assert all(
            SHADOW.topic(topic).startswith("new.") for stage in stages(SHADOW, Metrics()) for topic in stage.outputs
        )
