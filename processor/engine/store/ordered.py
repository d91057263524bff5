"""An ordered set in memory: pairs of a rank and a key, in eight bytes and a reference for each pair.

The pairs are kept in blocks: a sorted array of ranks, and a list of keys beside it. The keys are the objects that the
dictionary of rows has, so they take no memory of their own; the garbage collector sees one list for each block.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator

#: A rank, a whole number of 64 bits with a sign, and a key. Pairs are ordered by rank, then by key.
Pair = tuple[int, bytes]

#: Pairs in one block: what an insertion moves is at most as much, and what a block costs by itself is spread over it.
_BLOCK_PAIRS = 512


class _Block:
    """Pairs in order; never empty."""

    __slots__ = ("keys", "ranks")

    def __init__(self, ranks: array[int], keys: list[bytes]) -> None:
        self.ranks, self.keys = ranks, keys

    def place(self, rank: int, key: bytes) -> int:
        """Return how many of the pairs are lower than one."""
        ranks = self.ranks
        at = bisect_left(ranks, rank)
        if at < len(ranks) and ranks[at] == rank and self.keys[at] < key:
            return bisect_left(self.keys, key, at, bisect_right(ranks, rank, at))
        return at

    @property
    def last(self) -> Pair:
        """The highest pair."""
        return self.ranks[-1], self.keys[-1]


class Ordered:
    """A set of pairs in order."""

    __slots__ = ("_blocks", "_tops")

    def __init__(self) -> None:
        self._blocks: list[_Block] = []
        #: The highest pair of each block.
        self._tops: list[Pair] = []

    @classmethod
    def of(cls, pairs: Iterable[Pair]) -> Ordered:
        """Return the set of pairs that come in any order, none twice, in full blocks."""
        ordered, made = sorted(pairs), cls()
        for at in range(0, len(ordered), _BLOCK_PAIRS):
            share = ordered[at : at + _BLOCK_PAIRS]
            made._blocks.append(_Block(array("q", [rank for rank, _ in share]), [key for _, key in share]))
            made._tops.append(share[-1])
        return made

    def add(self, rank: int, key: bytes) -> None:
        """Add a pair that is not in the set."""
        pair, tops = (rank, key), self._tops
        if not tops:
            self._blocks.append(_Block(array("q", (rank,)), [key]))
            tops.append(pair)
            return
        if pair > tops[-1]:
            # The usual case: what changes now has the latest time.
            number = len(tops) - 1
            block = self._blocks[number]
            block.ranks.append(rank)
            block.keys.append(key)
            tops[number] = pair
        else:
            number = bisect_left(tops, pair)
            block = self._blocks[number]
            at = block.place(rank, key)
            block.ranks.insert(at, rank)
            block.keys.insert(at, key)
        if len(block.keys) > _BLOCK_PAIRS:
            self._split(number)

    def _split(self, number: int) -> None:
        """Split a block; the last one keeps little, since it grows at its end."""
        block = self._blocks[number]
        at = _BLOCK_PAIRS // 2 if number < len(self._blocks) - 1 else _BLOCK_PAIRS - 1
        lower = _Block(block.ranks[:at], block.keys[:at])
        self._blocks[number] = _Block(block.ranks[at:], block.keys[at:])
        self._blocks.insert(number, lower)
        self._tops.insert(number, lower.last)

    def remove(self, rank: int, key: bytes) -> bytes:
        """Remove a pair; return the key as the object that the set had.

        Raises:
            KeyError: the pair is not in the set.
        """
        number = bisect_left(self._tops, (rank, key))
        if number == len(self._tops):
            raise KeyError((rank, key))
        block = self._blocks[number]
        at = block.place(rank, key)
        if block.ranks[at] != rank or block.keys[at] != key:
            raise KeyError((rank, key))
        del block.ranks[at]
        own = block.keys.pop(at)
        if not block.keys:
            del self._blocks[number], self._tops[number]
        elif at == len(block.keys):
            self._tops[number] = block.last
        return own

    def below(self, rank: int, key: bytes) -> Iterator[Pair]:
        """Yield the pairs below one, from the highest down; the set must not change meanwhile."""
        first = bisect_left(self._tops, (rank, key))
        for number in range(min(first, len(self._blocks) - 1), -1, -1):
            block = self._blocks[number]
            at = block.place(rank, key) if number == first else len(block.keys)
            for index in range(at - 1, -1, -1):
                yield block.ranks[index], block.keys[index]

    @property
    def lowest(self) -> Pair:
        """The lowest pair of a set that is not empty."""
        block = self._blocks[0]
        return block.ranks[0], block.keys[0]

    @property
    def highest(self) -> Pair:
        """The highest pair of a set that is not empty."""
        return self._tops[-1]

    @property
    def is_empty(self) -> bool:
        """Whether there is no pair."""
        return not self._blocks
