"""Calls as each provider signs them, made here with a few independent lines each."""

import base64
import hashlib
import hmac
import json
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import NamedTuple
from urllib.parse import parse_qsl, urlencode

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID

from processor.gateway.verifiers import Call, Trust, headers_of
from tests.engine.conftest import make_trial, trial

__all__ = ["make_trial", "trial"]

NOW = 1_750_000_000
URL = "https://hooks.example.com/hooks/provider?message_id=m-1"
JSON = b'{"status":"delivered","to":"46701234567"}'
FORM = b"Status=delivered&To=%2B46701234567"


def b64(octets: bytes) -> str:
    return base64.b64encode(octets).decode()


def mac(key: bytes | str, signed: bytes | str, algorithm="sha256") -> bytes:
    key, signed = (each.encode() if isinstance(each, str) else each for each in (key, signed))
    return hmac.new(key, signed, algorithm).digest()


def call(body: bytes = b"", url: str = URL, method: str = "POST", **headers: str) -> Call:
    return Call(method, url, headers_of((name.replace("_", "-"), value) for name, value in headers.items()), body)


def token(claims: dict, secret: str, algorithm="HS256") -> str:
    def part(value):
        return base64.urlsafe_b64encode(value).rstrip(b"=").decode()

    head = part(json.dumps({"alg": algorithm, "typ": "JWT"}).encode()) + "." + part(json.dumps(claims).encode())
    digest = {"HS256": "sha256", "HS384": "sha384", "HS512": "sha512"}[algorithm]
    return head + "." + part(mac(secret, head, digest))


ELLIPTIC, OTHER_ELLIPTIC = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
EDWARDS, OTHER_EDWARDS = (Ed25519PrivateKey.generate() for _ in range(2))
RSA, OTHER_RSA = (rsa.generate_private_key(65537, 2048) for _ in range(2))


def public_der(key) -> str:
    return b64(key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))


def certificate(key, begins=NOW - 1_000_000, ends=NOW + 10_000_000) -> str:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "sns.amazonaws.com")])
    built = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(datetime.fromtimestamp(begins, timezone.utc))
        .not_valid_after(datetime.fromtimestamp(ends, timezone.utc))
    )
    return built.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM).decode()


CERTIFICATE, OTHER_CERTIFICATE = certificate(RSA), certificate(OTHER_RSA)
TOPIC = "arn:aws:sns:eu-north-1:123456789012:ses-events"
CERTIFICATE_URL = "https://sns.eu-north-1.amazonaws.com/SimpleNotificationService-01234abc.pem"


def published(at: float) -> str:
    return (datetime(1970, 1, 1, tzinfo=timezone.utc) + timedelta(seconds=at)).isoformat().replace("+00:00", "Z")


def sns(kind="Notification", version="2", at=NOW, key=RSA, **fields: str) -> Call:
    message = {
        "Type": kind,
        "MessageId": "22b80b92-fdea-4c2c-8f9d-bdfb0c7bf324",
        "TopicArn": TOPIC,
        "Message": '{"eventType":"Delivery","subject":"Grüße"}',
        "Timestamp": published(at),
        "SignatureVersion": version,
        "SigningCertURL": CERTIFICATE_URL,
    }
    if kind != "Notification":
        message["Token"] = "2336412f37"
        message["SubscribeURL"] = (
            f"https://sns.eu-north-1.amazonaws.com/?Action=ConfirmSubscription&TopicArn={TOPIC}&Token=2336412f37"
        )
    message |= fields
    more = ("Subject",) if kind == "Notification" and "Subject" in message else ()
    more = ("SubscribeURL", "Token") if kind != "Notification" else more
    names = sorted(("Message", "MessageId", "Timestamp", "TopicArn", "Type", *more))
    signed = "".join(f"{name}\n{message[name]}\n" for name in names).encode()
    algorithm = hashes.SHA256() if version == "2" else hashes.SHA1()
    message["Signature"] = b64(key.sign(signed, padding.PKCS1v15(), algorithm))
    headers = {"x-amz-sns-message-type": kind, "x-amz-sns-topic-arn": message["TopicArn"]}
    return call(json.dumps(message).encode(), **headers)


class Signed(NamedTuple):
    """A way to sign, as the tests know it."""

    provider: str
    #: Makes a call that was signed with a secret at a time, to an address and with a body that may be given.
    make: Callable[..., Call]
    #: Two secrets, and what the route has for each.
    secret: str
    other: str
    known: Callable[[str], str] = str
    #: Whether a time is signed, and whether the body is.
    timed: bool = True
    covers_body: bool = True
    #: The header or, where there is none, what in the body holds the signature.
    signature: str = ""


def _sendgrid(secret, at, url=URL, body=JSON + b"\r\n"):
    key = ELLIPTIC if secret == "key" else OTHER_ELLIPTIC
    headers = {
        "X-Twilio-Email-Event-Webhook-Signature": b64(key.sign(str(at).encode() + body, ec.ECDSA(hashes.SHA256()))),
        "X-Twilio-Email-Event-Webhook-Timestamp": str(at),
    }
    return call(body, url, **headers)


def _telnyx(secret, at, url=URL, body=JSON):
    key = EDWARDS if secret == "key" else OTHER_EDWARDS
    signature = b64(key.sign(f"{at}|".encode() + body))
    return call(body, url, telnyx_signature_ed25519=signature, telnyx_timestamp=str(at))


def _standard(family):
    def make(secret, at, url=URL, body=JSON):
        key = base64.b64decode(secret.removeprefix("whsec_"))
        signature = "v1," + b64(mac(key, f"msg_1.{at}.".encode() + body))
        names = f"{family}-id", f"{family}-timestamp", f"{family}-signature"
        return call(body, url, **dict(zip(names, ("msg_1", str(at), signature), strict=True)))

    return make


def _mailgun(secret, at, url=URL, body=b'{"event":"delivered"}', token="a" * 50):
    signature = {"timestamp": str(at), "token": token, "signature": mac(secret, f"{at}{token}").hex()}
    return call(json.dumps({"signature": signature, "event-data": json.loads(body)}).encode(), url)


def _twilio(secret, at, url=URL, body=FORM):
    named = b"".join(name + value for name, value in sorted(parse_qsl(body)))
    return call(body, url, X_Twilio_Signature=b64(mac(secret, url.encode() + named, "sha1")))


def _twilio_json(secret, at, url=URL, body=JSON):
    signed = f"{url}{'&' if '?' in url else '?'}bodySHA256={hashlib.sha256(body).hexdigest()}"
    return call(body, url=signed, X_Twilio_Signature=b64(mac(secret, signed, "sha1")))


def _vonage_sms(secret, at, url=URL, body=b"to=46701234567&status=delivered"):
    fields = {**dict(parse_qsl(body.decode())), "timestamp": at}
    signed = "".join(f"&{name}={value}" for name, value in sorted(fields.items()))
    return call(urlencode({**fields, "sig": mac(secret, signed, "sha512").hex()}).encode(), url)


def _vonage_md5(secret, at, url=URL):
    signed = f"&status=delivered&timestamp={at}&to=46701234567{secret}"
    fields = {"to": "46701234567", "status": "delivered", "timestamp": at}
    return call(urlencode({**fields, "sig": hashlib.md5(signed.encode()).hexdigest()}).encode(), url)


def _vonage_messages(secret, at, url=URL, body=JSON):
    claims = {"iat": at, "jti": "1", "iss": "Vonage", "payload_hash": hashlib.sha256(body).hexdigest()}
    return call(body, url, Authorization=f"Bearer {token(claims, secret)}")


def _sinch(secret, at, url=URL, body=JSON):
    signature = b64(mac(secret, body + f".n-1.{at}".encode()))
    names = "", "-nonce", "-timestamp", "-algorithm"
    values = signature, "n-1", str(at), "HmacSHA256"
    headers = {f"x-sinch-webhook-signature{name}": value for name, value in zip(names, values, strict=True)}
    return call(body, url, **headers)


def _messagebird(secret, at, url=URL, body=JSON):
    claims = {"iss": "MessageBird", "nbf": at, "exp": at + 60, "jti": "1"}
    claims |= {"url_hash": hashlib.sha256(url.encode()).hexdigest(), "payload_hash": hashlib.sha256(body).hexdigest()}
    return call(body, url, MessageBird_Signature_JWT=token(claims, secret, "HS384"))


def _plivo_v2(secret, at, url=URL, body=FORM):
    signature = b64(mac(secret, url.partition("?")[0] + "77"))
    return call(body, url, X_Plivo_Signature_V2=signature, X_Plivo_Signature_V2_Nonce="77")


def _plivo_v3(secret, at, url=URL):
    signature = b64(mac(secret, url + ".StatusdeliveredTo+46701234567.77"))
    return call(FORM, url, X_Plivo_Signature_Ma_V3=signature, X_Plivo_Signature_V3_Nonce="77")


KEYS = ("whsec_" + b64(b"first secret of 24 octet"), "whsec_" + b64(b"other secret of 24 octet"))
SECRETS = ("first-0123456789", "other-9876543210")
PAIR = ("key", "other")

#: Every way to sign with a secret; SNS, whose certificate is fetched, is apart.
SIGNED = {
    "sendgrid": Signed(
        "sendgrid", _sendgrid, *PAIR, lambda name: public_der(ELLIPTIC if name == "key" else OTHER_ELLIPTIC),
        signature="x-twilio-email-event-webhook-signature",
    ),
    "telnyx": Signed(
        "telnyx", _telnyx, *PAIR,
        lambda name: b64((EDWARDS if name == "key" else OTHER_EDWARDS).public_key().public_bytes_raw()),
        signature="telnyx-signature-ed25519",
    ),
    "resend": Signed("resend", _standard("svix"), *KEYS, signature="svix-signature"),
    "bird": Signed("messagebird", _standard("webhook"), *KEYS, signature="webhook-signature"),
    "mailgun": Signed("mailgun", _mailgun, *SECRETS, covers_body=False),
    "twilio": Signed("twilio", _twilio, *SECRETS, timed=False, signature="x-twilio-signature"),
    "twilio-json": Signed("twilio", _twilio_json, *SECRETS, timed=False, signature="x-twilio-signature"),
    "vonage-sms": Signed("vonage", _vonage_sms, *SECRETS),
    "vonage-md5": Signed("vonage", _vonage_md5, *SECRETS),
    "vonage-messages": Signed("vonage", _vonage_messages, *SECRETS, signature="authorization"),
    "sinch": Signed("sinch", _sinch, *SECRETS, signature="x-sinch-webhook-signature"),
    "messagebird": Signed("messagebird", _messagebird, *SECRETS, signature="messagebird-signature-jwt"),
    "plivo-v2": Signed("plivo", _plivo_v2, *SECRETS, timed=False, covers_body=False, signature="x-plivo-signature-v2"),
    "plivo-v3": Signed("plivo", _plivo_v3, *SECRETS, timed=False, signature="x-plivo-signature-ma-v3"),
}  # fmt: skip

SNS_TRUST = Trust(topics=[TOPIC], certificate_of=lambda _: CERTIFICATE)
