"""Keys by a hash in memory: a reference and a little more for each, and one append for each that is added.

There is a fixed number of buckets, and what a bucket has is compared with the rows by who asks. The keys are the
objects that the dictionaries of rows have, and take no memory of their own.
"""

from __future__ import annotations

from collections.abc import Collection

#: Buckets, a power of two: a million keys are a hundred in each.
_BUCKETS = 1 << 13

#: Keys in a bucket up to which it is a tuple, which has exactly the room that it needs: a list has more.
_TUPLE_MAX = 32

#: Keys in a bucket from which on it is a dictionary, since removing one from a long list takes long: there are ten
#: million, or one name has thousands, as an address for trials.
_LIST_MAX = 2_000

_Bucket = tuple[bytes, ...] | list[bytes] | dict[bytes, None]


class Buckets:
    """A set of pairs of a hash and a key, of which the hash is known as far as it chooses the bucket."""

    __slots__ = ("_buckets",)

    def __init__(self) -> None:
        self._buckets: list[_Bucket] = [()] * _BUCKETS

    def add(self, given: int, key: bytes) -> None:
        """Add a pair that is not in the set."""
        number = given & (_BUCKETS - 1)
        bucket = self._buckets[number]
        if isinstance(bucket, tuple):
            keys = bucket + (key,)  # noqa: RUF005 - it is copied once
            self._buckets[number] = keys if len(keys) <= _TUPLE_MAX else list(keys)
        elif isinstance(bucket, dict):
            bucket[key] = None
        else:
            bucket.append(key)
            if len(bucket) > _LIST_MAX:
                self._buckets[number] = dict.fromkeys(bucket)

    def remove(self, given: int, key: bytes) -> None:
        """Remove a pair.

        Raises:
            KeyError: the pair is not in the set.
        """
        number = given & (_BUCKETS - 1)
        bucket = self._buckets[number]
        if isinstance(bucket, dict):
            del bucket[key]
            return
        try:
            if isinstance(bucket, tuple):
                at = bucket.index(key)
                self._buckets[number] = bucket[:at] + bucket[at + 1 :]
            else:
                bucket.remove(key)
        except ValueError:
            raise KeyError((given, key)) from None

    def of(self, given: int) -> Collection[bytes]:
        """Return the keys of one hash, and of those with the same bucket; the set must not change meanwhile."""
        return self._buckets[given & (_BUCKETS - 1)]
