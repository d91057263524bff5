"""Which bytes quote a person: what is erased of dead letters, and what must not be."""

import tracemalloc

import pytest

from processor.web.quoting import _OVERLAP, _WINDOW, quotes

ADDRESS, NUMBER = "ulla.ek@example.com", "46701234567"


@pytest.mark.parametrize(
    "text",
    [
        '{"to": "ulla.ek@example.com"}',
        "<Ulla.Ek@EXAMPLE.com>:",
        "to=ulla.ek%40example.com&x=1",
        r'"ulla.ek\u0040example.com"',
        "ulla.ek&#64;example.com",
    ],
)
def test_an_address_is_quoted_however_it_is_escaped(text):
    assert quotes(text.encode(), ADDRESS)


@pytest.mark.parametrize("text", ["+46 70-123 45 67", "0046701234567", "To=%2B46701234567", "tel:+46-70.123/4567"])
def test_so_is_a_number(text):
    assert quotes(text.encode(), NUMBER)


@pytest.mark.parametrize("text", ["", "paulla.ek@example.com", "ulla.ek@example.community", "ulla.ek@example.com.au"])
def test_another_address_is_not(text):
    assert not quotes(text.encode(), ADDRESS)


@pytest.mark.parametrize("text", ["146701234567", "467012345678", "4670123456"])
def test_nor_is_another_number(text):
    assert not quotes(text.encode(), NUMBER)


#: Where a part of a large text begins or ends.
EDGES = (_WINDOW, _WINDOW - _OVERLAP, 2 * (_WINDOW - _OVERLAP))


@pytest.mark.parametrize("edge", EDGES)
@pytest.mark.parametrize("before", range(0, 13, 3))
def test_it_is_found_where_a_large_text_is_parted(edge, before):
    text = "\n" + "x " * _WINDOW
    start = edge - before
    assert quotes(f"{text[:start]} {NUMBER} {text[start:]}".encode(), NUMBER)


@pytest.mark.slow
@pytest.mark.parametrize("edge", EDGES)
@pytest.mark.parametrize("before", range(14))
def test_a_longer_number_is_another_one_where_it_is_parted_too(edge, before):
    text = "\n" + "x " * _WINDOW
    start = edge - before
    assert not quotes(f"{text[:start]} 1{NUMBER}8 {text[start:]}".encode(), NUMBER)


def test_a_large_letter_is_read_in_little_room():
    data = b'\n{"x": "' + b"%20" * 30_000 + b'"}'
    tracemalloc.start()
    try:
        assert not quotes(data, ADDRESS)
        assert tracemalloc.get_traced_memory()[1] < 10 * 1024 * 1024
    finally:
        tracemalloc.stop()
