"""Index rows in memory, for listing and finding them."""

from __future__ import annotations

from array import array
from bisect import insort
from collections.abc import Iterable, Iterator
from typing import cast

from processor.domain.standing import Mark
from processor.domain.transitions import Node
from processor.engine.store import Description, IndexChange, Name
from processor.engine.store.buckets import Buckets
from processor.engine.store.ordered import Ordered


class MemoryIndex:
    """The lists and names of one store.

    Names are kept by Python's own hash of a text, which has a key that is random in each process: nobody can choose
    names that crowd one bucket.
    """

    def __init__(self) -> None:
        #: By node, then by delivery; and by kind. Members of enumerations are slow keys of dictionaries.
        self._lists: list[dict[str, Ordered]] = [{} for _ in Node]
        self._names: list[Buckets] = [Buckets() for _ in Name]
        #: By node, then by delivery: times and keys that are not sorted yet.
        self._gathered: list[dict[str, tuple[array[int], list[bytes]]]] = [{} for _ in Node]

    def write(self, change: IndexChange) -> None:
        """Take the changes of one chunk."""
        lists = self._lists
        #: Keys as the objects that the rows have, where these are others.
        owned: dict[bytes, bytes] = {}
        for each, before, after in change.standings:
            key = each
            if before is not None:
                delivery, node, since = before
                listed = lists[node][delivery]
                # The object that the rows have, too.
                key = listed.remove(since, key)
                if key is not each:
                    owned[key] = key
                if listed.is_empty:
                    del lists[node][delivery]
            if after is not None:
                delivery, node, since = after
                of_node = lists[node]
                (of_node.get(delivery) or of_node.setdefault(delivery, Ordered())).add(since, key)
        for each, kind, name_before, name_after in change.names:
            key = owned.get(each, each)
            if name_before is not None:
                self._names[kind].remove(hash(name_before), key)
            if name_after is not None:
                self._names[kind].add(hash(name_after), key)

    def gather(self, rows: Iterable[tuple[bytes, Description]]) -> None:
        """Take rows that were not there, in any order: they are in the lists after `sort`."""
        gathered, (recipients, native) = self._gathered, self._names
        for key, (standing, (recipient, native_id)) in rows:
            if standing is not None:
                delivery, node, since = standing
                of_node = gathered[node]
                ranks, keys = of_node.get(delivery) or of_node.setdefault(delivery, (array("q"), []))
                ranks.append(since)
                keys.append(key)
            if recipient is not None:
                recipients.add(hash(recipient), key)
            if native_id is not None:
                native.add(hash(native_id), key)

    def sort(self) -> None:
        """Make the lists of what was gathered, while nothing else is in them."""
        for of_node, gathered in zip(self._lists, self._gathered, strict=True):
            for delivery, (ranks, keys) in gathered.items():
                of_node[delivery] = Ordered.of(zip(ranks, keys, strict=True))
            gathered.clear()

    def standing(self, delivery: str | None, node: Node, below: Mark) -> Iterator[Mark]:
        """Yield the rows of one delivery, or of all, that stand at a node, from below a mark down."""
        of_node = self._lists[node]
        if delivery is None:
            return _merged(list(of_node.values()), below)
        listed = of_node.get(delivery)
        return iter(()) if listed is None else _marks(listed, below)

    def named(self, kind: Name, name: str) -> Iterator[bytes]:
        """Yield the keys of the rows with a name, and of some others."""
        return iter(self._names[kind].of(hash(name)))


def _marks(listed: Ordered, below: Mark) -> Iterator[Mark]:
    return cast("Iterator[Mark]", listed.below(*below))


def _merged(lists: list[Ordered], below: Mark) -> Iterator[Mark]:
    """Yield the marks of several lists below a mark, from the highest down.

    Few of many deliveries have what a page shows: a list is opened when the highest mark that it can have is next.
    """
    waiting: list[tuple[Mark, int]] = []
    for number, each in enumerate(lists):
        # Of thousands of deliveries nearly all end here, and no more is asked of them.
        highest = each.highest
        if highest < below:
            waiting.append((cast("Mark", highest), number))
        elif each.lowest < below:
            waiting.append((below, number))
    waiting.sort()
    opened: list[tuple[Mark, int, Iterator[Mark]]] = []
    while waiting or opened:
        if waiting and (not opened or waiting[-1][0] >= opened[-1][0]):
            number = waiting.pop()[1]
            marks = _marks(lists[number], below)
        else:
            mark, number, marks = opened.pop()
            yield mark
        following = next(marks, None)
        if following is not None:
            insort(opened, (following, number, marks))
