"""`gateway verify`: public vectors, and vectors that the providers' own kits made, through the command."""

import base64
import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from processor.cli import cli
from tests.gateway.conftest import CERTIFICATE, NOW, OTHER_CERTIFICATE, SIGNED, TOPIC, published, sns

VECTORS = [
    json.loads(line) for line in Path(__file__).with_name("vectors.jsonl").read_text(encoding="utf-8").splitlines()
]


def run(provider, *lines):
    given = "".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines)
    result = CliRunner().invoke(cli, ["gateway", "verify", "--provider", provider], input=given)
    assert result.exit_code == 0, result.output
    return [json.loads(line) for line in result.stdout.splitlines()]


def told(provider, line):
    [answer] = run(provider, line)
    assert answer.keys() == {"line", "accepted", "detail"}
    assert answer["detail"]
    return answer["accepted"], answer["detail"]


@pytest.mark.parametrize("vector", VECTORS, ids=lambda each: f"{each['provider']}: {each['case']}")
def test_a_vector_is_judged_as_its_source_does(vector):
    accepted, detail = told(vector["provider"], vector)
    assert accepted == vector["accepted"], detail


@pytest.mark.parametrize(
    "vector", [each for each in VECTORS if each["accepted"]], ids=lambda each: f"{each['provider']}: {each['case']}"
)
def test_a_vector_with_another_secret_is_refused(vector):
    assert not told(vector["provider"], vector | {"secrets": ["whsec_b3RoZXI="]})[0]


def line_of(received, *secrets, now=NOW, **more):
    return {
        "secrets": secrets,
        "method": received.method,
        "url": received.url,
        "headers": {name: values[0] for name, values in received.headers.items()},
        "body": received.body.decode(),
        "now": None if now is None else published(now),
        **more,
    }


@pytest.mark.parametrize("name", SIGNED)
def test_every_way_to_sign_goes_through_the_command(name):
    signed = SIGNED[name]
    received = signed.make(signed.secret, NOW)
    line = line_of(received, signed.known(signed.other), signed.known(signed.secret))
    packed = line | {"body": None, "body_base64": base64.b64encode(received.body).decode()}
    listed = line | {"headers": {name.title(): [value] for name, value in line["headers"].items()}}
    for each in (line, packed, listed):
        assert told(signed.provider, each)[0]
    assert not told(signed.provider, line | {"secrets": [signed.known(signed.other)]})[0]
    if signed.timed:
        assert not told(signed.provider, line | {"now": published(NOW + 1000)})[0]
        assert told(signed.provider, line | {"now": None})[0]


def test_a_header_may_be_written_as_a_number():
    line = line_of(SIGNED["telnyx"].make("key", NOW), SIGNED["telnyx"].known("key"))
    line["headers"]["telnyx-timestamp"] = NOW
    assert told("telnyx", line)[0]


def test_each_line_is_answered_with_its_number():
    received = SIGNED["sinch"].make("s", NOW)
    right = line_of(received, "s")
    answers = run("sinch", right, "", "no JSON", right | {"secrets": ["t"]})
    assert [(each["line"], each["accepted"]) for each in answers] == [(1, True), (3, False), (4, False)]


@pytest.mark.parametrize(
    "line",
    [
        "[]", "null", "{", '{"secrets": "s"}', '{"now": "yesterday"}', '{"now": "2026-01-01T00:00:00"}', '{"body": 1}',
        '{"body_base64": "?"}', '{"body": "", "body_base64": ""}', '{"verify": "trust"}', '{"body": "\\ud800"}',
    ],
)  # fmt: skip
def test_a_line_that_cannot_be_read_is_refused_and_told(line):
    accepted, detail = told("sinch", line)
    assert not accepted
    assert "line cannot be read" in detail


def test_a_certificate_and_topics_of_sns_are_among_its_secrets():
    received = sns()
    assert told("ses", line_of(received, CERTIFICATE, TOPIC)) == (True, f"SNS signature, version 2, {TOPIC}")
    assert told("ses", line_of(received, OTHER_CERTIFICATE, CERTIFICATE, TOPIC))[0]
    assert "whatever its topic" in told("ses", line_of(received, CERTIFICATE))[1]
    for secrets in ((OTHER_CERTIFICATE, TOPIC), (CERTIFICATE, TOPIC + "x"), (TOPIC,), ()):
        assert not told("ses", line_of(received, *secrets))[0]


def test_firehose_has_its_access_key():
    line = {"secrets": ["k"], "headers": {"X-Amz-Firehose-Access-Key": "k"}, "body": "{}"}
    assert told("aws_sns_sms", line)[0]
    assert not told("aws_sns_sms", line | {"secrets": ["l"]})[0]


@pytest.mark.parametrize(
    ("secret", "headers"),
    [
        ("user:pass", {"Authorization": "Basic dXNlcjpwYXNz"}),
        ("t-1", {"authorization": "Bearer t-1"}),
        ("X-Token: t-1", {"x-token": "t-1"}),
    ],
)
@pytest.mark.parametrize("provider", ["postmark", "bandwidth", "mailjet", "kumomta"])
def test_a_provider_that_signs_nothing_sends_a_secret(provider, secret, headers):
    line = {
        "secrets": [secret],
        "method": "POST",
        "url": "https://h.example/",
        "headers": headers,
        "body": "{}",
        "now": None,
    }
    assert told(provider, line)[0]
    for change in ({"secrets": ["user:other"]}, {"headers": {}}, {"secrets": []}):
        assert not told(provider, line | change)[0]


def test_a_line_may_say_how_its_route_verifies():
    line = {"secrets": ["user:pass"], "headers": {"Authorization": "Basic dXNlcjpwYXNz"}, "verify": "basic"}
    assert told("twilio", line)[0]
    assert not told("twilio", line | {"verify": "bearer"})[0]
    assert told("twilio", {"verify": "none"})[0]
    assert not told("twilio", line | {"verify": "signature"})[0]


@pytest.mark.parametrize("provider", ["postfix", "smpp", "pigeon"])
def test_a_provider_that_does_not_call_is_no_provider(provider):
    assert CliRunner().invoke(cli, ["gateway", "verify", "--provider", provider], input="").exit_code == 2
