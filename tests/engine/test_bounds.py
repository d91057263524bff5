"""Waiting ends, although those who are waited for lose or refuse cancellations, as aiokafka and Faust do."""

import asyncio
from contextlib import suppress

import pytest

from processor.engine import bounds
from processor.engine.bounds import closed, end, within


class Client:
    """Loses some cancellations in its clean-up, then takes the next; or loses every one."""

    def __init__(self, loses: int | None) -> None:
        self.loses, self.lost, self.ended = loses, 0, False

    async def call(self) -> str:
        try:
            while True:
                with suppress(asyncio.CancelledError):
                    await asyncio.sleep(3_600)
                self.lost += 1
                if self.loses is not None and self.lost > self.loses:
                    raise asyncio.CancelledError
        finally:
            self.ended = True


@pytest.fixture(autouse=True)
def _short(monkeypatch):
    monkeypatch.setattr(bounds, "_AGAIN_SECONDS", 0.01)


class TestWithin:
    async def test_gives_the_answer(self):
        assert await within(asyncio.sleep(0, "answer"), 60) == "answer"

    async def test_raises_what_was_raised(self):
        async def fails() -> None:
            raise ValueError("wrong")

        with pytest.raises(ValueError, match="wrong"):
            await within(fails(), 60)

    @pytest.mark.parametrize("loses", [0, 1, 3])
    async def test_ends_what_takes_too_long_however_often_it_must_be_told(self, loses):
        client = Client(loses)
        with pytest.raises(asyncio.TimeoutError):
            await within(client.call(), 0.01)
        assert client.ended

    async def test_does_not_wait_for_what_cannot_be_ended(self, monkeypatch):
        monkeypatch.setattr(bounds, "_PATIENCE_SECONDS", 0.05)
        client = Client(None)
        call = asyncio.ensure_future(client.call())
        with pytest.raises(asyncio.TimeoutError):
            await within(call, 0.01)
        assert not call.done()
        client.loses = 0
        assert await end([call]) == set()

    @pytest.mark.parametrize("loses", [0, 2])
    async def test_who_is_cancelled_while_it_waits_ends_what_it_waited_for(self, loses):
        client = Client(loses)
        waiting = asyncio.ensure_future(within(client.call(), 3_600))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert client.ended

    async def test_what_was_cancelled_from_within_has_given_no_answer(self):
        async def cancelled() -> None:
            raise asyncio.CancelledError

        with pytest.raises(asyncio.TimeoutError):
            await within(cancelled(), 60)


class TestEnd:
    async def test_gives_nothing_when_all_have_ended(self):
        clients = [Client(0), Client(2)]
        tasks = [asyncio.ensure_future(client.call()) for client in clients]
        await asyncio.sleep(0)
        assert await end(tasks) == set()
        assert all(task.cancelled() for task in tasks)

    async def test_leaves_alone_what_ended_by_itself(self):
        task = asyncio.ensure_future(asyncio.sleep(0, "answer"))
        await task
        assert await end([task]) == set()
        assert task.result() == "answer"

    async def test_who_is_cancelled_meanwhile_still_ends_them_all(self):
        client = Client(2)
        task = asyncio.ensure_future(client.call())
        await asyncio.sleep(0)
        ending = asyncio.ensure_future(end([task]))
        await asyncio.sleep(0)
        ending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await ending
        assert task.cancelled()


class TestClosed:
    async def test_what_fails_to_close_is_no_reason_to_stay(self):
        async def fails() -> None:
            raise ValueError("wrong")

        await closed("client", fails())

    async def test_neither_is_what_takes_too_long(self):
        client = Client(1)
        await closed("client", client.call(), 0.01)
        assert client.ended
