"""A dead letter keeps what came, and its headers say why and where from, in words that Kafka's tools know."""

import pytest

from processor.deadletter import DeadReason, Origin, RefusedError, headers_of

ORIGIN = Origin("delivery.mta.v1", 3, 104_233)


def raised(error: Exception) -> Exception:
    with pytest.raises(type(error)) as caught:
        raise error
    return caught.value


def written(detail: str = "", error: BaseException | None = None) -> dict[str, bytes]:
    return dict(headers_of((), ORIGIN, DeadReason.INVALID_EVENT, detail, error))


def test_the_headers_of_the_record_come_first_and_as_they_came():
    own = (("provider", b"kumomta"), ("trace", b"\xff\x00"), ("trace", b"again"), ("", b""))
    assert headers_of(own, ORIGIN, DeadReason.INVALID_JSON, "")[:4] == own


def test_a_dead_letter_that_is_refused_again_says_both_and_the_last_one_counts():
    first = headers_of((), ORIGIN, DeadReason.UNKNOWN_PROVIDER, "")
    again = headers_of(first, Origin("delivery.mta.v1", 0, 7), DeadReason.UNREADABLE_PAYLOAD, "")
    assert again[: len(first)] == first
    assert dict(again)["delivery.dead.reason"] == b"unreadable_payload"


def test_our_names_are_the_reason_and_those_of_kafka_streams():
    assert list(written()) == [
        "delivery.dead.reason",
        "__streams.errors.exception",
        "__streams.errors.message",
        "__streams.errors.stacktrace",
        "__streams.errors.topic",
        "__streams.errors.partition",
        "__streams.errors.offset",
    ]


def test_says_where_the_record_came_from():
    headers = written()
    assert headers["__streams.errors.topic"] == b"delivery.mta.v1"
    assert headers["__streams.errors.partition"] == b"3"
    assert headers["__streams.errors.offset"] == b"104233"


@pytest.mark.parametrize("reason", DeadReason)
def test_says_why_in_one_word(reason):
    assert dict(headers_of((), ORIGIN, reason, ""))["delivery.dead.reason"] == reason.value.encode()


def test_a_record_that_breaks_the_contract_has_no_stack_trace():
    headers = written("Object missing required field `time`")
    assert headers["__streams.errors.exception"] == b"RefusedError"
    assert headers["__streams.errors.message"] == b"Object missing required field `time`"
    assert headers["__streams.errors.stacktrace"] == b""


def test_a_fault_of_ours_has_one():
    headers = written("division by zero", raised(ZeroDivisionError("division by zero")))
    assert headers["__streams.errors.exception"] == b"ZeroDivisionError"
    assert headers["__streams.errors.stacktrace"].startswith(b"Traceback")
    assert headers["__streams.errors.stacktrace"].endswith(b"ZeroDivisionError: division by zero\n")


def test_what_a_stranger_sent_cannot_fill_the_topic():
    headers = written("x" * 1_000_000, raised(ValueError("y" * 1_000_000)))
    assert headers["__streams.errors.message"] == b"x" * 1_000
    assert len(headers["__streams.errors.stacktrace"]) == 4_000


def test_text_that_cannot_be_encoded_is_written_with_marks():
    headers = written("before \ud800 after", raised(ValueError("\udfff")))
    assert headers["__streams.errors.message"] == b"before ? after"
    assert headers["__streams.errors.stacktrace"].decode()


def test_a_refusal_reads_as_reason_and_detail():
    refused = RefusedError(DeadReason.TIME_AHEAD, "3 days ahead")
    assert str(refused) == "time_ahead: 3 days ahead"
    assert (refused.reason, refused.detail) == (DeadReason.TIME_AHEAD, "3 days ahead")
