"""Joining the group and assigning partitions: Faust's assignor with our proof, terms and transactional id."""

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
    """Faust's assignor; it joins with a proof of the worker's URL and its terms, and assigns to members that agree.

    It runs in the consumer's thread. Its app has `settings`, `terms` and `worker`, and `disagree`, which it calls.
    """

    def metadata(self, topics: set[str]) -> ConsumerProtocolMemberMetadata:
        """Return the metadata with which this worker joins; Faust ignores unknown fields."""
        theirs = super().metadata(topics)
        told: dict[str, Any] = msgspec.json.decode(theirs.user_data)
        told["proof"] = proof(self.app.settings, told["url"])
        told["worker"] = self.app.worker
        return ConsumerProtocolMemberMetadata(theirs.version, theirs.subscription, self._with_terms(told))

    def assign(
        self, cluster: ClusterMetadata, member_metadata: Mapping[str, ConsumerProtocolMemberMetadata]
    ) -> dict[str, ConsumerProtocolMemberAssignment]:
        """Assign partitions to the members that agree with us; the others get none, and our terms."""
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
        """Read the URL of a member; None if Faust could not parse it and would raise."""
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
        """Take the leader's assignment, which has its terms only if it refuses us."""
        problems = differences(self.app.terms, read_terms(self._decompress(assignment.user_data)))
        if problems:
            self.app.disagree(problems, is_refused=True)
        super().on_assignment(assignment)
