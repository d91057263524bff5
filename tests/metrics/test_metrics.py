"""The metrics page: clean by Prometheus' own judgement, bounded whatever comes, and its fast histogram exact."""

import subprocess
import time
from importlib.metadata import version
from random import Random

import pytest
from prometheus_client import CollectorRegistry, Histogram, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from processor.domain.fold import Verdict
from processor.domain.status import Channel, Status
from processor.domain.traits import STUCK_AFTER
from processor.domain.transitions import NODE_STATUS, TRANSITIONS, Node
from processor.metrics import (
    NEW,
    GatewayMetrics,
    Metrics,
    count,
    provider_label,
)
from processor.metrics.families import BulkHistogram
from processor.metrics.labels import (
    NO_PROVIDER,
    OTHER_PROVIDER,
    ByChannel,
    ByDeadReason,
    ByMove,
    ByPartition,
    ByStatus,
    ByVerdict,
    by_left_status,
    names_of,
    texts_of,
)
from processor.metrics.skew import ClockSkew
from processor.providers import ADAPTERS
from processor.stages import STAGE_NAMES
from processor.wire.deadletters import DeadReason
from tests.tools import require


def page(metrics: Metrics) -> str:
    return generate_latest(metrics.registry).decode()


def series(text: str) -> set[tuple]:
    families = text_string_to_metric_families(text)
    return {(sample.name, *sorted(sample.labels.items())) for family in families for sample in family.samples}


@pytest.fixture
def metrics() -> Metrics:
    return Metrics(STAGE_NAMES)


def test_promtool_finds_nothing_wrong(metrics):
    promtool = require("promtool", "prometheus")
    checked = subprocess.run(
        [promtool, "check", "metrics"], input=page(metrics), capture_output=True, text=True, check=False
    )
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", "")


def test_every_name_has_the_prefix_and_a_help_text(metrics):
    for family in text_string_to_metric_families(page(metrics)):
        assert family.name.startswith(("delivery_", "process_"))
        assert family.documentation.endswith(".")


@pytest.mark.parametrize("make", [lambda: Metrics(STAGE_NAMES, "3f2c1de"), lambda: GatewayMetrics("3f2c1de")])
def test_a_process_says_what_it_runs_and_what_it_uses(make):
    registry = make().registry
    build = {"version": version("delivery-status"), "commit": "3f2c1de"}
    assert registry.get_sample_value("delivery_build_info", build) == 1
    before = registry.get_sample_value("process_cpu_seconds_total")
    assert before is not None
    assert registry.get_sample_value("process_resident_memory_bytes") > 1_000_000
    assert registry.get_sample_value("process_open_fds") > 2
    assert registry.get_sample_value("process_start_time_seconds") <= time.time()
    sum(range(10_000_000))
    assert registry.get_sample_value("process_cpu_seconds_total") > before


def test_no_series_tells_only_when_another_was_created(metrics):
    assert not [name for name, *_ in series(page(metrics)) if name.endswith("_created")]


def test_whatever_providers_upstream_names_there_are_no_more_series(metrics):
    before = series(page(metrics))
    for number in range(1_000):
        label = provider_label(f"provider-{number}")
        count(metrics.events, {ByVerdict(Channel.EMAIL, label, Verdict.APPLIED): 1})
        count(metrics.dead_letters, {ByDeadReason(DeadReason.UNKNOWN_PROVIDER, label): 1})
        metrics.see_event(label, float(number))
        metrics.see_skew(label, 1.0, float(number))
    assert series(page(metrics)) == before
    assert len(before) < 5_000


@pytest.mark.parametrize(
    ("named", "label"),
    [("pigeon-post", OTHER_PROVIDER), ("KumoMTA", OTHER_PROVIDER), ("", NO_PROVIDER), (None, NO_PROVIDER)],
)
def test_a_provider_without_an_adapter_has_no_label_of_its_own(named, label):
    assert provider_label(named) == label


def test_a_provider_with_an_adapter_is_its_own_label():
    assert [provider_label(name) for name in ADAPTERS] == list(ADAPTERS)


def test_the_latest_event_time_of_a_provider_never_goes_back(metrics):
    for moment in (5.0, 9.0, 7.0):
        metrics.see_event("ses", moment)
    assert 'delivery_last_event_timestamp_seconds{provider="ses"} 9.0' in page(metrics)


@pytest.mark.parametrize("seed", range(20))
def test_the_bulk_histogram_says_what_prometheus_own_histogram_says(seed):
    rng = Random(seed)
    buckets = sorted({rng.choice([0.1, 0.5, 1, 5, 10, 60, 3_600]) for _ in range(5)})
    bulk = BulkHistogram("age", "Age.", ByChannel, [ByChannel(channel) for channel in Channel], buckets)
    registry, bulks = CollectorRegistry(), CollectorRegistry()
    bulks.register(bulk)
    theirs = Histogram("age", "Age.", ["channel"], buckets=buckets, registry=registry)
    for channel in Channel:
        theirs.labels(channel.value)
    for _ in range(rng.randrange(10)):
        channel = rng.choice([*Channel])
        # On a bucket's bound, below all, above all; whole numbers, so that sums do not depend on their order.
        values = [float(rng.choice([0, 1, 5, 10, 60, 3_600, -3, 10**9])) for _ in range(rng.randrange(50))]
        bulk.observe_many(ByChannel(channel), values)
        for value in values:
            theirs.labels(channel.value).observe(value)
    assert generate_latest(bulks) == generate_latest(registry)


def test_the_bulk_histogram_may_have_several_labels():
    known = [ByStatus(channel, Status.SENT) for channel in Channel]
    bulk = BulkHistogram("stay", "Stay.", ByStatus, known, [1, 2])
    bulk.observe_many(ByStatus(Channel.SMS, Status.SENT), [0.5, 1.5, 9.0])
    bulks = CollectorRegistry()
    bulks.register(bulk)

    def counted(channel, bound):
        return bulks.get_sample_value("stay_bucket", {"channel": channel, "status": "sent", "le": bound})

    assert [counted("sms", bound) for bound in ("1.0", "2.0", "+Inf")] == [1, 2, 3]
    assert counted("email", "+Inf") == 0
    assert bulks.get_sample_value("stay_sum", {"channel": "sms", "status": "sent"}) == 11


def test_an_empty_chunk_changes_nothing():
    bulk = BulkHistogram("age", "Age.", ByChannel, [ByChannel(Channel.EMAIL)], [1, 2])
    bulk.observe_many(ByChannel(Channel.EMAIL), [])
    [family] = bulk.collect()
    assert {sample.value for sample in family.samples} == {0}


def test_the_bulk_histogram_passes_over_what_it_does_not_know():
    bulk = BulkHistogram("age", "Age.", ByChannel, [ByChannel(Channel.EMAIL)], [1, 2])
    bulk.observe_many(ByChannel(Channel.SMS), [1.0])
    [family] = bulk.collect()
    assert {sample.value for sample in family.samples} == {0}


def test_every_status_that_can_be_left_has_its_time():
    expected = {
        (channel, NODE_STATUS[node])
        for channel, table in TRANSITIONS.items()
        for node in table
        for after in table[node]
        if NODE_STATUS[after] is not NODE_STATUS[node]
    }
    assert set(by_left_status()) == expected
    assert {(Channel.SMS, Status.SENT), (Channel.EMAIL, Status.FAILED)} <= expected
    assert (Channel.SMS, Status.RECEIVED_ON_MOBILE) not in expected


def test_what_may_go_wrong_is_shown_at_0_from_the_start(metrics):
    stuck = (
        "delivery_stuck_messages",
        "delivery_stuck_cleared_total",
        "delivery_oldest_in_status_seconds",
        "delivery_time_in_status_seconds_count",
    )
    by_provider = ("delivery_clock_skew_seconds", "delivery_provider_silent_seconds")
    providers = (*ADAPTERS, OTHER_PROVIDER, NO_PROVIDER)
    causes = ("scheduled", "concurrency_limit", "mta_resources")
    expected = [
        *((name, {"channel": channel, "status": status}) for channel, status in STUCK_AFTER for name in stuck),
        *((name, {"provider": provider}) for provider in providers for name in by_provider),
        *(("delivery_pending_deliveries", {"cause": cause}) for cause in causes),
    ]
    shown = {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in metrics.registry.collect()
        for sample in family.samples
    }
    missing = [(name, labels) for name, labels in expected if shown.get((name, *sorted(labels.items()))) != 0]
    assert missing == []


class TestLabels:
    def test_are_named_as_their_fields(self):
        assert names_of(ByMove) == ("channel", "from", "to")

    def test_are_the_words_of_the_wire(self):
        assert texts_of(ByMove(Channel.SMS, NEW, Node.FAILED_GAVE_UP)) == ("sms", "new", "failed_gave_up")
        assert texts_of(ByPartition("delivery.events.v1", 7)) == ("delivery.events.v1", "7")

    def test_that_are_gone_are_not_shown(self, metrics):
        one, other = ByPartition("delivery.events.v1", 0), ByPartition("delivery.events.v1", 1)
        metrics.lag.labels(one).set(3)
        metrics.lag.labels(other).set(4)
        metrics.lag.remove(one)
        assert [line for line in page(metrics).splitlines() if line.startswith("delivery_lag_records{")] == [
            'delivery_lag_records{partition="1",topic="delivery.events.v1"} 4.0'
        ]

    @pytest.mark.parametrize("all_of_them", [False, True])
    def test_that_are_gone_and_come_again_are_shown_again(self, metrics, all_of_them):
        labels = ByPartition("delivery.events.v1", 0)
        metrics.lag.labels(labels).set(3)
        if all_of_them:
            metrics.lag.clear()
        else:
            metrics.lag.remove(labels)
        metrics.lag.labels(labels).set(5)
        assert 'delivery_lag_records{partition="0",topic="delivery.events.v1"} 5.0' in page(metrics)


class TestClockSkew:
    def estimate(self, ahead, seed=1, minutes=20, count=200, slowest=5.0):
        """Give the estimate for a clock that is `ahead`, from chunks whose reports take up to so many seconds."""
        rng, skew, found = Random(seed), ClockSkew(), 0.0
        for minute in range(minutes):
            for chunk in range(5):
                quickest = min(rng.uniform(0.1, slowest) for _ in range(count))
                found = skew.see(ahead - quickest, minute * 60.0 + chunk * 10)
        return found

    @pytest.mark.parametrize("ahead", [-3_600.0, -2.0, 0.0, 2.0, 7_200.0])
    def test_is_what_the_quickest_reports_show(self, ahead):
        assert self.estimate(ahead) == pytest.approx(ahead - 0.1, abs=0.1)

    def test_of_a_right_clock_is_never_ahead(self):
        assert all(self.estimate(0.0, seed, count=1) <= 0 for seed in range(20))

    def test_is_not_decided_by_a_few_absurd_times(self):
        skew = ClockSkew()
        for minute in range(20):
            found = skew.see(-0.2, minute * 60.0)
            if minute % 4 == 0:
                found = skew.see(23 * 3_600.0, minute * 60.0 + 1)
        assert found == -0.2

    def test_follows_a_clock_that_is_set_right(self):
        skew = ClockSkew()
        for minute in range(20):
            found = skew.see(3_600.0 if minute < 10 else -0.2, minute * 60.0)
        assert found == -0.2

    def test_takes_records_that_come_late(self):
        skew = ClockSkew()
        skew.see(-1.0, 1_000.0)
        assert skew.see(-0.5, 10.0) == -0.5

    def test_is_not_told_by_records_without_a_timestamp(self, metrics):
        metrics.see_skew("ses", 1.8e9, -0.001)
        assert 'delivery_clock_skew_seconds{provider="ses"} 0.0' in page(metrics)

    def test_is_told_by_provider(self, metrics):
        metrics.see_skew("ses", 2.5, 100.0)
        metrics.see_skew("twilio", -1.5, 100.0)
        text = page(metrics)
        assert 'delivery_clock_skew_seconds{provider="ses"} 2.5' in text
        assert 'delivery_clock_skew_seconds{provider="twilio"} -1.5' in text
