"""The guard of a shadow: it may not join a group that has worked on the live topics.

A shadow commits how far it has read them. In the live group that would be the live workers' place, even while none of
them runs: what the shadow has read, they would never read.
"""

from __future__ import annotations

from collections.abc import Mapping

from aiokafka import TopicPartition
from aiokafka.structs import OffsetAndMetadata

from processor.engine.proof import read_proof
from processor.settings import Settings
from processor.wire.topics import PUBLISHED, RECEIPTS


def problems_of_group(settings: Settings, committed: Mapping[TopicPartition, OffsetAndMetadata]) -> list[str]:
    """Return why a shadow may not join its group, by what the group has committed; with the mend.

    A live group reads its receipts, which no shadow does, and commits its offsets with proofs.
    """
    receipts = settings.topic(RECEIPTS.of_live())
    published = {settings.topic(topic.of_live()) for topic in PUBLISHED}
    is_live = any(
        tp.topic == receipts or (tp.topic in published and read_proof(place.metadata) is not None)
        for tp, place in committed.items()
        if place.offset >= 0
    )
    if not is_live:
        return []
    problem = (
        f"DELIVERY_APP_ID is {settings.app_id!r}, a group that has worked on {settings.shadow_of}* itself "
        "(DELIVERY_SHADOW_OF): give the shadow a group of its own"
    )
    return [problem]
