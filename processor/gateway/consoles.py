"""The steps in each provider's console: what to enter and choose, for `gateway check` and the pages about providers.

A step may name `{address}`, the route's, `{asking}`, the same with room for a query, and `{login}`, the same with user
and password in it. `SECRET` stands where the step of the secret belongs, which follows from how the route verifies.
Sources: as of `dialects`.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from typing import NamedTuple
from urllib.parse import urlsplit

from processor.gateway.verifiers import SHARED

#: Where the step of the secret belongs.
SECRET = "{secret}"  # noqa: S105 - a place in a text


class Setup(NamedTuple):
    """One way to set a provider up."""

    steps: tuple[str, ...]
    #: What is done about the secret where the route verifies by signature.
    secret: str = ""
    #: Which of the provider's products it is about; empty where there is but one.
    product: str = ""


#: Of AWS, by what the route has: topics of SNS, or an access key of Firehose.
SNS, FIREHOSE = "SNS", "Firehose"
_KEY = "Copy the access key into the file of the route's secret."
_FIREHOSE = (
    (
        "Amazon Data Firehose: create a stream with an HTTP endpoint: {address}, on port 443, and an access"
        " key of your own."
    ),
    SECRET,
    "Choose an S3 bucket for what fails: Firehose gives up after two hours at most.",
)
_SNS = (
    (
        "SNS: subscribe {address} to the topic, with protocol HTTPS and without raw message delivery, which is not"
        " signed. The gateway confirms the subscription."
    ),
    (
        "Give the subscription a delivery policy with retries for an hour, and a dead-letter queue: by default SNS"
        " gives up a minute after the first failure."
    ),
)
_TOPIC = "Copy the topic's ARN into the route's `topics`."
_IN_ADDRESS = "SECRET in the address is the route's secret."

#: By provider that calls.
SETUPS: dict[str, tuple[Setup, ...]] = {
    "aws_eum_sms": (
        Setup(
            (
                "Configuration set: add an event destination for TEXT_ALL (MEDIA_ALL, RCS_ALL): an SNS topic.",
                SECRET,
                *_SNS,
                "Name the configuration set in each call that sends, and our ids in its `Context`.",
            ),
            _TOPIC,
            SNS,
        ),
        Setup(
            (
                *_FIREHOSE,
                "Configuration set: add an event destination for TEXT_ALL (MEDIA_ALL, RCS_ALL): the stream.",
                "Name the configuration set in each call that sends, and our ids in its `Context`.",
            ),
            _KEY,
            FIREHOSE,
        ),
    ),
    "aws_sns_sms": (
        Setup(
            (
                "Text messaging, Preferences: switch delivery status logging on, with a success sample rate of 100 %.",
                *_FIREHOSE,
                (
                    "CloudWatch Logs: subscribe the stream to the log groups"
                    " `sns/<region>/<account>/DirectPublishToPhoneNumber` and `.../Failure`."
                ),
            ),
            _KEY,
            FIREHOSE,
        ),
    ),
    "bandwidth": (
        Setup(
            (
                "Application, Messaging: enter {address} as the callback address.",
                SECRET,
                "Send our ids in each message's `tag`.",
            )
        ),
    ),
    "brevo": (
        Setup(
            (
                "Transactional, Settings, Webhook: enter {address}, and choose all events.",
                SECRET,
                "Send our ids in the header `X-Mailin-custom`.",
            )
        ),
    ),
    "firetext": (
        Setup(
            (
                "Give {address} as `receipt` with each message, or enter it in the account's settings.",
                SECRET,
                "Send an id of ours as each message's `reference`: it comes back, and names the message.",
            ),
            _IN_ADDRESS,
        ),
    ),
    "infobip": (
        Setup(
            (
                "Subscriptions: subscribe {address} to delivery reports; or give it as `notifyUrl` with each message.",
                "Choose `notifyContentType` application/json: XML is refused.",
                SECRET,
                "Send our ids in `callbackData`.",
            )
        ),
    ),
    "jasmin": (
        Setup(
            (
                (
                    "Send each message with `dlr=yes`, `dlr-level=3`, `dlr-method=POST` and {address} as `dlr-url`;"
                    " our ids go into its query."
                ),
                SECRET,
            ),
            _IN_ADDRESS,
        ),
    ),
    "kannel": (
        Setup(
            (
                (
                    "Send each message with `dlr-mask=31`, and as `dlr-url`"
                    " {asking}message_id=m-1&type=%d&id=%F&smscid=%i&to=%p&time=%T&answer=%A; or set both for the"
                    " sendsms-user."
                ),
                SECRET,
                "smsbox: set `http-request-retry` and `http-queue-delay`: without them each report is tried once.",
            ),
            _IN_ADDRESS,
        ),
    ),
    "kumomta": (
        Setup(
            (
                "Add a log hook by HTTP that posts to {address}.",
                SECRET,
                "Let its script make a temporary `kumo.reject` (4xx) of each failure: after a 5xx the record is gone.",
                "List what carries our ids in the hook's `headers` or `meta`.",
            )
        ),
    ),
    "mailgun": (
        Setup(
            (
                "Sending, Webhooks: enter {address} for accepted, delivered, temporary failure and permanent failure.",
                SECRET,
                "Send our ids as user variables (`v:message_id`).",
            ),
            "Copy the HTTP webhook signing key into the file of the route's secret.",
        ),
    ),
    "mailjet": (
        Setup(
            (
                "Account, Event notifications: enter {address} for sent, bounce and blocked, grouped (version 2).",
                SECRET,
                "Send our ids in `EventPayload`.",
            )
        ),
    ),
    "messagebird": (
        Setup(
            (
                "Give {address} as `reportUrl` with each message, or enter it on the account.",
                SECRET,
                (
                    "Send each message with a `reference` of at most 128 characters, which may hold our ids: without"
                    " one there is no report."
                ),
            ),
            "Copy the account's signing key into the file of the route's secret.",
            "MessageBird",
        ),
        Setup(
            ("Create a webhook subscription for {address}.", SECRET, "Send our ids in `reference`."),
            "Copy the webhook's signing key (whsec_...) into the file of the route's secret.",
            "Bird",
        ),
    ),
    "mmg": (
        Setup(
            (
                "Give {address} as `delurl` with each message, or enter it on the account.",
                SECRET,
                "Send an id of ours as each message's `cid`: it comes back as `CID`, and names the message.",
            )
        ),
    ),
    "plivo": (
        Setup(
            ("Give {address} as `url` with each message, with `method` POST; our ids go into its query.", SECRET),
            "Copy the auth token of the account, or of the main account, into the file of the route's secret.",
        ),
    ),
    "postmark": (
        Setup(
            (
                "Start the gateway first: Postmark posts a test of each event, and each must be taken.",
                "Message stream, Webhooks: enter {address}, and choose Delivery and Bounce.",
                SECRET,
                "Send our ids as `Metadata`.",
            )
        ),
    ),
    "powermta": (
        Setup(
            (
                "Let Postmastery's webhook process post JSON to {address}.",
                SECRET,
                (
                    "`<acct-file>`: write the record types d, b, t, rb and rs (r for what came in), and `header_*`"
                    " columns of the headers that hold our ids."
                ),
            )
        ),
    ),
    "resend": (
        Setup(
            (
                "Webhooks: enter {address}, and choose all `email.*` events.",
                SECRET,
                "Send our ids as `tags`.",
            ),
            "Copy the webhook's signing secret (whsec_...) into the file of the route's secret.",
        ),
    ),
    "sendgrid": (
        Setup(
            (
                "Settings, Mail Settings, Event Webhook: enter {address}, and choose all deliverability events.",
                "Switch Signature Verification on.",
                SECRET,
                "Send our ids as `custom_args`.",
            ),
            "Copy the webhook's verification key into the file of the route's secret: each webhook has its own.",
        ),
    ),
    "ses": (
        Setup(
            (
                "Configuration set: add an event destination for all event types: an SNS topic.",
                SECRET,
                *_SNS,
                "Name the configuration set with each mail, and our ids as message tags.",
            ),
            _TOPIC,
            SNS,
        ),
        Setup(
            (
                *_FIREHOSE,
                "Configuration set: add an event destination for all event types: the stream.",
                "Name the configuration set with each mail, and our ids as message tags.",
            ),
            _KEY,
            FIREHOSE,
        ),
    ),
    "sinch": (
        Setup(
            (
                "Service plan: enter {address} as the callback address (`callback_url`).",
                SECRET,
                "Send each batch with `delivery_report` full or per_recipient, and our ids in `client_reference`.",
            ),
            "Ask the account manager to switch signing on, and copy the secret into the file of the route's secret.",
        ),
    ),
    "sparkpost": (
        Setup(
            (
                "Start the gateway first: SparkPost posts a test batch, which must be taken.",
                (
                    "Configuration, Webhooks: enter {address}, on port 443 or 80, and choose message, generation and"
                    " unsubscribe events."
                ),
                SECRET,
                "Send our ids in the recipients' `metadata`.",
            )
        ),
    ),
    "telnyx": (
        Setup(
            (
                (
                    "Messaging profile: enter {address} as the webhook address, and a second address of the gateway"
                    " as the failover; choose API version 2."
                ),
                SECRET,
                "Send our ids as `tags`.",
            ),
            "Copy the account's public key into the file of the route's secret.",
        ),
    ),
    "twilio": (
        Setup(
            (
                (
                    "Enter {address}#rc=5&rp=all as the status callback of the messaging service, or give it as"
                    " `StatusCallback` with each message: without the end only a failed connection is tried again."
                ),
                SECRET,
                "Our ids go into the query, before the #: ?message_id=m-1&delivery_id=DM1.",
            ),
            "Copy the auth token of the account or sub-account that sends into the file of the route's secret.",
            "Status callbacks",
        ),
        Setup(
            ("Create a sink for {address}, and subscribe it to the events of outbound messages.", SECRET),
            "Copy the auth token of the account into the file of the route's secret.",
            "Event Streams",
        ),
    ),
    "vonage": (
        Setup(
            (
                "Settings: enter {address} for delivery receipts, as POST-JSON.",
                "Switch signed webhooks on.",
                SECRET,
                "Send our ids in `client-ref`.",
            ),
            "Copy the signature secret into the file of the route's secret.",
            "SMS API",
        ),
        Setup(
            ("Application: enter {address} as the status address.", SECRET, "Send our ids in `client_ref`."),
            "Copy the signature secret into the file of the route's secret.",
            "Messages API",
        ),
    ),
}

#: Which of the shared ways each provider that signs nothing can send, the best first.
WAYS: dict[str, tuple[str, ...]] = {
    "bandwidth": ("basic",),
    "brevo": ("bearer", "basic", "header"),
    "infobip": ("basic",),
    "kumomta": ("bearer", "basic", "header"),
    "mailjet": ("basic",),
    "mmg": ("basic", "bearer"),
    "postmark": ("basic", "header"),
    "powermta": ("basic",),
    "sparkpost": ("basic", "header"),
}
#: Providers that take user and password in the address only.
_LOGIN_IN_ADDRESS = ("mailjet", "powermta")

#: Ports that are called, by who calls, where not any is.
_PORTS = {FIREHOSE: (443,), "sparkpost": (443, 80)}

_BY_WAY = {
    "basic": "Choose basic authentication, with the user and the password of the route's secret (`user:password`).",
    "bearer": "Choose a bearer token: the route's secret.",
    "header": "Add the header of the route's secret (`Name: value`).",
    "none": "No authentication: whoever knows the address may call.",
}
_LOGIN = "Write user and password of the route's secret (`user:password`) into the address: {login}."


def steps_of(setup: Setup, provider: str, way: str, address: str) -> list[str]:
    """Return the steps of a setup in their order, for an address.

    Args:
        setup: one of the provider's.
        provider: whose.
        way: how the route verifies.
        address: as it is entered.
    """
    login = _LOGIN if way == "basic" and provider in _LOGIN_IN_ADDRESS else _BY_WAY.get(way)
    secret = setup.secret if way == "signature" else login
    parts = urlsplit(address)
    named = {
        "{address}": address,
        "{asking}": address + ("&" if parts.query else "?"),
        "{login}": parts._replace(netloc=f"USER:PASSWORD@{parts.netloc}").geturl(),
    }
    steps = (secret or "" if step == SECRET else step for step in setup.steps)
    return [_filled(step, named.items()) for step in steps if step]


def _filled(step: str, named: Iterable[tuple[str, str]]) -> str:
    for name, value in named:
        step = step.replace(name, value)
    return step


def setups_of(provider: str, *, has_topics: bool = True, has_secrets: bool = True) -> tuple[Setup, ...]:
    """Return the setups of a provider: of AWS, those that fit what the route has."""
    absent = {SNS: not has_topics, FIREHOSE: not has_secrets}
    return tuple(setup for setup in SETUPS[provider] if not absent.get(setup.product, False))


def _is_private(host: str) -> bool:
    try:
        return not ipaddress.ip_address(host).is_global
    except ValueError:
        return host == "localhost"


def doubts_of(setups: Iterable[Setup], provider: str, way: str, address: str) -> list[str]:
    """Return what will hardly work, or not safely, though nothing is wrong with the file."""
    parts = urlsplit(address)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    doubts = []
    if way in SHARED and way != "none" and way not in WAYS.get(provider, (way,)):
        doubts.append(f"{provider} is not known to send {way}, but {' or '.join(WAYS[provider])}")
    if way == "none":
        doubts.append("whoever knows the address may call")
    if _is_private(parts.hostname or ""):
        doubts.append("no provider reaches public_url: it is for trials from inside")
    elif parts.scheme != "https":
        doubts.append("public_url is plain HTTP: who is on the way reads secrets and recipients")
    callers = (provider, *(setup.product for setup in setups))
    restricted = {caller: _PORTS[caller] for caller in callers if port not in _PORTS.get(caller, (port,))}
    doubts += [f"{caller} calls port {' or '.join(map(str, ports))} only" for caller, ports in restricted.items()]
    return doubts
