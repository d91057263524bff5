"""Native keys: what receipts and links are joined by, made of ids in the form in which they are compared."""

from __future__ import annotations

from processor.domain.event import Event
from processor.domain.links import native_key
from processor.providers.adapter import Adapter
from processor.providers.addresses import bare_address

#: Providers whose ids are those of SMS centres: each program on the way may write them in another case, or padded.
_SMS_CENTRES = frozenset({"jasmin", "kannel", "smpp"})


def comparable(provider: str, native_id: str) -> str:
    """Return a provider's id in the form in which it is compared.

    Of SMS centres that is without case and leading zeros; a Message-ID is without the angle brackets in which the APIs
    of Mailgun and Brevo answer with it.
    """
    if provider not in _SMS_CENTRES:
        return native_id[1:-1] if native_id[:1] == "<" and native_id[-1:] == ">" else native_id
    return native_id.lower().lstrip("0") or "0"


def comparable_ids(provider_message_id: str) -> tuple[str, ...]:
    """Return a provider's id in the forms in which it may be found, whoever the provider is."""
    return tuple(dict.fromkeys((provider_message_id, comparable("smpp", provider_message_id))))


def key_of_link(provider: str, account: str, native_id: str) -> str:
    """Return the native key of a provider's id."""
    return native_key(provider, account, comparable(provider, native_id))


def key_of_name(provisional: str) -> tuple[str, str] | None:
    """Return provider and native key of a provisional name, as people write it; None: it is none.

    It is `provider:id` or `provider@account:id`.
    """
    start, colon, native_id = provisional.partition(":")
    provider, _, account = start.partition("@")
    return (provider, key_of_link(provider, account, native_id)) if colon and native_id else None


def key_of_receipt(adapter: Adapter, event: Event, account: str) -> str | None:
    """Return the native key of an event that has no message id of ours; None where it has one.

    Args:
        adapter: made the event.
        event: as `event_of` named it.
        account: which of the provider's it came from; empty: there is but one.
    """
    # Most ids are ours: one look tells, before a name is put together.
    if not event.message_id.startswith(adapter.name):
        return None
    start = native_key(adapter.name, account, "")
    if not event.message_id.startswith(start):
        return None
    native_id = event.message_id[len(start) :]
    if adapter.id_covers_several and event.recipient is not None:
        native_id = native_id.removesuffix(f":{bare_address(event.recipient)}")
    return key_of_link(adapter.name, account, native_id)


def provider_of(key: bytes) -> str:
    """Return the provider whose id a native key is of."""
    return key.decode(errors="replace").partition(":")[0].partition("@")[0]
