"""A dead letter keeps what came, and its headers say why and where from, in words that Kafka's tools know."""

from hashlib import sha256

import pytest

from processor.wire.deadletters import DeadReason, Letter, Origin, UnusableError, fitted, headers_of, size_of

ORIGIN = Origin("delivery.mta.v1", 3, 104_233)
LIMIT = 1_000_000


def raised(error: Exception) -> Exception:
    with pytest.raises(type(error)) as caught:
        raise error
    return caught.value


def written(detail: str = "", error: BaseException | None = None) -> dict[str, bytes]:
    return dict(headers_of(ORIGIN, 1_795_420_800_000, DeadReason.INVALID_EVENT, detail, error))


def test_the_headers_of_the_record_come_first_and_as_they_came():
    own = (("provider", b"kumomta"), ("trace", b"\xff\x00"), ("trace", b"again"), ("", b""))
    letter = fitted(Letter(b"k", b"v", own), headers_of(ORIGIN, 0, DeadReason.INVALID_JSON, ""), LIMIT)
    assert letter == (b"k", b"v", own + headers_of(ORIGIN, 0, DeadReason.INVALID_JSON, ""))


def test_a_dead_letter_that_is_refused_again_says_both_and_the_last_one_counts():
    first = headers_of(ORIGIN, 0, DeadReason.UNKNOWN_PROVIDER, "")
    ours = headers_of(Origin("delivery.mta.v1", 0, 7), 0, DeadReason.UNREADABLE_PAYLOAD, "")
    again = fitted(Letter(None, b"", first), ours, LIMIT).headers
    assert again[: len(first)] == first
    assert dict(again)["delivery.dead.reason"] == b"unreadable_payload"


def test_our_names_are_the_reason_and_those_of_kafka_streams():
    assert list(written()) == [
        "delivery.dead.reason",
        "delivery.dead.timestamp",
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
    assert dict(headers_of(ORIGIN, 0, reason, ""))["delivery.dead.reason"] == reason.value.encode()


def test_a_record_that_breaks_the_contract_has_no_stack_trace():
    headers = written("Object missing required field `time`")
    assert headers["__streams.errors.exception"] == b"UnusableError"
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


def test_says_which_timestamp_the_record_had():
    assert written()["delivery.dead.timestamp"] == b"1795420800000"


class TestWhatDoesNotFit:
    OURS = headers_of(ORIGIN, 0, DeadReason.RECORD_TOO_LARGE, "")

    def letter(self, **parts) -> Letter:
        fits = fitted(Letter(b"k", b"v", ())._replace(**parts), self.OURS, LIMIT)
        assert size_of(*fits) <= LIMIT - 1_000, "Kafka adds to a record what its batch takes"
        assert set(self.OURS) <= set(fits.headers)
        return fits

    def test_a_value_is_cut_and_its_size_and_digest_are_told(self):
        value = bytes(range(256)) * 20_000
        letter = self.letter(value=value)
        headers = dict(letter.headers)
        assert value.startswith(letter.value)
        assert len(letter.value) > 0.9 * LIMIT
        assert headers["delivery.dead.size"] == b"5120000"
        assert headers["delivery.dead.sha256"] == sha256(value).hexdigest().encode()
        assert "delivery.dead.key_size" not in headers
        assert letter.key == b"k"

    def test_a_key_is_cut_and_leaves_the_value_whole(self):
        key = b"k" * 2_000_000
        letter = self.letter(key=key, value=b"v" * 500_000)
        headers = dict(letter.headers)
        assert letter.value == b"v" * 500_000
        assert key.startswith(letter.key)
        assert headers["delivery.dead.key_size"] == b"2000000"
        assert headers["delivery.dead.key_sha256"] == sha256(key).hexdigest().encode()
        assert "delivery.dead.size" not in headers

    def test_of_too_many_headers_the_first_are_kept_and_their_number_is_told(self):
        own = tuple((f"name {number}", b"x" * 100) for number in range(30_000))
        letter = self.letter(headers=own)
        assert own[:1_000] == letter.headers[:1_000]
        assert dict(letter.headers)["delivery.dead.headers"] == b"30000"
        assert letter.value == b"v"

    def test_a_header_that_is_too_large_by_itself_is_left_out(self):
        letter = self.letter(headers=(("provider", b"ses"), ("large", b"x" * 2_000_000), ("after", b"")))
        assert letter.headers[0] == ("provider", b"ses")
        assert [name for name, _ in letter.headers if not name.startswith(("delivery.", "__"))] == ["provider"]

    def test_names_and_nulls_count_too(self):
        self.letter(headers=tuple(("\u20ac" * 200, None) for _ in range(10_000)))

    def test_all_of_it_at_once(self):
        self.letter(key=b"k" * LIMIT, value=b"v" * LIMIT, headers=(("a", b"x" * 200_000), ("b", b"x" * LIMIT)))

    def test_what_just_fits_is_whole(self):
        room = LIMIT - 4_096 - size_of(None, None, self.OURS)
        assert self.letter(key=None, value=b"v" * room).headers == self.OURS
        assert "delivery.dead.size" in dict(self.letter(key=None, value=b"v" * (room + 1)).headers)


def test_a_refusal_reads_as_reason_and_detail():
    refused = UnusableError(DeadReason.TIME_AHEAD, "3 days ahead")
    assert str(refused) == "time_ahead: 3 days ahead"
    assert (refused.reason, refused.detail) == (DeadReason.TIME_AHEAD, "3 days ahead")
