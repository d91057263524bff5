"""A worker collects garbage by time: a cycle goes although few objects are made, and collecting takes little time."""

import asyncio
import gc
import weakref

import pytest

from processor.cli import garbage


class Cycle:
    """Something that only the collector frees."""

    def __init__(self) -> None:
        self.itself = self


@pytest.fixture(autouse=True)
def schedule():
    """Put the schedule of the tests back; what they have frozen (tests/conftest.py) stays so."""
    thresholds, is_frozen = gc.get_threshold(), gc.get_freeze_count() > 0
    yield
    gc.set_threshold(*thresholds)
    if not is_frozen:
        gc.unfreeze()


async def turns(pauses: list[float], number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let it collect so many times, without waiting; note how long it would have waited."""
    done = asyncio.Event()

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) > number:
            done.set()
            await asyncio.Event().wait()

    with monkeypatch.context() as patch:
        patch.setattr(garbage.asyncio, "sleep", sleep)
        collecting = asyncio.ensure_future(garbage.collect_by_time())
        waiting = asyncio.ensure_future(done.wait())
        await asyncio.wait([waiting, collecting], return_when=asyncio.FIRST_COMPLETED)
        assert not collecting.done(), collecting.exception()
        collecting.cancel()


async def test_a_cycle_goes_before_many_objects_were_made(monkeypatch):
    garbage.make_rare()
    left = weakref.ref(Cycle())
    assert left() is not None
    await turns([], 1, monkeypatch)
    assert left() is None


async def test_it_is_rarer_where_it_takes_long(monkeypatch):
    seconds = iter([0.0, 0.01, 100.0, 100.5, 200.0, 200.01])
    monkeypatch.setattr(garbage.time, "thread_time", lambda: next(seconds))
    pauses: list[float] = []
    await turns(pauses, 3, monkeypatch)
    assert pauses == [60.0, 60.0, pytest.approx(250.0), 60.0]
