"""Erasures: whose data is to be removed, and the walk of one partition through what it knows (ADR 0027).

The topic of erasures, which every worker follows, has the keyed hashes of the addresses. What comes later is erased
when it comes. What is known already is erased by a walk through all of it, a share in each transaction; it begins again
when a partition opens, since an earlier owner may not have heard of an erasure yet.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Sequence
from datetime import datetime
from hashlib import blake2b
from itertools import count, islice
from typing import NamedTuple

from processor.domain.event import MAX_NAME
from processor.domain.moment import Micros, to_microseconds
from processor.engine.stage import Outbox, Record
from processor.engine.store import Store
from processor.providers.addresses import comparable_address
from processor.wire.deadletters import UnusableError
from processor.wire.erasures import ErasedRecord, ErasureRecord, decode_kept, encode_erased
from processor.wire.partitioner import partition_of

#: Bytes of ids, keys and hashes.
_BYTES = 16

#: How what stands for an erased address begins.
STAND_IN = "erased:"

#: Characters that are kept of an id before its address: what stands for that must fit.
_START_MAX = MAX_NAME - 60


class Remembered(NamedTuple):
    """An erasure that is remembered."""

    key: str
    hash: str
    #: When it was asked for, in microseconds.
    time: Micros


class Erasures:
    """All erasures that are remembered: one object for all partitions of a worker; `take` alone changes it."""

    def __init__(self) -> None:
        #: By id.
        self.remembered: dict[str, Remembered] = {}
        #: The ids in the order in which they were heard of: it only grows, so that a partition can tell what is news.
        self.told: list[str] = []
        #: Keys of what partitions have said about each erasure, and how much they erased.
        self.done: dict[str, dict[bytes, int]] = {}
        #: The hashes of erased addresses by the keys that they were made with.
        self._hashes: dict[str, set[str]] = {}

    def __bool__(self) -> bool:
        """Return whether any is remembered: only then is anything hashed."""
        return bool(self._hashes)

    def has(self, recipient: str) -> bool:
        """Return whether an address is erased, however it is written."""
        return any(hash_of(key, recipient) in hashes for key, hashes in self._hashes.items())

    def which(self, recipient: str) -> set[str]:
        """Return the ids of the erasures of an address."""
        hashes = {key: hash_of(key, recipient) for key in self._hashes}
        return {each for each, known in self.remembered.items() if hashes[known.key] == known.hash}

    def stand_in(self, recipient: str) -> str | None:
        """Return what stands for an erased address where addresses must still be told apart; None: it is not erased.

        It goes when the erasure is over.
        """
        for key in sorted(self._hashes):
            hashed = hash_of(key, recipient)
            if hashed in self._hashes[key]:
                return STAND_IN + hashed
        return None

    def name_of(self, message_id: str, partitions: int) -> str | None:
        """Return the id that a message goes by whose id ends with an erased address; None: it does not.

        It is always the same, and in the same one of so many partitions, so that the row stays where it is.
        """
        start, colon, last = message_id.rpartition(":")
        if not colon:
            return None
        address = comparable_address(last)
        if not is_address(address):
            return None
        for key in sorted(self._hashes):
            if exact_hash_of(key, address) in self._hashes[key]:
                name = f"{start[:_START_MAX]}:{STAND_IN}{exact_hash_of(key, last)}"
                home = partition_of(message_id.encode(), partitions)
                names = (f"{name}.{number}" for number in count())
                return next(each for each in names if partition_of(each.encode(), partitions) == home)
        return None

    def take(self, records: Sequence[Record]) -> None:
        """Take records of the topic of erasures; a null value ends an erasure."""
        for record in records:
            if record.key is None:
                continue
            if record.value is None:
                self._forget(record.key)
                continue
            try:
                kept = decode_kept(record.key, record.value)
            except UnusableError:
                # Only workers write there; what somebody else wrote erases nothing.
                continue
            if isinstance(kept, ErasureRecord):
                self._remember(kept)
            else:
                self.done.setdefault(kept.erasure_id, {})[record.key] = kept.erased

    def _remember(self, erasure: ErasureRecord) -> None:
        if erasure.erasure_id not in self.remembered:
            self.remembered[erasure.erasure_id] = Remembered(erasure.key, erasure.hash, to_microseconds(erasure.time))
            self.told.append(erasure.erasure_id)
            self._hashes.setdefault(erasure.key, set()).add(erasure.hash)

    def _forget(self, key: bytes) -> None:
        erasure_id = key.decode(errors="replace").partition("|")[0]
        self.done.pop(erasure_id, None)
        if self.remembered.pop(erasure_id, None) is not None:
            self._hashes = {}
            for each in self.remembered.values():
                self._hashes.setdefault(each.key, set()).add(each.hash)


def is_address(text: str) -> bool:
    """Return whether a text, in the form in which addresses are compared, is formed as one or as a number."""
    return text.isdecimal() or "@" in text.strip("@")


def hash_of(key: str, recipient: str) -> str:
    """Return the keyed hash of an address, however it is written; the key is in hexadecimal digits."""
    return exact_hash_of(key, comparable_address(recipient))


def exact_hash_of(key: str, text: str) -> str:
    """Return the keyed hash of a text as it is written."""
    return blake2b(text.encode(errors="surrogatepass"), key=bytes.fromhex(key), digest_size=_BYTES).hexdigest()


def new_erasure(recipient: str, now: datetime, key: str | None) -> ErasureRecord:
    """Ask that what is told of a recipient is erased.

    Args:
        recipient: the address, as people write it.
        now: the present time; aware.
        key: that of an erasure that is remembered; None: there is none.
    """
    key = key or secrets.token_hex(_BYTES)
    return ErasureRecord(now, secrets.token_hex(_BYTES), key, hash_of(key, recipient))


class ErasureWalk:
    """The walk of one partition through what it knows, while there is one."""

    def __init__(self, store: Store, erasures: Erasures, stage: str, partition: int) -> None:
        self._store, self._stage, self._partition = store, stage, partition
        self.erasures = erasures
        self._heard = 0
        self._keys: Iterator[tuple[bytes, bytes]] | None = None
        #: How much the present walk has erased so far, by the erasures that it is for.
        self._erased: dict[str, int] = {}

    @property
    def is_due(self) -> bool:
        """Whether there are erasures that no walk has told yet, or a walk that goes on."""
        return self._keys is not None or self._heard < len(self.erasures.told)

    def restart(self) -> None:
        """Begin again: what was restored may not have been erased."""
        self.stop()
        self._heard = 0

    def stop(self) -> None:
        """Release the rows."""
        self._keys, self._erased = None, {}

    def share(self, number: int) -> Sequence[tuple[bytes, bytes]] | None:
        """Return the next keys with what is stored under them; nothing at the walk's end; None if there is no walk.

        An erasure that is heard of meanwhile waits for the next walk, so that each walk ends.
        """
        if self._keys is None:
            if not self.is_due:
                return None
            told = self.erasures.told
            self._erased = {each: 0 for each in told[self._heard :] if each in self.erasures.remembered}
            self._heard = len(told)
            self._keys = self._store.items()
        found = list(islice(self._keys, number))
        if not found:
            self._keys = None
        return found

    def count(self, recipient: str) -> None:
        """Count what was erased of a recipient."""
        for each in self.erasures.which(recipient) & self._erased.keys():
            self._erased[each] += 1

    def finish(self, topic: str, outbox: Outbox) -> None:
        """Say, for each erasure that this partition has not told yet, that its walk is over."""
        for erasure_id, number in self._erased.items():
            key, value = encode_erased(ErasedRecord(erasure_id, self._stage, self._partition, number))
            if number or key not in self.erasures.done.get(erasure_id, {}):
                outbox.add(topic, self._partition, outbox.now, key, value)
        self._erased = {}
