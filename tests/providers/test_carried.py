"""The texts in which fields travel are read as urllib reads them, and our own ids are found in what comes back."""

from urllib.parse import parse_qsl

import pytest
from hypothesis import given
from hypothesis import strategies as st

from processor.providers.adapter import PayloadError
from processor.providers.carried import fields_of, reference_of


@given(st.text(alphabet="ab=&+%2B0ä \0", max_size=60).map(lambda text: f"x={text}"))
def test_a_form_body_is_read_as_urllib_reads_it(text):
    assert fields_of(text).items() >= dict(parse_qsl(text.strip(), keep_blank_values=True)).items()


@pytest.mark.parametrize(
    ("text", "fields"),
    [
        ("a=1&b=%2B46+70", {"a": "1", "b": "+46 70"}),
        ("/path?a=1&b=2", {"a": "1", "b": "2"}),
        ("https://example.com/path?a=1", {"a": "1"}),
        ("?a=1", {"a": "1"}),
        ("a=1?b&c=2", {"a": "1?b", "c": "2"}),
        ("url=https%3A%2F%2Fx%3Fa%3Db", {"url": "https://x?a=b"}),
        (" a=1\n", {"a": "1"}),
        ("a=%ff", {"a": "\N{REPLACEMENT CHARACTER}"}),
    ],
)
def test_fields_of_a_form_and_of_a_query(text, fields):
    assert fields_of(text) == fields


def test_fields_of_an_object_are_the_object():
    assert fields_of({"a": 1}) == {"a": 1}


@pytest.mark.parametrize("element", ["hello", "", '{"a": "=', "[1=", None, 7, ["a=1"], "a=1" + "&" * 1000])
def test_what_has_no_fields_is_refused(element):
    with pytest.raises(PayloadError):
        fields_of(element)


@pytest.mark.parametrize(
    ("carried", "reference"),
    [
        ({"message_id": "m-1"}, {"message_id": "m-1"}),
        ('{"message_id": "m-1"}', {"message_id": "m-1"}),
        ("message_id=m-1&delivery_id=D1", {"message_id": "m-1", "delivery_id": "D1"}),
        ("message_id=m%201", {"message_id": "m 1"}),
        ("message_id: m-1", {"message_id": "m-1"}),
        (["sale", "message_id=m-1", "delivery_id:D1", 7], {"message_id": "m-1", "delivery_id": "D1"}),
        (["message_id=m-1", "message_id=m-2"], {"message_id": "m-1"}),
        ("winter sale", {}),
        ('["m-1"]', {}),
        ("{broken", {}),
        ("x=" + "y" * 5000, {}),
        (None, {}),
        (7, {}),
    ],
)
def test_our_own_ids_in_what_comes_back(carried, reference):
    assert reference_of(carried) == reference
