"""When a record came in goes on with it, in its timestamp or else in a header."""

import pytest

from processor.wire.received import RECEIVED_HEADER, keep_received, received_at, window

NOW = 1_800_000_000_000
HOUR = 3_600_000
OWN = (("provider", b"ses"),)


@pytest.mark.parametrize("timestamp", [NOW, NOW - HOUR, NOW + 1, NOW + 30 * HOUR, -1, -7])
def test_a_timestamp_of_now_ahead_or_none_needs_no_header(timestamp):
    assert keep_received(OWN, timestamp, NOW - HOUR) == OWN


@pytest.mark.parametrize("timestamp", [0, 1_700_000_000_000, NOW - HOUR - 1])
def test_one_far_back_goes_into_a_header_and_is_read_from_it(timestamp):
    kept = keep_received(OWN, timestamp, NOW - HOUR)
    assert kept == (*OWN, (RECEIVED_HEADER, str(timestamp).encode()))
    assert received_at(kept, NOW) == timestamp


def test_it_is_written_once():
    kept = keep_received(OWN, 5, NOW - HOUR)
    assert keep_received(kept, 7, NOW - HOUR) == kept


def test_without_the_header_it_is_the_timestamp():
    assert received_at(OWN, 5) == received_at((), 5) == 5


@pytest.mark.parametrize("value", [b"", b"-5", b"1e3", b"9" * 5_000, b"\xff", None, b" 5", str(NOW + HOUR).encode()])
def test_what_strangers_write_there_moves_no_clock_forward(value):
    assert received_at([(RECEIVED_HEADER, value)], NOW) == NOW


def test_the_window_is_what_brokers_take_and_retention_does_not_feel():
    first, last = window(NOW)
    assert NOW - HOUR <= first < NOW < last < NOW + HOUR
