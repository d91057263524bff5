"""Workers of one group that have other settings do not work beside each other: who comes later ends, and says why."""

import asyncio
import json
import sys
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.coordinator.protocol import ConsumerProtocolMemberAssignment, ConsumerProtocolMemberMetadata
from faust.assignor.partition_assignor import PartitionAssignor

from processor.engine.membership import agreement
from processor.engine.membership.agreement import (
    Agreement,
    DisagreementError,
    differences,
    disagreements_of_group,
    read_terms,
    terms,
)
from processor.engine.membership.assignor import Assignor
from processor.engine.worker import Worker
from processor.metrics import Metrics
from processor.settings import Settings
from processor.stages import STAGE_NAMES, stages

COUNTS = {"delivery.events.v1": 8}


class TestTerms:
    @pytest.mark.parametrize(
        ("other", "named"),
        [
            ({"retention": 86_400.0}, "DELIVERY_RETENTION is '86400' here, and '2592000' at others"),
            ({"message_id_names": ("id", "message_id")}, "DELIVERY_MESSAGE_ID_NAMES is 'id,message_id' here"),
            ({"delivery_id_names": ("batch",)}, "DELIVERY_DELIVERY_ID_NAMES is 'batch' here"),
            ({"provider_by_topic": {"delivery.mta.v1": "kumomta"}}, "DELIVERY_PROVIDER_BY_TOPIC is 'delivery.mta.v1=k"),
            ({"max_record_bytes": 5_000}, "DELIVERY_MAX_RECORD_BYTES is '5000' here"),
        ],
    )
    def test_name_what_decides_the_result_of_an_event(self, other, named):
        [problem] = differences(terms(Settings(**other), COUNTS), terms(Settings(), COUNTS))
        assert problem.startswith(named)

    def test_say_nothing_of_what_each_worker_may_have_for_itself(self):
        own = Settings(http_port=1, store="rocksdb", chunk_records=1, log_level="DEBUG", write_token="w" * 16)
        assert differences(terms(own, COUNTS), terms(Settings(), COUNTS)) == []
        assert "w" * 16 not in str(terms(own, COUNTS))

    def test_name_the_partitions_that_there_are_and_not_those_that_topics_are_created_with(self):
        assert differences(terms(Settings(partitions=3), COUNTS), terms(Settings(), COUNTS)) == []
        [problem] = differences(terms(Settings(), {"delivery.events.v1": 4}), terms(Settings(), COUNTS))
        assert problem == "partitions of events.v1 is '4' here, and '8' at others"

    def test_are_the_same_in_whatever_order_pairs_are_given(self):
        one = Settings(provider_by_topic={"a": "x", "b": "y"})
        assert terms(one, COUNTS) == terms(Settings(provider_by_topic={"b": "y", "a": "x"}), COUNTS)

    def test_that_are_long_are_compared_by_their_digests(self):
        names = tuple(f"name-{number}" for number in range(1_000))
        told = terms(Settings(message_id_names=names), COUNTS)
        assert max(len(text) for text in told.values()) < 200
        assert differences(told, terms(Settings(message_id_names=(*names, "more")), COUNTS))

    def test_that_only_one_version_knows_are_no_disagreement(self):
        assert differences({"a": "1", "new": "x"}, {"a": "1", "old": "y"}) == []

    def test_name_the_layout_of_rows_to_a_version_that_does_not(self):
        ours = terms(Settings(), COUNTS)
        former = {name: told for name, told in ours.items() if name != "layout of rows"}
        assert differences(ours, former) == ["layout of rows is '2' here, and '1' at others"]
        assert differences(ours, {}) == [], "a member without terms agrees with everybody"

    @pytest.mark.parametrize(
        "user_data",
        [b"", b"no json", b"[]", b'{"terms":{"a":1}}', b'{"terms":null}', b"\xff", None, b"[" * 9_999],
    )
    def test_of_a_stranger_are_none(self, user_data):
        assert read_terms(user_data) == {}


class App(SimpleNamespace):
    """As much of Faust's app as an assignor needs; it remembers what it is told."""

    def __init__(self, url: str, told: dict[str, str]) -> None:
        sensors = SimpleNamespace(on_assignment_start=lambda _: None, on_assignment_completed=lambda *_: None)
        tables = SimpleNamespace(data={}, changelog_topics=set())
        conf = SimpleNamespace(canonical_url=url)
        super().__init__(conf=conf, tables=tables, tracer=None, sensors=sensors, terms=told, heard=[])
        self.settings, self.worker = Settings(), "app-worker-1"

    def disagree(self, problems: Any, *, is_refused: bool) -> None:
        self.heard.append((list(problems), is_refused))


class Cluster:
    @staticmethod
    def partitions_for_topic(_topic: str) -> set[int]:
        return {0, 1, 2, 3}


def assignor(url: str, **told: str) -> Assignor:
    return Assignor(App(url, told))


def joined(member: PartitionAssignor) -> ConsumerProtocolMemberMetadata:
    """Give what a member joins with, as it comes over the network."""
    return ConsumerProtocolMemberMetadata.decode(member.metadata({"events"}).encode())


def given(assignment: ConsumerProtocolMemberAssignment) -> ConsumerProtocolMemberAssignment:
    return ConsumerProtocolMemberAssignment.decode(assignment.encode())


class TestLeader:
    def test_shares_out_among_those_that_agree_and_gives_the_others_nothing_but_a_reason(self):
        leads, agrees, differs = assignor("http://a", x="1"), assignor("http://b", x="1"), assignor("http://c", x="2")
        found = leads.assign(Cluster, {"a": joined(leads), "b": joined(agrees), "c": joined(differs)})
        shares = [sorted(tp.partition for tp in given(found[member]).partitions()) for member in "abc"]
        assert sorted(shares[0] + shares[1]) == [0, 1, 2, 3]
        assert shares[2] == []
        problem = "x is '1' here, and '2' at others"
        assert leads.app.heard == [([problem], False)]

        agrees.on_assignment(given(found["b"]))
        differs.on_assignment(given(found["c"]))
        assert agrees.app.heard == []
        assert differs.app.heard == [(["x is '2' here, and '1' at others"], True)]
        assert differs.assigned_actives() == set()

    @pytest.mark.parametrize("user_data", [b"", b"no json", b"[]", b"{}", b"[" * 9_999])
    def test_gives_nothing_to_a_stranger_and_does_not_fall_over_it(self, user_data):
        leads = assignor("http://a", x="1")
        stranger = ConsumerProtocolMemberMetadata(4, ["events", "secrets"], user_data)
        found = leads.assign(Cluster, {"a": joined(leads), "s": stranger})
        assert len(given(found["a"]).partitions()) == 4
        assert given(found["s"]).partitions() == []

    def test_forgets_a_disagreement_once_the_others_have_gone(self):
        leads, differs = assignor("http://a", x="1"), assignor("http://c", x="2")
        leads.assign(Cluster, {"a": joined(leads), "c": joined(differs)})
        leads.assign(Cluster, {"a": joined(leads)})
        assert leads.app.heard[-1] == ([], False)

    def test_works_with_members_of_a_version_that_tells_nothing_and_for_a_leader_of_one(self):
        leads, old = assignor("http://a", x="1"), PartitionAssignor(App("http://b", {}))
        found = leads.assign(Cluster, {"a": joined(leads), "b": joined(old)})
        assert {len(given(found[member]).partitions()) for member in "ab"} == {2}
        old.on_assignment(given(found["b"]))
        found = old.assign(Cluster, {"a": joined(leads), "b": joined(old)})
        leads.on_assignment(given(found["a"]))
        assert len(leads.assigned_actives()) == 2
        assert leads.app.heard == [([], False)]


def response(*user_data: bytes, state: str = "Stable") -> Any:
    members = [
        ("m", "client", "/", ConsumerProtocolMemberMetadata(4, ["events"], each).encode(), b"") for each in user_data
    ]
    return SimpleNamespace(groups=[(0, "group", state, "consumer", "faust", members, -1)])


class TestGroup:
    def test_disagrees_by_each_setting_once(self):
        other = assignor("http://c", x="2", y="1").metadata({"events"}).user_data
        assert disagreements_of_group({"x": "1", "y": "1"}, response(other, other)) == [
            "x is '1' here, and '2' at others"
        ]

    def test_says_nothing_while_it_is_empty_or_told_of_by_strangers(self):
        stranger = ("m", "client", "/", b"\x00", b"")
        assert disagreements_of_group({"x": "1"}, response()) == []
        assert disagreements_of_group({"x": "1"}, response(b"no json")) == []
        [group] = response().groups
        assert disagreements_of_group({"x": "1"}, SimpleNamespace(groups=[(*group[:5], [stranger], -1)])) == []


class TestComing:
    """A worker that comes to a group of others, in virtual time."""

    @pytest.fixture
    def now(self, monkeypatch) -> SimpleNamespace:
        now = SimpleNamespace(seconds=0.0)

        async def sleep(seconds):
            now.seconds += seconds

        monkeypatch.setattr(agreement.asyncio, "sleep", sleep)
        return now

    @pytest.fixture
    def coming(self, now):
        def make(*answers: bytes | None) -> Agreement:
            left = list(answers)

            async def describe() -> Any:
                answer = left.pop(0) if len(left) > 1 else left[0]
                return None if answer is None else response(answer)

            return Agreement(Settings(session_timeout=6.0), metrics, describe, lambda: now.seconds)

        metrics = make.metrics = Metrics(STAGE_NAMES)
        return make

    async def test_to_a_group_that_differs_waits_for_as_long_as_its_members_may_be_dead_and_then_gives_way(
        self, coming, now
    ):
        agreement = coming(b'{"terms":{"x":"2"}}')
        with pytest.raises(DisagreementError) as caught:
            await agreement.wait({"x": "1"})
        assert caught.value.problems == ("x is '1' here, and '2' at others",)
        assert agreement.problems == caught.value.problems, "it is not ready, and says why"
        assert coming.metrics.registry.get_sample_value("delivery_settings_differ") == 1
        assert 6.0 < now.seconds < 20.0

    async def test_after_members_that_differed_have_gone_joins(self, coming):
        agreement = coming(b'{"terms":{"x":"2"}}', b'{"terms":{"x":"2"}}', b"{}")
        await agreement.wait({"x": "1"})
        assert agreement.problems == ()

    async def test_where_the_broker_does_not_tell_joins_and_is_judged_by_the_leader(self, coming):
        await coming(None).wait({"x": "1"})
        metrics = Metrics(STAGE_NAMES)
        worker = Worker(Settings(), stages(Settings(), metrics), metrics)
        worker._failure = asyncio.get_running_loop().create_future()
        worker._on_disagreement(["x is '1' here, and '2' at others"], is_refused=True)
        with pytest.raises(DisagreementError, match="x is '1' here"):
            await worker._failure
        assert not worker.assignment.partitions


@pytest.mark.kafka
@pytest.mark.slow
class TestWorkers:
    async def test_one_with_another_retention_ends_with_2_and_those_that_work_go_on(self, trial):
        stays = await trial.start_worker()
        await stays.ready()
        assigned = len(stays.log("partitions_assigned"))
        comes = await trial.start_worker(DELIVERY_RETENTION="7d", DELIVERY_MESSAGE_ID_NAMES="id")

        async def says_why() -> bool:
            status, body = await comes.get("/readyz")
            return status == 503 and "DELIVERY_RETENTION" in body

        await trial.eventually(says_why, "it says why it is not ready")
        assert await comes.ended() == 2
        told = comes.log_text()
        assert f"other workers of group {trial.settings.app_id} (DELIVERY_APP_ID) work by other settings" in told
        assert "DELIVERY_RETENTION is '604800' here, and '2592000' at others" in told
        assert "DELIVERY_MESSAGE_ID_NAMES is 'id' here, and 'message_id' at others" in told
        assert "Traceback" not in told
        assert len(stays.log("partitions_assigned")) == assigned, "it never joined"
        assert (await stays.get("/readyz"))[0] == 200

    async def test_that_come_at_once_are_parted_by_the_leader(self, trial):
        """Neither finds a group when it looks; only one of them ever gets partitions."""
        blind = (
            "from processor.engine.membership import agreement; agreement.disagreements_of_group = lambda *_: [];"
            "from processor.cli import main; main()"
        )
        command = (sys.executable, "-c", blind, "worker")
        one = await trial.start_worker(command)
        await one.ready()
        other = await trial.start_worker(command, DELIVERY_RETENTION="7d")
        assert await other.ended() == 2
        assert "DELIVERY_RETENTION is '604800' here, and '2592000' at others" in other.log_text()
        assert not other.log("partition_running")
        # As often as the group was shared out until the other had left it.
        lines = one.log("settings_differ")
        assert lines
        assert all("DELIVERY_RETENTION" in json.dumps(line["problems"]) for line in lines)
        await one.ready()
        await trial.eventually(lambda: no_longer_told(one), "the gauge falls once the other has gone")
        assert await one.stop() == 0

    async def test_all_that_are_stopped_first_may_come_back_with_another_retention(self, trial):
        old = await trial.start_worker()
        await old.ready()
        assert await old.stop() == 0
        new = await trial.start_worker(DELIVERY_RETENTION="7d")
        await new.ready()
        assert new.log("settings_differ") == []


async def no_longer_told(worker: Any) -> bool:
    return await worker.metric("delivery_settings_differ") == 0


def test_partitions_are_told_apart_from_those_of_another_prefix():
    other = terms(Settings(topic_prefix="other."), {"other.events.v1": 8})
    assert differences(other, terms(Settings(), COUNTS)) == [
        "DELIVERY_TOPIC_PREFIX is 'other.' here, and 'delivery.' at others"
    ]
