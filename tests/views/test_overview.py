"""What all workers report of themselves, put together."""

from typing import Any

import pytest

from processor.domain.status import Channel, Status
from processor.views.overview import UNKNOWN, Input, PartitionReport, Reports, WorkerReport
from processor.watch.evidence import Evidence
from processor.watch.findings import Contradiction, Found, Partial, Stuck, merge
from processor.watch.silence import Answering
from processor.watch.tallies import DeadLetterTally
from processor.wire.deadletters import DeadReason
from tests.views.told import MINUTE, NOW

MESSAGES = Input("fold", "events", 3)
INPUTS = (Input("normalize", "mta", 2), MESSAGES)
NOBODY: dict[str, dict[str, int]] = {channel.value: dict.fromkeys([s.value for s in Status], 0) for channel in Channel}


def partial(*, now: int = NOW, **more: Any) -> Partial:
    empty = merge([])
    given = {name: getattr(empty, name) for name in empty.__struct_fields__}
    return Partial(**{**given, "now": now, "partitions": 1, **more})


def report(url: str, *numbers: int, **more: Any) -> WorkerReport:
    """A worker that runs these partitions of messages and knows nothing special of them."""
    partitions = tuple(PartitionReport("fold", "events", number, "running", 0, None) for number in numbers)
    given = {"events_per_second": 0.0, "dead_letters": (), "partitions": partitions}
    return WorkerReport(url, **{**given, "partials": {number: partial() for number in numbers}, **more})


def reports(*several: WorkerReport) -> Reports:
    return Reports(several, INPUTS, MESSAGES)


def overview(*several: WorkerReport, owners: dict[tuple[str, int], str] | None = None) -> Any:
    return reports(*several).overview(NOBODY, {}, owners or {})


def stuck(delivery: str, messages: int, since: int = NOW) -> Stuck:
    return Stuck(Channel.EMAIL, Status.PENDING, delivery, "ses", messages, (Found(since, f"m-{delivery}"),))


class TestCompleteness:
    def test_all_partitions_reported(self):
        assert reports(report("a", 0, 2), report("b", 1)).incomplete == ()

    def test_partitions_that_nobody_reports_are_named(self):
        assert reports(report("a", 0)).incomplete == (1, 2)
        assert reports().incomplete == (0, 1, 2)

    def test_one_that_recovers_is_there_and_says_nothing_yet(self):
        recovering = PartitionReport("fold", "events", 1, "recovering", None, 0.5)
        found = report("a", 0, 2, partitions=(*report("a", 0, 2).partitions, recovering))
        assert reports(found).incomplete == (1,)
        shown = {at.partition: at for at in overview(found).partitions if at.topic == "events"}
        assert (shown[1].state, shown[1].progress, shown[1].lag) == ("recovering", 0.5, None)

    def test_one_that_changes_hands_counts_once(self):
        both = [report(url, 0, 1, 2, partials={0: partial(stuck_deliveries={"DM1": 5})}) for url in "ab"]
        assert reports(*both).partial.stuck_deliveries == {"DM1": 5}


class TestPartitions:
    def test_every_partition_of_every_topic_has_a_line(self):
        lines = overview(report("a", 0, 1)).partitions
        assert [(at.stage, at.topic, at.partition) for at in lines] == [
            ("normalize", "mta", 0),
            ("normalize", "mta", 1),
            ("fold", "events", 0),
            ("fold", "events", 1),
            ("fold", "events", 2),
        ]
        assert [at.state for at in lines] == [UNKNOWN, UNKNOWN, "running", "running", UNKNOWN]

    def test_the_owner_of_one_that_is_not_reported_may_be_known_all_the_same(self):
        lines = overview(report("a", 0, 1), owners={("events", 2): "b"}).partitions
        assert [at.owner for at in lines] == [None, None, "a", "a", "b"]


class TestSums:
    def test_rates_and_dead_letters(self):
        def dead(reason: DeadReason, records: int, time: int) -> DeadLetterTally:
            return DeadLetterTally(reason, records, time, "mta", 0, time, f"at {time}")

        one = report("a", 0, events_per_second=1.26, dead_letters=(dead(DeadReason.INVALID_JSON, 2, 5),))
        other = report(
            "b",
            1,
            2,
            events_per_second=2.0,
            dead_letters=(dead(DeadReason.INVALID_JSON, 3, 4), dead(DeadReason.EMPTY_VALUE, 1, 9)),
        )
        told = overview(one, other)
        assert told.throughput.events_per_second == 3.3
        assert told.wrong.dead_letters == {"invalid_json": 5, "empty_value": 1}
        items = {at.reason: at for at in reports(one, other).dead_letters().items}
        assert (items[DeadReason.INVALID_JSON].detail, items[DeadReason.INVALID_JSON].records) == ("at 5", 5)

    def test_messages_only_at_statuses_that_their_channel_has(self):
        told = overview(report("a", 0, 1, 2)).messages
        assert "received_on_mobile" not in told["email"]
        assert set(told["sms"]) == {status.value for status in Status}


class TestLists:
    def test_the_overview_shows_the_largest_and_the_list_all(self):
        groups = tuple(stuck(f"DM{number}", number + 1) for number in range(15))
        found = report("a", 0, 1, 2, partials={0: partial(stuck=groups), 1: partial(), 2: partial()})
        assert [at.messages for at in reports(found).stuck().items] == list(range(15, 0, -1))
        assert [at.messages for at in overview(found).wrong.stuck] == list(range(15, 5, -1))

    def test_messages_whose_delivery_nobody_named(self):
        found = report("a", 0, 1, 2, partials={0: partial(stuck=(stuck("", 1, NOW - MINUTE),))})
        [told] = reports(found).stuck().items
        assert (told.delivery_id, told.since, told.sample[0].since) == (
            None,
            "2026-11-23T07:59:00Z",
            "2026-11-23T07:59:00Z",
        )

    def test_contradictions(self):
        of = Contradiction(Channel.SMS, "ignored", "sent", None, 7, (Found(NOW, "m-1"),))
        [told] = reports(report("a", 0, partials={0: partial(contradictions=(of,))})).contradictions().items
        assert (told.standing, told.reported, told.messages, told.sample[0].message_id) == ("ignored", "sent", 7, "m-1")

    def test_only_silent_providers_are_wrong(self):
        spans: Any = ({}, {}, {}, {})
        known = {"provider": "ses", "heard": NOW, "waiting_since": None, "delays": spans}
        flowing = Evidence(**{**{name: {} for name in Evidence.__struct_fields__}, **known})
        found = report("a", 0, 1, 2, partials={0: partial(providers=(flowing,))})
        [told] = reports(found).providers().items
        assert (told.provider, told.answering, told.heard, told.quiet) == (
            "ses",
            Answering.FLOWING,
            "2026-11-23T08:00:00Z",
            0.0,
        )
        assert overview(found).wrong.silent == ()


@pytest.mark.parametrize("several", [(), (report("a"),)])
def test_of_nothing_there_is_nothing_to_tell(several):
    told = reports(*several)
    assert (told.stuck().items, told.contradictions().items, told.providers().items) == ((), (), ())
    assert all(at.stuck == 0 and at.oldest is None for at in told.stuck().waiting)
