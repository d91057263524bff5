"""Agreement of a group's workers on their settings (ADR 0014).

Every member joins with its terms, as text, in Faust's metadata. A worker does not join a group whose members differ. If
two join at once, the leader assigns partitions only to members that agree with it, and tells the others why
(assignor.py).
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import msgspec
from aiokafka.coordinator.protocol import ConsumerProtocolMemberMetadata

from processor.domain.row import ROW_LAYOUT
from processor.logs import get_logger
from processor.metrics import Metrics
from processor.settings import PREFIX, Settings, shared
from processor.wire.topics import EVENTS

log = get_logger(__name__)

#: A setting's name, or another thing to agree on, and what it is.
Terms = Mapping[str, str]

#: What former versions work by that have terms and do not name these: they set aside what we write (ADR 0018).
_UNTOLD: Terms = {"layout of rows": "1"}

#: Characters of one of the terms; a longer one is compared by its digest.
_LONGEST = 200

#: Seconds beyond the session timeout after which members that differ are no dead ones, and between looks at them.
_BEYOND_SECONDS = 5.0
_LOOK_SECONDS = 1.0


class DisagreementError(Exception):
    """The group's other members have other settings. `problems` names each with both values."""

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(self.problems))


def terms(settings: Settings, partition_counts: Mapping[str, int]) -> Terms:
    """Return the terms: the settings and facts on which the result of an event depends.

    Args:
        settings: those of the worker.
        partition_counts: of each topic, by its full name.
    """
    found = {PREFIX + name.upper(): text for name, text in shared(settings).items()}
    found["partitions of events.v1"] = str(partition_counts[settings.topic(EVENTS)])
    found["layout of rows"] = str(ROW_LAYOUT)
    return {name: _short(text) for name, text in found.items()}


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST else f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"


def differences(ours: Terms, theirs: Terms) -> list[str]:
    """Return the terms on which two members disagree; a term that a version does not know is no disagreement."""
    if theirs:
        theirs = {**_UNTOLD, **theirs}
    return [
        f"{name} is {ours[name]!r} here, and {theirs[name]!r} at others"
        for name in sorted(ours.keys() & theirs.keys())
        if ours[name] != theirs[name]
    ]


class _Told(msgspec.Struct):
    """The part of a member's metadata that assignor.py adds to Faust's."""

    terms: dict[str, str] = {}


def read_terms(user_data: bytes | None) -> Terms:
    """Read the terms in a member's metadata; none for older versions and foreign members."""
    try:
        return msgspec.json.decode(user_data or b"", type=_Told).terms
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return {}


def disagreements_of_group(ours: Terms, response: Any) -> list[str]:
    """Compare the answer to DescribeGroups with our terms; a group that is not stable gives no result."""
    [(_, _, _, _, _, members, *_)] = response.groups
    found = set()
    for _, _, _, metadata, _ in members:
        try:
            user_data = ConsumerProtocolMemberMetadata.decode(metadata).user_data
        except ValueError:
            continue
        found.update(differences(ours, read_terms(user_data)))
    return sorted(found)


class Agreement:
    """Keeps a worker out of a group whose members work by other settings, and shows on what they disagree.

    Args:
        describe: asks the broker for the group; None: it does not tell.
        monotonic: seconds.
    """

    def __init__(
        self,
        settings: Settings,
        metrics: Metrics,
        describe: Callable[[], Awaitable[Any]],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        #: On what the group that this worker would join disagrees with it.
        self.problems: tuple[str, ...] = ()
        self._metrics, self._describe, self._monotonic = metrics, describe, monotonic
        self._patience = settings.session_timeout + _BEYOND_SECONDS

    async def wait(self, ours: Terms) -> None:
        """Wait until the group's members agree with us.

        One that has died is still a member for the session timeout, so we wait for longer than that.

        Raises:
            DisagreementError: they still differ.
        """
        deadline = self._monotonic() + self._patience
        while problems := await self._disagreements(ours):
            self.problems = tuple(problems)
            self.see(problems)
            log.warning("settings_differ", problems=problems)
            if self._monotonic() >= deadline:
                raise DisagreementError(problems)
            await asyncio.sleep(_LOOK_SECONDS)
        self.problems = ()

    async def _disagreements(self, ours: Terms) -> list[str]:
        response = await self._describe()
        # Where the broker does not tell, the leader of the group judges.
        return [] if response is None else disagreements_of_group(ours, response)

    def see(self, problems: Sequence[str]) -> None:
        """Show in the gauge on what the members of the group disagree."""
        self._metrics.settings_differ.set(len(problems))
