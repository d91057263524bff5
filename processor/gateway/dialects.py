"""The dialects: how each provider calls, and which answer makes it do the right thing; a table, one row a provider.

A provider has three answers: *taken*, after which it forgets the call; *again*, after which it calls again, as far as
its own retries go; and *never*, which ends it where anything does, for a call that is refused. The sources are those
that the providers' own files in `processor/providers` name, in their chapters on webhooks and retries, 2026-11.
"""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple

from processor.gateway.verifiers import Call


class Answer(NamedTuple):
    """What a provider is answered."""

    status: int
    body: bytes = b""
    content_type: str = "text/plain; charset=utf-8"
    headers: tuple[tuple[str, str], ...] = ()


class Reading(Enum):
    """How a call becomes records."""

    #: The body as it came; what is a query alone, the query; a form, the query and the form.
    BODY = "body"
    #: Amazon Data Firehose packs records; what is not its delivery is read as the above.
    FIREHOSE = "firehose"


class Dialect(NamedTuple):
    """How one provider calls."""

    #: What the secret is, or where it comes from.
    credential: str
    #: What loses calls, where something does.
    mind: str = ""
    methods: tuple[str, ...] = ("POST",)
    taken: Answer = Answer(200)
    again: Answer = Answer(503, headers=(("Retry-After", "60"),))
    never: Answer = Answer(403)
    #: Seconds that Kafka has to confirm, before the call is taken into the spool instead: the provider waits longer.
    deadline: float = 5.0
    reading: Reading = Reading.BODY
    #: The array that holds the events, where it is not the body itself: it is split when it is too large for a record.
    batch: str = ""
    #: Headers by which the provider knows a call again, also when it repeats it; the first that is there is kept.
    trace: tuple[str, ...] = ()
    #: Octets of a body, as it came.
    max_body: int = 5 * 2**20


_MIB = 2**20

#: SNS and Firehose wrap what AWS sends; SNS waits 15 s, Firehose 3 min.
_AWS = Dialect(
    credential="an access key of one's own, for Firehose; SNS needs none, but its topics",
    mind=(
        "SNS: protocol HTTPS, no raw message delivery, retries for an hour in the delivery policy, and a dead-letter"
        " queue: by default it gives up a minute after the first failure, and a 4xx ends it; Firehose: HTTP endpoint"
        " with the access key, and S3 for what fails"
    ),
    reading=Reading.FIREHOSE,
    trace=("x-amz-firehose-request-id", "x-amz-sns-message-id"),
    # Firehose delivers up to 64 MiB.
    max_body=64 * _MIB,
)
_OWN = "one's own"
_IN_ADDRESS = "one's own, as a parameter of the address; the name is free"
_RESULT = b'{"result":"success"}'

#: By provider. Whatever has no row does not call: it writes logs, or speaks SMPP.
DIALECTS: dict[str, Dialect] = {
    "aws_eum_sms": _AWS,
    "aws_sns_sms": _AWS._replace(
        credential="an access key of one's own",
        mind="Firehose: HTTP endpoint with the access key, and S3 for what fails",
    ),
    "bandwidth": Dialect(credential=_OWN),
    "brevo": Dialect(
        credential=_OWN,
        mind="Brevo discards an event after any 4xx and 5xx but 429",
        again=Answer(429, headers=(("Retry-After", "60"),)),
    ),
    "firetext": Dialect(
        credential=_IN_ADDRESS,
        taken=Answer(200, _RESULT, "application/json"),
    ),
    "infobip": Dialect(
        credential=_OWN,
        batch="results",
    ),
    "jasmin": Dialect(
        credential=_IN_ADDRESS,
        mind="three tries 30 s apart, then the receipt is gone",
        methods=("GET", "POST"),
        # Exactly this.
        taken=Answer(200, b"ACK/Jasmin"),
    ),
    "kannel": Dialect(
        credential=_IN_ADDRESS,
        mind="without `http-request-retry` and `http-queue-delay` of smsbox each report is tried once",
        methods=("GET", "POST"),
    ),
    "kumomta": Dialect(
        credential=_OWN,
        mind="the hook must make a failure a temporary `kumo.reject` (4xx): after a 5xx the record is gone",
    ),
    "mailgun": Dialect(
        credential="the HTTP webhook signing key",
        mind="`delivered` is never repeated",
        # The only answer but 200 after which Mailgun does not try again.
        never=Answer(406),
    ),
    "mailjet": Dialect(
        credential="one's own, as user and password in the address",
    ),
    "messagebird": Dialect(
        credential="the account's signing key; of a Bird webhook its own (whsec_...)",
        mind="only a message that was sent with a `reference` has a report",
        methods=("GET", "POST"),
        trace=("webhook-id",),
    ),
    "mmg": Dialect(
        credential="one's own, by agreement",
        taken=Answer(200, _RESULT, "application/json"),
    ),
    "plivo": Dialect(
        credential="the auth token of the account, or of the main account",
        mind="three tries within 7 minutes, then the callback is gone; the signature does not cover the report",
        methods=("GET", "POST"),
    ),
    "postmark": Dialect(
        credential="one's own, as basic authentication or a header",
        mind="any 4xx but 408 and 429 ends it, and failing for long pauses that type of event",
        trace=("x-pm-webhook-trace-id",),
    ),
    "powermta": Dialect(
        credential="one's own, as user and password in the address",
    ),
    "resend": Dialect(
        credential="the webhook's signing secret (whsec_...)",
        mind="failing for 5 days disables it",
        never=Answer(403, headers=(("webhook-delivery", "abort-message"),)),
        trace=("svix-id", "webhook-id"),
    ),
    "sendgrid": Dialect(
        credential="the webhook's verification key",
    ),
    "ses": _AWS,
    "sinch": Dialect(
        credential="told by the account manager, who switches signing on",
        mind="any 4xx but 429 ends it",
    ),
    "sparkpost": Dialect(
        credential="one's own, as basic authentication or a header",
        mind="port 443 or 80; 12 tries in 8 hours",
        trace=("x-messagesystems-batch-id",),
    ),
    "telnyx": Dialect(
        credential="the account's public key",
        mind="three tries at the most, 2 s each",
        deadline=1.5,
    ),
    "twilio": Dialect(
        credential="the auth token of the account or sub-account that sends, or a shared key",
        mind="write #rc=5&rp=all behind the address: else only a failed connection is tried again; all within 15 s",
        methods=("GET", "POST"),
        # Twilio logs a warning of an empty body that is not said to be none.
        taken=Answer(204),
        trace=("i-twilio-idempotency-token",),
    ),
    "vonage": Dialect(
        credential="the signature secret",
        mind="any 4xx but 429 ends it",
        methods=("GET", "POST"),
    ),
}

#: Some, as SNS and Twilio, send user and password only after they have been asked for them.
CHALLENGE = Answer(401, headers=(("WWW-Authenticate", 'Basic realm="webhooks", charset="UTF-8"'),))


def refusal_of(dialect: Dialect, call: Call, way: str, *, again: bool) -> Answer:
    """Return the answer to a call that is not verified.

    Args:
        dialect: how the provider calls.
        call: what was refused.
        way: how the route verifies.
        again: whether the provider is to try again: the route says so, or the verifier did.
    """
    if way == "basic" and not call.has("authorization"):
        return CHALLENGE
    return dialect.again if again else dialect.never


_PROBES = ("HEAD", "GET", "OPTIONS")


def probe_of(dialect: Dialect, method: str) -> Answer | None:
    """Return the answer to who only asks whether the address is there; None: it is a call, or of no known method."""
    return Answer(200) if method in _PROBES and method not in dialect.methods else None


def trace_of(dialect: Dialect, call: Call) -> str | None:
    """Return the provider's own name of the call; None where it has none."""
    return next((call.headers[name][0] for name in dialect.trace if name in call.headers), None)
