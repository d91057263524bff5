"""The normalize stage: what a raw record's headers and the settings say of it."""

import json
from datetime import datetime, timezone

import pytest

from processor.engine.stage import Outbox, Partitioning
from processor.metrics import Metrics
from processor.settings import Settings
from processor.stages import normalize
from processor.watch.board import Board
from tests.stages.conftest import Read

NOW = datetime(2026, 11, 28, 12, tzinfo=timezone.utc)
TOPICS = {f"t.{name}.v1": 4 for name in ("mta", "sms", "events", "dead")}
RECEIVED = "2026-11-28T11:59:00Z"


@pytest.fixture
def normalized():
    """Give what comes of one record: events, and reasons of dead letters."""

    def run(value, provider="twilio", settings=None, **headers):
        settings = settings or Settings(topic_prefix="t.")
        metrics = Metrics(["normalize"])
        stage = normalize.stage(settings, metrics, Board(metrics), NOW.timestamp)
        work = stage.start(Partitioning("t.sms.v1", 0, TOPICS, "cluster"))
        told = (("provider", provider.encode()), *((name, text) for name, text in headers.items()))
        outbox = Outbox(int(NOW.timestamp() * 1000))
        work.process([Read(0, int(NOW.timestamp() * 1000), None, value, told)], outbox)
        written = {topic: records for (topic, _), records in outbox.records.items()}
        events = [json.loads(value) for _, _, value, _ in written.get("t.events.v1", [])]
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
