"""What a sweep through native keys finds: receipts that wait, by provider, and keys that have had their time."""

import pytest

from processor.domain.links import Known, Link, Receipt
from processor.domain.moment import to_micros
from processor.engine.store import Change
from processor.engine.store.memory import MemoryStore
from processor.metrics import Metrics
from processor.settings import Settings
from processor.watch import key_sweep
from processor.watch.key_sweep import KeySweep
from processor.watch.sweeper import Pace
from processor.watch.waiting import WaitingBoard
from processor.wire.correlations import pack_known

NOW = 1_800_000_000
HOUR, DAY = 3_600, 86_400


def waits(*ages: int) -> Known:
    """What is known of a key for which receipts wait, each for so many seconds."""
    stamps = [(NOW - age) * 1_000 for age in ages]
    return Known(waiting=tuple(Receipt(to_micros(stamp), stamp, "n", None, b"{}", ()) for stamp in stamps))


class Stand:
    """The sweep of one partition, and what it goes by."""

    def __init__(self, keys: dict[str, Known], **settings: float) -> None:
        self.now, self.metrics = NOW, Metrics([])
        self.board = WaitingBoard(self.metrics)
        self.store = MemoryStore()
        self.put(keys)
        # Its time does not pass: each share is as long as the sweep.
        self.sweep = KeySweep(Settings(**settings), self.store, 0, Pace(lambda: 0.0), self.board, lambda: self.now)

    def put(self, keys: dict[str, Known]) -> None:
        changed = {key.encode(): pack_known(known) for key, known in keys.items()}
        self.store.write(Change(changed, len(changed), self.store.position + 1))

    def waiting(self, provider: str) -> tuple[float, float]:
        value, labels = self.metrics.registry.get_sample_value, {"provider": provider}
        return (
            value("delivery_receipts_waiting", labels),
            value("delivery_receipts_oldest_waiting_seconds", labels),
        )


def test_tells_how_many_wait_by_provider_and_since_when():
    stand = Stand({"twilio:1": waits(10, 70), "twilio@north:2": waits(30), "smpp:3": waits(5), "nobody:4": waits(1)})
    stand.sweep.advance()
    assert (stand.waiting("twilio"), stand.waiting("smpp")) == ((3, 70), (1, 5))


def test_takes_what_waits_out_of_the_gauges_when_it_leaves():
    stand = Stand({"twilio:1": waits(10)})
    stand.sweep.advance()
    stand.sweep.leave()
    assert stand.waiting("twilio") == (0, 0)


def test_finds_the_keys_of_which_something_has_had_its_time():
    link = Link(to_micros((NOW - 40 * DAY) * 1_000), "m")
    keys = {"twilio:1": waits(2 * HOUR), "twilio:2": waits(10), "twilio:3": Known(links=(link,))}
    stand = Stand(keys, link_wait=float(HOUR), retention=30.0 * DAY)
    stand.sweep.advance()
    assert sorted(stand.sweep.found) == [b"twilio:1", b"twilio:3"]


def test_keeps_links_for_ever_where_there_is_no_retention():
    stand = Stand({"twilio:3": Known(links=(Link(0, "m"),))}, retention=0.0)
    stand.sweep.advance()
    assert stand.sweep.found == []


@pytest.mark.parametrize(("wait", "doubt"), [(HOUR, HOUR), (7 * DAY, DAY)])
def test_doubt_lasts_a_day_or_as_long_as_receipts_wait_if_that_is_shorter(wait, doubt):
    bounds = Stand({}, link_wait=float(wait)).sweep.bounds()
    assert (bounds.waiting, bounds.doubtful) == ((NOW - wait) * 1_000, (NOW - doubt) * 1_000)


def test_gives_out_what_it_found_once_and_takes_back_what_was_not_done():
    stand = Stand({f"twilio:{number}": waits(2 * HOUR) for number in range(5)}, link_wait=float(HOUR))
    stand.sweep.advance()
    some, rest = stand.sweep.take(3), stand.sweep.take(3)
    assert (len(some), len(rest), stand.sweep.take(3)) == (3, 2, [])
    stand.sweep.put_back(rest)
    assert sorted(some + stand.sweep.take(3)) == [f"twilio:{number}".encode() for number in range(5)]


def test_begins_anew_after_a_rest_and_not_before_what_it_found_is_done():
    stand = Stand({"twilio:1": waits(2 * HOUR)}, link_wait=float(HOUR))
    stand.sweep.advance()
    stand.put({"smpp:2": waits(10)})
    stand.now += DAY
    stand.sweep.advance()
    assert stand.waiting("smpp") == (0, 0)
    stand.sweep.take(1)
    stand.sweep.advance()
    assert stand.waiting("smpp") == (1, DAY + 10)
    stand.sweep.take(2)
    stand.put({"telnyx:3": waits(0)})
    stand.sweep.advance()
    assert stand.waiting("telnyx") == (0, 0)


def test_finds_nothing_before_it_has_seen_all_and_nothing_when_it_is_stopped(monkeypatch):
    """Each share takes one key."""
    monkeypatch.setattr(key_sweep, "_KEYS_IN_A_ROW", 1)
    stand = Stand({f"twilio:{number}": waits(2 * HOUR) for number in range(2)}, link_wait=float(HOUR))
    shares = iter(range(1_000))
    stand.sweep._pace.shares = lambda: [next(shares)]
    stand.sweep.advance()
    stand.sweep.advance()
    assert (stand.sweep.found, stand.sweep.is_under_way) == ([], True)
    stand.sweep.stop()
    assert (stand.sweep.found, stand.sweep.is_under_way) == ([], False)
    for _ in range(3):
        stand.sweep.advance()
    assert (len(stand.sweep.found), stand.sweep.is_under_way) == (2, False)
