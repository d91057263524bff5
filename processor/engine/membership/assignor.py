"""How a worker joins its group, and how the leader shares partitions out: as Faust does, and what is ours."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from aiokafka.cluster import ClusterMetadata
from aiokafka.coordinator.protocol import ConsumerProtocolMemberAssignment, ConsumerProtocolMemberMetadata
from faust.assignor.client_assignment import ClientAssignment, ClientMetadata
from faust.assignor.partition_assignor import PartitionAssignor

from processor.engine.membership.agreement import differences, read_terms
from processor.engine.membership.members import proof
from processor.logs import get_logger

log = get_logger(__name__)


class Assignor(PartitionAssignor):
    """Faust's assignor, which joins with a proof of the worker's URL and with its terms, and gives only to who agrees.

    It runs in the thread of the consumer. Its app has `settings` and `terms`, and `disagree` to be told what differs.
    """

    def metadata(self, topics: set[str]) -> ConsumerProtocolMemberMetadata:
        """Give what this worker joins with; Faust passes over the fields that it does not know."""
        theirs = super().metadata(topics)
        told: dict[str, Any] = msgspec.json.decode(theirs.user_data)
        told["proof"] = proof(self.app.settings, told["url"])
        return ConsumerProtocolMemberMetadata(theirs.version, theirs.subscription, self._with_terms(told))

    def assign(
        self, cluster: ClusterMetadata, member_metadata: Mapping[str, ConsumerProtocolMemberMetadata]
    ) -> dict[str, ConsumerProtocolMemberAssignment]:
        """Share partitions out among those that agree with us; the others get none, and our terms."""
        urls = {member: self._url_of(metadata) for member, metadata in member_metadata.items()}
        problems = {
            member: differences(self.app.terms, read_terms(metadata.user_data))
            for member, metadata in member_metadata.items()
        }
        agreeing = {
            member: metadata
            for member, metadata in member_metadata.items()
            if urls[member] is not None and not problems[member]
        }
        assignments = dict(super().assign(cluster, agreeing))
        for member in member_metadata.keys() - agreeing.keys():
            log.error("settings_differ", refused=urls[member], problems=problems[member])
            assignments[member] = self._refusal(urls[member] or "")
        self.app.disagree(sorted({problem for each in problems.values() for problem in each}), is_refused=False)
        return assignments

    def _url_of(self, metadata: ConsumerProtocolMemberMetadata) -> str | None:
        """Read where a member is reached; None where it is one that Faust cannot read, and would fall over."""
        try:
            url: str = self._get_client_metadata(metadata).url
        except Exception:
            return None
        return url

    def _refusal(self, url: str) -> ConsumerProtocolMemberAssignment:
        # Faust insists that a member's own URL comes back.
        nothing = ClientMetadata(
            assignment=ClientAssignment(actives={}, standbys={}), url=url, changelog_distribution={}
        )
        told = self._with_terms(msgspec.json.decode(nothing.dumps()))
        return ConsumerProtocolMemberAssignment(self.version, [], self._compress(told))

    def _with_terms(self, told: dict[str, Any]) -> bytes:
        return msgspec.json.encode({**told, "terms": self.app.terms})

    def on_assignment(self, assignment: ConsumerProtocolMemberAssignment) -> None:
        """Take what the leader gives; its terms come only with a refusal."""
        problems = differences(self.app.terms, read_terms(self._decompress(assignment.user_data)))
        if problems:
            self.app.disagree(problems, is_refused=True)
        super().on_assignment(assignment)
