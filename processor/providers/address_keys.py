"""The keys of addresses in what is published: channel and keyed hash, the same however an address is written."""

from __future__ import annotations

from hashlib import blake2b

from processor.domain.status import Channel
from processor.providers.addresses import comparable_address

_HASH_BYTES = 16
#: The longest key of BLAKE2b; of a longer one the hash is the key.
_KEY_MAX = 64


class AddressKeys:
    """The keys of addresses: channel and keyed hash."""

    def __init__(self, secret: str) -> None:
        key = secret.encode()
        self._keyed = blake2b(key=key if len(key) <= _KEY_MAX else blake2b(key).digest(), digest_size=_HASH_BYTES)

    def key_of(self, channel: Channel, recipient: str) -> str:
        """Return the key of an address, however it is written."""
        # A copy, since a keyed hash that is made anew takes twice the time.
        hashed = self._keyed.copy()
        hashed.update(comparable_address(recipient).encode(errors="surrogatepass"))
        # A channel is a text, and its value takes as long to ask for as the hash.
        return channel + "|" + hashed.hexdigest()
