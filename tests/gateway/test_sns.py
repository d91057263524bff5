"""SNS: a signature proves that it is some topic of AWS, so ours are known before anything is fetched."""

import json

import pytest

from processor.gateway.verifiers import SIGNATURES, Refused, Trust, choose, sns, verify
from tests.gateway.conftest import (
    CERTIFICATE,
    CERTIFICATE_URL,
    NOW,
    OTHER_CERTIFICATE,
    RSA,
    SNS_TRUST,
    TOPIC,
    call,
    certificate,
)
from tests.gateway.conftest import sns as signed

KINDS = ("Notification", "SubscriptionConfirmation", "UnsubscribeConfirmation")


def accepts(received, trust=SNS_TRUST, now=NOW):
    return verify(choose(SIGNATURES["ses"], received), trust, received, now)


def why_refused(received, trust=SNS_TRUST, now=NOW):
    with pytest.raises(Refused) as caught:
        accepts(received, trust, now)
    return str(caught.value)


def changed(received, **fields):
    body = {name: value for name, value in (json.loads(received.body) | fields).items() if value is not ...}
    return received._replace(body=json.dumps(body).encode())


@pytest.fixture
def fetched():
    return []


@pytest.fixture
def watching(fetched):
    return SNS_TRUST._replace(certificate_of=lambda url: fetched.append(url) or CERTIFICATE)


@pytest.mark.parametrize("version", ["1", "2"])
@pytest.mark.parametrize("kind", KINDS)
def test_what_sns_signs_is_accepted(kind, version):
    assert f"version {version}" in accepts(signed(kind, version))


def test_a_subject_is_signed_where_there_is_one():
    assert accepts(signed(Subject="Amazon SES Email Event Notification"))
    why_refused(changed(signed(Subject="one"), Subject="other"))
    assert accepts(changed(signed(), Subject=None)), "null is as absent"


def test_the_plain_text_that_ses_sends_at_first_is_signed_as_all_is():
    assert accepts(signed(Message="Successfully validated SNS topic for Amazon SES event publishing."))


@pytest.mark.parametrize("name", ["Message", "MessageId", "Timestamp", "Subject"])
def test_a_changed_field_is_refused(name):
    assert why_refused(changed(signed(), **{name: "2026-01-01T00:00:00Z"}), now=None)


def test_another_certificate_is_refused():
    assert "wrong" in why_refused(signed(), SNS_TRUST._replace(certificate_of=lambda _: OTHER_CERTIFICATE))


def test_a_certificate_is_valid_for_a_time():
    old = certificate(RSA, NOW - 100, NOW - 50)
    assert "not valid" in why_refused(signed(), SNS_TRUST._replace(certificate_of=lambda _: old))


@pytest.mark.parametrize("text", ["", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "<html>"])
def test_a_certificate_that_is_none_is_refused(text):
    assert "certificate" in why_refused(signed(), SNS_TRUST._replace(certificate_of=lambda _: text))


def test_a_message_of_another_topic_is_refused_before_anything_is_fetched(watching, fetched):
    assert "topics" in why_refused(signed(TopicArn=TOPIC.replace("ses", "evil")), watching)
    assert fetched == []


def test_a_route_without_topics_takes_none(fetched):
    assert "topics" in why_refused(signed(), Trust(certificate_of=lambda _: CERTIFICATE))


@pytest.mark.parametrize(
    "url",
    [
        "http://sns.eu-north-1.amazonaws.com/SimpleNotificationService-01234abc.pem",
        "https://sns.eu-north-1.amazonaws.com.evil.example/SimpleNotificationService-01234abc.pem",
        "https://evil.example/SimpleNotificationService-01234abc.pem",
        "https://sns.eu-north-1.amazonaws.com@evil.example/SimpleNotificationService-01234abc.pem",
        "https://sns.eu-north-1.amazonaws.com:8443/SimpleNotificationService-01234abc.pem",
        "https://bucket.s3.amazonaws.com/SimpleNotificationService-01234abc.pem",
        "https://sns.s3.amazonaws.com/SimpleNotificationService-01234abc.pem",
        "https://sns.s3-eu-west-1.amazonaws.com/SimpleNotificationService-01234abc.pem",
        "https://sns.eu-north-1.amazonaws.com/../SimpleNotificationService-01234abc.pem",
        "https://sns.eu-north-1.amazonaws.com/SimpleNotificationService-01234abc.pem?x=1",
        "https://sns.eu-north-1.amazonaws.com/SimpleNotificationService-01234abc.pem\n",
        "https://sns.eu-north-1.amazonaws.com/key.pem",
        "https://snsXeu-north-1.amazonaws.com/SimpleNotificationService-01234abc.pem",
        "",
    ],
)
def test_a_certificate_is_fetched_from_sns_only(url, watching, fetched):
    assert "SigningCertURL" in why_refused(signed(SigningCertURL=url), watching)
    assert fetched == []


def test_china_has_an_address_of_its_own(watching, fetched):
    url = "https://sns.cn-north-1.amazonaws.com.cn/SimpleNotificationService-01234abc.pem"
    assert accepts(signed(SigningCertURL=url), watching)
    assert fetched == [url]


@pytest.mark.parametrize(
    "url",
    [
        f"https://evil.example/?Action=ConfirmSubscription&TopicArn={TOPIC}&Token=1",
        f"http://sns.eu-north-1.amazonaws.com/?Action=ConfirmSubscription&TopicArn={TOPIC}&Token=1",
        f"https://sns.eu-north-1.amazonaws.com/?Action=Unsubscribe&TopicArn={TOPIC}&Token=1",
        f"https://sns.eu-north-1.amazonaws.com/?Action=ConfirmSubscription&TopicArn={TOPIC}x&Token=1",
        f"https://sns.eu-north-1.amazonaws.com/?Action=ConfirmSubscription&TopicArn={TOPIC}x&TopicArn={TOPIC}",
        "https://sns.eu-north-1.amazonaws.com/",
    ],
)
def test_a_subscription_is_confirmed_at_sns_and_for_its_topic_only(url, watching, fetched):
    assert "SubscribeURL" in why_refused(signed("SubscriptionConfirmation", SubscribeURL=url), watching)
    assert fetched == []


def test_only_a_subscription_has_an_address_that_confirms():
    addresses = [sns.message_of(SNS_TRUST, signed(kind)).subscribe_url for kind in KINDS]
    assert [bool(address) for address in addresses] == [False, True, False]


def test_the_address_of_the_certificate_is_told_to_whoever_fetches_it():
    assert sns.message_of(SNS_TRUST, signed()).certificate_url == CERTIFICATE_URL


@pytest.mark.parametrize(
    ("header", "value"),
    [("x-amz-sns-message-type", "Notification"), ("x-amz-sns-topic-arn", TOPIC + "x"), ("x-amz-sns-message-id", "1")],
)
def test_headers_repeat_what_the_message_says(header, value):
    received = signed("SubscriptionConfirmation")
    assert "header" in why_refused(received._replace(headers={**received.headers, header: (value,)}))


@pytest.mark.parametrize(
    "name", ["Type", "MessageId", "TopicArn", "Timestamp", "SignatureVersion", "SigningCertURL", "Message"]
)
@pytest.mark.parametrize("value", [..., 1, None])
def test_a_field_that_is_absent_or_no_text_is_refused(name, value):
    why_refused(changed(signed(), **{name: value}))


@pytest.mark.parametrize("version", ["0", "3", "12", ""])
def test_a_version_that_is_not_known_is_refused(version):
    assert "SignatureVersion" in why_refused(signed(SignatureVersion=version))


def test_sns_repeats_a_message_for_an_hour_with_the_time_of_its_publication():
    assert accepts(signed(at=NOW - 3600))
    assert accepts(signed(at=NOW + 200))
    for at in (NOW - 86400, NOW + 3600):
        assert "published" in why_refused(signed(at=at))
    assert accepts(signed(at=NOW - 86400), now=None)


@pytest.mark.parametrize("body", [b'{"eventType":"Delivery"}', b"text", b"[]", b""])
def test_raw_delivery_is_not_signed(body):
    received = call(body, x_amz_sns_message_type="Notification", x_amz_sns_rawdelivery="true")
    assert "raw message delivery" in why_refused(received)
