"""Every topic as data: its name, key, cleanup policy and retention.

This declaration creates and checks the topics and is what the engine reads and writes; tests compare it with
schemas/asyncapi.yaml and docker-compose.yml.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from processor.domain.status import Channel

_DAY_MS = 24 * 60 * 60 * 1000
_MIB = 1024 * 1024

#: The largest batch of the input topics: above DELIVERY_MAX_RECORD_BYTES, so that a record that is too large still
#: arrives and becomes a dead letter with its bytes.
INPUT_MAX_BYTES = 4 * _MIB

#: The largest batch that we write. A dead letter holds its record and our headers, so it may be larger.
OUTPUT_MAX_BYTES = 6 * _MIB


class Topic(NamedTuple):
    """One topic; `name` is without the prefix of the settings."""

    name: str
    key: str
    value: str
    config: Mapping[str, str]
    #: Whether it is the live group's, which a shadow reads and never writes to; else it is of this installation.
    is_live: bool = False

    def of_live(self) -> Topic:
        """Return the same topic of the live group that this worker is a shadow of."""
        return self._replace(is_live=True)

    @property
    def is_compacted(self) -> bool:
        """Whether the topic keeps the last value of each key for ever."""
        return self.config["cleanup.policy"] == "compact"


#: The brokers set the timestamp: retention does not depend on the clock of a producer or a worker.
_WRITTEN_BY_BROKERS = {"message.timestamp.type": "LogAppendTime"}


#: What was erased of a person has gone from the disks by a date, however little is written.
_GONE_IN_TIME = {"max.compaction.lag.ms": str(14 * _DAY_MS)}


def _deleted(days: int, max_bytes: int, **more: str) -> dict[str, str]:
    return {
        "cleanup.policy": "delete",
        "retention.ms": str(days * _DAY_MS),
        "max.message.bytes": str(max_bytes),
        **more,
    }


def _compacted(**more: str) -> dict[str, str]:
    return {"cleanup.policy": "compact", "max.message.bytes": str(OUTPUT_MAX_BYTES), **more}


MTA = Topic("mta.v1", "any", "a mail provider's raw payload, header `provider`", _deleted(7, INPUT_MAX_BYTES))
SMS = Topic("sms.v1", "any", "an SMS provider's raw payload, header `provider`", _deleted(7, INPUT_MAX_BYTES))
EVENTS = Topic("events.v1", "message id", "canonical event", _deleted(7, INPUT_MAX_BYTES))
CONTROL = Topic(
    "control.v1",
    "delivery id",
    "a delivery's own facts",
    # A later control record must not compact away a cancel while no worker runs.
    _compacted(**{"min.compaction.lag.ms": str(7 * _DAY_MS)}, **_WRITTEN_BY_BROKERS),
)
DELIVERIES = Topic(
    "deliveries.v1",
    "delivery id",
    "all that was told of a delivery, joined: changelog and public table in one",
    _compacted(**_WRITTEN_BY_BROKERS),
)
ERASURES = Topic(
    "erasures.v1",
    "erasure id, or erasure id|stage|partition",
    "whose data is to be erased, by a keyed hash, and which partitions have done so",
    _compacted(**_WRITTEN_BY_BROKERS),
)
MESSAGES = Topic(
    "messages.v1",
    "message id",
    "the row, with `previous` when its status moved: changelog, public table and change feed in one",
    # Every change can be read for a week, whatever the compaction does.
    _compacted(**{"min.compaction.lag.ms": str(7 * _DAY_MS)}, **_GONE_IN_TIME),
)
COUNTS = Topic(
    "counts.v1",
    "delivery_id|partition",
    "absolute counts by status",
    # Every worker reads all of it at its start, so old values must not pile up.
    _compacted(
        **{"segment.bytes": str(16 * _MIB), "segment.ms": str(10 * 60 * 1000), "min.cleanable.dirty.ratio": "0.1"},
        **_WRITTEN_BY_BROKERS,
    ),
)
HISTORY = Topic(
    "history.v1",
    "width|slot|partition",
    "what deliveries counted at the end of a minute, an hour or a day",
    # Slots are used again: the number of keys has a bound.
    _compacted(
        **{"segment.bytes": str(16 * _MIB), "segment.ms": str(60 * 60 * 1000), "min.cleanable.dirty.ratio": "0.1"},
        **_WRITTEN_BY_BROKERS,
    ),
)
LINKS = Topic(
    "links.v1",
    "provider's id",
    "which message of ours a provider's id is",
    # Whoever joins late reads the last link of each id, for as long as receipts come for it.
    _deleted(30, INPUT_MAX_BYTES, **{"cleanup.policy": "compact,delete"}),
)
RECEIPTS = Topic(
    "receipts.v1",
    "native key",
    "receipts without an id of ours, and links: both sides of a join in one partition",
    _deleted(7, INPUT_MAX_BYTES),
)
CORRELATIONS = Topic(
    "correlations.v1",
    "native key",
    "links and waiting receipts of one provider's id: changelog of the join",
    _compacted(**_GONE_IN_TIME, **_WRITTEN_BY_BROKERS),
)
RECIPIENTS = Topic(
    "recipients.v1",
    "none, or address",
    "what is seen of addresses, on its way to their partition",
    _deleted(7, INPUT_MAX_BYTES),
)
ADDRESSES = Topic(
    "addresses.v1",
    "channel|keyed hash of the address",
    "whether to send to an address, and why: changelog and public table in one",
    _compacted(**_WRITTEN_BY_BROKERS),
)
REJECTED = Topic(
    "rejected.v1",
    "message id",
    "an event whose effect was withheld, and the rule",
    _deleted(30, OUTPUT_MAX_BYTES, **_WRITTEN_BY_BROKERS),
)
DEAD = Topic(
    "dead.v1",
    "as it came",
    "bytes and headers as they came, and why",
    _deleted(30, OUTPUT_MAX_BYTES, **_WRITTEN_BY_BROKERS),
)

SETTLED = Topic(
    "settled.v1",
    "id of a dead letter",
    "that it was replayed or discarded",
    # Longer than the letters, which lie in segments that are removed as a whole: none is replayed twice.
    _deleted(45, OUTPUT_MAX_BYTES, **{"cleanup.policy": "compact,delete"}, **_WRITTEN_BY_BROKERS),
)

AUDIT = Topic(
    "audit.v1",
    "none",
    "who did what: each write, and each view of unmasked recipients",
    _deleted(400, OUTPUT_MAX_BYTES, **_WRITTEN_BY_BROKERS),
)

#: The inputs of the stages: dead letters of these topics can be replayed.
INPUTS: tuple[Topic, ...] = (MTA, SMS, LINKS, RECEIPTS, EVENTS, CONTROL, RECIPIENTS)

#: What others publish: all that a shadow reads of the live group.
PUBLISHED: tuple[Topic, ...] = (MTA, SMS, LINKS, EVENTS, CONTROL)

#: Where raw records of each channel go.
RAW_TOPICS = {Channel.EMAIL: MTA, Channel.SMS: SMS}

TOPICS: tuple[Topic, ...] = (
    MTA,
    SMS,
    LINKS,
    RECEIPTS,
    CORRELATIONS,
    EVENTS,
    CONTROL,
    DELIVERIES,
    ERASURES,
    MESSAGES,
    COUNTS,
    HISTORY,
    RECIPIENTS,
    ADDRESSES,
    REJECTED,
    DEAD,
    SETTLED,
    AUDIT,
)
