"""How each provider calls, and which answer makes it do the right thing: facts of its own documentation."""

import pytest

from processor.gateway.dialects import CHALLENGE, DIALECTS, probe_of, refusal_of, trace_of
from processor.gateway.verifiers import SIGNATURES, UNSIGNED
from tests.gateway.conftest import call


@pytest.fixture(params=DIALECTS)
def provider(request):
    return request.param


def test_every_provider_that_calls_has_a_row():
    assert {*DIALECTS} == {*SIGNATURES, *UNSIGNED}


class TestEveryProvider:
    def test_is_told_that_a_call_is_taken_by_a_success(self, provider):
        assert 200 <= DIALECTS[provider].taken.status < 300

    def test_is_made_to_try_again_by_a_failure_that_says_when(self, provider):
        again = DIALECTS[provider].again
        assert again.status in (429, 503)
        assert "Retry-After" in dict(again.headers)

    def test_is_refused_by_a_client_error(self, provider):
        assert 400 <= DIALECTS[provider].never.status < 500
        assert DIALECTS[provider].never.status not in (408, 429), "these mean again"

    def test_may_post(self, provider):
        assert "POST" in DIALECTS[provider].methods

    def test_is_told_what_the_secret_is(self, provider):
        assert DIALECTS[provider].credential


#: status of taken, again and never, where the provider wants another than 200, 503 and 403.
ANSWERS = {
    "brevo": (200, 429, 403),  # any other 4xx, and any 5xx, discards the event
    "mailgun": (200, 503, 406),  # 406 alone ends it
    "twilio": (204, 503, 403),
}


def test_answers_are_those_that_the_documentation_wants(provider):
    dialect = DIALECTS[provider]
    found = dialect.taken.status, dialect.again.status, dialect.never.status
    assert found == ANSWERS.get(provider, (200, 503, 403))


def test_jasmin_wants_exactly_its_word():
    assert DIALECTS["jasmin"].taken.body == b"ACK/Jasmin"


@pytest.mark.parametrize("provider", ["mmg", "firetext"])
def test_the_providers_of_gov_uk_notify_get_what_it_answers(provider):
    taken = DIALECTS[provider].taken
    assert (taken.body, taken.content_type) == (b'{"result":"success"}', "application/json")


def test_resend_is_told_to_give_up_by_a_header():
    assert DIALECTS["resend"].never.headers == (("webhook-delivery", "abort-message"),)


def test_mailjet_and_postmark_take_200_only():
    assert DIALECTS["mailjet"].taken.status == DIALECTS["postmark"].taken.status == 200


#: Seconds that a provider waits for an answer, where it says so.
WAITS = {
    "telnyx": 2,
    "sparkpost": 10,
    "bandwidth": 10,
    "resend": 15,
    "twilio": 15,
    "ses": 15,
    "aws_eum_sms": 15,
    "jasmin": 30,
}


@pytest.mark.parametrize("provider", WAITS)
def test_kafka_has_less_time_than_the_provider_waits(provider):
    assert DIALECTS[provider].deadline < WAITS[provider]


@pytest.mark.parametrize("provider", ["twilio", "vonage", "messagebird", "plivo", "kannel", "jasmin"])
def test_those_that_report_by_get_may(provider):
    assert "GET" in DIALECTS[provider].methods


class TestRefusals:
    def test_end_a_call_unless_it_is_to_come_again(self, provider):
        dialect = DIALECTS[provider]
        assert refusal_of(dialect, call(b"{}"), "signature", again=False) == dialect.never
        assert refusal_of(dialect, call(b"{}"), "signature", again=True) == dialect.again

    @pytest.mark.parametrize("again", [True, False])
    def test_ask_for_user_and_password_where_none_came(self, again):
        dialect = DIALECTS["ses"]
        assert refusal_of(dialect, call(b"{}"), "basic", again=again) == CHALLENGE
        assert refusal_of(dialect, call(b"{}", authorization="Basic x"), "basic", again=again) != CHALLENGE
        assert CHALLENGE.status == 401
        assert dict(CHALLENGE.headers)["WWW-Authenticate"].startswith("Basic realm=")


class TestProbes:
    @pytest.mark.parametrize("method", ["HEAD", "GET", "OPTIONS"])
    def test_who_asks_whether_the_address_is_there_is_told_so(self, method):
        assert probe_of(DIALECTS["postmark"], method).status == 200

    @pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "TRACE"])
    def test_a_call_is_no_probe_nor_is_what_nobody_knows(self, method):
        assert probe_of(DIALECTS["postmark"], method) is None

    def test_a_get_is_a_call_where_the_provider_reports_by_it(self):
        assert probe_of(DIALECTS["kannel"], "GET") is None
        assert probe_of(DIALECTS["kannel"], "HEAD").status == 200


class TestTrace:
    @pytest.mark.parametrize(
        ("provider", "header"),
        [
            ("postmark", "X-PM-Webhook-Trace-Id"), ("resend", "svix-id"), ("resend", "webhook-id"),
            ("sparkpost", "X-MessageSystems-Batch-ID"), ("twilio", "I-Twilio-Idempotency-Token"),
            ("ses", "x-amz-sns-message-id"), ("ses", "X-Amz-Firehose-Request-Id"), ("messagebird", "webhook-id"),
        ],
    )  # fmt: skip
    def test_is_the_providers_own_name_of_a_call(self, provider, header):
        assert trace_of(DIALECTS[provider], call(b"{}", **{header: "t-1"})) == "t-1"

    def test_is_absent_where_there_is_none(self, provider):
        assert trace_of(DIALECTS[provider], call(b"{}")) is None
