"""A dead letter is read back whatever is in it, and goes back as it came."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from processor.wire.deadletters import DeadReason, Letter, Origin, fitted, headers_of
from processor.wire.letters import (
    LETTER_HEADER,
    ORIGIN_HEADER,
    ROUND_HEADER,
    LetterId,
    obstacle,
    read_letter,
    replayed_at,
    replayed_headers,
)
from processor.wire.received import RECEIVED_HEADER
from processor.wire.topics import INPUT_MAX_BYTES

NOW = 1_800_000_000_000
DAY = 24 * 3_600_000
ID = LetterId(3, 104233)
ORIGIN = Origin("delivery.mta.v1", 1, 7)
OWN = (("provider", b" SES "), ("delivery", b"x"))
INPUTS = ["delivery.mta.v1"]

names = st.sampled_from(
    [
        "provider", "delivery.dead.reason", "delivery.dead.form", "delivery.dead.size", "delivery.dead.timestamp",
        "__streams.errors.topic", "__streams.errors.partition", "__streams.errors.offset", ROUND_HEADER, ORIGIN_HEADER,
    ]
)  # fmt: skip
headers = st.lists(st.tuples(names | st.text(), st.binary() | st.none() | st.just(b"9" * 5_000)), max_size=12)


def written(own=OWN, value=b"value", timestamp=NOW, limit=1_000_000, origin=ORIGIN):
    """Give a letter as a stage writes it, read back."""
    letter = fitted(
        Letter(b"key", value, tuple(own)),
        headers_of(origin, timestamp, DeadReason.NO_PROVIDER, "no header"),
        limit,
    )
    return read_letter(ID, NOW, *letter)


def obstacle_of(letter):
    return obstacle(letter, INPUTS, INPUT_MAX_BYTES)


def test_what_was_written_is_read():
    letter = written()
    assert (letter.key, letter.value, letter.headers) == (b"key", b"value", OWN)
    assert (letter.reason, letter.detail, letter.origin) == (DeadReason.NO_PROVIDER, "no header", ORIGIN)
    assert (letter.timestamp, letter.rounds, letter.size) == (NOW, 0, 5)
    assert letter.provider == "ses"
    assert obstacle_of(letter) is None


def test_a_replayed_record_has_its_own_headers_and_what_marks_it():
    assert replayed_headers(written(), NOW) == (
        *OWN,
        (ROUND_HEADER, b"1"),
        (ORIGIN_HEADER, b"delivery.mta.v1|1|7"),
        (LETTER_HEADER, b"3-104233"),
    )


def test_the_rounds_are_counted_and_the_first_origin_stays():
    came = replayed_headers(written(), NOW)
    again = written(came, origin=ORIGIN._replace(offset=99))
    assert (again.rounds, again.first_origin, again.origin.offset) == (1, ORIGIN, 99)
    assert again.headers == OWN
    assert replayed_headers(again, NOW)[-3:-1] == ((ROUND_HEADER, b"2"), (ORIGIN_HEADER, b"delivery.mta.v1|1|7"))


def test_a_letter_that_was_published_by_hand_with_our_headers_goes_back_without_them():
    first = headers_of(ORIGIN, NOW, DeadReason.TOO_OLD, "long ago")
    letter = written((*OWN, *first))
    assert letter.reason is DeadReason.NO_PROVIDER
    assert letter.headers == OWN


def test_when_it_was_received_goes_on_with_it():
    assert replayed_at(written(timestamp=NOW - 1000), NOW) == NOW - 1000
    old = written(timestamp=NOW - DAY)
    assert replayed_at(old, NOW) == NOW
    told = dict(replayed_headers(old, NOW))
    assert told[RECEIVED_HEADER] == str(NOW - DAY).encode()
    assert told["received"] == b"2027-01-14T08:00:00Z"


def test_a_gateway_that_told_when_it_received_a_record_is_believed():
    letter = written((("Received", b"2027-01-01T00:00:00Z"),), timestamp=NOW - DAY)
    assert [value for name, value in replayed_headers(letter, NOW) if name.lower() == "received"] == [
        b"2027-01-01T00:00:00Z"
    ]


@pytest.mark.parametrize(
    ("letter", "why"),
    [
        (written(value=b"x" * 9_000, limit=8_000), "of its value only the beginning"),
        (written((("big", b"x" * 9_000),), limit=8_000), "headers only the beginning"),
        (written((("delivery.dead.form", b"batch"),)), "the bytes of a batch"),
        (written((("delivery.dead.header_name", b"\xff"),)), "not text"),
        (written(origin=ORIGIN._replace(topic="delivery.messages.v1")), "delivery.messages.v1"),
        (written(value=b"x" * (INPUT_MAX_BYTES - 4_200), limit=6_000_000), "larger than its topic takes"),
        (read_letter(ID, NOW, None, None, ()), "no headers of ours"),
        (read_letter(ID, NOW, None, None, (("delivery.dead.reason", b"new"),)), "where it came from"),
    ],
)
def test_what_is_not_whole_or_has_no_way_back_cannot_be_replayed(letter, why):
    assert why in obstacle_of(letter)


@given(headers, st.binary() | st.none())
def test_whatever_the_headers_are_it_is_read_and_judged(found, value):
    letter = read_letter(ID, NOW, None, value, tuple(found))
    assert obstacle_of(letter) is None or letter.damage or isinstance(obstacle_of(letter), str)
    if obstacle_of(letter) is None:
        assert not any(
            name.startswith(("delivery.dead.", "__streams.errors.")) for name, _ in replayed_headers(letter, NOW)
        )


@pytest.mark.parametrize("text", ["", "3", "3-", "-3", "3-x", "3-1-2", "\u0663-1", "3-" + "9" * 40, " 3-1"])
def test_what_is_no_id_is_none(text):
    assert LetterId.parse(text) is None


def test_an_id_is_read_as_it_is_told():
    assert LetterId.parse(str(ID)) == ID
