"""An ordered set of pairs holds what a sorted list holds, whatever is added and removed."""

from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from processor.engine.store import buckets, ordered
from processor.engine.store.buckets import Buckets
from processor.engine.store.ordered import Ordered, Pair
from tests.examples import examples

LEAST, MOST = -(1 << 63), (1 << 63) - 1

#: Few ranks and keys, so that they coincide; and the first and last ranks there are.
ranks = st.integers(0, 5) | st.sampled_from((LEAST, MOST))
keys = st.binary(max_size=2)
pairs = st.tuples(ranks, keys)


@pytest.fixture(autouse=True, scope="module")
def small_blocks() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ordered, "_BLOCK_PAIRS", 4)
        yield


class Sets(RuleBasedStateMachine):
    """An ordered set beside a set of Python's."""

    def __init__(self) -> None:
        super().__init__()
        self.ordered = Ordered()
        self.plain: set[Pair] = set()

    @rule(pair=pairs)
    def add(self, pair: Pair) -> None:
        if pair not in self.plain:
            self.ordered.add(*pair)
            self.plain.add(pair)

    @rule(pair=pairs)
    def remove(self, pair: Pair) -> None:
        if pair in self.plain:
            assert self.ordered.remove(*pair) == pair[1]
            self.plain.remove(pair)
        else:
            with pytest.raises(KeyError):
                self.ordered.remove(*pair)

    @rule(pair=pairs)
    def look_below(self, pair: Pair) -> None:
        assert list(self.ordered.below(*pair)) == sorted([each for each in self.plain if each < pair], reverse=True)

    @invariant()
    def knows_its_ends(self) -> None:
        assert self.ordered.is_empty is (not self.plain)
        if self.plain:
            assert (self.ordered.lowest, self.ordered.highest) == (min(self.plain), max(self.plain))


TestSets = Sets.TestCase
TestSets.settings = settings(max_examples=examples(200))


@given(st.lists(pairs, unique=True))
def test_what_was_added_comes_out_in_order(given_pairs):
    found = Ordered()
    for pair in given_pairs:
        found.add(*pair)
    made = Ordered.of(given_pairs)
    assert all(len(block.keys) == ordered._BLOCK_PAIRS for block in made._blocks[:-1])
    for each in (found, made):
        assert list(each.below(MOST, b"\xff\xff\xff")) == sorted(given_pairs, reverse=True)
        assert list(each.below(2, b"")) == sorted([pair for pair in given_pairs if pair < (2, b"")], reverse=True)


def test_the_key_that_it_gives_back_is_the_one_that_it_had():
    found, key = Ordered(), bytes([109, 45, 49])
    found.add(7, key)
    assert found.remove(7, b"m-1") is key


class TestBuckets:
    @pytest.mark.parametrize(("few", "most"), [(1, 2), (1, 1_000), (1_000, 1_000)], ids=["dict", "list", "tuple"])
    @given(given_pairs=st.dictionaries(st.binary(max_size=3), st.integers(LEAST, MOST)))
    def test_hold_what_was_added_until_it_is_removed(self, few, most, given_pairs):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(buckets, "_BUCKETS", 4)
            patch.setattr(buckets, "_TUPLE_MAX", few)
            patch.setattr(buckets, "_LIST_MAX", most)
            found = Buckets()
            for key, given_hash in given_pairs.items():
                found.add(given_hash, key)
            while given_pairs:
                for given_hash in given_pairs.values():
                    same = {key for key, each in given_pairs.items() if (each - given_hash) % 4 == 0}
                    assert len(found.of(given_hash)) == len(same)
                    assert set(found.of(given_hash)) == same
                key, given_hash = given_pairs.popitem()
                found.remove(given_hash, key)

    @pytest.mark.parametrize("others", [0, 1, 5])
    def test_know_what_they_do_not_have(self, monkeypatch, others):
        monkeypatch.setattr(buckets, "_TUPLE_MAX", 1)
        monkeypatch.setattr(buckets, "_LIST_MAX", 3)
        found = Buckets()
        for number in range(others):
            found.add(7, b"%d" % number)
        with pytest.raises(KeyError):
            found.remove(7, b"x")
