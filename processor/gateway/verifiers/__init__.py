"""Tell whether a call comes from whom it says: a table of the ways in which each provider shows it.

Pure functions of what a route trusts, the call and the time. Whoever asks them gets what has verified the call, or
`Refused`; there is no third.
"""

from __future__ import annotations

from typing import NamedTuple

from processor.gateway.verifiers import (
    mailgun,
    messagebird,
    plivo,
    sendgrid,
    shared,
    sinch,
    sns,
    standard_webhooks,
    telnyx,
    twilio,
    vonage,
)
from processor.gateway.verifiers.call import MAX_AGE, Call, Refused, Trust, Verify, headers_of, octets_of


class Scheme(NamedTuple):
    """One way to verify a call."""

    #: For people.
    name: str
    verify: Verify
    #: Any of these headers shows that a call is meant to be verified so; without any, every call is.
    marks: tuple[str, ...] = ()
    #: Whether the head of a call says all, so that strangers are refused before their body is read.
    is_by_head: bool = False


SNS = Scheme("SNS", sns.verify, sns.MARKS)
_FIREHOSE = Scheme("Firehose access key", shared.verify_firehose, shared.FIREHOSE_MARKS, is_by_head=True)
_STANDARD = Scheme("Standard Webhooks (Svix)", standard_webhooks.verify, standard_webhooks.MARKS)
#: Of who calls whatever address it is given, with a secret in it.
IN_ADDRESS = Scheme("secret in the address's query", shared.verify_address, is_by_head=True)

#: What each provider that signs, signs with; of several the first whose mark a call has, else the last. Providers that
#: are not here sign nothing. Kannel, Jasmin and Firetext call whatever address they are given, with a secret in it.
SIGNATURES: dict[str, tuple[Scheme, ...]] = {
    "aws_eum_sms": (_FIREHOSE, SNS),
    "aws_sns_sms": (_FIREHOSE,),
    "firetext": (IN_ADDRESS,),
    "jasmin": (IN_ADDRESS,),
    "kannel": (IN_ADDRESS,),
    "mailgun": (Scheme("signature in the body", mailgun.verify),),
    "messagebird": (
        _STANDARD,
        Scheme("MessageBird JWT", messagebird.verify, messagebird.MARKS),
    ),
    "plivo": (Scheme("Plivo V3 or V2", plivo.verify, plivo.MARKS),),
    "resend": (_STANDARD,),
    "sendgrid": (Scheme("ECDSA", sendgrid.verify, sendgrid.MARKS),),
    "ses": (_FIREHOSE, SNS),
    "sinch": (Scheme("Sinch HMAC", sinch.verify, sinch.MARKS),),
    "telnyx": (Scheme("Ed25519", telnyx.verify, telnyx.MARKS),),
    "twilio": (Scheme("X-Twilio-Signature", twilio.verify, twilio.MARKS),),
    "vonage": (
        Scheme("Messages API JWT", vonage.verify_messages, vonage.MARKS),
        Scheme("SMS API sig", vonage.verify_sms),
    ),
}

#: Providers that sign nothing, or by agreement only: their routes say which of `SHARED` they send.
UNSIGNED = (
    "bandwidth",
    "brevo",
    "infobip",
    "kumomta",
    "mailjet",
    "mmg",
    "postmark",
    "powermta",
    "sparkpost",
)

#: What a route may ask for instead of a signature, by its word for it.
SHARED: dict[str, Scheme] = {
    "basic": Scheme("user and password", shared.verify_basic, is_by_head=True),
    "bearer": Scheme("bearer token", shared.verify_bearer, is_by_head=True),
    "header": Scheme("header", shared.verify_header, is_by_head=True),
    "none": Scheme("nothing", shared.verify_none, is_by_head=True),
}

#: For a trial of a provider that signs nothing: any of the above but "nothing".
ANY_SHARED = Scheme("user and password, bearer token or header", shared.verify_any)


def verify(scheme: Scheme, trust: Trust, call: Call, now: float | None) -> str:
    """Verify a call; give what has verified it, for people.

    Args:
        scheme: as `choose` gives it.
        trust: what the route trusts.
        call: what came.
        now: seconds since 1970; None switches all rules about time off.

    Raises:
        Refused: it is not verified.
    """
    needs_secret = scheme not in (SNS, SHARED["none"])
    if needs_secret and not any(secret.strip() for secret in trust.secrets):
        raise Refused("the route has no secret")
    known = trust._replace(secrets=[secret for secret in trust.secrets if secret.strip()])
    return scheme.verify(known, call, now)


def choose(schemes: tuple[Scheme, ...], call: Call) -> Scheme:
    """Choose the scheme that a call is to be verified with: whichever it is, it must verify."""
    return next((scheme for scheme in schemes if scheme.marks and call.has(*scheme.marks)), schemes[-1])


def secret_fault(provider: str, way: str, secret: str) -> str | None:
    """Return what is wrong with a secret, whatever calls come; None: nothing that could be known beforehand.

    Args:
        provider: whose calls it verifies.
        way: "signature", or one of `SHARED`.
        secret: as it was read.
    """
    if way == "basic" and not secret.partition(":")[2].strip():
        return "basic wants user:password"
    if way == "header" and not all(part.strip() for part in secret.partition(":")):
        return 'header wants "Name: value"'
    if way == "signature" and provider in ("messagebird", "resend"):
        return standard_webhooks.secret_fault(secret)
    if way != "signature" or provider not in ("sendgrid", "telnyx"):
        return None
    from processor.gateway.verifiers import public_keys  # noqa: PLC0415 - most secrets are no public keys

    try:
        public_keys.elliptic(secret) if provider == "sendgrid" else public_keys.ed25519(secret)
    except Refused as error:
        return str(error)
    return None


__all__ = [
    "ANY_SHARED",
    "IN_ADDRESS",
    "MAX_AGE",
    "SHARED",
    "SIGNATURES",
    "SNS",
    "UNSIGNED",
    "Call",
    "Refused",
    "Scheme",
    "Trust",
    "choose",
    "headers_of",
    "octets_of",
    "secret_fault",
    "verify",
]
