"""What a sweep through addresses finds: how they stand, and which are to be written anew."""

import pytest

from processor.domain.addresses import NOTHING, Kind, Sighting, State, Window, join
from processor.engine.store import Change
from processor.engine.store.memory import MemoryStore
from processor.settings import Settings
from processor.watch.address_sweep import AddressSweep
from processor.watch.sweeper import Pace
from processor.wire.addresses import RELEASES_KEY, Known, encode_releases, pack_known, pack_reached

NOW = 1_800_000_000
DAY = 86_400


def ago(days: float) -> int:
    return int((NOW - days * DAY) * 1_000_000)


def bounced(days: float, published: State = State.QUARANTINED) -> bytes:
    sighting = Sighting(ago(days), Kind.HARD, domain="example.com")
    return pack_known(Known(published, join(NOTHING, sighting)))


@pytest.fixture
def clock():
    return [NOW]


@pytest.fixture
def swept(clock):
    """Give a sweep through addresses, which takes them all in one share."""

    def make(addresses: dict[str, bytes], windows: tuple[Window, ...] = (), **settings: float) -> AddressSweep:
        store = MemoryStore()
        store.write(Change({key.encode(): packed for key, packed in addresses.items()}, len(addresses), 1))
        sweep = AddressSweep(Settings(**settings), store, Pace(lambda: 0.0), lambda: clock[0])
        sweep.restart(windows)
        return sweep

    return make


def test_counts_how_addresses_stand_by_channel_and_not_the_released_windows(swept):
    windows = (Window("example.org", ago(2), ago(1)),)
    releases = {RELEASES_KEY.decode(): encode_releases(windows)}
    sweep = swept({"email|a": bounced(1), "email|b": pack_reached(ago(1)), "sms|c": pack_reached(ago(1)), **releases})
    assert sweep.advance() == {("email", State.QUARANTINED): 1, ("email", State.VALID): 1, ("sms", State.VALID): 1}
    assert sweep.found == []


def test_finds_what_was_published_otherwise(swept):
    sweep = swept({"email|a": bounced(1, State.VALID), "email|b": bounced(1)})
    sweep.advance()
    assert sweep.found == [b"email|a"]


def test_finds_what_a_released_window_takes_away(swept):
    sweep = swept({"email|a": bounced(1), "email|b": bounced(5)}, (Window("example.com", ago(2), ago(0)),))
    sweep.advance()
    assert sweep.found == [b"email|a"]


def test_finds_the_valid_that_have_had_their_time_if_there_is_a_retention(swept):
    addresses = {"email|a": pack_reached(ago(40)), "email|b": pack_reached(ago(20))}
    limited, unlimited = swept(addresses, retention=30.0 * DAY), swept(addresses, retention=0.0)
    limited.advance()
    unlimited.advance()
    assert (limited.found, unlimited.found) == ([b"email|a"], [])


def test_gives_out_what_it_found_once(swept):
    sweep = swept({f"email|{name}": bounced(1, State.VALID) for name in "abc"})
    sweep.advance()
    some, rest = sweep.take(2), sweep.take(2)
    assert (sorted(some + rest), sweep.take(2)) == ([b"email|a", b"email|b", b"email|c"], [])


def test_rests_before_it_begins_anew_unless_windows_are_released(swept, clock):
    sweep = swept({"email|a": bounced(1)})
    assert sweep.advance() is not None
    assert sweep.advance() is None
    sweep.restart(())
    assert sweep.advance() is not None
    clock[0] += DAY
    assert sweep.advance() is not None


def test_does_not_begin_anew_before_what_it_found_is_done(swept, clock):
    sweep = swept({"email|a": bounced(1, State.VALID)})
    sweep.advance()
    clock[0] += DAY
    assert sweep.advance() is None
    sweep.take(1)
    assert sweep.advance() is not None
