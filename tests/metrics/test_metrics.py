"""The metrics page: clean by Prometheus' own judgement, bounded whatever comes, and its fast histogram exact."""

import subprocess
from random import Random

import pytest
from prometheus_client import CollectorRegistry, Histogram, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from processor.metrics import NO_PROVIDER, OTHER_PROVIDER, BulkHistogram, Metrics, count, provider_label
from processor.providers import ADAPTERS
from processor.stages import STAGE_NAMES
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
        assert family.name.startswith("delivery_")
        assert family.documentation.endswith(".")


def test_no_series_tells_only_when_another_was_created(metrics):
    assert not [name for name, *_ in series(page(metrics)) if name.endswith("_created")]


def test_whatever_providers_upstream_names_there_are_no_more_series(metrics):
    before = series(page(metrics))
    for number in range(1_000):
        label = provider_label(f"provider-{number}")
        count(metrics.events, {("email", label, "applied"): 1})
        count(metrics.dead_letters, {("unknown_provider", label): 1})
        metrics.see_event(label, float(number))
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
    for time in (5.0, 9.0, 7.0):
        metrics.see_event("ses", time)
    assert 'delivery_last_event_timestamp_seconds{provider="ses"} 9.0' in page(metrics)


@pytest.mark.parametrize("seed", range(20))
def test_the_bulk_histogram_says_what_prometheus_own_histogram_says(seed):
    rng = Random(seed)
    buckets = sorted({rng.choice([0.1, 0.5, 1, 5, 10, 60, 3_600]) for _ in range(5)})
    bulk = BulkHistogram("age", "Age.", "channel", ["email", "sms"], buckets)
    registry, bulks = CollectorRegistry(), CollectorRegistry()
    bulks.register(bulk)
    theirs = Histogram("age", "Age.", ["channel"], buckets=buckets, registry=registry)
    for channel in ("email", "sms"):
        theirs.labels(channel)
    for _ in range(rng.randrange(10)):
        channel = rng.choice(["email", "sms"])
        # On a bucket's bound, below all, above all; whole numbers, so that sums do not depend on their order.
        values = [float(rng.choice([0, 1, 5, 10, 60, 3_600, -3, 10**9])) for _ in range(rng.randrange(50))]
        bulk.observe_many(channel, values)
        for value in values:
            theirs.labels(channel).observe(value)
    assert generate_latest(bulks) == generate_latest(registry)


def test_an_empty_chunk_changes_nothing():
    bulk = BulkHistogram("age", "Age.", "channel", ["email"], [1, 2])
    bulk.observe_many("email", [])
    [family] = bulk.collect()
    assert {sample.value for sample in family.samples} == {0}
