"""What no rule of ours covers is counted, by provider, once its chunk is committed."""

from types import SimpleNamespace

from processor.engine.stage import Outbox, Partitioning, Positions
from processor.metrics import Metrics
from processor.settings import Settings
from processor.stages import normalize
from processor.watch.board import Board


def record(value):
    return SimpleNamespace(
        topic="delivery.sms.v1",
        partition=0,
        offset=0,
        timestamp=1_767_225_600_000,
        key=None,
        value=value,
        headers=(("provider", b"firetext"),),
    )


def test_it_is_counted_when_the_chunk_is_committed():
    metrics = Metrics()
    counts = {"delivery.events.v1": 4, "delivery.receipts.v1": 4, "delivery.dead.v1": 1}
    work = normalize.stage(Settings(), metrics, Board(metrics)).start(
        Partitioning("delivery.sms.v1", 0, counts, "cluster")
    )

    def counted():
        return metrics.registry.get_sample_value("delivery_unqualified_reasons_total", {"provider": "firetext"})

    assert counted() == 0
    work.process(
        [
            record(b"mobile=447700900001&status=1&code=777&reference=r1"),
            record(b"mobile=447700900001&status=1&code=101&reference=r2"),
            record(b"mobile=447700900001&status=0&code=000&reference=r3"),
        ],
        Outbox(1_790_000_000_000),
    )
    assert counted() == 0
    work.committed(Positions())
    assert counted() == 1
