"""Who is measured: each a row of data - how it is started, what it promises, where it publishes, what it leaves out."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import venv
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from processor.demo.broker import KAFKA_VERSION
from processor.settings import Settings
from processor.wire.topics import SMS

HERE = Path(__file__).parent
_ROOT = HERE.parent
_VENVS = HERE / ".venvs"
_CLASSES = HERE / ".classes"
_STREAMS = f"org.apache.kafka:kafka-streams:{KAFKA_VERSION}+org.slf4j:slf4j-simple:1.7.36"

EXACTLY_ONCE = "exactly once"
AT_LEAST_ONCE = "at least once"


class UnavailableError(Exception):
    """A peer cannot be run here; says what is missing."""


@dataclass(frozen=True)
class Contender:
    """One process to measure."""

    name: str
    #: What it is started by: `ours`, a Python file of peers/ (with the packages it needs), or Kafka Streams.
    program: str
    guarantee: str
    #: Where its rows are published, `{group}` and `{prefix}` to be filled in; empty: nowhere.
    feed: str
    leaves_out: str
    #: How rows are written there: `json` as ours; `readable` as ours, with a memory in a form of its own; `packed` as
    #: in the store of ours.
    row_format: str = "json"
    #: Where its counts are published, as `feed`.
    counts: str = ""
    packages: tuple[str, ...] = ()
    options: Mapping[str, str] = field(default_factory=dict)
    #: Whether it belongs to the usual run; whether many partitions and its latency are measured there, too.
    is_usual: bool = True
    is_scaled: bool = False
    is_timed: bool = False
    #: Whether it takes too long for all events: then it is watched for a while only, and in three rounds at most.
    is_slow: bool = False

    @property
    def is_ours(self) -> bool:
        """Whether this is delivery-status itself."""
        return self.program == "ours"

    @property
    def keeps_rows(self) -> bool:
        """Whether ours finds its rows again in its folder when it is started anew."""
        return "DELIVERY_STORE_PATH" in self.options

    @property
    def group(self) -> str:
        """The consumer group, which names changelogs too."""
        return f"bench-{self.name}"

    def feed_topic(self, prefix: str) -> str:
        """Return the topic with the rows."""
        return self.feed.format(group=self.group, prefix=prefix)

    def counts_topic(self, prefix: str) -> str:
        """Return the topic with the counts; empty when there is none."""
        return self.counts.format(group=self.group, prefix=prefix)


_STREAMS_LEFT_OUT = (
    "counts but those by status, evidence of rejections, dead letters, events at the wrong partition, "
    "metrics of the domain"
)


def _ours(name: str, *, is_timed: bool = False, **options: str) -> Contender:
    feed, counts = "{prefix}messages.v1", "{prefix}counts.v1"
    return Contender(
        name, "ours", EXACTLY_ONCE, feed, "", counts=counts, options=options, is_scaled=True, is_timed=is_timed
    )


def _streams(
    name: str, feed: str, *, is_usual: bool = False, is_scaled: bool = False, is_timed: bool = False, **options: str
) -> Contender:
    return Contender(
        name,
        "KafkaStreams",
        EXACTLY_ONCE,
        "{group}.messages.v1" if feed == "topic" else "{group}-rows-changelog",
        _STREAMS_LEFT_OUT,
        row_format="readable",
        counts="{group}-counts-changelog",
        options={"BENCH_FEED": feed, **options},
        is_usual=is_usual,
        is_scaled=is_scaled,
        is_timed=is_timed,
    )


CONTENDERS: tuple[Contender, ...] = (
    _ours("ours"),
    _ours("ours-rocksdb", is_timed=True, DELIVERY_STORE="rocksdb", DELIVERY_STORE_PATH="{data}"),
    # Two records an event, as Kafka Streams is usually written: a binary row for the store, a JSON row for readers.
    _streams(
        "streams-rocksdb-1",
        "topic",
        is_usual=True,
        is_scaled=True,
        is_timed=True,
        BENCH_STORE="rocksdb",
        BENCH_THREADS="1",
    ),
    _streams("streams-memory-1", "topic", is_usual=True, BENCH_STORE="memory", BENCH_THREADS="1"),
    _streams("streams-rocksdb-2", "topic", BENCH_STORE="rocksdb", BENCH_THREADS="2"),
    _streams("streams-memory-2", "topic", BENCH_STORE="memory", BENCH_THREADS="2"),
    # One record an event, as ours: the store's changelog is the feed.
    _streams("streams-rocksdb-1-lean", "changelog", BENCH_STORE="rocksdb", BENCH_THREADS="1"),
    _streams("streams-memory-1-lean", "changelog", BENCH_STORE="memory", BENCH_THREADS="1"),
    Contender(
        "quix",
        "quix.py",
        EXACTLY_ONCE,
        "{group}.messages.v1",
        "counts, evidence of rejections, dead letters",
        packages=("quixstreams==3.28.1", "msgspec>=0.19"),
        is_slow=True,
    ),
    Contender(
        "bytewax",
        "bytewax_flow.py",
        "none: no transactions, state lost with the process",
        "{group}.messages.v1",
        "changelog (it has none), counts, evidence of rejections, dead letters",
        packages=("bytewax[kafka]==0.21.1", "msgspec>=0.19"),
        is_slow=True,
    ),
    Contender(
        "plain-faust",
        "plain_faust.py",
        AT_LEAST_ONCE,
        "{group}-rows-changelog",
        "JSON rows with the former status (its rows are packed), counts, evidence of rejections, dead letters",
        row_format="packed",
        is_slow=True,
    ),
)

NAMES: tuple[str, ...] = tuple(each.name for each in CONTENDERS)


def command_of(contender: Contender) -> list[str]:
    """Return the command that starts a contender, after making what it needs.

    Raises:
        UnavailableError: what it needs cannot be had.
    """
    if contender.is_ours:
        return [sys.executable, "-m", "processor", "worker"]
    if contender.program == "KafkaStreams":
        return _java_command()
    script = str(HERE / "peers" / contender.program)
    python = _python_of(contender) if contender.packages else sys.executable
    return [str(python), script]


def environment_of(
    contender: Contender, settings: Settings, data: Path, http_port: int = 0, *, payloads: bool = False
) -> dict[str, str]:
    """Return the environment that tells a contender where to work, and whether it reads Twilio's payloads first."""
    if contender.is_ours:
        return {
            "DELIVERY_BROKERS": settings.brokers,
            "DELIVERY_TOPIC_PREFIX": settings.topic_prefix,
            "DELIVERY_APP_ID": contender.group,
            "DELIVERY_HTTP_PORT": str(http_port),
            "DELIVERY_LOG_LEVEL": "ERROR",
            **({"DELIVERY_PROVIDER_BY_TOPIC": f"{settings.topic(SMS)}=twilio"} if payloads else {}),
            **{name: value.format(data=data) for name, value in contender.options.items()},
        }
    return {
        "BENCH_BROKERS": settings.brokers,
        "BENCH_TOPIC": settings.topic_prefix + "events.v1",
        "BENCH_GROUP": contender.group,
        "BENCH_MESSAGES": contender.feed_topic(settings.topic_prefix),
        "BENCH_PARTITIONS": str(settings.partitions),
        "BENCH_DATA": str(data),
        "PYTHONPATH": str(_ROOT),
        **({"BENCH_RAW": settings.topic(SMS)} if payloads else {}),
        **contender.options,
    }


def _python_of(contender: Contender) -> Path:
    """Make the environment of a peer once, and give its Python."""
    home = _VENVS / Path(contender.program).stem
    python = home / "bin" / "python"
    ready = home / ".ready"
    if ready.exists() and ready.read_text() == "\n".join(contender.packages):
        return python
    print(f"making the environment of {contender.program} (first time only)", file=sys.stderr)
    venv.create(home, clear=True, with_pip=True)
    install = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *contender.packages]
    if subprocess.run(install, check=False).returncode:
        raise UnavailableError(f"pip cannot install {', '.join(contender.packages)}")
    ready.write_text("\n".join(contender.packages))
    return python


#: Enough heap for a million rows in memory; the collector with the best throughput on few cores.
_JVM_OPTIONS = ("-Xmx2g", "-XX:+UseParallelGC", "-Dorg.slf4j.simpleLogger.defaultLogLevel=error")


def _java_command() -> list[str]:
    """Compile the source file, so that the compiler's memory is not the peer's, and give the command."""
    java, javac = shutil.which("java"), shutil.which("javac")
    if java is None or javac is None:
        raise UnavailableError("Kafka Streams needs a JDK (17 or newer) on PATH")
    classpath = os.pathsep.join([str(_CLASSES), *map(str, _streams_jars())])
    source = HERE / "peers" / "KafkaStreams.java"
    _CLASSES.mkdir(exist_ok=True)
    compiled = subprocess.run([javac, "-nowarn", "-d", str(_CLASSES), "-cp", classpath, str(source)], check=False)
    if compiled.returncode:
        raise UnavailableError(f"{source.name} cannot be compiled")
    return [java, *_JVM_OPTIONS, "-cp", classpath, "KafkaStreams"]


def _streams_jars() -> list[Path]:
    import jgo  # noqa: PLC0415 - an extra, and only this peer needs it

    try:
        return [artifact.resolve() for artifact in jgo.resolve(_STREAMS)]
    except Exception as error:
        raise UnavailableError(f"Kafka Streams {KAFKA_VERSION} cannot be resolved: {error}") from error
