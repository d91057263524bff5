"""Receipts and links meet under the same key, however a provider writes its ids."""

import json
from pathlib import Path

import pytest

from processor.domain.event import Event
from processor.providers import ADAPTERS, read
from processor.providers.native_keys import key_of_link, key_of_receipt, provider_of

SAMPLES = Path(__file__).parent / "samples"


@pytest.mark.parametrize("account", ["", "north"])
@pytest.mark.parametrize("provider", sorted(set(ADAPTERS) - {"sendgrid"}))
def test_a_receipt_finds_the_link_of_its_provider_s_id(provider, account, context):
    of_account = context._replace(account=account)
    for line in (SAMPLES / f"{provider}.jsonl").read_text(encoding="utf-8").splitlines():
        for event in read(provider, json.loads(line)["raw"], of_account):
            key = key_of_receipt(ADAPTERS[provider], event, account) if isinstance(event, Event) else None
            if key is not None:
                assert key == key_of_link(provider, account, event.provider_message_id), line


def test_sendgrid_s_receipts_find_the_link_of_the_id_that_its_api_answers(context):
    payload = [{"event": "delivered", "email": "a@example.org", "sg_message_id": "14c5d75ce93.filter0001.1.2.3"}]
    (event,) = read("sendgrid", payload, context)
    assert key_of_receipt(ADAPTERS["sendgrid"], event, "") == key_of_link("sendgrid", "", "14c5d75ce93")


@pytest.mark.parametrize("provider", ["mailgun", "brevo"])
def test_an_api_may_answer_with_the_message_id_in_its_brackets(provider):
    assert key_of_link(provider, "", "<2026@example.org>") == key_of_link(provider, "", "2026@example.org")


@pytest.mark.parametrize("account", ["", "north"])
def test_a_key_says_whose_id_it_is(account):
    assert provider_of(key_of_link("twilio", account, "SM1:2@3").encode()) == "twilio"


def test_bytes_that_are_no_key_are_no_provider_s():
    assert provider_of(b"\xff:1") not in ADAPTERS
