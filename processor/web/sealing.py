"""Seals for ids that may not be shown: a link with a sealed id leads to the message without revealing its recipient.

The seal is AES-SIV (RFC 5297) under a key that is derived from the token that workers share, which readers do not have.
It is deterministic: one id has one address. Only the owner of the key can make one, so a seal that opens is ours.

Where no such token is set, the key is random and this worker's own: its links lead to their messages for as long as it
runs, and on no other worker. ADR 0020 says why the key is not derived from public values.
"""

from __future__ import annotations

import base64
import binascii
import os

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from processor.settings import Settings

#: What a sealed id begins with: the number is that of this form and of its key.
PREFIX = "sealed.1."

_KEY_BYTES = 64
_PURPOSE = b"delivery-status: ids in links, 1"


class SealError(Exception):
    """A text begins like a sealed id, and is not one of ours."""


class Seal:
    """Seals the ids of messages, and opens what it or another worker with the same token has sealed."""

    def __init__(self, settings: Settings) -> None:
        secret = settings.workers_token
        key = _derived(secret, settings.app_id) if secret else os.urandom(_KEY_BYTES)
        self._cipher = AESSIV(key)

    def close(self, message_id: str) -> str:
        """Seal an id; the result needs no escaping in a URL."""
        sealed = self._cipher.encrypt(message_id.encode(), [_PURPOSE])
        return PREFIX + base64.urlsafe_b64encode(sealed).rstrip(b"=").decode()

    def open(self, given: str) -> str:
        """Return the id that a path names: what is sealed is opened, anything else is an id as it is.

        Raises:
            SealError: it begins like a sealed id, and was not sealed with this key, or was changed.
        """
        if not given.startswith(PREFIX):
            return given
        encoded = given.removeprefix(PREFIX)
        if {"+", "/"} & set(encoded):
            # b64decode takes them beside those that stand for them: a sealed id would have several spellings.
            raise SealError
        try:
            sealed = base64.b64decode(encoded + "=" * (-len(encoded) % 4), altchars=b"-_", validate=True)
            return self._cipher.decrypt(sealed, [_PURPOSE]).decode()
        except (binascii.Error, ValueError, InvalidTag):
            raise SealError from None


def _derived(secret: str, app_id: str) -> bytes:
    """Derive the key: another installation with the same token has another."""
    return HKDF(SHA256(), _KEY_BYTES, salt=app_id.encode(), info=_PURPOSE).derive(secret.encode())
