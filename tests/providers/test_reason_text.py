"""Equal reasons become equal texts, and what no rule covers is told apart from what one does."""

import time
from datetime import datetime, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from processor.domain.event import Event
from processor.domain.reason import Category, Reason
from processor.domain.status import Channel, Permanence, Status
from processor.providers import read
from processor.providers.reason_text import is_unqualified, normalize_text
from tests.providers.conftest import NEVER, TIMES


@pytest.mark.parametrize(
    ("text", "normalized"),
    [
        (
            "550-5.1.1 <anna@example.org> is gone 4fb4d7f45d1cf-5d3b.12 - gsmtp",
            "550-5.1.1 #address# is gone #id# - gsmtp",
        ),
        (
            "[TSS04] Messages from 192.0.2.17 deferred - 4.16.55.1; see https://example.org/x",
            "[TSS04] Messages from #ip# deferred - #ip#; see #url#",
        ),
        ("host mx1.example.org[2001:db8::1:2:3] said: 550 5.7.1 no", "host #host#[#ip#] said: 550 5.7.1 no"),
        ("Mail rejected. OFR_506 [506]", "Mail rejected. OFR_506 [506]"),
        ("time 2026-01-01 01:01:07, 12.5% of 1234567", "time #date#, #number# of #number#"),
        ("at 01:01:07", "at #time#"),
        ("NACK/0x00000401/Vendor error 1025", "NACK/0x00000401/Vendor error #number#"),
        ("  a \n b\t", "a b"),
        ("", ""),
    ],
)
def test_what_varies_becomes_a_placeholder(text, normalized):
    assert normalize_text(text) == normalized


@given(st.text(alphabet="a1.-@:_/ \n", max_size=3_000))
def test_it_takes_no_more_than_the_length_of_the_text(text):
    started = time.process_time()
    normalize_text(text * TIMES)
    assert time.process_time() - started < NEVER


def event(status, **reason):
    return Event(
        time=datetime(2026, 1, 1, tzinfo=timezone.utc),
        message_id="m-1",
        channel=Channel.EMAIL,
        status=status,
        reason=Reason(**reason) if reason else None,
    )


@pytest.mark.parametrize(
    ("seen", "unqualified"),
    [
        (event(Status.FAILED), True),
        (event(Status.FAILED, category=Category.UNDEFINED), True),
        (event(Status.FAILED, permanence=Permanence.GAVE_UP), True),
        (event(Status.FAILED, category=Category.REFUSED), False),
        (event(Status.TAKEN_INTO_ACCOUNT, permanence=Permanence.TRANSIENT), True),
        (event(Status.TAKEN_INTO_ACCOUNT, permanence=Permanence.TRANSIENT, category=Category.REFUSED), False),
        (event(Status.TAKEN_INTO_ACCOUNT), False),
        (event(Status.SENT, text="250 OK"), False),
        (event(Status.IGNORED), False),
    ],
)
def test_only_failures_without_a_kind_are_unqualified(seen, unqualified):
    assert is_unqualified(seen) is unqualified


def test_a_failure_that_no_rule_covers_is_undefined(context):
    (found,) = read("firetext", "mobile=447700900001&status=1&code=777&reference=r1", context)
    assert found.reason.category is Category.UNDEFINED
    assert is_unqualified(found)


def test_words_qualify_what_an_adapter_could_not(context):
    log = {"notification": {"messageId": "m"}, "delivery": {"providerResponse": "Mailbox full"}, "status": "FAILURE"}
    (found,) = read("aws_sns_sms", log, context)
    assert found.reason.category is Category.MAILBOX_FULL
