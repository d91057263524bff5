"""The network between a process and the broker: slow, lossy, and able to bring a request long after it was given up.

A request that its client has given up, because the connection broke or the answer did not come in time, may never have
arrived, may have been served while the answer got lost, or may still be on its way. The last is what makes trouble:
the client asks again on a new connection, goes on, and later the broker reads the old request.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from random import Random
from typing import Any, TypeVar

from aiokafka import TopicPartition
from aiokafka.client import ConnectionGroup
from aiokafka.errors import (
    CoordinatorLoadInProgressError,
    CoordinatorNotAvailableError,
    KafkaConnectionError,
    NodeNotReadyError,
    NotCoordinatorError,
    NotLeaderForPartitionError,
    RequestTimedOutError,
)

from tests.simulation.cluster import Cluster
from tests.simulation.loop import OUTSIDE, VirtualLoop

Answer = TypeVar("Answer")

_BUSY = (CoordinatorLoadInProgressError.errno, CoordinatorNotAvailableError.errno, NotCoordinatorError.errno)


@dataclass
class Faults:
    """How often what goes wrong: chances for each request, or each marker; seconds."""

    latency: float = 0.005
    #: The request is lost; its answer is; it arrives late, after it was given up; it is turned away for now.
    lost: float = 0.0
    unanswered: float = 0.0
    late: float = 0.0
    #: What alone is late; empty: anything.
    late_request: str = ""
    busy: float = 0.0
    #: How late at most.
    lateness: float = 1.0
    #: Part of the lost connections that look alive until the time limit.
    silent: float = 0.2
    marker_delay: float = 0.01


class Connection:
    """One connection: requests arrive in their order, and all that wait for an answer fail when it breaks."""

    def __init__(self) -> None:
        self.is_open = True
        self.busy_until = 0.0
        self.waiting: dict[asyncio.Future[Any], None] = {}


class Network:
    """Carries requests, as its faults and its random numbers will."""

    def __init__(self, loop: VirtualLoop, random: Random, faults: Faults, trace: Callable[[str], None]) -> None:
        self.loop, self.random, self.faults, self.trace = loop, random, faults, trace
        self.is_down = False
        #: The run is over: nothing is answered any more.
        self.is_gone = False
        self._connections: list[Connection] = []

    def later(self, delay: float, call: Callable[[], object]) -> None:
        """Call outside of all processes, so many seconds from now."""
        self.loop.call_later(delay, call, context=OUTSIDE)

    def latency(self) -> float:
        return self.faults.latency * (0.1 + self.random.random())

    def connect(self) -> Connection:
        connection = Connection()
        self._connections = [*(each for each in self._connections if each.is_open), connection]
        return connection

    def go_down(self) -> None:
        """Cut all connections and take no new ones."""
        self.is_down = True
        for connection in self._connections:
            self._cut(connection)

    def ask(
        self, name: str, serve: Callable[[bool], Answer], connection: Connection, timeout: float = 10.0
    ) -> "asyncio.Future[Answer]":
        """Carry a request there and its answer back.

        Args:
            name: what to call it in the trace.
            serve: what the broker does; it is told whether it turns the request away for now.
            connection: on which it is sent.
            timeout: when a connection that only looks alive is given up.
        """
        future: asyncio.Future[Answer] = self.loop.create_future()
        faults, random = self.faults, self.random
        if self.is_gone or self.is_down or not connection.is_open:
            self.later(0.001, lambda: self._fail(future, NodeNotReadyError()))
            return future
        connection.waiting[future] = None
        arrival = connection.busy_until = max(self.loop.time() + self.latency(), connection.busy_until)
        chance = random.random()
        late = faults.late if faults.late_request in name else 0.0
        if chance < faults.lost:
            self.trace(f"network  {name} is lost")
            self._give_up(connection, future, timeout)
        elif chance < faults.lost + late:
            lateness = faults.lateness * random.random() ** 2
            self.trace(f"network  {name} is {lateness:.3f} s late")
            self._give_up(connection, future, timeout)
            self.later(arrival - self.loop.time() + lateness, lambda: self._serve_late(name, serve))
        else:
            is_answered = chance >= faults.lost + late + faults.unanswered
            self.loop.call_at(
                arrival, self._serve, name, serve, connection, future, timeout, is_answered, context=OUTSIDE
            )
        return future

    def _serve(
        self,
        name: str,
        serve: Callable[[bool], Any],
        connection: Connection,
        future: "asyncio.Future[Any]",
        timeout: float,
        is_answered: bool,
    ) -> None:
        if self.is_down or self.is_gone:
            self._cut(connection)
            return
        answer = serve(self.random.random() < self.faults.busy)
        if is_answered:
            self.loop.call_later(self.latency(), self._answer, connection, future, answer, context=OUTSIDE)
        else:
            self.trace(f"network  {name}: its answer is lost")
            self._give_up(connection, future, timeout)

    def _serve_late(self, name: str, serve: Callable[[bool], Any]) -> None:
        if not self.is_down and not self.is_gone:
            self.trace(f"network  {name}, which was late, arrives")
            serve(False)

    @staticmethod
    def _answer(connection: Connection, future: "asyncio.Future[Any]", answer: Any) -> None:
        connection.waiting.pop(future, None)
        if connection.is_open and not future.done():
            future.set_result(answer)

    def _give_up(self, connection: Connection, future: "asyncio.Future[Any]", timeout: float) -> None:
        """Let the client learn that no answer will come: now, or when its time is over."""
        if self.random.random() < self.faults.silent:
            self.later(timeout, lambda: self._time_out(connection, future))
        else:
            self.later(self.latency(), lambda: self._cut(connection))

    def _time_out(self, connection: Connection, future: "asyncio.Future[Any]") -> None:
        self._fail(future, RequestTimedOutError())
        self._cut(connection)

    def _cut(self, connection: Connection) -> None:
        connection.is_open = False
        waiting, connection.waiting = connection.waiting, {}
        for future in waiting:
            self._fail(future, KafkaConnectionError("the connection is cut"))

    @staticmethod
    def _fail(future: "asyncio.Future[Any]", error: Exception) -> None:
        if not future.done():
            future.set_exception(error)


class _Metadata:
    """What a client knows of the cluster: one broker leads all."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    def partitions_for_topic(self, topic: str) -> set[int]:
        return {place.partition for place in self._cluster.logs if place.topic == topic}

    def leader_for_partition(self, _tp: TopicPartition) -> int:
        return 0


class Client:
    """What stands below a producer of aiokafka instead of its client: the same calls, another network."""

    def __init__(
        self, network: Network, cluster: Cluster, name: str, timeout: float, versions: Mapping[int, tuple[int, int]]
    ) -> None:
        self.cluster = _Metadata(cluster)
        self._network, self._broker, self._client_id, self._timeout = network, cluster, name, timeout
        self._versions = versions
        self._connections: dict[Any, Connection] = {}

    async def bootstrap(self) -> None:
        await self._look("metadata")

    async def _look(self, name: str) -> None:
        try:
            await self._ask(name, lambda _: None, ConnectionGroup.DEFAULT)
        except (NodeNotReadyError, RequestTimedOutError) as error:
            raise KafkaConnectionError(f"Unable to bootstrap: {error!r}") from error

    async def close(self) -> None:
        for connection in self._connections.values():
            connection.is_open = False

    def get_random_node(self) -> int:
        return 0

    async def ready(self, _node: int, *, group: Any = ConnectionGroup.DEFAULT) -> bool:
        return not self._network.is_down

    def force_metadata_update(self) -> "asyncio.Future[bool]":
        future: asyncio.Future[bool] = self._network.loop.create_future()
        self._network.later(self._network.latency(), lambda: future.done() or future.set_result(True))
        return future

    async def _wait_on_metadata(self, topic: str) -> set[int]:
        return self.cluster.partitions_for_topic(topic)

    async def _maybe_wait_metadata(self) -> None:
        """Metadata is never out of date here."""

    async def coordinator_lookup(self, _kind: Any, _key: str) -> int:
        def serve(is_busy: bool) -> bool:
            return not is_busy

        if not await self._ask("FindCoordinator", serve, ConnectionGroup.DEFAULT):
            raise CoordinatorNotAvailableError
        return 0

    async def send(self, _node: int, request: Any, *, group: Any = ConnectionGroup.DEFAULT) -> Any:
        prepared = request.prepare(self._versions)
        random = self._network.random

        def serve(is_busy: bool) -> Any:
            busy = 0
            if is_busy:
                busy = NotLeaderForPartitionError.errno if prepared.API_KEY == 0 else random.choice(_BUSY)
            return self._broker.handle(prepared, busy)

        return await self._ask(type(request).__name__, serve, group)

    async def _ask(self, name: str, serve: Callable[[bool], Any], group: Any) -> Any:
        connection = self._connections.get(group)
        if connection is None or not connection.is_open:
            connection = self._connections[group] = self._network.connect()
        return await self._network.ask(f"{self._client_id} {name}", serve, connection, self._timeout)
