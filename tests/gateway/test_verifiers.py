"""Each way in which a provider shows that it calls: what is verified, and all that is refused."""

import base64
import hashlib
import json
import time
from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from processor.gateway.verifiers import (
    SHARED,
    SIGNATURES,
    UNSIGNED,
    Call,
    Refused,
    Trust,
    choose,
    mailgun,
    shared,
    verify,
)
from processor.providers import PROVIDERS
from tests.gateway.conftest import (
    EDWARDS,
    ELLIPTIC,
    FORM,
    JSON,
    NOW,
    SECRETS,
    SIGNED,
    URL,
    b64,
    call,
    mac,
    public_der,
    token,
)


def accepts(provider, trust, received, now=NOW) -> str:
    return verify(choose(SIGNATURES[provider], received), trust, received, now)


def why_refused(provider, trust, received, now=NOW) -> str:
    with pytest.raises(Refused) as caught:
        accepts(provider, trust, received, now)
    return str(caught.value)


SECRET, OTHER = SECRETS
COVERED = [name for name, signed in SIGNED.items() if signed.covers_body]
TIMED = [name for name, signed in SIGNED.items() if signed.timed]
#: MessageBird's token says itself how long it is valid.
OF_ANY_AGE = [name for name in TIMED if name != "messagebird"]


@pytest.fixture(params=SIGNED)
def signed(request):
    return SIGNED[request.param]


class TestEverySignature:
    """Whatever is signed how: the same rules."""

    def trust(self, signed, *secrets):
        return Trust(secrets=[signed.known(secret) for secret in secrets or (signed.secret,)])

    def test_a_call_as_the_provider_signs_it_is_accepted(self, signed):
        assert accepts(signed.provider, self.trust(signed), signed.make(signed.secret, NOW)).endswith("secret 1")

    def test_any_of_several_secrets_verifies_while_they_are_changed(self, signed):
        trust = self.trust(signed, signed.other, signed.secret)
        assert accepts(signed.provider, trust, signed.make(signed.secret, NOW)).endswith("secret 2")
        assert accepts(signed.provider, trust, signed.make(signed.other, NOW)).endswith("secret 1")

    def test_one_that_another_secret_signed_is_refused(self, signed):
        reason = why_refused(signed.provider, self.trust(signed), signed.make(signed.other, NOW))
        assert "wrong" in reason

    def test_without_a_secret_all_is_refused(self, signed):
        for secrets in ([], [""], [" \n"]):
            reason = why_refused(signed.provider, Trust(secrets=secrets), signed.make(signed.secret, NOW))
            assert reason == "the route has no secret"

    def test_a_reason_quotes_no_secret(self, signed):
        reason = why_refused(signed.provider, self.trust(signed), signed.make(signed.other, NOW))
        assert signed.known(signed.secret) not in reason
        assert signed.known(signed.other) not in reason

    def test_a_changed_signature_is_refused(self, signed):
        received = signed.make(signed.secret, NOW)
        if signed.signature:
            [value] = received.headers[signed.signature]
            at = len(value) - 6
            changed = value[:at] + ("B" if value[at] == "A" else "A") + value[at + 1 :]
            received = received._replace(headers={**received.headers, signed.signature: (changed,)})
        else:
            at = received.body.index(b"sig") + 30
            digit = b"0" if received.body[at : at + 1] != b"0" else b"1"
            received = received._replace(body=received.body[:at] + digit + received.body[at + 1 :])
        why_refused(signed.provider, self.trust(signed), received)

    def test_a_signature_that_is_none_is_refused(self, signed):
        received = signed.make(signed.secret, NOW)
        for nonsense in (
            "",
            "v1",
            "v1,",
            "å",
            "0" * 64,
            "Bearer ",
            "Bearer a.b.c",
            "Bearer e30.e30.",
            "e30.e30.e30.e30",
        ):
            headers = dict.fromkeys(received.headers, (nonsense,)) if received.headers else {}
            body = received.body if received.headers else nonsense.encode()
            why_refused(signed.provider, self.trust(signed), received._replace(headers=headers, body=body))

    def test_a_call_without_any_sign_is_refused(self, signed):
        why_refused(signed.provider, self.trust(signed), call(JSON))
        why_refused(signed.provider, self.trust(signed), call(FORM))
        why_refused(signed.provider, self.trust(signed), call(b"", method="GET", url=URL))

    @pytest.mark.parametrize("signed", COVERED, indirect=True)
    def test_a_changed_body_is_refused(self, signed):
        received = signed.make(signed.secret, NOW)
        for body in (received.body.replace(b"delivered", b"undelivered"), b"", received.body + b"&x=1"):
            why_refused(signed.provider, self.trust(signed), received._replace(body=body))

    @pytest.mark.parametrize("signed", TIMED, indirect=True)
    @pytest.mark.parametrize("seconds", [-301, 301, 86400])
    def test_a_time_too_far_from_the_present_is_refused(self, signed, seconds):
        why_refused(signed.provider, self.trust(signed), signed.make(signed.secret, NOW), NOW + seconds)

    def test_without_a_present_the_rules_about_time_are_off(self, signed):
        assert accepts(signed.provider, self.trust(signed), signed.make(signed.secret, NOW - 10**6), None)

    @pytest.mark.parametrize("signed", OF_ANY_AGE, indirect=True)
    def test_a_route_may_allow_another_age(self, signed):
        trust = self.trust(signed)._replace(max_age=600)
        assert accepts(signed.provider, trust, signed.make(signed.secret, NOW - 599))

    def test_names_of_headers_are_the_same_in_any_case(self, signed):
        received = signed.make(signed.secret, NOW)
        upper = call(received.body, received.url, **{name.upper(): value for name, [value] in received.headers.items()})
        assert accepts(signed.provider, self.trust(signed), upper)

    def test_white_space_around_a_secret_from_a_file_does_not_matter(self, signed):
        trust = Trust(secrets=[signed.known(signed.secret) + "\n"])
        assert accepts(signed.provider, trust, signed.make(signed.secret, NOW))


def test_every_provider_that_calls_over_http_has_its_ways():
    assert {*SIGNATURES, *UNSIGNED} == {*PROVIDERS} - {"postfix", "smpp"}
    assert not {*SIGNATURES} & {*UNSIGNED}


PEM = "-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n"
PEM_ONE_LINE = PEM.replace("\n", "\\n")


class TestPublicKeys:
    @pytest.mark.parametrize(
        "spell",
        [
            str,
            PEM.format,
            PEM_ONE_LINE.format,
            lambda key: f"{key[:64]}\n{key[64:]}\n",
            lambda key: key.rstrip("="),
        ],
        ids=["base64", "PEM", "PEM with \\n", "wrapped", "no padding"],
    )
    @pytest.mark.parametrize(("name", "key"), [("sendgrid", ELLIPTIC), ("telnyx", EDWARDS)])
    def test_a_key_is_read_as_consoles_and_files_write_it(self, name, key, spell):
        signed = SIGNED[name]
        assert accepts(signed.provider, Trust(secrets=[spell(public_der(key))]), signed.make("key", NOW))

    def test_telnyxs_key_may_be_hex(self):
        key = EDWARDS.public_key().public_bytes_raw().hex()
        assert accepts("telnyx", Trust(secrets=[key]), SIGNED["telnyx"].make("key", NOW))

    @pytest.mark.parametrize("name", ["sendgrid", "telnyx"])
    @pytest.mark.parametrize(
        "key", ["not a key", "AAAA", "å", public_der(ELLIPTIC)[:40]], ids=["words", "too short", "no ASCII", "cut"]
    )
    def test_what_is_no_key_is_named(self, name, key):
        reason = why_refused(name, Trust(secrets=[key]), SIGNED[name].make("key", NOW))
        assert "not a public key" in reason

    def test_a_key_of_another_kind_is_named(self):
        assert "not a public key" in why_refused(
            "sendgrid", Trust(secrets=[public_der(EDWARDS)]), SIGNED["sendgrid"].make("key", NOW)
        )
        assert "not a public key" in why_refused(
            "telnyx", Trust(secrets=[public_der(ELLIPTIC)]), SIGNED["telnyx"].make("key", NOW)
        )


class TestStandardWebhooks:
    def test_one_of_several_signatures_is_enough(self):
        signed = SIGNED["resend"]
        received = signed.make(signed.secret, NOW)
        [right] = received.headers["svix-signature"]
        for values in ((f"v1,AAAA {right}",), ("v1a,AAAA", right), (f"{right} v2,x",), (f"v1,~no~base64 {right}",)):
            headers = {**received.headers, "svix-signature": values}
            assert accepts("resend", Trust(secrets=[signed.secret]), received._replace(headers=headers))

    def test_a_signature_of_another_version_counts_for_nothing(self):
        signed = SIGNED["resend"]
        received = signed.make(signed.secret, NOW)
        [right] = received.headers["svix-signature"]
        headers = {**received.headers, "svix-signature": (right.replace("v1,", "v2,"),)}
        assert "version 1" in why_refused("resend", Trust(secrets=[signed.secret]), received._replace(headers=headers))

    def test_headers_of_the_two_families_do_not_mix(self):
        signed = SIGNED["resend"]
        received = signed.make(signed.secret, NOW)
        headers = {name: value for name, value in received.headers.items() if name != "svix-id"}
        headers["webhook-id"] = ("msg_1",)
        why_refused("resend", Trust(secrets=[signed.secret]), received._replace(headers=headers))

    @pytest.mark.parametrize("secret", ["c2VjcmV0IG9mIGEgZmV3IG9jdGV0cw==", "c2VjcmV0IG9mIGEgZmV3IG9jdGV0cw"])
    def test_a_secret_may_lack_its_prefix(self, secret):
        made = SIGNED["resend"].make("whsec_c2VjcmV0IG9mIGEgZmV3IG9jdGV0cw==", NOW)
        assert accepts("resend", Trust(secrets=[secret]), made)
        assert accepts("resend", Trust(secrets=["whsec_" + secret]), made)

    def test_a_secret_that_is_not_base64_is_a_key_itself(self):
        signature = "v1," + b64(mac("not-base64!", f"m.{NOW}.".encode() + JSON))
        received = call(JSON, webhook_id="m", webhook_timestamp=str(NOW), webhook_signature=signature)
        assert accepts("resend", Trust(secrets=["not-base64!"]), received)

    @pytest.mark.parametrize("cut", ["whsec_", "whsec_=="])
    def test_a_secret_without_a_key_lets_nobody_sign_with_none(self, cut):
        signature = "v1," + b64(mac(b"", f"msg_1.{NOW}.".encode() + JSON))
        made = call(JSON, svix_id="msg_1", svix_timestamp=str(NOW), svix_signature=signature)
        assert why_refused("resend", Trust(secrets=[cut]), made)


class TestTwilio:
    TRUST = Trust(secrets=["12345"])

    def signed(self, url, fields=b"", key="12345"):
        return b64(mac(key, url.encode() + fields, "sha1"))

    @pytest.mark.parametrize(
        "signed",
        ["https://h.example/p?a=1", "https://h.example:443/p?a=1", "https://h.example:8443/p?a=1"],
    )
    def test_the_address_may_be_signed_with_or_without_a_port(self, signed):
        for asked in {"https://h.example/p?a=1", signed} - {"https://h.example:443/p?a=1"}:
            if ":8443" in signed and ":8443" not in asked:
                continue
            received = call(b"", url=asked, X_Twilio_Signature=self.signed(signed))
            assert accepts("twilio", self.TRUST, received)

    def test_a_user_in_the_address_stays_where_the_port_goes(self):
        received = call(
            b"",
            url="https://user:pass@h.example:8443/p",
            X_Twilio_Signature=self.signed("https://user:pass@h.example/p"),
        )
        assert accepts("twilio", self.TRUST, received)

    def test_connection_overrides_behind_the_address_are_not_signed(self):
        received = call(
            b"", url="https://h.example/p?a=1#rc=5&tt=9000", X_Twilio_Signature=self.signed("https://h.example/p?a=1")
        )
        assert accepts("twilio", self.TRUST, received)

    def test_empty_values_and_several_of_one_name_are_signed_sorted_and_once(self):
        body = b"B=2&A=&C=%C3%A5+%26&B=1&B=2"
        received = call(
            body, url="https://h.example/p", X_Twilio_Signature=self.signed("https://h.example/p", "AB1B2Cå &".encode())
        )
        assert accepts("twilio", self.TRUST, received)

    @pytest.mark.parametrize(
        "url", ["https://h.example/p?a=2", "http://h.example/p?a=1", "https://h.example/q?a=1", ""]
    )
    def test_another_address_is_refused(self, url):
        received = call(b"", url=url, X_Twilio_Signature=self.signed("https://h.example/p?a=1"))
        why_refused("twilio", self.TRUST, received)

    def test_a_json_body_without_its_hash_in_the_address_is_not_covered_and_refused(self):
        received = call(JSON, url="https://h.example/p", X_Twilio_Signature=self.signed("https://h.example/p"))
        why_refused("twilio", self.TRUST, received)

    def test_a_shared_key_signs_with_the_algorithm_that_a_header_names(self):
        signature = b64(mac("12345", "https://h.example/p", "sha256"))
        headers = {
            "X-Twilio-Signature": signature,
            "X-Twilio-Webhooks-Signature-Settings": "key=k,algorithm=HMAC_SHA256",
        }
        received = call(b"", url="https://h.example/p", **headers)
        assert accepts("twilio", self.TRUST, received)
        headers["X-Twilio-Webhooks-Signature-Settings"] = "key=k,algorithm=CRC32"
        assert "not known" in why_refused("twilio", self.TRUST, call(b"", url="https://h.example/p", **headers))


class TestMailgun:
    TRUST = Trust(secrets=[SECRET])

    def test_a_token_is_good_for_one_body_only(self):
        received = SIGNED["mailgun"].make(SECRET, NOW)
        taken = {"a" * 50: hashlib.sha256(received.body).digest()}
        assert accepts("mailgun", self.TRUST._replace(tokens=taken), received), "the same again, as after a lost answer"
        other = received._replace(body=received.body.replace(b"delivered", b"failed"))
        assert "another event" in why_refused("mailgun", self.TRUST._replace(tokens=taken), other)

    def test_what_is_remembered_of_a_call_that_was_taken_is_its_token_and_its_body(self):
        received = SIGNED["mailgun"].make(SECRET, NOW)
        assert mailgun.tokens_of(received) == ["a" * 50]
        assert mailgun.digest_of(received) == hashlib.sha256(received.body).digest()

    def test_the_parent_account_may_sign_for_a_sub_account(self):
        own, parent = (json.loads(SIGNED["mailgun"].make(secret, NOW).body)["signature"] for secret in ("sub", SECRET))
        body = json.dumps({"signature": own, "parent-signature": parent, "event-data": {}}).encode()
        assert accepts("mailgun", self.TRUST, call(body))

    def legacy(self):
        return json.loads(SIGNED["mailgun"].make(SECRET, NOW).body)["signature"] | {"event": "delivered"}

    def test_the_legacy_form_is_signed_the_same(self):
        received = call(urlencode(self.legacy()).encode(), content_type="application/x-www-form-urlencoded")
        assert accepts("mailgun", self.TRUST, received)

    def test_the_legacy_form_of_several_parts_is_signed_the_same(self):
        parts = "".join(
            f'--x\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
            for name, value in self.legacy().items()
        )
        received = call(f"{parts}--x--\r\n".encode(), content_type="multipart/form-data; boundary=x")
        assert accepts("mailgun", self.TRUST, received)

    @pytest.mark.parametrize(
        "piece",
        [
            b"--x\r\n\r\n\r\n",
            b"\r\n--x",
            b"--x\r\nContent-Type: multipart/mixed; boundary=x\r\n",
            b"--x\r\nA: 1\r\n",
            b"\n",
        ],
        ids=["parts", "boundaries", "nested", "heads", "lines"],
    )
    def test_a_stranger_s_parts_cost_little(self, piece):
        """Its signature is in its body, so that has to be read before anybody is known."""
        body = b"--x\r\n\r\n\r\n" + piece * (5 * 2**20 // len(piece))
        began = time.process_time()
        with pytest.raises(Refused):
            accepts("mailgun", self.TRUST, call(body, content_type="multipart/form-data; boundary=x"))
        assert time.process_time() - began < 1


class TestVonage:
    TRUST = Trust(secrets=[SECRET])

    @pytest.mark.parametrize(
        "received", [call(JSON), call(FORM), call(b"", method="GET"), call(JSON, authorization="Basic eA==")]
    )
    def test_an_unsigned_call_comes_again_signed_when_it_is_asked_to(self, received):
        with pytest.raises(Refused) as caught:
            accepts("vonage", self.TRUST, received)
        assert caught.value.again

    @pytest.mark.parametrize("name", ["vonage-sms", "vonage-messages"])
    def test_a_wrong_signature_does_not(self, name):
        with pytest.raises(Refused) as caught:
            accepts("vonage", self.TRUST, SIGNED[name].make(OTHER, NOW))
        assert not caught.value.again

    def test_parameters_come_as_query_form_or_json(self):
        form = SIGNED["vonage-sms"].make(SECRET, NOW).body.decode()
        fields = dict(pair.split("=") for pair in form.split("&"))
        assert accepts("vonage", self.TRUST, call(b"", method="GET", url=f"https://h.example/hooks/vonage?{form}"))
        assert accepts("vonage", self.TRUST, call(json.dumps(fields).encode()))
        assert accepts("vonage", self.TRUST, call(json.dumps(fields | {"timestamp": NOW}).encode()))

    def test_a_name_that_stands_for_several_parameters_is_refused(self):
        signed = f"&a=1&b=2&timestamp={NOW}"
        fields = {"a": "1", "b": "2", "timestamp": NOW, "sig": mac(SECRET, signed).hex()}
        assert accepts("vonage", self.TRUST, call(urlencode(fields).encode()))
        merged = {"a=1&b": "2", "timestamp": NOW, "sig": mac(SECRET, signed).hex()}
        why_refused("vonage", self.TRUST, call(urlencode(merged).encode()))

    def test_without_a_signed_time_nothing_says_that_it_is_not_old(self):
        fields = {"a": "1", "sig": mac(SECRET, "&a=1").hex()}
        assert "time" in why_refused("vonage", self.TRUST, call(urlencode(fields).encode()))
        assert accepts("vonage", self.TRUST, call(urlencode(fields).encode()), None)

    @pytest.mark.parametrize(
        "change",
        [
            {"payload_hash": None},
            {"payload_hash": "0" * 64},
            {"iss": "Elsewhere"},
            {"iat": None},
            {"iat": "x"},
            {"exp": NOW - 60},
        ],
    )
    def test_claims_that_do_not_fit_are_refused(self, change):
        claims = {"iat": NOW, "iss": "Vonage", "payload_hash": hashlib.sha256(JSON).hexdigest()} | change
        claims = {name: value for name, value in claims.items() if value is not None}
        why_refused("vonage", self.TRUST, call(JSON, authorization=f"Bearer {token(claims, SECRET)}"))

    def test_a_token_of_another_algorithm_is_refused(self):
        claims = {"iat": NOW, "payload_hash": hashlib.sha256(JSON).hexdigest()}
        received = call(JSON, authorization=f"Bearer {token(claims, SECRET, 'HS512')}")
        assert "algorithm" in why_refused("vonage", self.TRUST, received)


class TestMessageBird:
    TRUST = Trust(secrets=[SECRET])

    @pytest.mark.parametrize("url", [URL + "&a=1", URL.replace("m-1", "m-2"), URL.replace("https", "http"), ""])
    def test_another_address_is_refused(self, url):
        assert "address" in why_refused(
            "messagebird", self.TRUST, SIGNED["messagebird"].make(SECRET, NOW)._replace(url=url)
        )

    @pytest.mark.parametrize(
        "head", [{"alg": "none"}, {"alg": "RS256"}, {}, {"alg": ["HS256"]}, {"alg": "HS256", "crit": ["b64"]}]
    )
    def test_a_token_of_an_algorithm_that_is_not_theirs_is_refused(self, head):
        encoded = base64.urlsafe_b64encode(json.dumps(head).encode()).rstrip(b"=").decode()
        [right] = SIGNED["messagebird"].make(SECRET, NOW).headers["messagebird-signature-jwt"]
        claims = right.split(".")[1]
        for signature in (
            "",
            base64.urlsafe_b64encode(mac(SECRET, f"{encoded}.{claims}")).rstrip(b"=").decode(),
        ):
            received = call(JSON, messagebird_signature_jwt=f"{encoded}.{claims}.{signature}")
            why_refused("messagebird", self.TRUST, received)

    @pytest.mark.parametrize("absent", ["iss", "nbf", "exp", "url_hash", "payload_hash"])
    def test_a_claim_that_is_absent_is_refused(self, absent):
        claims = {
            "iss": "MessageBird", "nbf": NOW, "exp": NOW + 60,
            "url_hash": hashlib.sha256(URL.encode()).hexdigest(), "payload_hash": hashlib.sha256(JSON).hexdigest(),
        }  # fmt: skip
        del claims[absent]
        why_refused("messagebird", self.TRUST, call(JSON, messagebird_signature_jwt=token(claims, SECRET)))


class TestPlivo:
    TRUST = Trust(secrets=[SECRET])

    def test_either_family_is_enough_where_both_come(self):
        two, three = (SIGNED[name].make(SECRET, NOW) for name in ("plivo-v2", "plivo-v3"))
        wrong = {"x-plivo-signature-ma-v3": (b64(b"x" * 32),)}
        assert "v3" in accepts("plivo", self.TRUST, two._replace(headers={**two.headers, **three.headers}))
        assert "v2" in accepts("plivo", self.TRUST, two._replace(headers={**two.headers, **three.headers, **wrong}))

    def test_v2_covers_the_address_without_its_query(self):
        received = SIGNED["plivo-v2"].make(SECRET, NOW)
        assert accepts("plivo", self.TRUST, received._replace(url=received.url + "&x=1"))
        why_refused("plivo", self.TRUST, received._replace(url=received.url.replace("hooks/provider", "hooks/other")))

    def test_v3_of_a_get_signs_the_query_and_what_may_be_in_its_body_as_one(self):
        headers = {
            "X-Plivo-Signature-V3": b64(mac(SECRET, "https://h.example/p?a=1&b=2&c=3.77")),
            "X-Plivo-Signature-V3-Nonce": "77",
        }
        assert accepts("plivo", self.TRUST, call(b"", url="https://h.example/p?b=2&c=3&a=1", method="GET", **headers))
        assert accepts("plivo", self.TRUST, call(b"b=2", url="https://h.example/p?c=3&a=1", method="GET", **headers))
        why_refused("plivo", self.TRUST, call(b"b=3", url="https://h.example/p?c=3&a=1", method="GET", **headers))

    def test_several_signatures_are_separated_by_commas(self):
        received = SIGNED["plivo-v3"].make(SECRET, NOW)
        [right] = received.headers["x-plivo-signature-ma-v3"]
        for other in (b64(b"x" * 32), "~no~base64"):
            headers = {**received.headers, "x-plivo-signature-ma-v3": (f"{other}, {right}",)}
            assert accepts("plivo", self.TRUST, received._replace(headers=headers))


class TestSinch:
    def test_another_algorithm_than_theirs_is_refused(self):
        received = SIGNED["sinch"].make(SECRET, NOW)
        headers = {**received.headers, "x-sinch-webhook-signature-algorithm": ("HmacSHA1",)}
        assert "HmacSHA256" in why_refused("sinch", Trust(secrets=[SECRET]), received._replace(headers=headers))


class TestSharedSecrets:
    def test_basic(self):
        trust = Trust(secrets=["old:x", "user:pass:word å"])
        right = b64("user:pass:word å".encode())
        assert verify(SHARED["basic"], trust, call(JSON, authorization=f"Basic {right}"), NOW).endswith("secret 2")
        for wrong in (f"Bearer {right}", f"Basic {b64(b'user:pass')}", "Basic", "Basic ?", right):
            with pytest.raises(Refused):
                verify(SHARED["basic"], trust, call(JSON, authorization=wrong), NOW)

    def test_bearer(self):
        trust = Trust(secrets=["t-1"])
        assert verify(SHARED["bearer"], trust, call(JSON, authorization="bearer t-1"), NOW)
        for wrong in ("Basic t-1", "Bearer t-2", "Bearer", "Bearer t-1 t-1"):
            with pytest.raises(Refused):
                verify(SHARED["bearer"], trust, call(JSON, authorization=wrong), NOW)

    def test_header(self):
        trust = Trust(secrets=["X-Token: t-1", "X-Other:t-2"])
        assert verify(SHARED["header"], trust, call(JSON, x_token="t-1"), NOW).endswith("secret 1")
        assert verify(SHARED["header"], trust, call(JSON, X_OTHER="t-2"), NOW).endswith("secret 2")
        for name, wrong in (("x_token", "t-2"), ("x_other", "t-1"), ("x_token", ""), ("x_third", "t-1")):
            with pytest.raises(Refused):
                verify(SHARED["header"], trust, call(JSON, **{name: wrong}), NOW)

    def test_a_secret_without_a_name_is_no_header(self):
        with pytest.raises(Refused):
            verify(SHARED["header"], Trust(secrets=["t-1"]), call(JSON, t_1=""), NOW)

    def test_none_is_said_explicitly(self):
        assert verify(SHARED["none"], Trust(), call(JSON), NOW)

    @pytest.mark.parametrize("secret", ["token=s%3", "s%3"])
    def test_a_secret_in_the_address(self, secret):
        trust = Trust(secrets=[secret])
        assert accepts("kannel", trust, call(url="https://h.example/hooks/kannel?type=1&token=s%253", method="GET"))
        for query in ("?type=1", "?token=s", "?token=", "", "?token=S%253"):
            why_refused("kannel", trust, call(url=f"https://h.example/hooks/kannel{query}", method="GET"))

    def test_a_secret_does_not_go_on_with_the_query(self):
        assert shared.without_secrets("type=1&token=s%25&to=%2B46", ["s%"]) == "type=1&to=%2B46"
        assert shared.without_secrets("type=1&token=s%25", ["token=s%"]) == "type=1"
        assert shared.without_secrets("type=1&x", ["s"]) == "type=1&x"

    def test_firehose_has_an_access_key(self):
        trust = Trust(secrets=["k-1"], topics=())
        headers = {"X-Amz-Firehose-Access-Key": "k-1", "X-Amz-Firehose-Request-Id": "1"}
        assert accepts("ses", trust, call(JSON, **headers))
        why_refused("ses", trust, call(JSON, **headers | {"X-Amz-Firehose-Access-Key": "k-2"}))
        why_refused("ses", trust, call(JSON, x_amz_firehose_request_id="1"))


class TestHeaders:
    def test_one_that_comes_twice_is_refused(self):
        received = SIGNED["sinch"].make(SECRET, NOW)
        name = "x-sinch-webhook-signature-nonce"
        headers = {**received.headers, name: ("n-1", "n-1")}
        assert "more than one" in why_refused("sinch", Trust(secrets=[SECRET]), received._replace(headers=headers))


#: Headers that some scheme looks at.
NAMES = sorted({name for signed in SIGNED.values() for name in signed.make(signed.secret, NOW).headers})


def known_to(provider):
    return next((signed.known(signed.secret) for signed in SIGNED.values() if signed.provider == provider), "s")


@given(st.data())
def test_whatever_strangers_write_is_refused_and_nothing_else_happens(data):
    provider = data.draw(st.sampled_from(sorted(SIGNATURES)))
    texts = st.text(st.characters(codec="utf-8") | st.sampled_from("\udc80\udcff.,="), max_size=60)
    values = st.lists(texts, min_size=1, max_size=2).map(tuple)
    headers = data.draw(st.dictionaries(st.sampled_from(("content-type", *NAMES)), values))
    bodies = [JSON, FORM, b'{"signature":{}}', b'{"Signature":""}', b"{", b"[]"]
    body = data.draw(st.binary(max_size=80) | st.sampled_from(bodies))
    url = data.draw(st.sampled_from([URL, "", "?", "https://h\udcff/?a\udcff", "https://[::1]:x/#"]))
    received = Call(data.draw(st.sampled_from(["GET", "POST", ""])), url, headers, body)
    trust = Trust(secrets=[known_to(provider)], topics=None)
    for now in (NOW, None):
        assert why_refused(provider, trust, received, now).isprintable()


def test_more_fields_than_any_callback_has_are_not_sorted():
    received = call(b"&".join(b"a=1" for _ in range(2000)), x_twilio_signature=b64(b"x" * 20))
    assert "fields" in why_refused("twilio", Trust(secrets=["x"]), received)
