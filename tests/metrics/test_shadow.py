"""Nothing that watches the live workers takes in what a shadow exports."""

from prometheus_client.exposition import choose_encoder
from prometheus_client.parser import text_string_to_metric_families

from processor.metrics import Metrics
from processor.metrics.shadow import ShadowRegistry
from processor.settings import Settings
from processor.stages import STAGE_NAMES, stage_names


def samples(registry):
    encode, _ = choose_encoder("text/plain")
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(encode(registry).decode())
        for sample in family.samples
        if not sample.name.startswith("process_")
    }


def test_every_metric_of_a_shadow_has_a_name_of_its_own_and_the_same_samples():
    metrics = Metrics(STAGE_NAMES)
    metrics.commit_seconds.labels(("fold",)).observe(0.3)
    metrics.rebalances.inc(3)
    live, shadow = samples(metrics.registry), samples(ShadowRegistry(metrics.registry))
    assert shadow == {
        (name.replace("delivery_", "delivery_shadow_", 1), labels): value for (name, labels), value in live.items()
    }
    assert {name for name, _ in live} & {name for name, _ in shadow} == set()


def test_a_shadow_tells_of_one_stage_more():
    assert stage_names(Settings()) == STAGE_NAMES
    assert set(stage_names(Settings(shadow_of="delivery."))) - set(STAGE_NAMES) == {"mirror"}
