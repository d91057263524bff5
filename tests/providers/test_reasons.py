"""Codes of failure are translated as their standards and providers define them."""

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from processor.domain.event import Event
from processor.domain.reason import Category
from processor.domain.status import Permanence
from processor.providers import kumomta, read, reasons, twilio
from tests.cases import every_case
from tests.providers.conftest import NEVER, TIMES

#: What each class of the tables may say; a typing error in a table shows here.
KNOWN = set(Category)


@pytest.mark.parametrize(
    ("enhanced", "reply", "category"),
    [
        ("5.1.1", "550", "user_unknown"),
        ("5.1.2", None, "invalid_domain"),
        ("5.1.3", None, "user_unknown"),
        ("5.1.6", None, "user_unknown"),
        ("5.1.10", "556", "invalid_domain"),
        ("5.2.1", None, "account_disabled"),
        ("5.7.13", None, "account_disabled"),
        ("4.2.2", None, "mailbox_full"),
        ("4.3.1", None, "mailbox_full"),
        ("5.2.3", None, "refused"),
        ("5.3.4", None, "refused"),
        ("5.5.3", None, "refused"),
        *[(f"4.4.{detail}", None, "unreachable") for detail in (1, 2, 3, 4, 5, 7)],
        *[(f"5.7.{detail}", "550", "refused") for detail in (1, 20, 23, 26, 27, 30, 999)],
        ("5.0.0", "550", "user_unknown"),  # a code that says nothing leaves it to the reply code
        ("5.0.0", None, "undefined"),
        ("5.9.9", None, "undefined"),  # no such subject
        (None, "552", "mailbox_full"),
        (None, "554", "refused"),
        (None, "599", "undefined"),
        (None, None, "undefined"),
    ],
)
def test_category_of_codes(enhanced, reply, category):
    assert reasons.category_of(enhanced, reply).value == category


@pytest.mark.parametrize(
    ("enhanced", "label", "permanence"),
    [
        ("5.1.1", "permanent", "permanent"),
        ("5.1.1", "gave_up", "permanent"),
        ("4.2.2", "permanent", "gave_up"),
        ("4.4.7", "permanent", "gave_up"),
        ("5.4.7", "permanent", "gave_up"),
        ("2.0.0", "gave_up", "gave_up"),
        (None, "gave_up", "gave_up"),
        (None, "permanent", "permanent"),
    ],
)
def test_the_class_digit_wins_over_the_label(enhanced, label, permanence):
    assert reasons.permanence_of(enhanced, Permanence(label)).value == permanence


@pytest.mark.parametrize(
    ("text", "enhanced", "reply"),
    [
        ("smtp; 550 5.1.1 user unknown", "5.1.1", "550"),
        ("smtp;550-5.7.26 not accepted", "5.7.26", "550"),
        ("421 4.7.0 [TSS04] deferred", "4.7.0", "421"),
        ("550 blocked 192.0.2.1 and 5.1.1.2", None, "550"),
        ("version 4.10.2.3", None, None),
        ("host mx.example.org said: 452 4.2.2 full", "4.2.2", "452"),
        ("5.1.1.", "5.1.1", None),
        ("(550)", None, "550"),
        ("9550 bytes", None, None),
        ("x" * 400 + " 550 5.1.1", None, None),
        ("", None, None),
        (None, None, None),
    ],
)
def test_codes_in_a_text(text, enhanced, reply):
    assert reasons.enhanced_code_in(text) == enhanced
    assert reasons.reply_code_in(text) == reply


@given(st.text(alphabet="245.0 ;-\n", max_size=5_000))
def test_looking_for_codes_takes_no_more_than_the_length_of_the_text(text):
    started = time.process_time()
    reasons.enhanced_code_in(text * TIMES)
    reasons.reply_code_in(text * TIMES)
    assert time.process_time() - started < NEVER


def test_tables_are_spelt_as_codes():
    assert all(re.fullmatch(r"[1-7]\.\d{1,3}", code) for code in reasons.ENHANCED)
    assert set(reasons.ENHANCED_SUBJECT) == set("01234567")
    assert all(re.fullmatch(r"[45]\d\d", code) for code in reasons.REPLY)
    assert all(name.startswith("ESME_R") for name, _, _ in reasons.COMMAND_STATUS.values())
    assert {*reasons.ENHANCED.values(), *reasons.REPLY.values()} <= KNOWN


@pytest.mark.parametrize("code", [8, 0x14, 0x58, 0x64])
def test_what_an_smsc_says_to_try_later_is_not_permanent(code):
    assert reasons.COMMAND_STATUS[code][1] is Permanence.GAVE_UP


def test_gsm_codes_that_condemn_the_number_are_permanent():
    permanent = {code for code, (permanence, _) in reasons.GSM_MAP.items() if permanence is Permanence.PERMANENT}
    assert {1, 5, 9, 11, 12, 13, 21} <= permanent
    assert permanent.isdisjoint({6, 27, 31, 32, 34, 40, 49, 52, *range(60, 66)})


@pytest.mark.parametrize("bounce_class", kumomta.BOUNCE_CLASSES)
def test_kumomta_bounce_class(bounce_class, context):
    record = {
        "type": "Bounce",
        "id": "a1",
        "recipient": "anna@example.org",
        "response": {"code": 599, "content": "no"},
        "bounce_classification": bounce_class,
        "timestamp": 1762502400,
    }
    (event,) = read("kumomta", record, context)
    assert isinstance(event, Event)
    assert event.reason is not None
    assert event.reason.category == (kumomta.BOUNCE_CLASSES[bounce_class] or Category.UNDEFINED)


def test_kumomta_has_its_29_bounce_classes():
    assert len(kumomta.BOUNCE_CLASSES) == 29


def test_twilio_error_codes(context):
    with every_case() as case:
        for code, (permanence, category) in twilio.ERRORS.items():
            with case(code):
                body = f"MessageSid=SM1&MessageStatus=failed&To=%2B46701740605&ErrorCode={code}"
                (event,) = read("twilio", body, context)
                assert isinstance(event, Event)
                assert event.reason is not None
                opted_out = code == "21610"
                assert event.status.value == ("ignored" if opted_out else "failed")
                assert event.reason.permanence == (None if opted_out else permanence)
                assert (event.reason.category, event.reason.provider_code) == (category, code)


@pytest.mark.parametrize("code", reasons.GSM_MAP)
def test_gsm_code_in_a_receipt(code, context):
    receipt = {
        "pdu": "deliver_sm",
        "esm_class": 4,
        "short_message": "id:1 stat:UNDELIV err:000 text:",
        "tlv": {"network_error_code": f"03{code:04x}"},
    }
    (event,) = read("smpp", receipt, context)
    assert isinstance(event, Event)
    assert event.reason is not None
    assert (event.reason.permanence, event.reason.category) == reasons.GSM_MAP[code]


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("550 x (#5.1.1)", "5.1.1"),
        ("550_5.1.1_user", "5.1.1"),
        ("Exim 4.94.2 #2 550 5.1.1 unknown", "5.1.1"),
        ("OpenSMTPD 5.4.1 550 5.7.1 no", "5.7.1"),
        ("Postfix 2.11.3", None),
        ("version 5.1.1", None),
        ("v5.1.1", None),
        ("nginx/5.1.1", None),
        ("mx5.1.1.example.com", None),
        ("host [5.1.1.200] said no", None),
    ],
)
def test_a_version_a_name_or_an_address_is_no_code(text, code):
    assert reasons.enhanced_code_in(text) == code


@pytest.mark.parametrize(
    ("text", "code"), [("[550] x", "550"), ("x #550", "550"), ("571 blocked", "571"), ("port 465 closed", None)]
)
def test_a_port_is_no_reply_code(text, code):
    assert reasons.reply_code_in(text) == code
