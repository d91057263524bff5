"""Calls that are signed as providers sign: our verifiers take them, and public vectors have the same signatures."""

import json
from datetime import datetime, timezone
from pathlib import Path
from urllib.parse import parse_qsl, urlencode

import pytest

from processor.demo.simulate import single_report
from processor.gateway import private_keys
from processor.gateway.dialects import DIALECTS
from processor.gateway.private_keys import KeyFaultError
from processor.gateway.records import records_of
from processor.gateway.signing import KEY_PAIRS, Once, call_with, sign
from processor.gateway.verifiers import SHARED, SIGNATURES, UNSIGNED, Refused, Trust, choose, headers_of, verify
from processor.gateway.verifiers.call import Call
from processor.providers import Context, decode_payload, read
from tests.gateway.conftest import NOW

AT = datetime.fromtimestamp(NOW, timezone.utc)
ONCE = Once(NOW, "0123456789abcdef")
ADDRESS = "https://hooks.example.com/hooks/provider/main"
VECTORS = [
    json.loads(line) for line in Path(__file__).with_name("vectors.jsonl").read_text(encoding="utf-8").splitlines()
]

PAIRS = {"sendgrid": private_keys.new_elliptic(), "telnyx": private_keys.new_ed25519()}
#: What each provider is signed with and verified by, where that is not one shared text.
SECRETS = {
    "resend": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
    "kannel": "key=s3cret",
    **{provider: private for provider, (private, _) in PAIRS.items()},
}
SHARED_SECRETS = {"basic": "user:pass:word", "bearer": "t-1", "header": "X-Token: t-1", "none": ""}


def known_to_route(provider):
    return PAIRS[provider][1] if provider in PAIRS else SECRETS.get(provider, "s3cret")


def signed(provider, way="signature", secret=None, status=None):
    report = single_report(provider, status, "m-1", AT)
    secret = secret if secret is not None else SECRETS.get(provider, "s3cret")
    return sign(provider, way, secret, call_with(provider, ADDRESS, report.payload), ONCE)


def told(provider, call, secret, now=NOW):
    return verify(choose(SIGNATURES[provider], call), Trust(secrets=[secret]), call, now)


@pytest.mark.parametrize("provider", sorted(SIGNATURES))
class TestEveryProviderThatSigns:
    def test_its_call_is_verified(self, provider):
        assert "secret 1" in told(provider, signed(provider), known_to_route(provider))

    def test_another_secret_is_refused(self, provider):
        others = {"sendgrid": private_keys.new_elliptic()[1], "telnyx": private_keys.new_ed25519()[1]}
        with pytest.raises(Refused):
            told(provider, signed(provider), others.get(provider, "whsec_b3RoZXI="))


@pytest.mark.parametrize("way", sorted(SHARED_SECRETS))
@pytest.mark.parametrize("provider", UNSIGNED)
def test_a_provider_that_signs_nothing_brings_what_its_route_asks_for(provider, way):
    call = signed(provider, way, SHARED_SECRETS[way])
    assert verify(SHARED[way], Trust(secrets=[SHARED_SECRETS[way]]), call, NOW)


@pytest.mark.parametrize("provider", sorted(DIALECTS))
def test_what_is_sent_arrives_as_the_report_that_it_is(provider):
    signs = provider in SIGNATURES
    way, secret = ("signature", SECRETS.get(provider, "s3cret")) if signs else ("none", "")
    call = signed(provider, way, secret)
    assert call.method in DIALECTS[provider].methods
    records = records_of(DIALECTS[provider], call, [secret], 1_000_000)
    report = single_report(provider, None, "m-1", AT)
    found = [
        finding for each in records for finding in read(provider, decode_payload(each.value), Context(received=AT))
    ]
    assert [(event.message_id, event.status) for event in found] == [(report.message_id, report.status)]


class TestForms:
    """Providers with several products sign each in its way."""

    @pytest.mark.parametrize(("second", "scheme"), [(True, "authorization"), (False, "sig")])
    def test_vonage(self, second, scheme):
        payload = single_report("vonage", None, "m&1", AT, second_form=second).payload
        call = sign("vonage", "signature", "s", call_with("vonage", ADDRESS, payload), ONCE)
        assert told("vonage", call, "s").startswith(scheme)

    @pytest.mark.parametrize(("second", "method"), [(True, "POST"), (False, "GET")])
    def test_messagebird(self, second, method):
        secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw" if second else "s"
        payload = single_report("messagebird", None, "m-1", AT, second_form=second).payload
        call = sign("messagebird", "signature", secret, call_with("messagebird", ADDRESS, payload), ONCE)
        assert call.method == method
        assert told("messagebird", call, secret)

    def test_messagebird_by_token_also_with_a_body(self):
        call = sign("messagebird", "signature", "s", call_with("messagebird", ADDRESS, b'{"a":1}'), ONCE)
        assert told("messagebird", call, "s").startswith("messagebird-signature-jwt")

    def test_twilio_with_json(self):
        call = sign("twilio", "signature", "s", call_with("twilio", ADDRESS, b'[{"data":{}}]'), ONCE)
        assert "bodySHA256=" in call.url
        assert told("twilio", call, "s")

    @pytest.mark.parametrize("secret", ["s%&=?", "key=s%&=?", "=", "å"])
    def test_a_secret_in_the_address_comes_back_as_it_is_and_goes_no_further(self, secret):
        call = signed("kannel", secret=secret)
        assert told("kannel", call, secret)
        [record] = records_of(DIALECTS["kannel"], call, [secret], 1_000_000)
        assert urlencode({"s": secret})[2:] not in record.value.decode()


class TestVectors:
    """The signatures of the providers' own documents and kits come out, octet for octet."""

    @pytest.mark.parametrize(
        "vector",
        [
            each
            for each in VECTORS
            if each["accepted"]
            and each["provider"] in ("twilio", "plivo", "sinch", "resend", "mailgun")
            # Signed in ways that are not used here: the main account's token, V3, a shared key, an address respelled.
            and not any(
                word in each["case"]
                for word in ("MA-", "V3", "shared key", "two signatures", "left out", "another port")
            )
        ],
        ids=lambda each: f"{each['provider']}: {each['case']}",
    )
    def test_the_same_signature(self, vector):
        provider = vector["provider"]
        headers = headers_of(vector["headers"].items())
        body = (vector["body"] or "").encode()
        kind = "application/json" if body[:1] in (b"{", b"[") else "application/x-www-form-urlencoded"
        url = vector["url"]
        if provider == "twilio" and kind == "application/json":
            url = url.partition("&bodySHA256=")[0]
        unsigned = Call(vector["method"], url, {"content-type": (kind,)}, body)
        again = sign(provider, "signature", vector["secrets"][-1], unsigned, once_of(vector, headers))
        names = [name for name in headers if name.endswith(("-signature", "-signature-v2"))]
        assert {name: again.headers.get(name) for name in names} == {name: headers[name] for name in names}
        if provider == "mailgun":
            found, wanted = (json.loads(each)["signature"] for each in (again.body, body))
            assert found["signature"] == hmac_of(vector, found["timestamp"], found["token"])
            assert wanted.keys() == found.keys()

    @pytest.mark.parametrize(
        "vector",
        [each for each in VECTORS if each["provider"] == "vonage" and "sha256" in each["case"]],
        ids=lambda each: each["case"],
    )
    def test_vonage_by_sha256(self, vector):
        query = vector["body"] if vector["body"] and "=" in vector["body"] else vector["url"].partition("?")[2]
        fields = json.loads(vector["body"]) if "JSON" in vector["case"] else dict(parse_qsl(query))
        sig = fields.pop("sig")
        at = int(fields.pop("timestamp"))
        unsigned = call_with("vonage", "https://example.com/hooks/vonage", urlencode(fields).encode())
        call = sign("vonage", "signature", vector["secrets"][0], unsigned, Once(at, "n"))
        assert dict(parse_qsl(call.body.decode()))["sig"] == sig.lower()


def once_of(vector, headers):
    [time] = headers.get("x-sinch-webhook-signature-timestamp") or headers.get("svix-timestamp") or ("0",)
    [nonce] = (
        headers.get("x-sinch-webhook-signature-nonce")
        or headers.get("x-plivo-signature-v2-nonce")
        or [identity.removeprefix("msg_") for identity in headers.get("svix-id", ("n",))]
    )
    return Once(int(time), nonce)


def hmac_of(vector, timestamp, token):
    import hashlib
    import hmac

    return hmac.new(vector["secrets"][0].encode(), (timestamp + token).encode(), hashlib.sha256).hexdigest()


@pytest.mark.parametrize("provider", KEY_PAIRS)
@pytest.mark.parametrize(
    "key", ["", "s", PAIRS["sendgrid"][1], PAIRS["telnyx"][1]], ids=["none", "short", "sendgrid's", "telnyx's"]
)
def test_what_is_no_private_key_is_told(provider, key):
    with pytest.raises(KeyFaultError, match="not a private key"):
        signed(provider, secret=key)


def test_a_private_key_of_the_other_kind_is_told():
    with pytest.raises(KeyFaultError, match="P-256"):
        signed("sendgrid", secret=PAIRS["telnyx"][0])
    with pytest.raises(KeyFaultError, match="Ed25519"):
        signed("telnyx", secret=PAIRS["sendgrid"][0])
