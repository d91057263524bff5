"""Three brokers on this machine, each of which may be killed, hung or stopped: what one broker cannot show."""

import asyncio
import os
import signal
import uuid
from base64 import urlsafe_b64encode
from collections.abc import Sequence
from types import TracebackType

from processor.demo import broker
from processor.demo.broker import EmbeddedKafka

#: How many there are; each is a controller, too, so that any one of them may be away.
BROKERS = 3

_HOST = "127.0.0.1"

#: What lives on all of them and is written while two are there.
_REPLICATION = {
    "default.replication.factor": str(BROKERS),
    "min.insync.replicas": "2",
    "offsets.topic.replication.factor": str(BROKERS),
    "transaction.state.log.replication.factor": str(BROKERS),
    "transaction.state.log.min.isr": "2",
    # Followers that are killed count as lost sooner than after the usual 30 s.
    "replica.lag.time.max.ms": "5000",
    "replica.fetch.wait.max.ms": "100",
    "controller.quorum.election.timeout.ms": "500",
    "controller.quorum.fetch.timeout.ms": "1500",
    # Leaders stay where a failure has brought them: tests choose whom they kill.
    "auto.leader.rebalance.enable": "false",
}


class _Node(EmbeddedKafka):
    """One broker of the cluster."""

    def __init__(self, number: int, ports: Sequence[tuple[int, int]], cluster_id: str) -> None:
        client, controller = ports[number - 1]
        voters = [f"{each}@{_HOST}:{port}" for each, (_, port) in enumerate(ports, start=1)]
        super().__init__(
            port=client,
            properties={
                **_REPLICATION,
                "node.id": str(number),
                "controller.quorum.voters": ",".join(voters),
                "listeners": f"PLAINTEXT://{_HOST}:{client},CONTROLLER://{_HOST}:{controller}",
            },
        )
        self._shared_id = cluster_id

    def _format_command(self, java_command: Sequence[str]) -> list[str]:
        return [
            f"--cluster-id={self._shared_id}" if word.startswith("--cluster-id=") else word
            for word in super()._format_command(java_command)
        ]


class Cluster:
    """Three brokers, by their numbers from 1 on; as a context manager it leaves none behind."""

    def __init__(self) -> None:
        cluster_id = urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        ports = _free_ports()
        self.nodes = {number: _Node(number, ports, cluster_id) for number in range(1, BROKERS + 1)}
        self.bootstrap_servers = ",".join(f"{_HOST}:{client}" for client, _ in ports)

    async def __aenter__(self) -> "Cluster":  # noqa: PYI034 - Self is not in Python 3.10
        try:
            # Together, since none is of use before most of them are there.
            await asyncio.gather(*(asyncio.to_thread(node.start, 180.0) for node in self.nodes.values()))
        except BaseException:
            await self.__aexit__(None, None, None)
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for node in self.nodes.values():
            # One at a time, and with a quorum until the last: a clean end would wait for a controller.
            await asyncio.to_thread(node.kill)
            node.close()

    async def kill(self, number: int) -> None:
        """End a broker as a power cut does."""
        await asyncio.to_thread(self.nodes[number].kill)

    async def start(self, number: int) -> None:
        """Start a broker again on its data."""
        await asyncio.to_thread(self.nodes[number].start, 180.0)

    async def all_run(self) -> None:
        """Start whatever has been killed, and wake whatever hangs."""
        for number, node in self.nodes.items():
            if node.running:
                self.wake(number)
            else:
                await self.start(number)

    def hang(self, number: int) -> None:
        """Let a broker stand still; what is sent to it waits."""
        os.kill(self.nodes[number].pid, signal.SIGSTOP)

    def wake(self, number: int) -> None:
        """Let it go on, with what it believed before."""
        os.kill(self.nodes[number].pid, signal.SIGCONT)


def _free_ports() -> list[tuple[int, int]]:
    """Choose a port for clients and one for controllers, for each broker."""
    ports: list[int] = []
    while len(ports) < 2 * BROKERS:
        ports.append(broker._free_port(taken=ports))
    return list(zip(ports[::2], ports[1::2], strict=True))
