"""Addresses on the wire: what is written comes back as it was, by the short way, too."""

import pytest

from processor.domain.addresses import ADDRESS_LAYOUT, NOTHING, Address, Kind, Sighting, condition_of, join
from processor.domain.moment import Micros
from processor.domain.reason import Category
from processor.wire.addresses import (
    Known,
    decode_address,
    encode_address,
    encode_reached,
    known_in,
    pack_known,
    pack_reached,
    reached_in,
    unpack_known,
)
from processor.wire.readback import UnreadableError

KEY = "email|" + "0" * 32
TIME = Micros(1_795_420_800_125_000)
HARD = Sighting(TIME, Kind.HARD, Category.USER_UNKNOWN, "5.1.1", "example.com")
REACHED = Address(success=TIME)


@pytest.mark.parametrize("address", [REACHED, join(REACHED, HARD), join(NOTHING, Sighting(TIME, Kind.COMPLAINT))])
def test_an_address_comes_back_from_topic_and_store(address):
    condition = condition_of(address, TIME)
    known = Known(condition.state, address)
    value = encode_address(KEY, address, condition)
    assert decode_address(value).memory == address
    assert known_in(value) == unpack_known(pack_known(known)) == known


@pytest.mark.parametrize("time", [TIME, Micros(0), Micros(-1)])
def test_the_short_ways_for_an_address_that_was_reached_give_what_the_long_ones_give(time):
    address = Address(success=time)
    condition = condition_of(address, time)
    assert encode_reached(KEY.encode(), time) == encode_address(KEY, address, condition)
    assert pack_reached(time) == pack_known(Known(condition.state, address))
    assert reached_in(pack_reached(time)) == time
    assert reached_in(pack_known(Known(condition.state, join(address, HARD)))) is None


def test_what_a_newer_version_wrote_is_not_read():
    address = join(NOTHING, HARD)
    value = encode_address(KEY, address, condition_of(address, TIME))
    newer = value.replace(b'"memory":[%d,' % ADDRESS_LAYOUT, b'"memory":[%d,' % (ADDRESS_LAYOUT + 1))
    with pytest.raises(UnreadableError, match="a newer one wrote it"):
        known_in(newer)


@pytest.mark.parametrize("value", [b"", b"not json", b"{}", b'{"state":"valid","memory":[]}'])
def test_what_is_no_address_is_not_read(value):
    with pytest.raises(UnreadableError):
        known_in(value)


def test_a_packed_address_of_a_newer_version_is_not_read():
    packed = pack_known(Known(condition_of(join(NOTHING, HARD), TIME).state, join(NOTHING, HARD)))
    newer = packed.replace(bytes([ADDRESS_LAYOUT]), bytes([ADDRESS_LAYOUT + 1]), 1)
    with pytest.raises(UnreadableError):
        unpack_known(newer)
