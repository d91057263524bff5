"""What a worker tells the group of itself when it joins: Faust's own metadata, and what is ours."""

from __future__ import annotations

from typing import Any

import msgspec
from aiokafka.coordinator.protocol import ConsumerProtocolMemberMetadata
from faust.assignor.partition_assignor import PartitionAssignor

from processor.engine.members import proof


class Assignor(PartitionAssignor):
    """Faust's assignor, which joins with a proof of the worker's URL besides."""

    def metadata(self, topics: set[str]) -> ConsumerProtocolMemberMetadata:
        """Give what this worker joins with; Faust passes over the fields that it does not know."""
        theirs = super().metadata(topics)
        told: dict[str, Any] = msgspec.json.decode(theirs.user_data)
        told["proof"] = proof(self.app.settings, told["url"])
        return ConsumerProtocolMemberMetadata(theirs.version, theirs.subscription, msgspec.json.encode(told))
