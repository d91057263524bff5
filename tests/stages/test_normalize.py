"""The normalize stage: what a raw record's headers and the settings say of it."""

import json
from datetime import datetime, timezone

import pytest

from processor.engine.stage import Outbox, Partitioning
from processor.metrics import Metrics
from processor.settings import Settings
from processor.stages import normalize
from processor.watch.board import Board
from processor.wire.received import RECEIVED_HEADER
from tests.stages.conftest import Read

NOW = datetime(2026, 11, 28, 12, tzinfo=timezone.utc)
TOPICS = {f"t.{name}.v1": 4 for name in ("mta", "sms", "events", "receipts", "dead")}
RECEIVED = "2026-11-28T11:59:00Z"


@pytest.fixture
def normalized():
    """Give what comes of one record: events, and reasons of dead letters."""

    def run(value, provider="twilio", settings=None, names=str, **headers):
        settings = settings or Settings(topic_prefix="t.")
        metrics = Metrics(["normalize"])
        stage = normalize.stage(settings, metrics, Board(metrics), NOW.timestamp)
        work = stage.start(Partitioning("t.sms.v1", 0, TOPICS, "cluster"))
        told = [(names(name), text) for name, text in {"provider": provider.encode(), **headers}.items()]
        outbox = Outbox(int(NOW.timestamp() * 1000))
        work.process([Read(0, int(NOW.timestamp() * 1000), None, value, told)], outbox)
        written = {topic: records for (topic, _), records in outbox.records.items()}
        # What has no id of ours goes by way of the receipts.
        told_of = [*written.get("t.events.v1", []), *written.get("t.receipts.v1", [])]
        events = [json.loads(value) for _, _, value, _ in told_of]
        dead = [dict(headers)["delivery.dead.reason"].decode() for _, _, _, headers in written.get("t.dead.v1", [])]
        return events, dead

    return run


FORM = b"MessageSid=SM1&MessageStatus=sent&To=%2B46701740605"


def test_the_account_scopes_the_providers_id(normalized):
    ([event], dead) = normalized(FORM, account=b"north")
    assert (event["message_id"], dead) == ("twilio@north:SM1", [])


def test_our_ids_may_travel_in_the_query_of_the_callbacks_address(normalized):
    ([event], _) = normalized(FORM, query=b"message_id=m-1&delivery_id=DM1&attempt=2")
    assert (event["message_id"], event["delivery_id"], event["attempt"]) == ("m-1", "DM1", 2)


def test_the_time_at_which_it_was_received_is_the_event_time_of_what_has_none(normalized):
    ([event], _) = normalized(FORM, received=RECEIVED.encode())
    assert event["time"] == RECEIVED
    ([event], _) = normalized(FORM, received=b"yesterday")
    assert event["time"] == "2026-11-28T12:00:00Z"


def test_a_record_that_was_copied_says_when_it_was_first_received(normalized):
    received = datetime(2026, 11, 26, 12, tzinfo=timezone.utc)
    ([event], _) = normalized(FORM, **{RECEIVED_HEADER: str(int(received.timestamp() * 1000)).encode()})
    assert event["time"] == "2026-11-26T12:00:00Z"


@pytest.mark.parametrize("names", [str.upper, str.title])
@pytest.mark.parametrize("provider", ["twilio", "Twilio", "TWILIO "])
def test_names_in_headers_may_have_any_case(normalized, names, provider):
    headers = {"account": b"North", "query": b"message_id=m-1", "received": RECEIVED.encode()}
    ([event], dead) = normalized(FORM, provider, names=names, **headers)
    assert (event["message_id"], event["provider"], event["time"]) == ("m-1", "twilio", RECEIVED)
    ([event], _) = normalized(FORM, provider, names=names, account=b"North")
    assert (event["message_id"], dead) == ("twilio@North:SM1", [])


@pytest.mark.parametrize("name", ["account", "query", "received"])
@pytest.mark.parametrize("value", [None, b"", b"\xff\xfe"])
def test_a_header_that_says_nothing_stops_nothing(normalized, name, value):
    ([_], dead) = normalized(FORM, **{name: value})
    assert dead == []


def test_a_time_that_lies_ahead_is_a_dead_letter(normalized):
    assert normalized(FORM, received=b"2027-01-01T00:00:00Z") == ([], ["time_ahead"])


def test_an_id_of_ours_may_cover_a_send(normalized):
    settings = Settings(topic_prefix="t.", message_id_covers="send")
    ([event], _) = normalized(FORM + b"&message_id=m-1", settings=settings)
    assert event["message_id"] == "m-1:+46701740605"


def test_our_attempt_may_have_another_name(normalized):
    settings = Settings(topic_prefix="t.", attempt_names=("try",))
    ([event], _) = normalized(FORM + b"&message_id=m-1&try=3&attempt=2", settings=settings)
    assert event["attempt"] == 3


def test_receipts_may_be_told_by_their_text(normalized):
    pdu = json.dumps({"pdu": "deliver_sm", "esm_class": 0, "short_message": "id:77 stat:DELIVRD err:000 text:"})
    assert normalized(pdu.encode(), "smpp") == ([], [])
    settings = Settings(topic_prefix="t.", smpp_receipts_by_text=True)
    ([event], _) = normalized(pdu.encode(), "smpp", settings)
    assert event["message_id"] == "smpp:77"


DEEP = b'{"a":' * 900 + b"1" + b"}" * 900
UNKNOWN = b'{"event":"teleported","sg_message_id":"x.filter1"}'
GOOD = b'{"event":"delivered","sg_message_id":"x.filter1","email":"anna@example.org","timestamp":1762502400}'


class TestDeadLetters:
    """What of a record cannot be used is put aside once: many bad elements are not many times the record."""

    @pytest.fixture
    def letters(self):
        def run(value, provider="sendgrid"):
            metrics = Metrics(["normalize"])
            stage = normalize.stage(Settings(topic_prefix="t."), metrics, Board(metrics), NOW.timestamp)
            work = stage.start(Partitioning("t.sms.v1", 0, TOPICS, "cluster"))
            outbox = Outbox(int(NOW.timestamp() * 1000))
            work.process(
                [Read(0, int(NOW.timestamp() * 1000), None, value, (("provider", provider.encode()),))], outbox
            )
            written = [each for (topic, _), records in outbox.records.items() if "dead" in topic for each in records]
            return [(letter, dict(headers)["__streams.errors.message"].decode()) for _, _, letter, headers in written]

        return run

    def test_an_unknown_element_of_a_batch_is_put_aside_alone(self, letters):
        assert [letter for letter, _ in letters(b"[%s,%s]" % (GOOD, UNKNOWN))] == [UNKNOWN]

    def test_an_unknown_record_is_put_aside_as_it_came(self, letters):
        spaced = UNKNOWN.replace(b":", b" : ")
        assert [letter for letter, _ in letters(spaced)] == [spaced]

    def test_elements_that_nest_too_deep_to_stand_alone_are_one_letter(self, letters):
        value = b"[%s]" % b",".join([b'{"event":"teleported","sg_message_id":"x","a":%s}' % DEEP] * 20)
        ((letter, detail),) = letters(value)
        assert letter == value
        assert detail.startswith("20 of its elements, the first: sendgrid sends 'teleported'")

    def test_one_element_of_many_recipients_is_one_letter(self, letters):
        to = [{"phone_number": f"+4670000{number:04}", "status": "teleported"} for number in range(500)]
        value = json.dumps({"data": {"event_type": "message.sent", "payload": {"id": "t1", "to": to}}}).encode()
        ((letter, detail),) = letters(value, "telnyx")
        assert letter == value
        assert detail.startswith("500 of its elements")

    def test_a_payload_of_very_many_empty_arrays_is_not_read(self, letters):
        value = b"[%s[]]" % (b"[]," * 50_000)
        ((letter, detail),) = letters(value)
        assert letter == value
        assert detail == "50002 arrays and objects, and 50000 are read"

    def test_brackets_in_the_lines_of_a_log_are_no_arrays(self, letters):
        assert letters(b"mx1 postfix/smtpd[1]: connect from a[]\n" * 25_200, "postfix") == []

    def test_very_many_elements_are_one_letter(self, letters):
        value = b"[%s]" % b",".join([UNKNOWN] * 1_001)
        ((letter, detail),) = letters(value)
        assert letter == value
        assert detail.startswith("1001 of its elements, the first: sendgrid sends 'teleported'")
