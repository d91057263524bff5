"""Find the provider's id of the message that a record speaks of: records with one key stay in order in Kafka.

Best effort: a record without a key, as one of several messages, goes anywhere, and no status depends on the order.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from urllib.parse import unquote_to_bytes

import orjson

#: Octets beyond which a body is a batch, and not read for its key.
_MOST = 32 * 1024
_MAX_KEY = 200

#: Where each provider writes its id of a message, by the forms of its reports. In a form only names of one step count.
#: SNS holds what it brings as text in `Message`.
_PLACES: dict[str, tuple[tuple[str, ...], ...]] = {
    "aws_eum_sms": (("messageId",), ("Message", "messageId")),
    "bandwidth": (("message", "id"),),
    "brevo": (("message-id",),),
    "firetext": (("reference",),),
    "infobip": (("results", "messageId"),),
    "jasmin": (("id",),),
    "kannel": (("id",),),
    "kumomta": (("id",),),
    "mailgun": (("event-data", "message", "headers", "message-id"), ("Message-Id",)),
    "mailjet": (("MessageID",),),
    "messagebird": (("id",), ("payload", "id")),
    "mmg": (("CID",), ("reference",)),
    "plivo": (("ParentMessageUUID",), ("MessageUUID",)),
    "postmark": (("MessageID",),),
    "resend": (("data", "email_id"),),
    "sendgrid": (("sg_message_id",),),
    "ses": (("mail", "messageId"), ("Message", "mail", "messageId")),
    "sinch": (("batch_id",),),
    "sparkpost": (("msys", "message_event", "message_id"),),
    "telnyx": (("data", "payload", "id"),),
    "twilio": (("MessageSid",), ("data", "messageSid")),
    "vonage": (("messageId",), ("message_uuid",)),
}
#: How these begin in a form.
_NAMES = {
    provider: tuple(f"{place[0]}=".encode() for place in places if len(place) == 1)
    for provider, places in _PLACES.items()
}


def key_of(provider: str, value: bytes) -> bytes | None:
    """Return the key of a record, `provider:id`; None where it speaks of several messages, or of none that is known.

    Args:
        provider: whose it is.
        value: of the record: JSON, a form or a query.
    """
    places = _PLACES.get(provider, ())
    if not places or len(value) > _MOST:
        return None
    is_json = value.lstrip()[:1] in (b"{", b"[")
    found = _in_json(value, places) if is_json else _in_form(value, _NAMES[provider])
    return f"{provider}:".encode() + found[:_MAX_KEY] if found else None


def _in_json(value: bytes, places: tuple[tuple[str, ...], ...]) -> bytes | None:
    try:
        read = orjson.loads(value)
    except ValueError:
        return None
    return next((each for place in places if (each := _at(read, place)) is not None), None)


def _at(read: Any, place: tuple[str, ...]) -> bytes | None:
    for step in (*place, None):
        if isinstance(read, list):
            # A batch of one is no batch.
            read = read[0] if len(read) == 1 else None
        if step is None:
            break
        if isinstance(read, str):
            read = _nested(read)
        if not isinstance(read, dict):
            return None
        read = read.get(step)
    return str(read).encode(errors="replace") if isinstance(read, str | int) else None


def _nested(text: str) -> Any:
    try:
        return orjson.loads(text)
    except ValueError:
        return None


def _in_form(value: bytes, names: Iterable[bytes]) -> bytes | None:
    for name in names:
        # Readers take the last of equal names.
        begin = value.rfind(b"&" + name) + 1
        if begin or value.startswith(name):
            return unquote_to_bytes(value[begin + len(name) :].partition(b"&")[0])
    return None
