"""What is told to enter and choose at each provider."""

import re

import pytest

from processor.gateway.consoles import FIREHOSE, SECRET, SETUPS, SNS, WAYS, doubts_of, setups_of, steps_of
from processor.gateway.dialects import DIALECTS
from processor.gateway.verifiers import SHARED, SIGNATURES, UNSIGNED

ADDRESS = "https://hooks.example.com/hooks/provider/main"


@pytest.fixture(params=DIALECTS)
def provider(request):
    return request.param


def steps(provider, way, address=ADDRESS):
    return [step for setup in SETUPS[provider] for step in steps_of(setup, provider, way, address)]


def ways_of(provider):
    return ("signature", "none") if provider in SIGNATURES else (*WAYS[provider], "none")


class TestEveryProvider:
    def test_that_calls_has_its_steps(self):
        assert {*SETUPS} == {*DIALECTS}

    def test_that_signs_nothing_has_ways_that_it_can_send(self):
        assert {*WAYS} == {*UNSIGNED}
        assert {way for ways in WAYS.values() for way in ways} <= SHARED.keys() - {"none"}

    def test_is_told_the_address_in_each_setup(self, provider):
        for way in ways_of(provider):
            for setup in SETUPS[provider]:
                told = " ".join(steps_of(setup, provider, way, ADDRESS))
                assert ADDRESS in told
                assert not re.search(r"\{\w+\}", told), "a place that was not filled"

    def test_is_told_one_thing_about_the_secret_in_each_setup(self, provider):
        for setup in SETUPS[provider]:
            assert setup.steps.count(SECRET) == 1
            assert bool(setup.secret) == (provider in SIGNATURES)

    def test_has_products_with_names_of_their_own(self, provider):
        products = [setup.product for setup in SETUPS[provider]]
        assert len({*products}) == len(products)


def test_a_provider_that_takes_user_and_password_in_the_address_only_is_told_where():
    assert any(
        "https://USER:PASSWORD@hooks.example.com/hooks/provider/main" in step for step in steps("mailjet", "basic")
    )
    assert not any("USER" in step for step in steps("postmark", "basic"))


@pytest.mark.parametrize(
    ("address", "asking"), [(ADDRESS, f"{ADDRESS}?"), (f"{ADDRESS}?token=S", f"{ADDRESS}?token=S&")]
)
def test_the_parameters_of_an_address_follow_what_it_has(address, asking):
    assert f"{asking}message_id=m-1&" in " ".join(steps("kannel", "none", address))


@pytest.mark.parametrize(
    ("has_topics", "has_secrets", "products"),
    [(True, False, [SNS]), (False, True, [FIREHOSE]), (True, True, [SNS, FIREHOSE])],
)
def test_of_aws_the_setup_that_the_route_is_for_is_told(has_topics, has_secrets, products):
    setups = setups_of("ses", has_topics=has_topics, has_secrets=has_secrets)
    assert [setup.product for setup in setups] == products


class TestDoubts:
    def about(self, provider, way="signature", address=ADDRESS, **has):
        return doubts_of(setups_of(provider, **has), provider, way, address)

    def test_none(self, provider):
        for way in {*ways_of(provider)} - {"none"}:
            assert self.about(provider, way) == []

    def test_a_way_that_the_provider_does_not_send(self):
        assert self.about("mailjet", "bearer") == ["mailjet is not known to send bearer, but basic"]
        # Who signs may be in front of something that adds a secret.
        assert self.about("twilio", "bearer") == []

    def test_no_verification(self):
        assert self.about("kannel", "none") == ["whoever knows the address may call"]

    def test_plain_http(self):
        assert "plain HTTP" in " ".join(self.about("twilio", address="http://hooks.example.com/hooks/twilio"))

    @pytest.mark.parametrize("host", ["127.0.0.1:8081", "localhost", "10.1.2.3", "[::1]:8081", "192.168.1.1"])
    def test_an_address_that_nobody_reaches(self, host):
        assert "no provider reaches" in " ".join(self.about("twilio", address=f"http://{host}/hooks/twilio"))

    def test_a_port_that_is_not_called(self):
        address = "https://hooks.example.com:8443/hooks/x"
        assert self.about("aws_sns_sms", address=address) == ["Firehose calls port 443 only"]
        assert self.about("ses", address=address, has_secrets=False) == []
        assert self.about("sparkpost", "basic", address) == ["sparkpost calls port 443 or 80 only"]
