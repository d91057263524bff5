"""Forwarding of questions to the owner of a partition, so that any worker answers any question.

Only the owner of a partition has its rows. A worker that is asked looks at its own partitions first, then asks the
group who the owner is, and forwards the question over the internal hop. Three rules keep the answer honest:

1. A hop is never forwarded: the routes below /internal/ answer from their own partitions, or say that they cannot. So
   a question cannot go round in circles, whatever the workers believe of each other.
2. Only the worker that the group calls the owner now may say that a message is not known. A worker that was paused may
   still believe in partitions that others own by now; the group knows better. Members are told apart by the ids that
   the broker gave them, since any member may claim any URL.
3. An answer that cannot be had now is a 503 with Retry-After, never a 404.

Three more keep a worker from being sent elsewhere: it asks only a URL that its member proves to come from a worker of
ours (without a token: a loopback URL, of a member that connects from where this worker does); it bounds what it reads;
and it follows no redirect.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar
from urllib.parse import urlsplit

import aiohttp
import msgspec
from aiohttp import hdrs
from yarl import URL

from processor.engine.membership.members import Group, Member, Members, UnreachableError, UnsettledError
from processor.logs import get_logger
from processor.settings import Settings
from processor.web.hops import Hops
from processor.web.hosts import is_loopback
from processor.web.owner import Owner
from processor.web.problems import (
    BROKER_AWAY,
    HOP_REFUSED,
    MESSAGE_NOT_KNOWN,
    OWNER_AWAY,
    REBALANCING,
    RECOVERING,
    STARTING,
    Problem,
    ProblemError,
)
from processor.wire.partitioner import partition_of
from processor.wire.topics import Topic

log = get_logger(__name__)

#: Seconds that another worker may take to answer, and to take a connection.
_PATIENCE_SECONDS = 3.0
_CONNECT_SECONDS = 1.0

#: Most bytes of an answer. A message takes a few times its record; a report counts the stuck messages of deliveries.
_ANSWER_MAX_BYTES = 16 * 1024 * 1024

#: URLs that are remembered as refused, so that each is logged once.
_REFUSED_MAX = 1_000

_TOKENS = "DELIVERY_INTERNAL_TOKEN (else DELIVERY_WRITE_TOKEN)"

#: Problems passed through from another worker; any other answer becomes `hop-refused`.
_PASSED_THROUGH = {
    kind.uri: kind for kind in (MESSAGE_NOT_KNOWN, STARTING, RECOVERING, REBALANCING, OWNER_AWAY, BROKER_AWAY)
}


_JSON = "application/json"

Answer = TypeVar("Answer")
Share = TypeVar("Share")


@dataclass(frozen=True)
class Question(Generic[Share, Answer]):
    """A question that the owner of one partition answers."""

    #: The input topic, and the number of its partition.
    topic: Topic
    partition: int
    #: What a worker has of the partition; None: it does not own it, or has not recovered it.
    share: Callable[[Owner, int], Share | None]
    #: Where another worker answers it: as JSON of the type `answer`.
    path: str
    answer: type[Answer]
    #: Answers it from that; None: it does not have it.
    find: Callable[[Share], Answer | None]


class Forwarding:
    """Asks this worker or the owner of a partition, or all workers."""

    def __init__(self, settings: Settings, hops: Hops, members: Members, worker: Owner) -> None:
        self._settings = settings
        self._hops = hops
        self._members = members
        self._worker = worker
        #: Why a URL is refused, by URL.
        self._refused: dict[str, str] = {}
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        """Close all connections."""
        if self._session is not None:
            await self._session.close()
        await self._members.close()

    # One partition

    def partition_of(self, topic: Topic, key: bytes) -> int:
        """Return the partition of a topic that a key belongs to.

        Raises:
            ProblemError: the worker has not seen the cluster yet.
        """
        partitions = self._worker.partition_counts.get(self._settings.topic(topic))
        if partitions is None:
            raise ProblemError(STARTING, "this worker has not reached Kafka yet")
        return partition_of(key, partitions)

    async def ask_here(self, question: Question[Share, Answer]) -> Answer | None:
        """Answer from a partition of this worker, and not otherwise.

        Returns:
            The answer; None when this worker is the partition's owner, and its rows do not have it.

        Raises:
            ProblemError: this worker does not run the partition, or is its owner no longer.
        """
        number = question.partition
        share = question.share(self._worker, number)
        if share is None:
            raise ProblemError(RECOVERING, f"partition {number} does not run here, or not yet")
        found = question.find(share)
        if found is None and not self._is_this(await self._owner(question)):
            raise ProblemError(RECOVERING, f"partition {number} has just gone to another worker")
        return found

    async def ask_owner(self, question: Question[Share, Answer]) -> Answer | None:
        """Answer from a partition of this worker, or have its owner answer.

        Returns:
            The answer; None when this worker is the partition's owner, and its rows do not have it.

        Raises:
            ProblemError: the owner's own, or that it cannot be asked.
        """
        number = question.partition
        problem = ProblemError(OWNER_AWAY, f"no worker has partition {number} of the messages")
        asked: Member | None = None
        for anew in (False, True):
            share = question.share(self._worker, number)
            found = None if share is None else question.find(share)
            if found is not None:
                return found
            owner = await self._owner(question, anew=anew)
            if owner is None:
                continue
            if self._is_this(owner):
                if share is not None:
                    return None
                problem = ProblemError(RECOVERING, f"partition {number} is being recovered here")
            elif owner != asked or problem.kind is not OWNER_AWAY:
                try:
                    return _decoded(question, await self._ask(owner, question.path))
                except ProblemError as error:
                    if error.kind not in {RECOVERING, OWNER_AWAY, STARTING, REBALANCING}:
                        raise
                    problem, asked = error, owner
        raise problem

    # All workers

    async def ask_all(self, path: str, method: str = "GET", body: bytes = b"") -> dict[str, bytes]:
        """Ask all other workers of the group; give the answers of those that answer, by URL.

        Raises:
            ProblemError: the members of the group cannot be known now.
        """
        others = [member for member in (await self._group()).members if not self._is_this(member)]
        # Of two members with the same URL one is asked.
        distinct = {member._replace(id="") for member in others}
        asking = [self._ask(member, path, method, body) for member in distinct]
        answers = await asyncio.gather(*asking, return_exceptions=True)
        heard: dict[str, bytes] = {}
        for member, answer in zip(distinct, answers, strict=True):
            if isinstance(answer, BaseException):
                if not isinstance(answer, ProblemError):
                    raise answer
            elif member.url is not None:
                heard[member.url] = answer
        return heard

    async def ask_others(
        self, path: str, query: msgspec.Struct
    ) -> tuple[Mapping[tuple[str, int], str], Mapping[str, bytes]]:
        """Ask all other workers what their partitions have.

        Returns:
            The owners of partitions as by `owners`, and the answers by URL. Both are empty while the members of the
            group cannot be known: then this worker tells of its own partitions, and the others count as missing.
        """
        try:
            return await self.owners(), await self.ask_all(path, "POST", msgspec.json.encode(query))
        except ProblemError:
            return {}, {}

    async def owners(self) -> Mapping[tuple[str, int], str]:
        """Return the URL of the owner of every partition, by topic and number.

        Raises:
            ProblemError: the members of the group cannot be known now.
        """
        owners = (await self._group()).owners
        return {partition: member.url for partition, member in owners.items() if member.url is not None}

    async def reach_kafka(self) -> None:
        """Require that Kafka answers.

        Raises:
            ProblemError: it does not.
        """
        try:
            await self._group()
        except ProblemError as error:
            if error.kind is not REBALANCING:
                raise

    def _is_this(self, member: Member | None) -> bool:
        return member is not None and member.id == self._worker.member_id

    async def _owner(self, question: Question[Share, Answer], *, anew: bool = False) -> Member | None:
        partition = self._settings.topic(question.topic), question.partition
        return (await self._group(anew=anew)).owners.get(partition)

    async def _group(self, *, anew: bool = False) -> Group:
        try:
            return await self._members.group(anew=anew)
        except UnsettledError as error:
            raise ProblemError(REBALANCING, f"the group's state is {error}") from None
        except UnreachableError as error:
            raise ProblemError(BROKER_AWAY, f"Kafka does not name the owners: {error}") from None

    # The hop

    async def _ask(self, member: Member, path: str, method: str = "GET", body: bytes = b"") -> bytes:
        """Ask another worker.

        Raises:
            ProblemError: its own, or that it does not answer, refuses, or may not be asked.
        """
        url = await self._url_of(member)
        if self._session is None:
            self._session = aiohttp.ClientSession(
                timeout=aiohttp.ClientTimeout(total=_PATIENCE_SECONDS, sock_connect=_CONNECT_SECONDS),
                # Answers come uncompressed: what arrives is as large as it says.
                headers={hdrs.ACCEPT_ENCODING: "identity"},
                auto_decompress=False,
                cookie_jar=aiohttp.DummyCookieJar(),
            )
        try:
            async with self._session.request(
                method,
                URL(url + path, encoded=True),
                headers={hdrs.CONTENT_TYPE: _JSON, **self._hops.sign(url, path, method, body)},
                data=body or None,
                allow_redirects=False,
            ) as response:
                answer = await _read(url, response)
        except asyncio.TimeoutError:
            raise ProblemError(OWNER_AWAY, f"{url} took longer than {_PATIENCE_SECONDS:g} s") from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            # A ValueError: a name that no name of a host can be.
            raise ProblemError(OWNER_AWAY, f"{url} cannot be reached: {type(error).__name__}") from None
        if response.status == 200 and response.content_type == _JSON:
            return answer
        raise _problem_of(url, response, answer)

    async def _url_of(self, member: Member) -> str:
        """Return the URL of a member that may be asked.

        Raises:
            ProblemError: it may not.
        """
        url, refusal = member.url, ""
        if url is None:
            url, refusal = "(none)", "it has no URL of a worker"
        elif url == self._worker.url:
            refusal = "it has this worker's own URL: set DELIVERY_ADVERTISED_URL of both"
        elif self._hops.signs:
            if not member.is_proven:
                refusal = f"its URL is not proven to be a worker's: all workers need the same {_TOKENS}"
        elif not is_loopback(urlsplit(url).hostname or ""):
            refusal = f"it is on another machine: all workers need the same {_TOKENS}"
        elif member.address not in await self._own_addresses():
            refusal = f"it connects to Kafka from elsewhere ({member.address}): all workers need the same {_TOKENS}"
        if not refusal:
            return url
        if self._refused.get(url) != refusal:
            if len(self._refused) >= _REFUSED_MAX:
                self._refused.clear()
            self._refused[url] = refusal
            log.warning("member_not_asked", url=url, address=member.address, reason=refusal)
        raise ProblemError(HOP_REFUSED, f"the member at {url} is not asked: {refusal}")

    async def _own_addresses(self) -> set[str]:
        """Return the addresses that the broker sees this worker connect from."""
        return {member.address for member in (await self._group()).members if self._is_this(member)}


async def _read(url: str, response: aiohttp.ClientResponse) -> bytes:
    """Read an answer within its bound.

    Raises:
        ProblemError: it is longer, or compressed.
    """
    if response.headers.get(hdrs.CONTENT_ENCODING, "identity").lower() != "identity":
        raise ProblemError(HOP_REFUSED, f"{url} answered with what was not asked for: compressed")
    answer = bytearray()
    async for part in response.content.iter_any():
        answer += part
        if len(answer) > _ANSWER_MAX_BYTES:
            response.close()
            raise ProblemError(HOP_REFUSED, f"{url} answered with more than {_ANSWER_MAX_BYTES} bytes")
    return bytes(answer)


def _decoded(question: Question[Share, Answer], answer: bytes) -> Answer:
    try:
        return msgspec.json.decode(answer, type=question.answer)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise ProblemError(HOP_REFUSED, "the owner's answer cannot be read by this worker") from None


def _problem_of(url: str, response: aiohttp.ClientResponse, body: bytes) -> ProblemError:
    """Read the problem that a worker answers; only those that are passed through keep their kind."""
    try:
        problem = msgspec.json.decode(body, type=Problem)
    except (msgspec.MsgspecError, RecursionError):
        return ProblemError(HOP_REFUSED, f"{url} answered {response.status}, and is no worker of this version")
    kind = _PASSED_THROUGH.get(problem.type)
    if kind is None or kind.status != response.status:
        return ProblemError(HOP_REFUSED, f"{url} answered {response.status}: {problem.detail}")
    return ProblemError(kind, problem.detail)
