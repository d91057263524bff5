"""All stages in a line, one partition each, without a broker; and what is published to them."""

from collections import defaultdict
from datetime import timedelta
from urllib.parse import urlencode

import orjson

from processor.engine.stage import Outbox, Partitioning, Positions
from processor.metrics import Metrics
from processor.settings import Settings
from processor.stages import stages
from processor.wire.rows import decode_row_record
from processor.wire.topics import TOPICS
from tests.stages.conftest import START, Read

NAMES = {f"t.{topic.name}": 1 for topic in TOPICS}


def stamp(minute: float) -> int:
    return int((START + timedelta(minutes=minute)).timestamp() * 1000)


def receipt(native_id: str, status: str, minute: float, **more: str) -> tuple[str, Read]:
    """Return a Twilio callback, which knows only Twilio's id."""
    form = {"MessageSid": native_id, "MessageStatus": status, "To": "+46701234567", **more}
    return "t.sms.v1", Read(0, stamp(minute), None, urlencode(form).encode(), (("provider", b"twilio"),))


def link(native_id: str, message_id: str, minute: float, **more: object) -> tuple[str, Read]:
    value = {
        "time": (START + timedelta(minutes=minute)).isoformat(),
        "provider": "twilio",
        "provider_message_id": native_id,
        "message_id": message_id,
        **more,
    }
    return "t.links.v1", Read(0, stamp(minute), native_id.encode(), orjson.dumps(value))


def event(message_id: str, status: str, minute: float, **more: object) -> tuple[str, Read]:
    time = (START + timedelta(minutes=minute)).isoformat()
    value = {"time": time, "message_id": message_id, "channel": "sms", "status": status, **more}
    return "t.events.v1", Read(0, stamp(minute), message_id.encode(), orjson.dumps(value))


class Line:
    """All stages, one partition each: what one writes, the next reads, until nothing is left to do."""

    def __init__(self, **settings: object) -> None:
        self.now = START + timedelta(days=1)
        self.metrics = Metrics([])
        self.settings = Settings(topic_prefix="t.", **settings)
        declared = stages(self.settings, self.metrics, clock=self.clock)
        self.works = {
            f"t.{topic.name}": stage.start(Partitioning(f"t.{topic.name}", 0, NAMES, "cluster"))
            for stage in declared
            for topic in stage.inputs
        }
        self.changelogs = {
            f"t.{topic.name}": f"t.{stage.changelog.name}"
            for stage in declared
            for topic in stage.inputs
            if stage.changelog
        }
        self.written: dict[str, list[Read]] = defaultdict(list)
        #: What each transaction wrote: the topic that it read, the number of records, and their bytes.
        self.transactions: list[tuple[str, int, int]] = []
        self._read: dict[str, int] = defaultdict(int)

    def clock(self) -> float:
        return self.now.timestamp()

    def take(self, *given: tuple[str, Read]) -> None:
        for topic, record in given:
            self.written[topic].append(record)
            self.run()

    def run(self) -> None:
        while any(self._step(topic) for topic in self.works):
            pass

    def _step(self, topic: str) -> bool:
        work = self.works[topic]
        records = self.written[topic][self._read[topic] :]
        if not records and not getattr(work, "is_due", False):
            return False
        self._read[topic] += len(records)
        outbox = Outbox(int(self.now.timestamp() * 1000))
        work.process(records, outbox)
        for (name, _), entries in outbox.records.items():
            self.written[name] += [Read(0, *entry) for entry in entries]
        written = [entry for entries in outbox.records.values() for entry in entries]
        size = sum(len(key or b"") + len(value or b"") for _, key, value, _ in written)
        self.transactions.append((topic, len(written), size))
        work.committed(Positions(len(self.written[self.changelogs.get(topic, "")])))
        audit = getattr(work, "audit", None)
        assert audit is None or audit() == 0
        return True

    def rows(self) -> dict[str, str]:
        """Return the status of each message, or where its row went."""
        latest = {record.key: record.value for record in self.written["t.messages.v1"]}
        told = {}
        for key, value in latest.items():
            if value is None:
                continue
            moved = orjson.loads(value).get("moved_to")
            told[key.decode()] = f"-> {moved}" if moved else decode_row_record(value).status.value
        return told

    def counted(self) -> int:
        latest = {record.key: orjson.loads(record.value) for record in self.written["t.counts.v1"]}
        return sum(counts["messages"] for counts in latest.values())

    def outcomes(self) -> dict[str, float]:
        value = self.metrics.registry.get_sample_value
        return {
            outcome: found
            for outcome in ("received", "matched", "repeated", "corrected", "unmatched")
            if (found := value("delivery_receipts_total", {"provider": "twilio", "outcome": outcome}))
        }

    def dead(self) -> list[str]:
        return [dict(record.headers)["delivery.dead.reason"].decode() for record in self.written["t.dead.v1"]]

    def sweep(self) -> None:
        """Sweep through all native keys once, and do what is due."""
        work = self.works["t.receipts.v1"]
        work.punctuate(is_behind=False)
        while work._sweep.is_under_way:
            work.punctuate(is_behind=False)
        self.run()
