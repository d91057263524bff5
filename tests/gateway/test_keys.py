"""The key of a record: reports of one message have the same, those of two have not."""

import json
from datetime import datetime, timezone

import pytest

from processor.demo.simulate import single_report
from processor.gateway.dialects import DIALECTS
from processor.gateway.keys import key_of

AT = datetime(2026, 11, 20, 8, tzinfo=timezone.utc)

#: Of these no report names one message of the provider's: they send lines of logs.
WITHOUT = {"aws_sns_sms", "powermta"}


def payload(provider, message_id="m-1", status=None, **more):
    return single_report(provider, status, message_id, AT, **more).payload


@pytest.mark.parametrize("provider", sorted(DIALECTS.keys() - WITHOUT))
def test_two_reports_of_one_message_have_one_key_and_those_of_another_another(provider):
    key = key_of(provider, payload(provider))
    assert key.startswith(f"{provider}:".encode())
    assert key == key_of(provider, payload(provider, status="failed"))
    assert key != key_of(provider, payload(provider, "m-2"))


@pytest.mark.parametrize("provider", sorted(WITHOUT))
def test_lines_of_logs_have_none(provider):
    assert key_of(provider, payload(provider)) is None


@pytest.mark.parametrize("provider", sorted(DIALECTS.keys() - WITHOUT))
def test_the_other_form_of_an_account_has_a_key_as_well(provider):
    for second in (False, True):
        assert key_of(provider, payload(provider, second_form=second)), payload(provider, second_form=second)


def test_what_sns_brings_has_the_key_of_what_is_in_it():
    inner = payload("ses")
    assert key_of("ses", json.dumps({"Type": "Notification", "Message": inner.decode()}).encode()) == key_of(
        "ses", inner
    )


def test_a_batch_of_one_has_a_key_and_one_of_several_has_none():
    [event] = json.loads(payload("sendgrid"))
    assert key_of("sendgrid", json.dumps([event]).encode()) is not None
    assert key_of("sendgrid", json.dumps([event, event]).encode()) is None


NO_REPORTS = [
    *(b"", b"{", b"[]", b"{}", b'{"data":[]}', b'{"data":"{"}', b"[" * 5000, b"id", b"\xff=&", b" " * 100_000),
    *(b'{"data":{"payload":null}}', b'{"data":{"payload":{"id":["a"]}}}' * 2, b'{"data":{"payload":{"id":{"a":1}}}}'),
]


@pytest.mark.parametrize("value", NO_REPORTS, ids=range(len(NO_REPORTS)))
def test_whatever_comes_has_a_key_or_none(value):
    assert key_of("telnyx", value) is None
    assert key_of("jasmin", value) is None


def test_of_equal_names_the_last_counts_as_readers_take_it():
    assert key_of("jasmin", b"id=ours&id=a%2Fb") == b"jasmin:a/b"
    assert key_of("jasmin", b"order_id=1&x=id") is None
