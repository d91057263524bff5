"""Finding who knows, and asking them: any worker answers any question.

A message's row is with the owner of its partition only. Whoever is asked looks at its own partitions first, then asks
the group who the owner is, and hands the question on over the internal hop. Three rules keep the answer honest:

1. A hop is never handed on: the routes below /internal/ answer from their own partitions, or say that they cannot. So
   a question cannot go round in circles, whatever the workers believe of each other.
2. Only the one that the group calls the owner now may say that a message is not known. A worker that was paused may
   still believe in partitions that others have gone on with; the group knows better.
3. What cannot be known now is a 503 with Retry-After, never a 404.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Protocol
from urllib.parse import urlsplit

import aiohttp
import msgspec
from aiohttp import hdrs
from yarl import URL

from processor.engine.members import Group, Members, UnreachableError, UnsettledError
from processor.engine.stage import Work
from processor.partitioner import partition_of
from processor.settings import Settings
from processor.topics import EVENTS, Topic
from processor.web.access import Access, is_loopback
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

#: Seconds that another worker may take to answer, and to take a connection.
_PATIENCE_SECONDS = 3.0
_CONNECT_SECONDS = 1.0

#: What another worker says that is said on; anything else means that it is no worker of this version and group.
_SAID_ON = {kind.uri: kind for kind in (MESSAGE_NOT_KNOWN, STARTING, RECOVERING, REBALANCING, OWNER_AWAY, BROKER_AWAY)}


class Host(Protocol):
    """What is asked of the worker."""

    #: Where the others reach it, and the partitions of each topic; empty until it knows them.
    url: str
    partition_counts: dict[str, int]

    def running_work(self, topic: Topic, number: int) -> Work | None:
        """Give the work of an input partition, when it is ours and has recovered."""


#: Answers a question from the work of a partition; None: it does not know.
Find = Callable[[Work], "bytes | None"]


class Forwarding:
    """Asks this worker, or the one that knows."""

    def __init__(self, settings: Settings, access: Access, members: Members, host: Host) -> None:
        self._events = settings.topic_prefix + EVENTS.name
        self._access = access
        self._members = members
        self._host = host
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        """Let go of all connections."""
        if self._session is not None:
            await self._session.close()
        await self._members.close()

    # One message

    def partition_of(self, key: bytes) -> int:
        """Give the partition of a message's key.

        Raises:
            ProblemError: the worker has not seen the cluster yet.
        """
        partitions = self._host.partition_counts.get(self._events)
        if partitions is None:
            raise ProblemError(STARTING, "this worker has not reached Kafka yet")
        return partition_of(key, partitions)

    def here(self, number: int) -> Work | None:
        """Give the work of a partition of messages, if it runs in this worker."""
        return self._host.running_work(EVENTS, number)

    async def ask_here(self, number: int, find: Find) -> bytes | None:
        """Answer from a partition of this worker, and not otherwise.

        Returns:
            The answer; None when this worker is the partition's owner, and does not know.

        Raises:
            ProblemError: the partition does not run here, or the group does not call it this worker's any more.
        """
        work = self.here(number)
        if work is None:
            raise ProblemError(RECOVERING, f"partition {number} does not run here, or not yet")
        found = find(work)
        if found is None and (await self._owner(number)) != self._host.url:
            raise ProblemError(RECOVERING, f"partition {number} has just gone to another worker")
        return found

    async def ask_owner(self, number: int, path: str, find: Find) -> bytes | None:
        """Answer from a partition of this worker, or have its owner answer.

        Args:
            number: the partition of the messages.
            path: where the owner answers the same question.
            find: answers from the partition's work; None: it does not know.

        Returns:
            The answer; None when the owner is this worker, and does not know.

        Raises:
            ProblemError: the owner says so, or cannot be asked.
        """
        problem, asked = self._nobody(number), None
        for anew in (False, True):
            work = self.here(number)
            found = None if work is None else find(work)
            if found is not None:
                return found
            owner = await self._owner(number, anew=anew)
            if owner == self._host.url:
                if work is not None:
                    return None
                problem = ProblemError(RECOVERING, f"partition {number} is being recovered here")
            elif owner is not None and (owner != asked or problem.kind is not OWNER_AWAY):
                try:
                    return await self._get(owner, path)
                except ProblemError as error:
                    if error.kind not in {RECOVERING, OWNER_AWAY, STARTING, REBALANCING}:
                        raise
                    problem, asked = error, owner
        raise problem

    @staticmethod
    def _nobody(number: int) -> ProblemError:
        return ProblemError(OWNER_AWAY, f"no worker has partition {number} of the messages")

    # All workers

    async def ask_all(self, path: str) -> dict[str, bytes]:
        """Ask all other workers of the group; give what those say who answer, by URL.

        Raises:
            ProblemError: the group cannot tell who there is.
        """
        urls = [url for url in (await self._group()).urls if url != self._host.url]
        answers = await asyncio.gather(*[self._get(url, path) for url in urls], return_exceptions=True)
        heard: dict[str, bytes] = {}
        for url, answer in zip(urls, answers, strict=True):
            if isinstance(answer, bytes):
                heard[url] = answer
            elif not isinstance(answer, ProblemError):
                raise answer
        return heard

    async def owners(self) -> Mapping[tuple[str, int], str]:
        """Give the owner of every partition that is read, by topic and number.

        Raises:
            ProblemError: the group cannot tell.
        """
        return (await self._group()).owners

    async def reach_kafka(self) -> None:
        """See to it that Kafka answers.

        Raises:
            ProblemError: it does not.
        """
        try:
            await self._group()
        except ProblemError as error:
            if error.kind is not REBALANCING:
                raise

    async def _owner(self, number: int, *, anew: bool = False) -> str | None:
        return (await self._group(anew=anew)).owners.get((self._events, number))

    async def _group(self, *, anew: bool = False) -> Group:
        try:
            group = await self._members.group(anew=anew)
        except UnsettledError as error:
            raise ProblemError(REBALANCING, f"the group's state is {error}") from None
        except UnreachableError as error:
            raise ProblemError(BROKER_AWAY, f"Kafka does not tell who owns what: {error}") from None
        if len(set(group.urls)) < len(group.urls):
            detail = f"two workers have one URL, of {', '.join(sorted(group.urls))}: set DELIVERY_ADVERTISED_URL"
            raise ProblemError(HOP_REFUSED, detail)
        return group

    # The hop

    async def _get(self, url: str, path: str) -> bytes:
        """Ask another worker.

        Raises:
            ProblemError: its own, or that it does not answer, or refuses.
        """
        self._check(url)
        if self._session is None:
            timeout = aiohttp.ClientTimeout(total=_PATIENCE_SECONDS, sock_connect=_CONNECT_SECONDS)
            self._session = aiohttp.ClientSession(timeout=timeout)
        try:
            async with self._session.get(
                URL(url + path, encoded=True), headers=self._access.sign(path), allow_redirects=False
            ) as response:
                body = await response.read()
        except asyncio.TimeoutError:
            raise ProblemError(OWNER_AWAY, f"{url} took longer than {_PATIENCE_SECONDS:g} s") from None
        except (aiohttp.ClientError, OSError) as error:
            raise ProblemError(OWNER_AWAY, f"{url} cannot be reached: {type(error).__name__}") from None
        if response.status == 200:
            return body
        raise _problem_of(url, response, body)

    def _check(self, url: str) -> None:
        """See to it that a question without a signature stays on this machine."""
        if not self._access.signs and not is_loopback(urlsplit(url).hostname or ""):
            detail = f"{url} knows; to ask it, all workers need the same DELIVERY_INTERNAL_TOKEN"
            raise ProblemError(HOP_REFUSED, detail)


def _problem_of(url: str, response: aiohttp.ClientResponse, body: bytes) -> ProblemError:
    """Read a problem that a worker answers with; only ours mean what they say."""
    try:
        problem = msgspec.json.decode(body, type=Problem)
    except msgspec.MsgspecError:
        return ProblemError(HOP_REFUSED, f"{url} answered {response.status}, and is no worker of this version")
    kind = _SAID_ON.get(problem.type)
    if kind is None or kind.status != response.status:
        return ProblemError(HOP_REFUSED, f"{url} answered {response.status}: {problem.detail}")
    retry = response.headers.get(hdrs.RETRY_AFTER)
    return ProblemError(kind, problem.detail, headers={"Retry-After": retry} if retry else None)
