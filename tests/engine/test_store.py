"""One contract for every store; and what only a store on disk can get wrong."""

import resource
import signal
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from processor.domain.standing import HIGHEST, Mark
from processor.domain.transitions import Node
from processor.engine.store import (
    Change,
    Description,
    Name,
    Store,
    StoreName,
    buckets,
    index_change,
    memory,
    rocksdb,
)
from processor.engine.store.memory import MemoryStore
from processor.engine.store.rocksdb import RocksStore
from tests.examples import examples

NAME = StoreName("cluster-1", "delivery.messages.v1", 3)
DAY = 24 * 60 * 60


class Clock:
    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def on_disk(tmp_path: Path, clock: Clock) -> Callable[..., RocksStore]:
    return lambda name=NAME: RocksStore(tmp_path / "store", name, 16, clock=clock)


@pytest.fixture(params=["memory", "rocksdb"])
def store(request: pytest.FixtureRequest) -> Store:
    return MemoryStore() if request.param == "memory" else request.getfixturevalue("on_disk")()


@contextmanager
def files_no_larger_than(size: int) -> Iterator[None]:
    """Let this process write files up to a size only, and be told so by an error and not by a signal."""
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, handler)


def power_cut(folder: Path, changes: int, size: int) -> None:
    """Let a process write rows and end as a power cut ends it: no destructor runs."""
    script = (
        "import os, sys; from pathlib import Path; from processor.engine.store import *\n"
        "from processor.engine.store.rocksdb import RocksStore\n"
        f"store = RocksStore(Path(sys.argv[1]), StoreName{tuple(NAME)!r}, 16, clock=lambda: 1_800_000_000.0)\n"
        f"for n in range({changes}): store.write(Change({{b'%d' % n: os.urandom({size})}}, 1, n + 1))\n"
        "os._exit(9)\n"
    )
    subprocess.run([sys.executable, "-c", script, str(folder)], check=False)


def change(rows: dict[bytes, bytes | None], position: int, growth: int = 0) -> Change:
    return Change(rows, growth, position)


class TestEveryStore:
    def test_is_empty_at_first(self, store):
        assert (len(store), store.position, list(store.get_many([b"a"])), list(store.items())) == (0, 0, [None], [])

    def test_gives_rows_in_the_order_of_the_keys(self, store):
        store.write(change({b"a": b"1", b"b": b"2"}, 7, growth=2))
        assert list(store.get_many([b"b", b"x", b"a"])) == [b"2", None, b"1"]
        assert len(store) == 2

    def test_reflects_the_position_of_its_last_change(self, store):
        store.write(change({b"a": b"1"}, 7, growth=1))
        store.write(change({b"a": b"2"}, 9))
        assert (store.position, list(store.get_many([b"a"])), len(store)) == (9, [b"2"], 1)

    def test_forgets_a_row_that_is_gone(self, store):
        store.write(change({b"a": b"1", b"b": b"2"}, 7, growth=2))
        store.write(change({b"a": None, b"never-there": None}, 8, growth=-1))
        assert (list(store.get_many([b"a", b"b"])), len(store)) == ([None, b"2"], 1)

    def test_tells_a_key_from_the_start_of_another(self, store):
        store.write(change({b"": b"empty", b"a": b"1", b"ab": b"2", b"l": b"3"}, 1, growth=4))
        assert list(store.get_many([b"ab", b"a", b"", b"l"])) == [b"2", b"1", b"empty", b"3"]

    def test_gives_all_rows_with_their_keys(self, store):
        store.write(change({b"a": b"1", b"b": b"2", b"c": b"3"}, 1, growth=3))
        store.write(change({b"b": None, b"c": b"4"}, 2, growth=-1))
        assert sorted(store.items()) == [(b"a", b"1"), (b"c", b"4")]

    def test_may_be_written_while_its_rows_are_given(self, store):
        store.write(change({b"%d" % number: b"1" for number in range(9)}, 1, growth=9))
        found = []
        for key, row in store.items():
            found.append((key, row))
            store.write(change({key: None, b"new-" + key: b"2"}, 2))
        before = [entry for entry in found if not entry[0].startswith(b"new-")]
        assert sorted(before) == [(b"%d" % number, b"1") for number in range(9)]

    def test_cleared_it_is_as_at_first(self, store):
        store.write(change({b"a": b"1"}, 7, growth=1))
        store.clear()
        assert (len(store), store.position, list(store.get_many([b"a"])), list(store.items())) == (0, 0, [None], [])


def describe(row: bytes) -> Description:
    """Say of a row of five bytes: its delivery, its node, since when, its recipient, its provider's id; `-` is none."""
    delivery, node, since, recipient, native = row.decode()
    names = tuple(None if name == "-" else name for name in (recipient, native))
    return (delivery, Node(int(node)), int(since)), names


keys = st.sampled_from([b"%d" % number for number in range(12)])
packed = st.none() | st.tuples(*map(st.sampled_from, ("DE", "079", "123", "-rs", "-nm"))).map(
    lambda fields: "".join(fields).encode()
)
steps = st.lists(
    st.tuples(st.sampled_from(["restore", "write"]), st.dictionaries(keys, packed, max_size=6))
    | st.tuples(st.just("index"), st.just({})),
    max_size=12,
)


class TestAStoreInMemoryThatIsIndexedAfterItsRecovery:
    @given(steps)
    @settings(max_examples=examples(300), deadline=None, derandomize=True)
    def test_lists_and_finds_what_its_rows_say_whatever_changed_meanwhile(self, given_steps):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(memory, "_SHARDS", 4)
            patch.setattr(buckets, "_BUCKETS", 1 << 20)
            store = MemoryStore(describe)
            for number, (step, rows) in enumerate(given_steps):
                before = zip(rows, store.get_many(list(rows)), rows.values(), strict=True)
                if step == "restore":
                    store.restore(rows, number, {})
                elif step == "write":
                    store.write(Change(rows, 0, number, indexed=index_change(list(before), describe)))
                else:
                    store.index_some(1)
            rows = dict(store.items())
            assert self.standing(store) == self.said_by(rows)
            for kind, name in ((Name.RECIPIENT, "r"), (Name.PROVIDER_MESSAGE_ID, "n")):
                named = sorted(key for key, row in rows.items() if describe(row)[1][kind] == name)
                assert sorted(store.named(kind, name)) == named

    def standing(self, store: Store) -> dict[tuple[str, Node], list[Mark]]:
        places = [(delivery, node) for delivery in "DE" for node in Node]
        return {place: marks for place in places if (marks := list(store.standing(*place, HIGHEST)))}

    def said_by(self, rows: dict[bytes, bytes]) -> dict[tuple[str, Node], list[Mark]]:
        found: dict[tuple[str, Node], list[Mark]] = defaultdict(list)
        for key, row in rows.items():
            delivery, node, since = describe(row)[0]
            found[delivery, node].append((since, key))
        return {place: sorted(marks, reverse=True) for place, marks in found.items()}

    def test_does_none_of_it_while_it_recovers(self):
        told = []
        store = MemoryStore(lambda row: told.append(row) or describe(row))
        store.restore({b"%d" % number: b"D01rn" for number in range(1_000)}, 7, {})
        assert told == []
        assert not store.index_some(100)
        assert 100 <= len(told) < 200
        list(store.named(Name.RECIPIENT, "r"))
        assert len(told) == 1_000

    def test_says_when_all_of_it_is_done(self):
        store = MemoryStore(describe)
        assert store.index_some(100)
        store.restore({b"%d" % number: b"D01rn" for number in range(1_000)}, 7, {})
        steps = 1
        while not store.index_some(100):
            steps += 1
        assert 5 < steps <= 10
        assert len(list(store.named(Name.RECIPIENT, "r"))) == 1_000

    def test_has_each_key_once_in_memory(self):
        store = MemoryStore(describe)
        first, again = bytes([109, 49]), bytes([109, 49])
        for key, row in ((first, b"D01--"), (again, b"D72rn")):
            change = index_change([(key, store.get_many([key])[0], row)], describe)
            store.write(Change({key: row}, 0, 1, indexed=change))
        [(owned, _)] = store.items()
        [(_, listed)] = store.standing("D", Node.SENT, HIGHEST)
        assert owned is listed is next(iter(store.named(Name.RECIPIENT, "r"))) is first


#: Stores of one process: most of the bound is held by some, one takes what is left and more, and then another writes.
_CROWDED = """
import sys
from pathlib import Path
from processor.engine.store import Change, StoreName
from processor.engine.store.rocksdb import RocksStore

stores = [RocksStore(Path(sys.argv[1], str(number)), StoreName("c", "t", number), 16) for number in range(8)]
for position, (number, rows) in enumerate([*((number, 700) for number in range(7)), (0, 6_000), (7, 100)]):
    stores[number].write(Change({b"%d-%d" % (position, row): bytes(1_000) for row in range(rows)}, rows, position))
"""


class TestAStoreOnDisk:
    def test_never_waits_for_another_store_to_be_flushed(self, tmp_path):
        # A store that waits does so for ever, and holds the interpreter: hence a process, and a minute.
        command = [sys.executable, "-c", _CROWDED, str(tmp_path)]
        assert subprocess.run(command, check=False, timeout=300).returncode == 0

    def test_opened_again_holds_rows_and_position(self, on_disk):
        first = on_disk()
        first.write(change({b"a": b"1", b"b": b"2"}, 7, growth=2))
        first.write(change({b"b": None}, 9, growth=-1))
        first.close()
        again = on_disk()
        assert (again.position, len(again), list(again.get_many([b"a", b"b"]))) == (9, 1, [b"1", None])

    def test_on_a_disk_that_is_full_is_as_it_was_and_lets_go(self, on_disk):
        store = on_disk()
        store.write(change({b"a": b"1"}, 7, growth=1))
        with files_no_larger_than(50_000):
            for _ in range(2):
                with pytest.raises(OSError, match="File too large"):
                    store.write(change({b"%d" % number: bytes(1_000) for number in range(1_000)}, 9, growth=1_000))
            store.close()
        again = on_disk()
        assert (again.position, len(again), list(again.get_many([b"a", b"5"]))) == (7, 1, [b"1", None])

    def test_that_was_not_closed_holds_the_state_at_a_position(self, on_disk, tmp_path):
        power_cut(tmp_path / "store", changes=100, size=1)
        store = on_disk()
        assert store.position == len(store) > 0
        rows = store.get_many([b"%d" % number for number in range(100)])
        assert [row is not None for row in rows] == [number < store.position for number in range(100)]

    def test_that_finds_no_room_to_recover_is_kept_until_there_is(self, on_disk, tmp_path):
        power_cut(tmp_path / "store", changes=100, size=10_000)
        with files_no_larger_than(50_000), pytest.raises(OSError, match=r"cannot be opened.*File too large"):
            on_disk()
        store = on_disk()
        assert store.position == len(store) > 0

    @pytest.mark.parametrize(
        "other",
        [NAME._replace(cluster="cluster-2"), NAME._replace(changelog="other"), NAME._replace(partition=4)],
        ids=["cluster", "topic", "partition"],
    )
    def test_of_another_is_never_trusted(self, on_disk, other):
        first = on_disk()
        first.write(change({b"a": b"1"}, 7, growth=1))
        first.close()
        store = on_disk(other)
        assert (store.position, len(store), list(store.get_many([b"a"])), list(store.items())) == (0, 0, [None], [])

    def test_with_rows_of_the_former_layout_is_taken_over_once_and_by_no_former_version(self, on_disk, monkeypatch):
        present = rocksdb._FORMAT
        monkeypatch.setattr(rocksdb, "_FORMAT", present - 1)
        store = on_disk()
        store.write(change({b"a": b"former"}, 7, growth=1))
        store.close()
        monkeypatch.setattr(rocksdb, "_FORMAT", present)
        store = on_disk()
        assert (store.position, list(store.items())) == (7, [(b"a", b"former")])
        store.write(change({b"b": b"present"}, 8, growth=1))
        store.close()
        monkeypatch.setattr(rocksdb, "_READABLE", frozenset({present - 1}))
        assert on_disk().position == 0

    def test_that_is_damaged_is_built_anew(self, on_disk, tmp_path):
        first = on_disk()
        first.write(change({b"a": b"1"}, 7, growth=1))
        first.close()
        for file in (tmp_path / "store").glob("MANIFEST*"):
            file.write_bytes(b"garbage")
        store = on_disk()
        assert (store.position, len(store), list(store.get_many([b"a"]))) == (0, 0, [None])

    def test_left_alone_for_longer_than_tombstones_live_is_built_anew(self, on_disk, clock):
        first = on_disk()
        first.write(change({b"a": b"1"}, 7, growth=1))
        first.close()
        clock.now += DAY
        assert on_disk().position == 0

    def test_in_use_by_another_is_not_touched(self, on_disk):
        first = on_disk()
        first.write(change({b"a": b"1"}, 7, growth=1))
        with pytest.raises(OSError, match="lock"):
            on_disk()
        assert list(first.get_many([b"a"])) == [b"1"]
