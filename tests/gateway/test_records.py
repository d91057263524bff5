"""A call becomes records that adapters read as they read the provider's own payload."""

import base64
import gzip
import json
import time
from urllib.parse import parse_qs

import pytest
from hypothesis import given
from hypothesis import strategies as st

from processor.gateway import firehose
from processor.gateway.dialects import DIALECTS
from processor.gateway.expanding import UnrecordableError, expand
from processor.gateway.records import Record, records_of
from processor.gateway.verifiers import Call
from processor.providers import decode_payload, outcome, read
from processor.providers.adapter import Context
from tests.gateway.conftest import call

LIMIT = 1_000_000
URL = "https://h.example/hooks/p?message_id=m-1&delivery_id=d%2F1"


def records(provider, received, limit=LIMIT, secrets=()):
    return records_of(DIALECTS[provider], received, secrets, limit)


def why_not(provider, received, limit=LIMIT):
    with pytest.raises(UnrecordableError) as caught:
        records(provider, received, limit)
    return str(caught.value)


class TestBody:
    def test_json_is_kept_octet_for_octet_with_the_query_beside_it(self):
        body = b' {"a" : 1.0e2, "b": "\\u00e5"}\r\n'
        assert records("postmark", call(body, URL)) == [Record(body, "message_id=m-1&delivery_id=d%2F1")]
        assert records("postmark", call(body, "https://h.example/p")) == [Record(body)]

    def test_a_form_follows_the_query_so_that_the_providers_own_fields_win(self):
        body = b"MessageSid=SM1&message_id=theirs"
        [record] = records("twilio", call(body, URL, content_type="application/x-www-form-urlencoded"))
        assert record == Record(b"message_id=m-1&delivery_id=d%2F1&" + body)
        assert records("twilio", call(body, "https://h.example/p")) == [Record(body)]

    def test_the_query_of_a_get_is_all_there_is(self):
        assert records("kannel", call(b"", URL, "GET")) == [Record(b"message_id=m-1&delivery_id=d%2F1")]

    def test_the_body_of_a_get_is_kept_where_there_is_one(self):
        assert records("plivo", call(b"Status=sent", URL, "GET")) == [
            Record(URL.partition("?")[2].encode() + b"&Status=sent")
        ]

    def test_a_post_without_a_body_is_read_as_its_query(self):
        assert records("vonage", call(b"", URL)) == [Record(b"message_id=m-1&delivery_id=d%2F1")]

    @pytest.mark.parametrize("method", ["GET", "POST"])
    def test_a_call_that_says_nothing_has_no_record(self, method):
        assert records("kannel", call(b" \r\n", "https://h.example/p", method)) == []

    def test_a_secret_in_the_address_goes_no_further(self):
        url = "https://h.example/p?type=1&token=s3cret"
        assert records("kannel", call(b"", url, "GET"), secrets=["s3cret"]) == [Record(b"type=1")]
        assert records("jasmin", call(b"id=1", url), secrets=["token=s3cret"]) == [Record(b"type=1&id=1")]
        assert records("jasmin", call(b"{}", url), secrets=["s3cret"]) == [Record(b"{}", "type=1")]

    def test_a_form_of_several_parts_becomes_one_of_fields(self):
        body = (
            '--x\r\nContent-Disposition: form-data; name="event"\r\n\r\ndropped & å\r\n'
            '--x\r\nContent-Disposition: form-data; name="attachment-1"; filename="a.eml"\r\n\r\nlong\r\n--x--\r\n'
        )
        [record] = records(
            "mailgun", call(body.encode(), "https://h.example/p", content_type="multipart/form-data; boundary=x")
        )
        assert parse_qs(record.value.decode()) == {"event": ["dropped & å"]}

    @pytest.mark.parametrize(
        "received", [call(b"<x/>"), call(b"x", content_type="application/xml"), call(b" <!DOCTYPE x>")]
    )
    def test_xml_is_nothing_that_any_adapter_reads(self, received):
        assert "XML" in why_not("infobip", received)

    def test_another_text_is_kept_as_it_is(self):
        assert records("powermta", call(b"type,timeLogged\nd,2026", URL)) == [
            Record(b"type,timeLogged\nd,2026", URL.partition("?")[2])
        ]

    def test_what_an_adapter_needs_of_the_address_is_found_at_last(self):
        [record] = records("twilio", call(b"MessageSid=SM1&MessageStatus=delivered&To=%2B46701234567", URL))
        findings = read("twilio", decode_payload(record.value), Context(None))
        assert (findings[0].message_id, findings[0].delivery_id) == ("m-1", "d/1")


class TestBatches:
    EVENTS = b'[{"a": 1}, {"b":  "x,y"},\n{"c": [1, 2]} ]'

    def test_one_that_fits_is_one_record(self):
        assert records("sendgrid", call(self.EVENTS, URL), len(self.EVENTS)) == [
            Record(self.EVENTS, URL.partition("?")[2])
        ]

    def test_one_that_does_not_is_split_between_events_each_as_it_came(self):
        found = records("sendgrid", call(self.EVENTS, URL), 30)
        assert [record.value for record in found] == [b'[{"a": 1},{"b":  "x,y"}]', b'[{"c": [1, 2]}]']
        assert all(record.query for record in found)

    def test_an_event_that_fits_no_record_is_told(self):
        assert "cannot be split" in why_not("sendgrid", call(self.EVENTS, URL), 12)

    def test_an_object_is_split_at_its_array_and_what_is_beside_it_repeated(self):
        body = b'{"bulkId":"b-1", "results": [{"messageId":"1"},{"messageId":"2"}]}'
        values = [record.value for record in records("infobip", call(body), 60)]
        assert [json.loads(value) for value in values] == [
            {"bulkId": "b-1", "results": [{"messageId": "1"}]},
            {"bulkId": "b-1", "results": [{"messageId": "2"}]},
        ]

    @pytest.mark.parametrize("body", [b'{"data": "' + b"x" * 100 + b'"}', b"[" + b"1," * 60, b"[" * 100])
    def test_what_is_no_batch_cannot_be_split(self, body):
        assert "cannot be split" in why_not("infobip", call(body), 60)

    def test_a_form_cannot_be_split(self):
        assert "cannot be split" in why_not("twilio", call(b"a=" + b"x" * 100), 60)

    @given(st.lists(st.text(max_size=20), max_size=40), st.integers(300, 900))
    def test_nothing_is_lost_doubled_or_out_of_order_however_it_is_split(self, texts, limit):
        events = [{"text": text} for text in texts]
        found = records("sendgrid", call(json.dumps(events).encode()), limit)
        assert all(len(record.value) <= limit for record in found)
        assert [event for record in found for event in json.loads(record.value)] == events


def packed(*data: bytes) -> bytes:
    delivery = {
        "requestId": "r-1",
        "timestamp": 1,
        "records": [{"data": base64.b64encode(each).decode()} for each in data],
    }
    return json.dumps(delivery).encode()


def delivered(body: bytes) -> Call:
    return call(body, "https://h.example/p", X_Amz_Firehose_Request_Id="r-1")


LOG = {
    "messageType": "DATA_MESSAGE",
    "logGroup": "sns/eu-north-1/1/DirectPublishToPhoneNumber",
    "logEvents": [{"id": str(number), "timestamp": 1, "message": "{}"} for number in range(5)],
}


class TestFirehose:
    def test_each_packed_value_is_a_record(self):
        found = records("ses", delivered(packed(b'{"a": 1}\n', b'{"b": 2}')))
        assert [record.value for record in found] == [b'{"a": 1}', b'{"b": 2}']

    def test_values_behind_one_another_are_taken_apart(self):
        found = records("ses", delivered(packed(b'{"a":1}{"b":2}\n\n{"c":"}{"}')))
        assert [record.value for record in found] == [b'{"a":1}', b'{"b":2}', b'{"c":"}{"}']

    def test_cloudwatch_logs_are_packed_once_more(self):
        found = records("aws_sns_sms", delivered(packed(gzip.compress(json.dumps(LOG).encode()))))
        assert [json.loads(record.value) for record in found] == [LOG]

    def test_a_log_that_is_too_large_is_split_between_its_lines(self):
        found = records("aws_sns_sms", delivered(packed(gzip.compress(json.dumps(LOG).encode()))), 250)
        logs = [json.loads(record.value) for record in found]
        assert len(logs) > 1
        assert [line for log in logs for line in log["logEvents"]] == LOG["logEvents"]
        assert all({**log, "logEvents": []} == {**LOG, "logEvents": []} for log in logs)

    def test_what_is_packed_and_no_json_goes_to_whoever_reads_it(self):
        for data in (b"\xff\xfe", b'{"a":', b"text", b"[" * 100_000):
            assert records("ses", delivered(packed(data))) == [Record(data)]

    def test_a_delivery_without_records_has_none(self):
        assert records("ses", delivered(packed())) == []

    @pytest.mark.parametrize(
        "body",
        [
            b"{}",
            b"[]",
            b"text",
            b'{"records": 1}',
            b'{"records": [{"data": "?"}]}',
            b'{"records":[{"data":"\\u00e5"}]}',
        ],
    )
    def test_what_firehose_never_delivers_is_told(self, body):
        assert "Firehose" in why_not("ses", delivered(body))

    def test_broken_or_endless_packing_is_told(self, monkeypatch):
        whole = gzip.compress(b"x" * 100_000)
        why_not("ses", delivered(packed(whole[:-9])))
        monkeypatch.setattr(firehose, "_MAX_UNPACKED", 150_000)
        why_not("ses", delivered(packed(whole, whole)))

    def test_a_notification_of_sns_is_kept_as_it_came(self):
        body = b'{"Type":"Notification","Message":"{}"}'
        assert records("ses", call(body, "https://h.example/p")) == [Record(body)]

    def test_what_is_unpacked_is_what_the_adapter_reads(self):
        line = {
            "notification": {"messageId": "s-1", "timestamp": "2026-11-23 08:00:00.000"},
            "delivery": {"destination": "+46701234567"},
            "status": "SUCCESS",
        }
        log = LOG | {"logEvents": [{"id": "1", "timestamp": 1_763_884_800_000, "message": json.dumps(line)}]}
        [record] = records("aws_sns_sms", delivered(packed(gzip.compress(json.dumps(log).encode()))))
        assert outcome(read("aws_sns_sms", decode_payload(record.value), Context(None)))[0] == "events"

    @pytest.mark.parametrize(("name", "has_message"), [("taken", False), ("again", True), ("never", True)])
    def test_it_is_answered_in_its_own_words(self, name, has_message):
        told = getattr(DIALECTS["ses"], name)
        answered = firehose.answer(delivered(packed()), told, 1_750_000_000.5)
        said = json.loads(answered.body)
        assert (said["requestId"], said["timestamp"]) == ("r-1", 1_750_000_000_500)
        assert ("errorMessage" in said) == has_message
        assert (answered.status, answered.content_type) == (told.status, "application/json")


class TestExpanding:
    @pytest.mark.parametrize("encoding", ["", "identity", " Identity "])
    def test_what_is_not_compressed_stays(self, encoding):
        assert expand(b"x" * 100, encoding, 10) == b"x" * 100

    @pytest.mark.parametrize("encoding", ["gzip", "GZIP", "x-gzip"])
    def test_gzip_is_expanded_also_in_several_parts(self, encoding):
        assert expand(gzip.compress(b"a" * 50) + gzip.compress(b"b" * 50), encoding, 100) == b"a" * 50 + b"b" * 50

    def test_what_expands_beyond_the_bound_is_not_expanded(self):
        for body in (
            gzip.compress(b"a" * 101),
            gzip.compress(b"a" * 60) + gzip.compress(b"b" * 41),
            gzip.compress(b"a" * 10**7),
        ):
            with pytest.raises(UnrecordableError, match="more than 100"):
                expand(body, "gzip", 100)

    @pytest.mark.parametrize(
        ("body", "encoding"),
        [(b"x", "gzip"), (gzip.compress(b"x")[:-3], "gzip"), (b"x", "br"), (b"x", "gzip, gzip")],
        ids=["plain", "cut", "another encoding", "two encodings"],
    )
    def test_what_is_not_compressed_as_it_says_is_told(self, body, encoding):
        with pytest.raises(UnrecordableError):
            expand(body, encoding, 100)

    @pytest.mark.parametrize("part", [b"", b"x"], ids=["empty", "short"])
    def test_many_small_parts_cost_little(self, part):
        """What is left over behind each is copied by zlib: five MiB of them at once take half a minute."""
        packed = gzip.compress(part)
        body = packed * (5 * 2**20 // len(packed))
        began = time.process_time()
        with pytest.raises(UnrecordableError, match="parts"):
            expand(body, "gzip", 2**20)
        assert time.process_time() - began < 2


class TestFloods:
    """What who has a right secret may not do to the others."""

    def delivery(self, *data):
        told = {"records": [{"data": base64.b64encode(each).decode()} for each in data]}
        return call(json.dumps(told).encode(), x_amz_firehose_request_id="r")

    @pytest.mark.parametrize("over", [b"1", b" ", b"11", b"1" * 100])
    def test_what_is_over_the_bound_leaves_no_room_for_more(self, monkeypatch, over):
        """A bound of no octets would be none for zlib, and one below it an error of ours."""
        monkeypatch.setattr(firehose, "_MAX_UNPACKED", 1000)
        bomb = gzip.compress(bytes(10**6))
        assert "more than" in why_not("ses", self.delivery(gzip.compress(b"1" * 1000), over, bomb))

    def test_a_delivery_holds_so_many_values(self, monkeypatch):
        monkeypatch.setattr(firehose, "_MAX_VALUES", 10)
        assert len(records("ses", self.delivery(b"1 " * 5, b"1 " * 5))) == 10
        assert "more than" in why_not("ses", self.delivery(b"1 " * 5, b"1 " * 6))

    def test_a_batch_has_so_many_elements(self, monkeypatch):
        monkeypatch.setattr("processor.gateway.records._MAX_COMMAS", 10)
        body = b"[" + b",".join([b"1"] * 1000) + b"]"
        with pytest.raises(UnrecordableError, match="commas"):
            records("sendgrid", call(body), 100)

    @pytest.mark.parametrize("body", [b'{"records":[],"x":' + b"[" * 10**6, b"[" * 10**6], ids=["delivery", "batch"])
    def test_what_is_nested_without_end_is_malformed_and_need_not_come_again(self, body):
        for provider, headers in (("ses", {"x_amz_firehose_request_id": "r"}), ("sendgrid", {})):
            with pytest.raises(UnrecordableError):
                records(provider, call(body, **headers), 100)
