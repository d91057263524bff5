"""Every code of the SMS providers' tables of errors is read as its table says."""

from urllib.parse import urlencode

import pytest

from processor.domain.event import Event
from processor.domain.reason import Category
from processor.domain.status import Permanence
from processor.providers import bandwidth, infobip, messagebird, plivo, read, sinch, smpp_receipt, telnyx, vonage
from processor.providers.adapter import NoStatus
from tests.cases import every_case


def _vonage(code):
    if len(code) > 2:
        return {"message_uuid": "a1", "status": "rejected", "to": "46701740605", "error": {"title": int(code)}}
    return urlencode({"messageId": "a1", "status": "failed", "err-code": code})


def _infobip(code):
    status = {"groupName": "UNDELIVERABLE", "name": "UNDELIVERABLE_FROM_2027"}
    return {"results": [{"messageId": "a1", "to": "46", "status": status, "error": {"name": f"EC_{code}"}}]}


def _sinch(code):
    if not code.isdecimal():
        return {"message_delivery_report": {"message_id": "a1", "status": "FAILED", "reason": {"code": code}}}
    report = {"type": "recipient_delivery_report_sms", "batch_id": "a1", "recipient": "46", "status": "Failed"}
    return {**report, "code": int(code)}


def _messagebird(code):
    return urlencode({"id": "a1", "recipient": "46", "status": "delivery_failed", "statusErrorCode": code})


def _messagebird_reason(phrase):
    return {"id": "a1", "recipient": "46", "status": "delivery_failed", "statusReason": phrase}


def _plivo(code):
    return urlencode({"MessageUUID": "a1", "To": "46", "Status": "undelivered", "ErrorCode": code})


def _telnyx(code):
    to = [{"phone_number": "+46", "status": "delivery_failed"}]
    return {"data": {"event_type": "message.finalized", "payload": {"id": "a1", "to": to, "errors": [{"code": code}]}}}


def _bandwidth(code):
    return [{"type": "message-failed", "to": "+46", "errorCode": int(code), "message": {"id": "a1", "to": ["+46"]}}]


TABLES = [
    ("vonage", vonage.ERRORS, _vonage),
    ("infobip", infobip.ERRORS, _infobip),
    ("sinch", sinch.ERRORS, _sinch),
    ("messagebird", messagebird.ERRORS, _messagebird),
    ("messagebird", {phrase: row for phrase, row in messagebird.REASONS.items() if row}, _messagebird_reason),
    ("plivo", plivo.ERRORS, _plivo),
    ("telnyx", telnyx.ERRORS, _telnyx),
    ("bandwidth", bandwidth.ERRORS, _bandwidth),
]


@pytest.mark.parametrize(("provider", "table", "payload"), TABLES)
def test_every_error_code_is_read_as_its_table_says(provider, table, payload, context):
    with every_case() as case:
        for code, (permanence, category) in table.items():
            with case(f"{provider}:{code}"):
                (event,) = read(provider, payload(code), context)
                assert isinstance(event, Event)
                assert event.status.value == "failed"
                assert event.reason is not None
                assert event.reason.permanence == permanence
                # What a code leaves undefined, the status may know.
                assert event.reason.category == category or category is Category.UNDEFINED


@pytest.mark.parametrize(("provider", "table"), [(provider, table) for provider, table, _ in TABLES])
def test_a_table_of_errors_is_well_formed(provider, table):
    assert len(table) >= 9, provider
    assert {permanence for permanence, _ in table.values()} == {Permanence.PERMANENT, Permanence.GAVE_UP}
    assert all(isinstance(category, Category) for _, category in table.values())


def test_vonage_has_every_documented_err_code():
    assert set(map(str, [*range(1, 16), *range(50, 55), 99])) <= set(vonage.ERRORS)


def test_sinch_has_every_documented_code_of_a_failure():
    documented = {402, 403, 404, 405, 406, 407, 408, 410, 411, 412, 413, 414, 415, 416, 417, 418}
    assert set(map(str, documented)) <= set(sinch.ERRORS)


def test_words_for_a_state_of_a_receipt():
    with every_case() as case:
        for state, words in smpp_receipt._WRITTEN.items():
            for word in words:
                with case(word):
                    assert smpp_receipt.state_of(word) == state


@pytest.mark.parametrize(
    ("word", "state"),
    [("delivrd", "DELIVRD"), ("Un-Delivered", "UNDELIV"), ("EN ROUTE", "ENROUTE"), ("ZUGESTLT", "ZUGESTLT")],
)
def test_a_word_for_a_state_may_be_written_otherwise(word, state):
    assert smpp_receipt.state_of(word) == state


def test_no_word_stands_for_two_states():
    words = [word for words in smpp_receipt._WRITTEN.values() for word in words]
    assert sorted({*words, *smpp_receipt.STATES}) == sorted([*words, *smpp_receipt.STATES])


def test_a_centre_may_send_its_receipts_as_messages(context):
    pdu = {
        "pdu": "deliver_sm",
        "esm_class": 0,
        "source_addr": "46",
        "short_message": "id:77 stat:UNDELIV err:000 text:",
    }
    assert read("smpp", pdu, context) == [NoStatus("mobile originated")]
    (event,) = read("smpp", pdu, context._replace(receipts_by_text=True))
    assert event.message_id == "smpp:77"
