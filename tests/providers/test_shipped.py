"""Batches of log shippers are taken apart, whatever is in them; what is no line is left for its reader to refuse."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from processor.providers.shipped import lines_in

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "streams",
                    "stream",
                    "labels",
                    "values",
                    "entries",
                    "line",
                    "data",
                    "result",
                    "resourceLogs",
                    "resource",
                    "scopeLogs",
                    "logRecords",
                    "attributes",
                    "body",
                    "key",
                    "value",
                    "stringValue",
                    "bytesValue",
                    "intValue",
                    "kvlistValue",
                    "arrayValue",
                    "timeUnixNano",
                ]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=20,
)


def record(body: object, **more: object) -> dict[str, object]:
    return {"timeUnixNano": "17", "body": body, **more}


@given(JSON)
def test_nothing_raises(payload):
    found = lines_in(payload)
    assert found is None or isinstance(found, list)


def test_what_is_no_batch_is_none():
    for payload in (None, 1, "text", [], {}, {"message": "a line"}, {"body": "a line"}, {"data": "x"}):
        assert lines_in(payload) is None


def test_a_line_has_what_is_said_of_its_stream_and_of_itself():
    stream = {"stream": {"host": "mx1", "time": "day"}, "values": [["17", "a", {"level": "info"}], ["18", "b"]]}
    assert lines_in({"streams": [stream]}) == [
        {"host": "mx1", "level": "info", "time": 17, "message": "a"},
        {"host": "mx1", "time": 18, "message": "b"},
    ]


def test_what_is_no_line_stays():
    assert lines_in({"streams": [1, {"values": [2, ["3"]]}]}) == [1, 2, ["3"]]
    assert lines_in({"resourceLogs": [1, {"scopeLogs": [{"logRecords": [2]}, 3]}]}) == [1, 2]


@pytest.mark.parametrize(
    ("body", "line"),
    [
        ({"stringValue": "a"}, "a"),
        ({"intValue": "7"}, 7),
        ({"bytesValue": base64.b64encode(b"a").decode()}, "a"),
        ({"bytesValue": "a"}, None),
        ({"arrayValue": {"values": [{"stringValue": "a"}, {"boolValue": True}]}}, ["a", True]),
        ({}, None),
    ],
)
def test_values_are_read_by_their_types(body, line):
    assert lines_in(record(body)) == [{"time": 17, "message": line}]


def test_a_map_takes_the_place_of_the_line():
    body = {"kvlistValue": {"values": [{"key": "MESSAGE", "value": {"stringValue": "a"}}, {"key": 1}, None]}}
    attributes = [{"key": "host.name", "value": {"stringValue": "mx1"}}]
    assert lines_in(record(body, attributes=attributes)) == [
        {"host.name": "mx1", "host": "mx1", "time": 17, "MESSAGE": "a"}
    ]


def test_values_inside_one_another_are_read_to_a_bound():
    body: dict[str, object] = {"stringValue": "a"}
    for _ in range(200):
        body = {"arrayValue": {"values": [body]}}
    [line] = lines_in(record(body))
    told, depth = line["message"], 0
    while isinstance(told, list):
        [told] = told
        depth += 1
    assert (told, depth < 20) == (None, True)
