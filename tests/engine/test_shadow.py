"""A shadow commits how far it has read the live topics: never in the place of the live group."""

import pytest
from aiokafka import TopicPartition
from aiokafka.structs import OffsetAndMetadata

from processor.engine.proof import Proof
from processor.engine.shadow import problems_of_group
from processor.settings import Settings

SHADOW = Settings(topic_prefix="new.", app_id="new", shadow_of="delivery.")
PROOF = Proof(10, 5).text()


def problems(topic: str, offset: int = 7, metadata: str = "") -> list[str]:
    return problems_of_group(SHADOW, {TopicPartition(topic, 0): OffsetAndMetadata(offset, metadata)})


def test_a_new_group_is_the_shadows():
    assert problems_of_group(SHADOW, {}) == []


@pytest.mark.parametrize("topic", ["delivery.mta.v1", "delivery.events.v1", "delivery.control.v1"])
def test_what_a_shadow_has_read_of_the_live_topics_is_its_own(topic):
    assert problems(topic) == []


@pytest.mark.parametrize("topic", ["new.receipts.v1", "new.events.v1", "other.receipts.v1"])
def test_what_it_has_worked_on_elsewhere_does_not_matter(topic):
    assert problems(topic, metadata=PROOF) == []


@pytest.mark.parametrize(
    ("topic", "metadata"), [("delivery.receipts.v1", ""), ("delivery.events.v1", PROOF), ("delivery.control.v1", PROOF)]
)
def test_a_group_that_has_worked_on_them_is_live(topic, metadata):
    (problem,) = problems(topic, metadata=metadata)
    assert problem.startswith("DELIVERY_APP_ID is 'new', a group that has worked on delivery.* itself")
    assert "give the shadow a group of its own" in problem


def test_an_offset_that_was_never_committed_says_nothing():
    assert problems("delivery.receipts.v1", offset=-1) == []
