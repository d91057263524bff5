"""What the spool has been told to keep is there again, whatever happened meanwhile, and in its order."""

import asyncio
import shutil
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from processor.gateway import spool as module
from processor.gateway.shared_spool import SharedSpool
from processor.gateway.spool import Spool, Spooled, SpoolError

ROOT = Path(__file__).parents[2]


def record(number, size=0, received=None):
    headers = (("provider", b"twilio"), ("query", b""))
    return Spooled(
        "delivery.sms.v1",
        f"{number}".encode().ljust(size, b"x"),
        b"k",
        headers,
        number if received is None else received,
    )


def numbers(spool, limit=10**6):
    return [int(spooled.value.rstrip(b"x")) for _, spooled in spool.oldest(limit)]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "spool.sqlite"


@pytest.fixture
def spool(path):
    opened = Spool(path)
    opened.open()
    yield opened
    opened.close()


class TestRecords:
    def test_come_back_as_they_were_appended(self, spool):
        whole = Spooled("t", b"\xff\x00", None, (("h", b"\xfe"),), 1_750_000_000_123)
        spool.append([whole, record(1)])
        assert [spooled for _, spooled in spool.oldest(10)] == [whole, record(1)]

    def test_come_back_in_their_order_and_stay_until_they_are_removed(self, spool):
        for number in range(0, 10, 2):
            spool.append([record(number), record(number + 1)])
        assert numbers(spool, 3) == numbers(spool, 3) == [0, 1, 2]
        place, _ = spool.oldest(3)[-1]
        spool.remove(place)
        assert numbers(spool) == [3, 4, 5, 6, 7, 8, 9]

    def test_that_are_appended_while_others_are_removed_stay(self, spool):
        spool.append([record(0)])
        [(place, _)] = spool.oldest(10)
        spool.append([record(1)])
        spool.remove(place)
        assert numbers(spool) == [1]

    def test_outlive_the_process(self, spool, path):
        spool.append([record(0), record(1)])
        spool.close()
        again = Spool(path)
        again.open()
        assert (numbers(again), again.records) == ([0, 1], 2)
        again.close()

    def test_never_take_the_place_of_removed_ones(self, spool):
        spool.append([record(0)])
        [(first, _)] = spool.oldest(1)
        spool.remove(first)
        spool.append([record(1)])
        assert spool.oldest(1)[0][0] > first

    def test_one_is_put_behind_all_others_on_a_full_disk_as_well(self, spool, path, monkeypatch):
        """Else one that Kafka never takes would keep the others from leaving room."""
        spool.append([record(number) for number in (1, 2, 3)])
        monkeypatch.setattr(module, "_SPARE", shutil.disk_usage(path.parent).free + 2**30)
        octets = spool.octets
        spool.put_last(1)
        assert numbers(spool) == [2, 3, 1]
        assert (spool.records, spool.octets, spool.oldest_received) == (3, octets, 2)


class TestWhatItTells:
    def test_how_much_there_is_and_since_when(self, spool):
        assert (spool.records, spool.octets, spool.oldest_received) == (0, 0, 0)
        spool.append([record(1, 100, received=1_000), record(2, 100, received=2_000)])
        assert (spool.records, spool.oldest_received) == (2, 1_000)
        both = spool.octets
        assert both > 200
        spool.remove(spool.oldest(1)[0][0])
        assert (spool.records, spool.octets * 2, spool.oldest_received) == (1, both, 2_000)
        spool.remove(spool.oldest(1)[0][0])
        assert (spool.records, spool.octets, spool.oldest_received) == (0, 0, 0)

    def test_the_same_after_it_was_opened_again(self, spool, path):
        spool.append([record(1, 100, received=1_000)])
        told = (spool.records, spool.octets, spool.oldest_received)
        spool.close()
        spool.open()
        assert (spool.records, spool.octets, spool.oldest_received) == told


class TestDisk:
    def test_each_commit_is_synchronized(self, spool):
        connection = spool._connected()
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert connection.execute("PRAGMA synchronous").fetchone() == (2,), "FULL"

    def test_an_empty_spool_gives_its_room_back(self, spool, path):
        spool.append([record(number, 10_000) for number in range(200)])
        spool.remove(spool.oldest(200)[-1][0])
        there = sum(each.stat().st_size for each in path.parent.iterdir())
        assert there < 100_000

    def test_a_full_disk_appends_nothing_and_loses_nothing(self, spool):
        spool.append([record(0)])
        pages = spool._connected().execute("PRAGMA page_count").fetchone()[0]
        spool._connected().execute(f"PRAGMA max_page_count = {pages + 10}")
        with pytest.raises(SpoolError, match="full"):
            spool.append([record(number, 1_000) for number in range(1, 200)])
        assert (numbers(spool), spool.records) == ([0], 1)
        spool.append([record(1)])
        assert numbers(spool) == [0, 1]

    def test_what_removing_needs_of_the_disk_is_left_free(self, spool, path, monkeypatch):
        """Removing writes before it frees: a spool that has filled its disk could never be emptied."""
        spool.append([record(0), record(1)])
        monkeypatch.setattr(module, "_SPARE", shutil.disk_usage(path.parent).free + 2**30)
        with pytest.raises(SpoolError, match="the disk is full"):
            spool.append([record(2)])
        assert numbers(spool) == [0, 1]
        spool.remove(1)
        assert numbers(spool) == [1]

    def test_another_process_cannot_have_it_as_well(self, spool, path):
        spool.append([record(0)])
        other = Spool(path)
        with pytest.raises(SpoolError, match="locked"):
            other.open()
        spool.close()
        other.open()
        assert numbers(other) == [0]
        other.close()

    def test_a_folder_that_is_not_there_is_told(self, tmp_path):
        with pytest.raises(SpoolError, match="absent"):
            Spool(tmp_path / "absent" / "spool.sqlite").open()

    def test_a_file_that_is_none_of_ours_is_told_and_left_as_it_is(self, path):
        path.write_bytes(b"not a database" * 1000)
        with pytest.raises(SpoolError, match="not a database"):
            Spool(path).open()
        assert path.read_bytes() == b"not a database" * 1000

    @pytest.mark.parametrize("garbage", [b"", bytes(100), b"\x92\xa1x", "text"], ids=["empty", "zeros", "cut", "text"])
    def test_a_damaged_record_is_set_aside_and_holds_up_no_other(self, spool, path, garbage):
        spool.append([record(number) for number in range(4)])
        spool._connected().execute("UPDATE spooled SET record = ? WHERE place IN (1, 3)", (garbage,))
        assert numbers(spool) == [1, 3]
        assert (spool.records, spool.oldest_received) == (2, 1)
        spool.close()
        again = Spool(path)
        again.open()
        assert numbers(again) == [1, 3]
        assert again._connected().execute("SELECT place, record FROM damaged").fetchall() == [
            (1, garbage),
            (3, garbage),
        ]
        again.close()

    @pytest.mark.parametrize("suffix", ["", "-wal"])
    def test_nothing_is_appended_to_a_file_that_has_been_removed(self, spool, path, suffix):
        """Nobody would find it after a crash; what was there before is still to be had."""
        spool.append([record(0)])
        Path(f"{path}{suffix}").unlink()
        with pytest.raises(SpoolError, match="removed"):
            spool.append([record(1)])
        assert numbers(spool) == [0]
        spool.remove(spool.oldest(1)[-1][0])
        spool.append([record(2)])
        spool.append([record(3)])
        spool.close()
        assert path.exists()
        again = Spool(path)
        again.open()
        assert numbers(again) == [2, 3]
        again.close()

    def test_a_connection_that_cannot_be_rolled_back_is_given_up(self, spool):
        class Broken:
            in_transaction = True
            closed = False

            def execute(self, *_):
                raise sqlite3.OperationalError("disk I/O error")

            def close(self):
                self.closed = True

        spool.append([record(0)])
        spool.close()
        broken = Broken()
        # Not by monkeypatch: what it puts back would hide the next connection from who closes it.
        spool._connection, spool._opened = broken, spool._files()
        with pytest.raises(SpoolError, match="disk I/O error"):
            spool.append([record(1)])
        assert broken.closed
        spool.append([record(2)])
        assert numbers(spool) == [0, 2]


#: Appends groups of records for ever, and tells of each group once it is on disk.
APPENDS = """
import sys
from pathlib import Path
from processor.gateway.spool import Spool, Spooled
spool = Spool(Path(sys.argv[1]))
spool.open()
number = 0
while True:
    spool.append([Spooled("t", str(number + each).encode()) for each in range(7)])
    number += 7
    print(number, flush=True)
"""

#: Does the same on a disk that holds 200 kB; then it has more room, and it goes on.
FILLS = """
import resource, sys
from pathlib import Path
from processor.gateway.spool import Spool, Spooled, SpoolError
spool = Spool(Path(sys.argv[1]))
spool.open()
hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, hard))
appended = []
try:
    while True:
        number = len(appended)
        spool.append([Spooled("t", str(number).encode().ljust(1_000, b"x"))])
        appended.append(number)
except SpoolError as error:
    print(error)
try:
    spool.append([Spooled("t", b"x" * 100_000)])
except SpoolError as error:
    print(error)
resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
spool.append([Spooled("t", str(len(appended)).encode())])
found = [int(each.value.rstrip(b"x")) for _, each in spool.oldest(10_000)]
assert found == [*appended, len(appended)], found
print(len(found))
"""


class TestCrash:
    @pytest.mark.parametrize("groups", [1, 20, 200])
    def test_what_was_told_to_be_on_disk_is_there_after_sigkill(self, path, groups):
        child = subprocess.Popen([sys.executable, "-c", APPENDS, str(path)], cwd=ROOT, stdout=subprocess.PIPE)
        told = [int(child.stdout.readline()) for _ in range(groups)][-1]
        child.send_signal(signal.SIGKILL)
        told = max([told, *map(int, child.stdout.read().splitlines(keepends=False)[:-1])])
        child.wait()
        child.stdout.close()
        spool = Spool(path)
        spool.open()
        found = numbers(spool)
        spool.close()
        assert len(found) >= told
        assert found == list(range(len(found))), "in their order, none twice"
        assert len(found) % 7 == 0, "a group is there as a whole, or not at all"

    def test_a_disk_that_fails_to_take_more_refuses_and_goes_on_when_it_can(self, path):
        run = subprocess.run(
            [sys.executable, "-c", FILLS, str(path)], cwd=ROOT, capture_output=True, text=True, check=False
        )
        assert run.returncode == 0, run.stderr
        *refused, count = run.stdout.splitlines()
        assert len(refused) == 2
        assert int(count) > 10


class TestSharing:
    async def test_what_comes_together_is_committed_together(self, path, monkeypatch):
        shared = SharedSpool(Spool(path))
        await shared.open()
        groups = []
        append = shared.spool.append
        monkeypatch.setattr(shared.spool, "append", lambda records: groups.append(len(records)) or append(records))
        await asyncio.gather(*(shared.append([record(number)]) for number in range(500)))
        assert sum(groups) == 500
        assert len(groups) <= 2
        assert [int(spooled.value) for _, spooled in await shared.oldest(1000)] == [*range(500)]
        await shared.close()

    async def test_one_group_is_not_larger_than_its_bounds(self, path, monkeypatch):
        shared = SharedSpool(Spool(path))
        await shared.open()
        groups = []
        monkeypatch.setattr(shared.spool, "append", lambda records: groups.append(len(records)))
        await asyncio.gather(*(shared.append([record(0)]) for _ in range(2500)))
        assert groups == [1000, 1000, 500]
        groups.clear()
        await asyncio.gather(*(shared.append([record(0, 5 * 2**20)]) for _ in range(3)))
        assert groups == [1, 1, 1]
        await shared.close()

    async def test_all_of_a_group_that_failed_are_told_and_the_next_one_is_tried(self, path, monkeypatch):
        shared = SharedSpool(Spool(path))
        await shared.open()
        append = shared.spool.append

        def fail(_):
            raise SpoolError("the disk is full")

        monkeypatch.setattr(shared.spool, "append", fail)
        told = await asyncio.gather(*(shared.append([record(number)]) for number in range(3)), return_exceptions=True)
        assert [str(error) for error in told] == ["the disk is full"] * 3
        monkeypatch.setattr(shared.spool, "append", append)
        await shared.append([record(7)])
        assert [spooled.value for _, spooled in await shared.oldest(10)] == [b"7"]
        await shared.close()

    async def test_a_record_that_cannot_be_written_leaves_nobody_waiting(self, path):
        shared = SharedSpool(Spool(path))
        await shared.open()
        with pytest.raises(SpoolError, match="object"):
            await shared.append([record(0)._replace(headers=((object(), b""),))])
        await shared.append([record(1)])
        assert [spooled.value for _, spooled in await shared.oldest(10)] == [b"1"]
        await shared.close()

    async def test_one_who_is_cancelled_does_not_hold_up_the_others(self, path):
        shared = SharedSpool(Spool(path))
        await shared.open()
        appending = [asyncio.create_task(shared.append([record(number)])) for number in range(3)]
        await asyncio.sleep(0)
        appending[1].cancel()
        told = await asyncio.gather(*appending, return_exceptions=True)
        assert [type(each) for each in told] == [type(None), asyncio.CancelledError, type(None)]
        await shared.close()

    async def test_what_is_being_appended_is_on_disk_before_it_closes(self, path):
        shared = SharedSpool(Spool(path))
        await shared.open()
        appending = asyncio.create_task(shared.append([record(0)]))
        await asyncio.sleep(0)
        await shared.close()
        await appending
        spool = Spool(path)
        spool.open()
        assert numbers(spool) == [0]
        spool.close()

    async def test_records_are_removed_as_they_are_replayed(self, path):
        shared = SharedSpool(Spool(path))
        await shared.open()
        await shared.append([record(0), record(1)])
        [(place, _)] = await shared.oldest(1)
        await shared.remove(place)
        assert [spooled.value for _, spooled in await shared.oldest(10)] == [b"1"]
        assert shared.spool.records == 1
        await shared.close()
