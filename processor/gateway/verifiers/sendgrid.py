"""SendGrid's signed Event Webhook: ECDSA P-256 over time and body, with a public key for each webhook.

Source: docs.sendgrid.com, "Getting started with the Event Webhook security features"; sendgrid-python, eventwebhook.
The octets count as they came: SendGrid ends a body with CR LF, and signs that, too.
"""

from __future__ import annotations

from processor.gateway.verifiers.call import Call, Trust, base64_of, check_age

_SIGNATURE = "x-twilio-email-event-webhook-signature"
_TIME = "x-twilio-email-event-webhook-timestamp"
MARKS = (_SIGNATURE,)


def verify(trust: Trust, call: Call, now: float | None) -> str:
    """Verify the call with one of the public keys: base64 of DER, as the console shows it, or PEM."""
    from processor.gateway.verifiers import public_keys  # noqa: PLC0415 - most calls need no public key

    signature = base64_of(call.header(_SIGNATURE), _SIGNATURE)
    time = call.header(_TIME)
    check_age(time, now, trust.max_age)
    keys = [public_keys.elliptic(secret) for secret in trust.secrets]
    signed = time.encode() + call.body
    return public_keys.first_that_verifies(keys, public_keys.ecdsa_verifies, signature, signed, _SIGNATURE)
