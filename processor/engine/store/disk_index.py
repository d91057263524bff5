"""The keys under which a store on disk lists and finds rows, beside the rows themselves.

A list is a range of keys, which are in the order of their bytes: `l`, node, since, key for the rows of all deliveries,
and `d`, the length of the delivery's name, its name, node, since, key for those of one. What is found by a name is `n`,
kind, hash of the name, key. Nothing is stored under them. A time is written so that bytes have the order of numbers.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import lru_cache
from hashlib import blake2b
from typing import cast

import rocksdict

from processor.domain.moment import Micros
from processor.domain.standing import Mark
from processor.domain.transitions import Node
from processor.engine.store import IndexChange, Name

_OF_ALL, _OF_DELIVERY, _NAMED = b"l", b"d", b"n"

#: By node, and by kind of name. Members of enumerations are slow keys of dictionaries.
_NODES = tuple(bytes((node,)) for node in Node)

_KINDS = tuple(_NAMED + bytes((kind,)) for kind in Name)

#: Added to a time, so that it is not negative.
_BIAS = 1 << 63

_TIME_BYTES = 8
_HASH_BYTES = 8

#: Bytes of the key that names are hashed with.
SECRET_BYTES = 16


def hash_under(secret: bytes) -> blake2b:
    """Return the hash of names under a key, to be copied for each name: a keyed one made anew takes twice the time."""
    return blake2b(secret, digest_size=_HASH_BYTES)


def write_index(batch: rocksdict.WriteBatch, change: IndexChange, keyed: blake2b) -> None:
    """Add the changes of one chunk to a batch."""
    put, delete = batch.put, batch.delete
    for key, before, after in change.standings:
        if before is not None:
            delivery, node, since = before
            mark = _NODES[node] + _moment(since) + key
            delete(_OF_ALL + mark)
            delete(_of_delivery(delivery) + mark)
        if after is not None:
            delivery, node, since = after
            mark = _NODES[node] + _moment(since) + key
            put(_OF_ALL + mark, b"")
            put(_of_delivery(delivery) + mark, b"")
    for key, kind, name_before, name_after in change.names:
        if name_before is not None:
            delete(_named(kind, name_before, keyed) + key)
        if name_after is not None:
            put(_named(kind, name_after, keyed) + key, b"")


def standing(db: rocksdict.Rdict, delivery: str | None, node: Node, below: Mark) -> Iterator[Mark]:
    """Yield the rows of one delivery, or of all, that stand at a node, from below a mark down."""
    start = _list(delivery, node)
    from_key = start + _moment(below[0]) + below[1]
    skipped = len(start) + _TIME_BYTES
    for entry in cast("Iterable[bytes]", db.keys(backwards=True, from_key=from_key)):
        if not entry.startswith(start):
            return
        if entry != from_key:
            since = int.from_bytes(entry[len(start) : skipped], "big") - _BIAS
            yield Micros(since), entry[skipped:]


def named(db: rocksdict.Rdict, kind: Name, name: str, keyed: blake2b) -> Iterator[bytes]:
    """Yield the keys of the rows with a name."""
    start = _named(kind, name, keyed)
    for entry in cast("Iterable[bytes]", db.keys(from_key=start)):
        if not entry.startswith(start):
            return
        yield entry[len(start) :]


def _list(delivery: str | None, node: Node) -> bytes:
    """Return what the keys of a list begin with."""
    return _OF_ALL + _NODES[node] if delivery is None else _of_delivery(delivery) + _NODES[node]


@lru_cache(maxsize=4_096)
def _of_delivery(delivery: str) -> bytes:
    """Return what the keys of all lists of a delivery begin with: it is no beginning of another's."""
    name = delivery.encode()
    return _OF_DELIVERY + len(name).to_bytes(2, "big") + name


def _moment(since: int) -> bytes:
    return (since + _BIAS).to_bytes(_TIME_BYTES, "big")


def _named(kind: Name, name: str, keyed: blake2b) -> bytes:
    hashed = keyed.copy()
    hashed.update(name.encode())
    return _KINDS[kind] + hashed.digest()
